"""Tensors made of one or two numbers, or of evenly spaced ones.

Source: ``fill``, ``fill_like``, ``one_hot``, ``range_1d`` in ``tensor_operation.py`` among coremltools' operator
definitions.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from windfall.lowering.ml_program.context import Array, OperationContext, Value
from windfall.lowering.ml_program.shapes import wanted_shape
from windfall.spec.proto import MIL_pb2

_NOTHING, _ONE = np.zeros((), np.float32), np.ones((), np.float32)


def lower_fill(ctx: OperationContext, shape: Value, value: Array = _NOTHING) -> Value:
    """Fill a tensor with one value.

    Args:
        ctx: The operation and the graph being built.
        shape: Whole numbers, [rank of the output].
        value: A number or truth value.

    Returns:
        The sizes in ``shape``.

    Raises:
        LoweringError: ``shape`` is no vector, or ``value`` is not one value.
    """
    return _filled(ctx, wanted_shape(ctx, shape), value)


def lower_fill_like(ctx: OperationContext, ref_tensor: Value, value: Array = _NOTHING) -> Value:
    """Fill a tensor of another one's shape with one value.

    Args:
        ctx: The operation and the graph being built.
        ref_tensor: Any shape and type.
        value: A number or truth value.

    Returns:
        The shape of ``ref_tensor``.

    Raises:
        LoweringError: ``value`` is not one value.
    """
    filled = _filled(ctx, ctx.sizes(ref_tensor), value)
    filled.shape = ref_tensor.shape
    return filled


def _filled(ctx: OperationContext, sizes: Value, value: Array) -> Value:
    return ctx.op("ConstantOfShape", sizes, value=ir.tensor(_one(ctx, "value", value).reshape(1)))


def _one(ctx: OperationContext, argument: str, value: Array) -> Array:
    if value.size != 1:
        raise ctx.error(argument, "must be one value", value=value.tolist())
    return value.reshape(())


def lower_one_hot(
    ctx: OperationContext,
    indices: Value,
    one_hot_vector_size: Value,
    axis: int = -1,
    on_value: Array = _ONE,
    off_value: Array = _NOTHING,
) -> Value:
    """Put one value at the index that each element gives, along a new axis, and another one elsewhere.

    Args:
        ctx: The operation and the graph being built.
        indices: int32, any shape. Those that lie outside of the new axis, also negative ones, give ``off_value`` alone.
        one_hot_vector_size: int32, one element: the size of the new axis.
        axis: Where it stands in the output.
        on_value: A number or truth value.
        off_value: Another one of the same type.

    Returns:
        The shape of ``indices`` with the new axis.

    Raises:
        LoweringError: ``axis`` is no axis of the output, the size is below 0, or a value is not one value.
    """
    rank = ctx.rank(indices)
    place = ctx.axis("axis", axis, rank + 1)
    known = ctx.known(one_hot_vector_size)
    if known is not None and known.min() < 0:
        raise ctx.error("one_hot_vector_size", "must be at least 0", value=known.tolist())
    size = ctx.reshape(ctx.cast(one_hot_vector_size, ir.DataType.INT64), ())
    counted = ctx.op("Range", ctx.integers(0), size, ctx.integers(1))
    wanted = ctx.op("Unsqueeze", ctx.cast(indices, ir.DataType.INT64), ctx.integers([place]))
    found = ctx.op("Equal", wanted, ctx.reshape(counted, -1, [1] * (rank - place)))
    given = (_one(ctx, "on_value", on_value), _one(ctx, "off_value", off_value))
    numbers = [ctx.cast(ctx.constant(value), ctx.graph_type) for value in given]
    if ctx.graph_type in _CHOSEN:
        return ctx.op("Where", found, *numbers)
    numbers = [ctx.cast(value, ir.DataType.INT32) for value in numbers]
    return ctx.cast(ctx.op("Where", found, *numbers), ctx.graph_type)


# What ONNX Runtime has a kernel of Where for, among the types of a program.
_CHOSEN = (ir.DataType.FLOAT, ir.DataType.INT32, ir.DataType.INT8, ir.DataType.UINT8)


def lower_range_1d(ctx: OperationContext, end: Value, start: Value, step: Value) -> Value:
    """Count from ``start`` to before ``end`` by ``step``, as numpy.arange does.

    Args:
        ctx: The operation and the graph being built.
        end: One number, int32 or float, as the others.
        start: The first number.
        step: The difference of two neighbours.

    Returns:
        [N], N = ceil((end - start) / step), at least 0.

    Raises:
        LoweringError: ``step`` is known to be 0, or the range to have no end.
    """
    numbers = {"start": start, "end": end, "step": step}
    for name, value in numbers.items():
        known = ctx.known(value)
        if known is not None and (not np.isfinite(known).all() or (name == "step" and not known.all())):
            rule = "must be a number other than 0" if name == "step" else "must be finite"
            raise ctx.error(name, rule, value=known.tolist())
    bounds = [ctx.reshape(value, ()) for value in numbers.values()]
    if ctx.graph_type != ir.DataType.FLOAT:
        return ctx.op("Range", *bounds)
    first, _, width = bounds
    # start + i * step. ONNX's Range of float32 would add up the step, and its rounding error with it.
    count = _known_count(ctx, bounds) or _count(ctx, bounds)
    indices = ctx.op("Range", ctx.integers(0), count, ctx.integers(1))
    return ctx.op("Add", first, ctx.op("Mul", ctx.cast(indices, ir.DataType.FLOAT), width))


_MOST_STEPS = 2**31
# How many fractional numbers there are. The quotient is rounded to the program's own type, as numpy.arange does.


def _known_count(ctx: OperationContext, bounds: Sequence[Value]) -> Value | None:
    dtype = np.float16 if _is_half(ctx) else np.float32
    with np.errstate(over="ignore"):  # what float16 cannot hold is refused below
        numbers: list[Array | None] = [None if n is None else n.astype(dtype) for n in map(ctx.known, bounds)]
    start, end, step = numbers
    if start is None or end is None or step is None:
        return None
    with np.errstate(all="ignore"):  # a quotient that float32 cannot hold is refused
        count = float(np.ceil((end - start) / step))
    if not count < _MOST_STEPS:
        raise ctx.error("step", f"must lead from start to end in less than {_MOST_STEPS} steps", value=step.tolist())
    return ctx.integers(max(0, int(count)))


def _count(ctx: OperationContext, bounds: Sequence[Value]) -> Value:
    start, end, step = bounds
    quotient = ctx.op("Div", ctx.op("Sub", end, start), step)
    if _is_half(ctx):
        quotient = ctx.cast(ctx.cast(quotient, ir.DataType.FLOAT16), ir.DataType.FLOAT)
    return ctx.cast(ctx.op("Ceil", quotient), ir.DataType.INT64)


def _is_half(ctx: OperationContext) -> bool:
    return bool(ctx.declared().data_type == MIL_pb2.FLOAT16)


LOWERINGS: Mapping[str, Callable[..., Any]] = {
    "fill": lower_fill,
    "fill_like": lower_fill_like,
    "one_hot": lower_one_hot,
    "range_1d": lower_range_1d,
}
