"""Parameters that several layers of any rank share: axes, and numbers that are known only at run time."""

from collections.abc import Sequence

import onnx_ir as ir

from windfall.graph.builder import constant_array
from windfall.lowering.neural_network.context import LayerContext, Value


def axis_within(ctx: LayerContext, rank: int) -> int:
    """Return the layer's ``axis``, counted from the front.

    Raises:
        LoweringError: It is not in [-rank, rank).
    """
    axis: int = ctx.params.axis
    if not -rank <= axis < rank:
        raise ctx.error("axis", f"must be {-rank} to {rank - 1} for a rank of {rank}")
    return axis % rank


def axes_within(ctx: LayerContext, rank: int) -> Sequence[int]:
    """Return the layer's ``axes``, counted from the front.

    Raises:
        LoweringError: There are none, or they are not distinct numbers in [-rank, rank).
    """
    axes: Sequence[int] = ctx.params.axes
    if not axes or not all(-rank <= axis < rank for axis in axes) or len({axis % rank for axis in axes}) < len(axes):
        raise ctx.error("axes", f"must be at least one, each another, {-rank} to {rank - 1} for a rank of {rank}")
    return [axis % rank for axis in axes]


def whole_numbers(ctx: LayerContext, x: Value) -> Value:
    """Return an input that holds whole numbers, like a shape, as an int64 vector.

    Every tensor of a network is float32. Where the numbers were int64 before, these are taken, so that as much of the
    shapes that follow from them is known as can be.
    """
    stored = constant_array(x)
    if stored is not None:
        return ctx.integers(stored.reshape(-1))
    maker = x.producer()
    source = maker.inputs[0] if maker is not None and maker.op_type == "Cast" else None
    if source is None or source.dtype != ir.DataType.INT64 or source.shape is None:
        source = ctx.op("Cast", x, to=ir.DataType.INT64)
    return source if ctx.rank(source) == 1 else ctx.reshape(source, -1)


def scalar(ctx: LayerContext, x: Value) -> Value:
    """Return an input of one element as a tensor without axes."""
    return ctx.reshape(x, [])


def as_floats(ctx: LayerContext, x: Value) -> Value:
    """Return booleans or whole numbers as float32, the type of every tensor of a network; true is 1.0."""
    return ctx.op("Cast", x, to=ir.DataType.FLOAT)


def as_booleans(ctx: LayerContext, x: Value) -> Value:
    """Return which elements differ from 0."""
    return ctx.op("Cast", x, to=ir.DataType.BOOL)
