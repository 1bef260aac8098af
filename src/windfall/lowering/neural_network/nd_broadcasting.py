"""Stored tensors, and tensors repeated to a larger size.

Source: ``CopyLayerParams``, ``LoadConstantNDLayerParams``, ``BroadcastToLikeLayerParams`` to
``BroadcastToDynamicLayerParams``, ``TileLayerParams`` in NeuralNetwork.proto.
"""

from collections.abc import Sequence

import numpy as np

from windfall.graph.shapes import Dim
from windfall.lowering.indices import known_numbers
from windfall.lowering.neural_network.axes import vector
from windfall.lowering.neural_network.context import LayerContext, Value


def lower_copy(ctx: LayerContext, x: Value) -> Value:
    """Give a tensor another name.

    Source: ``CopyLayerParams``.

    Args:
        ctx: The layer and the graph being built.
        x: Any shape.

    Returns:
        The same shape.
    """
    return ctx.op("Identity", x)


def lower_load_constant_nd(ctx: LayerContext) -> Value:
    """Provide a stored tensor.

    Source: ``LoadConstantNDLayerParams``.

    Returns:
        The shape ``shape``.

    Raises:
        LoweringError: ``shape`` is empty or has a size of 0, or ``data`` does not fit it.
    """
    dims = list(ctx.params.shape)
    if not dims or 0 in dims:
        raise ctx.error("shape", "must have one or more sizes, each of at least 1", value=dims)
    return ctx.weight("data", dims)


def lower_broadcast_to_like(ctx: LayerContext, x: Value, like: Value) -> Value:
    """Repeat along axes of size 1 until the shape is that of another tensor.

    Source: ``BroadcastToLikeLayerParams``.

    Args:
        ctx: The layer and the graph being built.
        x: A shape that broadcasts to that of ``like``.
        like: Any shape.

    Returns:
        The shape of ``like``.

    Raises:
        LoweringError: x does not broadcast to it.
    """
    _check_broadcasts(ctx, x, ctx.shape(like))
    result = ctx.op("Expand", x, ctx.sizes(like))
    result.shape = like.shape
    return result


def lower_broadcast_to_static(ctx: LayerContext, x: Value) -> Value:
    """Repeat along axes of size 1 until the shape is ``targetShape``; shapes as for ``lower_broadcast_to_like``.

    Source: ``BroadcastToStaticLayerParams``.
    """
    target = [int(size) for size in ctx.params.targetShape]
    _check_broadcasts(ctx, x, target)
    return ctx.op("Expand", x, ctx.integers(target))


def lower_broadcast_to_dynamic(ctx: LayerContext, x: Value, target: Value) -> Value:
    """Repeat along axes of size 1 until the shape is that in a vector; shapes as for ``lower_broadcast_to_like``.

    Source: ``BroadcastToDynamicLayerParams``.
    """
    sizes = vector(ctx, "the shape", target)
    known = known_numbers(target)
    (length,) = ctx.shape(sizes)
    if length is None:
        raise ctx.error("input", "for the shape must have a length that is known when the model is loaded", value=None)
    _check_broadcasts(ctx, x, [None] * length if known is None else known.tolist())
    return ctx.op("Expand", x, sizes)


def _check_broadcasts(ctx: LayerContext, x: Value, target: Sequence[Dim]) -> None:
    """Raise a LoweringError where x would not get the shape; ONNX's Expand also repeats the target's axes of 1."""
    dims = ctx.shape(x)
    pairs = zip(reversed(dims), reversed(target), strict=False)
    if len(dims) > len(target) or any(have not in (1, None, want) and want is not None for have, want in pairs):
        shown = f"has shape {list(dims)}, which does not broadcast to {list(target)}"
        raise ctx.error("input", f"{shown}: each size must be 1 or that of the target", value=None)


def lower_tile(ctx: LayerContext, x: Value, reps: Value | None = None) -> Value:
    """Repeat the whole tensor a number of times along each axis.

    Source: ``TileLayerParams``. Fewer numbers than axes count for the last axes; so coremltools' tests have it for the
    second input too.

    Args:
        ctx: The layer and the graph being built.
        x: Any shape.
        reps: [up to the rank of x]; ``reps`` of the layer by default.

    Returns:
        The same rank, each size times its number.

    Raises:
        LoweringError: There are no numbers, more than axes, or a stored one is 0.
    """
    rank = ctx.rank(x)
    numbers = list(ctx.params.reps)
    times = ctx.integers(numbers) if reps is None else vector(ctx, "reps", reps)
    (count,) = ctx.shape(times)
    if count is None or not 1 <= count <= rank:
        raise ctx.error("reps", f"must be 1 to {rank} numbers for an input of rank {rank}", value=f"{count} numbers")
    if reps is None and min(numbers) < 1:
        raise ctx.error("reps", "must be at least 1 along each axis")
    ones = ctx.integers(np.ones(rank - count))
    return ctx.op("Tile", x, ctx.op("Concat", ones, times, axis=0) if count < rank else times)


LOWERINGS = {
    "copy": lower_copy,
    "loadConstantND": lower_load_constant_nd,
    "broadcastToLike": lower_broadcast_to_like,
    "broadcastToStatic": lower_broadcast_to_static,
    "broadcastToDynamic": lower_broadcast_to_dynamic,
    "tile": lower_tile,
}
