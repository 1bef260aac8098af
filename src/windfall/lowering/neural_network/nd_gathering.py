"""Entries read from, and written to, places that a tensor of indices names.

Source: ``GatherLayerParams`` to ``ScatterAlongAxisLayerParams`` in NeuralNetwork.proto. Negative indices count from the
end. An index beyond its axis makes the prediction fail.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from windfall.graph.builder import Dim
from windfall.lowering.neural_network.axes import one_axis, whole
from windfall.lowering.neural_network.context import LayerContext, Value


def lower_gather(ctx: LayerContext, x: Value, indices: Value) -> Value:
    """Take entries of one axis.

    Source: ``GatherLayerParams``.

    Args:
        ctx: The layer and the graph being built.
        x: [*before, D, *after] with D at ``axis``.
        indices: Any shape.

    Returns:
        [*before, *shape of indices, *after].

    Raises:
        LoweringError: ``axis`` is no axis of x.
    """
    axis = one_axis(ctx, "axis", ctx.params.axis, ctx.rank(x))
    return ctx.op("Gather", x, whole(ctx, indices), axis=axis)


def lower_gather_nd(ctx: LayerContext, x: Value, indices: Value) -> Value:
    """Take the entries, or parts, of a tensor that the vectors in ``indices`` name.

    Source: ``GatherNDLayerParams``.

    Args:
        ctx: The layer and the graph being built.
        x: [D_0, .., D_(r-1)].
        indices: [*points, k] with k at most r.

    Returns:
        [*points, D_k, .., D_(r-1)]; [1] if that would be a single number without axes.

    Raises:
        LoweringError: k is beyond the rank of x, or known only at run time.
    """
    size = _point_size(ctx, x, indices)
    if ctx.rank(indices) > 1:
        return ctx.op("GatherND", x, whole(ctx, indices))
    part = ctx.op("GatherND", x, ctx.op("Unsqueeze", whole(ctx, indices), ctx.integers([0])))
    return part if size == ctx.rank(x) else ctx.op("Squeeze", part, ctx.integers([0]))


def lower_gather_along_axis(ctx: LayerContext, x: Value, indices: Value) -> Value:
    """Take entries of one axis, others for each position along the other axes.

    Source: ``GatherAlongAxisLayerParams``.

    Args:
        ctx: The layer and the graph being built.
        x: Any shape with at least one axis.
        indices: The same shape but for ``axis``.

    Returns:
        The shape of ``indices``.

    Raises:
        LoweringError: ``axis`` is no axis of x, or the shapes differ elsewhere.
    """
    axis = one_axis(ctx, "axis", ctx.params.axis, ctx.rank(x))
    _check_same(ctx, "indices", indices, [None if i == axis else dim for i, dim in enumerate(ctx.shape(x))])
    return ctx.op("GatherElements", x, whole(ctx, indices), axis=axis)


def lower_scatter(ctx: LayerContext, x: Value, indices: Value, updates: Value) -> Value:
    """Combine entries of one axis with updates.

    Source: ``ScatterLayerParams``, ``ScatterMode``. Where several updates name one entry, all of them count, or the
    last with SCATTER_UPDATE.

    Args:
        ctx: The layer and the graph being built.
        x: [*before, D, *after] with D at ``axis``.
        indices: Any shape.
        updates: [*before, *shape of indices, *after].

    Returns:
        The shape of x.

    Raises:
        LoweringError: ``axis`` is no axis of x, ``mode`` is unknown, or ``updates`` has another shape.
    """
    rank = ctx.rank(x)
    axis = one_axis(ctx, "axis", ctx.params.axis, rank)
    dims = ctx.shape(x)
    _check_same(ctx, "updates", updates, [*dims[:axis], *ctx.shape(indices), *dims[axis + 1 :]])
    # [*before, *indices, *after] -> [*before, N, *after]
    rows = ctx.reshape(updates, ctx.sizes(x, 0, axis), -1, ctx.sizes(x, axis + 1))
    places = ctx.reshape(whole(ctx, indices), [1] * axis, -1, [1] * (rank - axis - 1))
    return _scatter(ctx, x, ctx.op("Expand", places, ctx.sizes(rows)), rows, axis)


def lower_scatter_nd(ctx: LayerContext, x: Value, indices: Value, updates: Value) -> Value:
    """Combine the entries, or parts, of a tensor that the vectors in ``indices`` name with updates.

    Source: ``ScatterNDLayerParams``, ``ScatterMode``; several updates of one entry as for ``lower_scatter``.

    ONNX's ScatterND leaves their order open, so the part's number is computed and ScatterElements used.

    Args:
        ctx: The layer and the graph being built.
        x: [D_0, .., D_(r-1)].
        indices: [*points, k] with k at most r.
        updates: [*points, D_k, .., D_(r-1)].

    Returns:
        The shape of x.

    Raises:
        LoweringError: k is beyond the rank of x or known only at run time, ``mode`` is unknown, or ``updates`` has
            another shape.
    """
    size = _point_size(ctx, x, indices)
    points = ctx.shape(indices)[:-1]
    _check_same(ctx, "updates", updates, [*points, *ctx.shape(x)[size:]] or [1])
    parts = ctx.op("Flatten", x, axis=size)  # [D_0 * .. * D_(k-1), D_k * ..]
    rows = ctx.op("Flatten", updates, axis=len(points))  # [N, D_k * ..]
    numbers = _part_numbers(ctx, whole(ctx, indices), ctx.sizes(x, 0, size), ctx.shape(x)[:size])
    places = ctx.op("Expand", ctx.reshape(numbers, -1, 1), ctx.sizes(rows))
    return ctx.reshape(_scatter(ctx, parts, places, rows, 0), ctx.sizes(x))


def lower_scatter_along_axis(ctx: LayerContext, x: Value, indices: Value, updates: Value) -> Value:
    """Combine entries of one axis with updates, others for each position along the other axes.

    Source: ``ScatterAlongAxisLayerParams``, ``ScatterMode``; several updates of one entry as for ``lower_scatter``.

    Args:
        ctx: The layer and the graph being built.
        x: Any shape with at least one axis.
        indices: The same shape but for ``axis``.
        updates: The shape of ``indices``.

    Returns:
        The shape of x.

    Raises:
        LoweringError: ``axis`` is no axis of x, ``mode`` is unknown, or the shapes do not fit.
    """
    axis = one_axis(ctx, "axis", ctx.params.axis, ctx.rank(x))
    _check_same(ctx, "indices", indices, [None if i == axis else dim for i, dim in enumerate(ctx.shape(x))])
    _check_same(ctx, "updates", updates, ctx.shape(indices))
    return _scatter(ctx, x, whole(ctx, indices), updates, axis)


def _point_size(ctx: LayerContext, x: Value, indices: Value) -> int:
    """Return how many indices name a place."""
    dims, rank = ctx.shape(indices), ctx.rank(x)
    if not dims or dims[-1] is None or not 1 <= dims[-1] <= rank:
        rule = f"has shape {list(dims)}, its last size must be known when the model is loaded and 1 to {rank}"
        raise ctx.error("input", f"for the indices {rule}", value=None)
    return dims[-1]


def _check_same(ctx: LayerContext, which: str, value: Value, wanted: Sequence[Dim]) -> None:
    """Raise a LoweringError where a shape is not the one wanted; None fits any size."""
    dims = ctx.shape(value)
    fits = len(dims) == len(wanted) and all(None in (a, b) or a == b for a, b in zip(dims, wanted, strict=True))
    if not fits:
        raise ctx.error("input", f"for the {which} has shape {list(dims)}, must be {list(wanted)}", value=None)


def _part_numbers(ctx: LayerContext, indices: Value, sizes: Value, dims: Sequence[Dim]) -> Value:
    """Return the number, counted row by row, of the part that each vector in [*points, k] names."""
    total = ctx.op("ReduceProd", sizes)
    from_end = ctx.op("Less", indices, ctx.integers(0))
    indices = ctx.op("Where", from_end, ctx.op("Add", indices, sizes), indices)
    low, high = ctx.op("Less", indices, ctx.integers(0)), ctx.op("GreaterOrEqual", indices, sizes)
    # One index beyond its axis could name a part that exists; the number of parts never does.
    beyond = ctx.op("Where", ctx.op("Or", low, high), total, ctx.integers(0))
    weighted = ctx.op("ReduceSum", ctx.op("Mul", indices, _row_strides(ctx, sizes, dims)), ctx.integers([-1]))
    wrong = ctx.op("ReduceMax", beyond, ctx.integers([-1]))
    return ctx.op("Where", ctx.op("Greater", wrong, ctx.integers(0)), wrong, weighted)


def _row_strides(ctx: LayerContext, sizes: Value, dims: Sequence[Dim]) -> Value:
    """Return how many parts lie between neighbours along each axis: the product of the sizes after it."""
    known = [dim for dim in dims[1:] if dim is not None]
    if len(known) == len(dims) - 1:
        return ctx.integers([math.prod(known[axis:]) for axis in range(len(dims))])
    strides = [ctx.integers([1])]
    for axis in range(len(dims) - 1, 0, -1):
        size = ctx.op("Slice", sizes, ctx.integers([axis]), ctx.integers([axis + 1]))
        strides.insert(0, ctx.op("Mul", strides[0], size))
    return ctx.op("Concat", *strides, axis=0)


def _scatter(ctx: LayerContext, x: Value, places: Value, updates: Value, axis: int) -> Value:
    mode = _MODES.get(ctx.params.mode)
    if mode is None:
        raise ctx.error("mode", f"must be 0 to {len(_MODES) - 1}")
    return mode(ctx, x, places, updates, axis)


_Mode = Callable[[LayerContext, Value, Value, Value, int], Value]


def _plain(reduction: str | None) -> _Mode:
    def scatter(ctx: LayerContext, x: Value, places: Value, updates: Value, axis: int) -> Value:
        return ctx.op("ScatterElements", x, places, updates, axis=axis, reduction=reduction)

    return scatter


def _subtract(ctx: LayerContext, x: Value, places: Value, updates: Value, axis: int) -> Value:
    return _plain("add")(ctx, x, places, ctx.op("Neg", updates), axis)


def _divide(ctx: LayerContext, x: Value, places: Value, updates: Value, axis: int) -> Value:
    # x / (the product of the updates)
    ones = ctx.op("Expand", ctx.floats(np.ones(1)), ctx.sizes(x))
    return ctx.op("Div", x, _plain("mul")(ctx, ones, places, updates, axis))


# By the numbers of ScatterMode: UPDATE, ADD, SUB, MUL, DIV, MAX, MIN.
_MODES: dict[int, _Mode] = {
    0: _plain(None),
    1: _plain("add"),
    2: _subtract,
    3: _plain("mul"),
    4: _divide,
    5: _plain("max"),
    6: _plain("min"),
}

LOWERINGS = {
    "gather": lower_gather,
    "gatherND": lower_gather_nd,
    "gatherAlongAxis": lower_gather_along_axis,
    "scatter": lower_scatter,
    "scatterND": lower_scatter_nd,
    "scatterAlongAxis": lower_scatter_along_axis,
}
