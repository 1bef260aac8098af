"""The same values in another shape or order.

Source: ``ReshapeLayerParams`` to ``ReorganizeDataLayerParams``, ``SequenceRepeatLayerParams`` in NeuralNetwork.proto.
"""

import math
from collections.abc import Sequence

from windfall.lowering.neural_network.context import LayerContext, Value
from windfall.lowering.neural_network.views import on_planes


@on_planes
def lower_flatten(ctx: LayerContext, x: Value) -> Value:
    """Put all values of an instance into the channel axis.

    Source: ``FlattenLayerParams``.

    Args:
        ctx: The layer and the graph being built.
        x: [*batch, C, H, W], rank 3 or more.

    Returns:
        [*batch, C*H*W, 1, 1]; with CHANNEL_LAST the channel varies fastest.
    """
    if ctx.params.mode == ctx.params.CHANNEL_LAST:
        x = ctx.op("Transpose", x, perm=[0, 2, 3, 1])  # [N, C, H, W] -> [N, H, W, C]
    return _join(ctx, x)


def _join(ctx: LayerContext, x: Value) -> Value:
    """Reshape [N, a, b, c] to [N, a*b*c, 1, 1], where one factor of each may be unknown."""
    rows, *inner = ctx.shape(x)
    if None not in inner:
        return ctx.reshape(x, -1 if rows is None else rows, math.prod(d for d in inner if d is not None), 1, 1)
    return ctx.reshape(x, ctx.sizes(x, 0, 1), -1, 1, 1)


def lower_reshape(ctx: LayerContext, x: Value) -> Value:
    """Reshape every element of the batch, with CHANNEL_LAST as if the channel varied fastest.

    Source: ``ReshapeLayerParams``.

    Args:
        ctx: The layer and the graph being built.
        x: [Seq, Batch, C, H, W].

    Returns:
        [Seq, Batch, C_out, H_out, W_out] for three sizes in ``targetShape``,
        [Seq_out, Batch, C_out, H_out, W_out] for four.

    Raises:
        LoweringError: The rank is not 5, or ``targetShape`` is not three or four sizes that the values fill.
    """
    target = _target(ctx, x)
    if ctx.params.mode == ctx.params.CHANNEL_LAST:
        channels, height, width = target[-3:]
        x = ctx.op("Transpose", x, perm=[0, 1, 3, 4, 2])  # [Seq, Batch, C, H, W] -> [Seq, Batch, H, W, C]
        x = _reshape_elements(ctx, x, [*target[:-3], height, width, channels])
        return ctx.op("Transpose", x, perm=[0, 1, 4, 2, 3])
    return _reshape_elements(ctx, x, target)


def _target(ctx: LayerContext, x: Value) -> list[int]:
    """Return ``targetShape`` after a check."""
    target = list(ctx.params.targetShape)
    if ctx.rank(x) != 5:
        raise ctx.error("input", f"has rank {ctx.rank(x)}, must have rank 5, [Seq, Batch, C, H, W]", value=None)
    if len(target) not in (3, 4) or min(target) < 1:
        raise ctx.error("targetShape", "must be [C, H, W] or [Seq, C, H, W], all of them positive")
    seq, _, *inner = ctx.shape(x)
    filled = inner if len(target) == 3 else [seq, *inner]
    if None not in filled and math.prod(target) != math.prod(d for d in filled if d is not None):
        raise ctx.error("targetShape", f"must have as many values as the input's {filled}")
    return target


def _reshape_elements(ctx: LayerContext, x: Value, target: Sequence[int]) -> Value:
    """Reshape [Seq, Batch, ...] without mixing the elements of the batch."""
    if len(target) == 3:
        return ctx.reshape(x, ctx.sizes(x, 0, 2), target)
    seq, *inner = target
    if ctx.shape(x)[1] == 1 or ctx.shape(x)[0] == seq:
        return ctx.reshape(x, seq, ctx.sizes(x, 1, 2), inner)
    swap = [1, 0, 2, 3, 4]
    batches = ctx.op("Transpose", x, perm=swap)
    return ctx.op("Transpose", ctx.reshape(batches, ctx.sizes(x, 1, 2), target), perm=swap)


