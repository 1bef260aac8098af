"""Axes of tensors of any rank, and tensors that hold whole numbers: sizes, axes, indices.

Every tensor of a neural network is float32, also one that holds indices; ONNX wants int64.
"""

from collections.abc import Iterable

import onnx_ir as ir

from windfall.lowering.indices import known_numbers
from windfall.lowering.neural_network.context import LayerContext, Value


def one_axis(ctx: LayerContext, field: str, axis: int, rank: int) -> int:
    """Return an axis counted from the front.

    Raises:
        LoweringError: A tensor of that rank does not have it.
    """
    if not -rank <= axis < rank:
        raise ctx.error(field, f"must be {-rank} to {rank - 1} for an input of rank {rank}", value=axis)
    return int(axis) % rank


def each_axis(ctx: LayerContext, field: str, axes: Iterable[int], rank: int) -> list[int]:
    """Return axes counted from the front, in the order given.

    Raises:
        LoweringError: There are none, one is no axis of a tensor of that rank, or one is named twice.
    """
    given = list(axes)
    if not given or not all(-rank <= axis < rank for axis in given):
        raise ctx.error(field, f"must be one or more axes, each {-rank} to {rank - 1}", value=given)
    found = [int(axis) % rank for axis in given]
    if len(set(found)) < len(found):
        raise ctx.error(field, "must name each axis once", value=given)
    return found


def whole(ctx: LayerContext, x: Value) -> Value:
    """Return a tensor as int64; as a constant where its numbers are known, for shape inference follows constants."""
    known = known_numbers(x)
    return ctx.op("Cast", x, to=ir.DataType.INT64) if known is None else ctx.integers(known)


def vector(ctx: LayerContext, which: str, x: Value, length: int | None = None) -> Value:
    """Return an input that is a vector of whole numbers as int64.

    Args:
        ctx: The layer and the graph being built.
        which: What the input holds, for the error.
        x: [length].
        length: How many numbers it must hold; None for any number.

    Raises:
        LoweringError: It has another shape.
    """
    dims = ctx.shape(x)
    wanted = "a vector" if length is None else f"a vector of {length}"
    if len(dims) != 1 or (length is not None and dims[0] not in (None, length)):
        raise ctx.error("input", f"for {which} has shape {list(dims)}, must be {wanted}", value=None)
    return whole(ctx, x)


def at_least_vector(ctx: LayerContext, x: Value) -> Value:
    """Return a tensor of rank 0 as [1]: Core ML has no rank 0; any other tensor as it is."""
    return ctx.reshape(x, 1) if ctx.rank(x) == 0 else x
