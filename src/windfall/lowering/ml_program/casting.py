"""Changes of the data type.

Source: ``cast`` among coremltools' operator definitions (``elementwise_unary.py``).
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from windfall.lowering.ml_program.context import OperationContext, Value

_TYPES = {
    "int8": ir.DataType.INT8,
    "uint8": ir.DataType.UINT8,
    "int16": ir.DataType.INT16,
    "uint16": ir.DataType.UINT16,
    "int32": ir.DataType.INT32,
    # Fractional numbers are computed in float32, however they are stored.
    "fp16": ir.DataType.FLOAT,
    "fp32": ir.DataType.FLOAT,
    "bool": ir.DataType.BOOL,
}
_FRACTIONAL = (ir.DataType.FLOAT, ir.DataType.DOUBLE)


def lower_cast(ctx: OperationContext, x: Value, dtype: str) -> Value:
    """Convert a tensor to another type.

    Between float16 and float32 nothing changes: both are computed in float32. Fractions are cut off where a type holds
    whole numbers, see ``to_whole``; of a whole number that is too large the low bits stay. All but 0 is true.

    Args:
        ctx: The operation and the graph being built.
        x: Any shape.
        dtype: The type as programs write it: ``fp16``, ``int32``, ``bool``.

    Raises:
        LoweringError: There is no such type, or nothing is cast to it.
    """
    if dtype not in _TYPES:
        raise ctx.error("dtype", f"must be one of {', '.join(_TYPES)}", value=repr(dtype))
    wanted = _TYPES[dtype]
    if x.dtype in _FRACTIONAL and wanted not in (*_FRACTIONAL, ir.DataType.BOOL):
        return to_whole(ctx, x, wanted)
    return ctx.cast(x, wanted)


def to_whole(ctx: OperationContext, x: Value, dtype: ir.DataType) -> Value:
    """Convert fractional numbers to a type that holds whole numbers.

    Fractions are cut off. What the type cannot hold becomes the nearest number that it can, NaN becomes 0: what
    processors with ARM's instructions do. ONNX leaves it open, and each platform answers differently.
    """
    limits = np.iinfo(dtype.numpy())
    known = ctx.known(x)
    if known is not None:
        inside = np.clip(np.nan_to_num(known.astype(np.float64), posinf=np.inf, neginf=-np.inf), limits.min, limits.max)
        return ctx.constant(inside.astype(dtype.numpy()), "cast")
    # A float32 cannot hold the largest int32.
    wide = ctx.cast(x, ir.DataType.DOUBLE) if limits.bits > 16 else x
    number = ctx.op("Where", ctx.op("IsNaN", wide), ctx.scalar(0, wide), wide)
    fitting = ctx.op("Clip", number, ctx.scalar(limits.min, wide), ctx.scalar(limits.max, wide))
    return ctx.op("Cast", fitting, to=dtype)


LOWERINGS: Mapping[str, Callable[..., Any]] = {"cast": lower_cast}