def lower_permute(ctx: LayerContext, x: Value) -> Value:
    """Reorder the axes Seq, C, H and W; Batch stays where it is.

    Source: ``PermuteLayerParams``.

    Args:
        ctx: The layer and the graph being built.
        x: [Seq, Batch, C, H, W].

    Returns:
        The axes in the order of ``axis``: for [0, 3, 1, 2], [Seq, Batch, W, C, H].

    Raises:
        LoweringError: The rank is not 5, or ``axis`` is no permutation of [0, 1, 2, 3].
    """
    order = list(ctx.params.axis) or [0, 1, 2, 3]
    if ctx.rank(x) != 5:
        raise ctx.error("input", f"has rank {ctx.rank(x)}, must have rank 5, [Seq, Batch, C, H, W]", value=None)
    if sorted(order) != [0, 1, 2, 3]:
        raise ctx.error("axis", "must be a permutation of [0, 1, 2, 3]")
    if order == [0, 1, 2, 3]:
        return ctx.op("Identity", x)
    if order[0] == 0:
        return _permute_planes(ctx, x, perm=order)
    seq, *inner = [0 if axis == 0 else axis + 1 for axis in order]
    return ctx.op("Transpose", x, perm=[seq, 1, *inner])


@on_planes
def _permute_planes(ctx: LayerContext, x: Value, *, perm: list[int]) -> Value:
    return ctx.op("Transpose", x, perm=perm)


@on_planes
def lower_reorganize_data(ctx: LayerContext, x: Value) -> Value:
    """Move blocks of pixels between the channel axis and the two spatial axes.

    Source: ``ReorganizeDataLayerParams``; b is its ``blockSize``.

    Args:
        ctx: The layer and the graph being built.
        x: [*batch, C, H, W], rank 3 or more.

    Returns:
        SPACE_TO_DEPTH: [*batch, C*b*b, H/b, W/b]; other modes: [*batch, C/(b*b), H*b, W*b].

    Raises:
        LoweringError: ``blockSize`` is below 2 or does not divide the sizes.
    """
    params = ctx.params
    block = int(params.blockSize)
    if block < 2:
        raise ctx.error("blockSize", "must be at least 2")
    channels, height, width = ctx.shape(x)[-3:]
    if params.mode == params.SPACE_TO_DEPTH:
        if any(size is not None and size % block for size in (height, width)):
            raise ctx.error("blockSize", f"must divide the input's height and width, {height} and {width}")
        return ctx.op("SpaceToDepth", x, blocksize=block)
    if channels is not None and channels % block**2:
        raise ctx.error("blockSize", f"its square must divide the input's number of channels, {channels}")
    # PIXEL_SHUFFLE fills a block from adjacent channels, DEPTH_TO_SPACE from channels C/(b*b) apart.
    order = "CRD" if params.mode == params.PIXEL_SHUFFLE else "DCR"
    return ctx.op("DepthToSpace", x, blocksize=block, mode=order)


def lower_sequence_repeat(ctx: LayerContext, x: Value) -> Value:
    """Repeat a sequence as a whole: a b becomes a b a b.

    Source: ``SequenceRepeatLayerParams``.

    Args:
        ctx: The layer and the graph being built.
        x: [..., Seq, Batch, C, H, W], rank 5 or more.

    Returns:
        [..., nRepetitions * Seq, Batch, C, H, W].

    Raises:
        LoweringError: The rank is below 5.
    """
    rank = ctx.rank(x)
    if rank < 5:
        raise ctx.error("input", f"has rank {rank}, must have rank 5 or more", value=None)
    repeats = [1] * rank
    repeats[-5] = int(ctx.params.nRepetitions or 1)
    return ctx.op("Tile", x, ctx.integers(repeats))


LOWERINGS = {
    "reshape": lower_reshape,
    "flatten": lower_flatten,
    "permute": lower_permute,
    "reorganizeData": lower_reorganize_data,
    "sequenceRepeat": lower_sequence_repeat,
}
