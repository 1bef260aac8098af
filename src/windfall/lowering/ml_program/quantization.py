"""Whole numbers of 8 bits for fractions, and back.

Source: ``quantization_ops.py`` (iOS 17) among coremltools' operator definitions.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from windfall.lowering.ml_program.context import Array, OperationContext, Value

_TYPES = {"int8": ir.DataType.INT8, "uint8": ir.DataType.UINT8}


def lower_quantize(
    ctx: OperationContext,
    input_: Value,
    scale: Array,
    output_dtype: str,
    zero_point: Array | None = None,
    axis: int | None = None,
) -> Value:
    """Compute ``round(input / scale) + zero_point``, limited to what the type holds; halves are rounded to even.

    Args:
        ctx: The operation and the graph being built.
        input_: float, any shape.
        scale: A number, or one for each place along ``axis``.
        output_dtype: ``int8`` or ``uint8``.
        zero_point: Of that type, the shape of scale; 0 by default.
        axis: Must be given where scale is a vector.

    Returns:
        The same shape.

    Raises:
        LoweringError: There is no such type or axis, a scale is 0, or a shape does not fit.
    """
    if output_dtype not in _TYPES:
        raise ctx.error("output_dtype", f"must be {' or '.join(_TYPES)}", value=repr(output_dtype))
    if not np.all(scale):
        raise ctx.error("scale", "must not be 0", value=scale.tolist())
    wanted = _TYPES[output_dtype].numpy()
    zero_point = np.zeros(scale.shape, wanted) if zero_point is None else zero_point
    if zero_point.dtype != wanted:
        raise ctx.error("zero_point", f"must be {output_dtype}", value=zero_point.dtype)
    along = _checked_axis(ctx, input_, scale, zero_point, axis)
    return ctx.op("QuantizeLinear", input_, ctx.floats(scale, "scale"), ctx.constant(zero_point, "zero"), axis=along)


def lower_dequantize(
    ctx: OperationContext,
    input_: Value,
    scale: Array,
    zero_point: Array | None = None,
    axis: int | None = None,
) -> Value:
    """Compute ``scale * (input - zero_point)``.

    Args:
        ctx: The operation and the graph being built.
        input_: int8 or uint8, any shape.
        scale: A number, or one for each place along ``axis``.
        zero_point: Of the type of the input, the shape of scale; 0 by default.
        axis: Must be given where scale is a vector.

    Returns:
        float, the same shape.

    Raises:
        LoweringError: There is no such axis, or a shape or type does not fit.
    """
    if input_.dtype is None or input_.dtype not in _TYPES.values():
        raise ctx.error("input", f"must be {' or '.join(_TYPES)}", value=str(input_.dtype).lower())
    # ONNX Runtime wants the zero point of a vector, too.
    zero_point = np.zeros(scale.shape, input_.dtype.numpy()) if zero_point is None else zero_point
    along = _checked_axis(ctx, input_, scale, zero_point, axis)
    return ctx.op("DequantizeLinear", input_, ctx.floats(scale, "scale"), ctx.constant(zero_point, "zero"), axis=along)


def _checked_axis(ctx: OperationContext, x: Value, scale: Array, zero_point: Array, axis: int | None) -> int | None:
    """Return the axis that a scale runs along, None for one scale for all.

    Raises:
        LoweringError: There is no such axis, or the scale or the zero point does not fit it.
    """
    if zero_point.shape != scale.shape:
        rule = f"must have the shape of scale, {list(scale.shape)}"
        raise ctx.error("zero_point", rule, value=f"of shape {list(zero_point.shape)}")
    if scale.ndim == 0:
        return None
    if axis is None:
        raise ctx.error("axis", "must be given where scale is a vector", value=None)
    along = ctx.axis("axis", axis, ctx.rank(x))
    size = ctx.shape(x)[along]
    if scale.ndim != 1 or (size is not None and scale.size != size):
        rule = f"must be a number or a vector of {size or 'all'}, the input's size along axis {axis}"
        raise ctx.error("scale", rule, value=f"of shape {list(scale.shape)}")
    return along


LOWERINGS: Mapping[str, Callable[..., Any]] = {"dequantize": lower_dequantize, "quantize": lower_quantize}
