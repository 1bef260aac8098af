"""Entries read from, and written to, places that a tensor of indices names.

Source: ``GatherLayerParams`` to ``ScatterAlongAxisLayerParams`` in NeuralNetwork.proto. Negative indices count from the
end. An index beyond its axis makes the prediction fail.
"""

from collections.abc import Sequence

from windfall.graph.shapes import Dim
from windfall.lowering.neural_network.axes import one_axis, whole
from windfall.lowering.neural_network.context import LayerContext, Value
from windfall.lowering.scattering import MODES, part_numbers, scatter_parts, scatter_rows


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
    return scatter_rows(ctx, _mode(ctx), x, ctx.reshape(whole(ctx, indices), -1), rows, axis)


def lower_scatter_nd(ctx: LayerContext, x: Value, indices: Value, updates: Value) -> Value:
    """Combine the entries, or parts, of a tensor that the vectors in ``indices`` name with updates.

    Source: ``ScatterNDLayerParams``, ``ScatterMode``; several updates of one entry as for ``lower_scatter``.

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
    rows = ctx.op("Flatten", updates, axis=len(points))  # [N, D_k * ..]
    numbers = part_numbers(ctx, x, whole(ctx, indices), size)
    return scatter_parts(ctx, _mode(ctx), x, ctx.reshape(numbers, -1), rows, size)


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
    return MODES[_mode(ctx)](ctx, x, whole(ctx, indices), updates, axis)


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


# By the numbers of ScatterMode.
_MODE_NAMES = ("update", "add", "sub", "mul", "div", "max", "min")


def _mode(ctx: LayerContext) -> str:
    number = ctx.params.mode
    if not 0 <= number < len(_MODE_NAMES):
        raise ctx.error("mode", f"must be 0 to {len(_MODE_NAMES) - 1}")
    return _MODE_NAMES[number]


LOWERINGS = {
    "gather": lower_gather,
    "gatherND": lower_gather_nd,
    "gatherAlongAxis": lower_gather_along_axis,
    "scatter": lower_scatter,
    "scatterND": lower_scatter_nd,
    "scatterAlongAxis": lower_scatter_along_axis,
}
