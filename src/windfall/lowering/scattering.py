"""Entries written to places that a tensor of indices names.

Where several updates name one place, all of them count, one after the other; with ``update`` the last one stays.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from windfall.graph.shapes import Dim
from windfall.lowering.context import GraphContext, Value

_Mode = Callable[[GraphContext, Value, Value, Value, int], Value]


def scatter_rows(ctx: GraphContext, mode: str, x: Value, numbers: Value, rows: Value, axis: int) -> Value:
    """Combine entries of one axis with updates.

    Args:
        ctx: The graph being built.
        mode: A key of ``MODES``.
        x: [*before, D, *after] with D at ``axis``.
        numbers: Whole numbers, [N].
        rows: [*before, N, *after].
        axis: The axis.
    """
    places = ctx.reshape(numbers, [1] * axis, -1, [1] * (ctx.rank(x) - axis - 1))
    return MODES[mode](ctx, x, ctx.op("Expand", places, ctx.sizes(rows)), rows, axis)


def scatter_parts(ctx: GraphContext, mode: str, x: Value, numbers: Value, updates: Value, size: int) -> Value:
    """Combine parts of a tensor with updates.

    ONNX's ScatterND leaves their order open, so ScatterElements is used on the parts in a row.

    Args:
        ctx: The graph being built.
        mode: A key of ``MODES``.
        x: [D_0, .., D_(r-1)].
        numbers: Of the parts, [N]; see ``part_numbers``.
        updates: [N, D_k * .. * D_(r-1)], k being ``size``.
        size: How many indices name a part.
    """
    parts = ctx.op("Flatten", x, axis=size)  # [D_0 * .. * D_(k-1), D_k * ..]
    return ctx.reshape(scatter_rows(ctx, mode, parts, numbers, updates, 0), ctx.sizes(x))


def part_numbers(ctx: GraphContext, x: Value, indices: Value, size: int, *, from_end: bool = True) -> Value:
    """Return the number, counted row by row, of the part of a tensor that each vector names.

    Args:
        ctx: The graph being built.
        x: [D_0, .., D_(r-1)].
        indices: int64 [*points, size].
        size: How many indices name a part.
        from_end: Whether negative indices count from the end.

    Returns:
        [*points]; the number of parts, which none of them has, where an index is beyond its axis.
    """
    sizes = ctx.sizes(x, 0, size)
    total = ctx.op("ReduceProd", sizes)
    if from_end:
        negative = ctx.op("Less", indices, ctx.integers(0))
        indices = ctx.op("Where", negative, ctx.op("Add", indices, sizes), indices)
    low, high = ctx.op("Less", indices, ctx.integers(0)), ctx.op("GreaterOrEqual", indices, sizes)
    # One index beyond its axis could name a part that exists; the number of parts never does.
    beyond = ctx.op("Where", ctx.op("Or", low, high), total, ctx.integers(0))
    weights = _row_strides(ctx, sizes, ctx.shape(x)[:size])
    weighted = ctx.op("ReduceSum", ctx.op("Mul", indices, weights), ctx.integers([-1]), keepdims=0)
    wrong = ctx.op("ReduceMax", beyond, ctx.integers([-1]), keepdims=0)
    return ctx.op("Where", ctx.op("Greater", wrong, ctx.integers(0)), wrong, weighted)


def _row_strides(ctx: GraphContext, sizes: Value, dims: Sequence[Dim]) -> Value:
    """Return how many parts lie between neighbours along each axis: the product of the sizes after it."""
    known = [dim for dim in dims[1:] if dim is not None]
    if len(known) == len(dims) - 1:
        return ctx.integers([math.prod(known[axis:]) for axis in range(len(dims))])
    strides = [ctx.integers([1])]
    for axis in range(len(dims) - 1, 0, -1):
        size = ctx.op("Slice", sizes, ctx.integers([axis]), ctx.integers([axis + 1]))
        strides.insert(0, ctx.op("Mul", strides[0], size))
    return ctx.op("Concat", *strides, axis=0)


def _plain(reduction: str | None) -> _Mode:
    def scatter(ctx: GraphContext, x: Value, places: Value, updates: Value, axis: int) -> Value:
        return ctx.op("ScatterElements", x, places, updates, axis=axis, reduction=reduction)

    return scatter


def _subtract(ctx: GraphContext, x: Value, places: Value, updates: Value, axis: int) -> Value:
    return _plain("add")(ctx, x, places, ctx.op("Neg", updates), axis)


def _divide(ctx: GraphContext, x: Value, places: Value, updates: Value, axis: int) -> Value:
    # x / (the product of the updates), which an int32 may not hold.
    dtype = ir.DataType.FLOAT if x.dtype == ir.DataType.FLOAT else ir.DataType.INT64
    wide, factors = (v if v.dtype == dtype else ctx.op("Cast", v, to=dtype) for v in (x, updates))
    ones = ctx.op("Expand", ctx.constant(np.ones(1, dtype.numpy())), ctx.sizes(x))
    divided = ctx.op("Div", wide, _plain("mul")(ctx, ones, places, factors, axis))
    return divided if x.dtype == dtype else ctx.op("Cast", divided, to=x.dtype)


MODES: Mapping[str, _Mode] = {
    "update": _plain(None),
    "add": _plain("add"),
    "sub": _subtract,
    "mul": _plain("mul"),
    "div": _divide,
    "max": _plain("max"),
    "min": _plain("min"),
}
"""How ScatterElements combines the entries of x with the updates: (ctx, x, places, updates, axis)."""
