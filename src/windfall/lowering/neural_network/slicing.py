"""Parts of tensors, and tensors from parts.

Source: ``ConcatLayerParams``, ``SplitLayerParams``, ``SliceLayerParams`` in NeuralNetwork.proto.
"""

from windfall.lowering.neural_network.context import LayerContext, Value
from windfall.lowering.neural_network.views import elementwise


def lower_concat(ctx: LayerContext, x: Value, *others: Value) -> Value:
    """Join tensors along the channels, or with ``sequenceConcat`` along the sequence.

    Source: ``ConcatLayerParams``.

    Args:
        ctx: The layer and the graph being built.
        x: [*batch, C, H, W], rank 3 or more; [..., Seq, Batch, C, H, W], rank 5 or more, for the sequence.
        others: The same shape but for the axis that is joined.

    Returns:
        The same shape, that axis as long as all of them together.

    Raises:
        LoweringError: The ranks differ or are too small.
    """
    ranks = [ctx.rank(value) for value in (x, *others)]
    least = 5 if ctx.params.sequenceConcat else 3
    if min(ranks) < least or len(set(ranks)) > 1:
        raise ctx.error("input", f"has ranks {ranks}, must all have the same rank of {least} or more", value=None)
    if ctx.params.sequenceConcat:
        return ctx.op("Concat", x, *others, axis=ranks[0] - 5)
    return _concat_channels(ctx, x, *others)


@elementwise
def _concat_channels(ctx: LayerContext, x: Value, *others: Value) -> Value:
    return ctx.op("Concat", x, *others, axis=ctx.rank(x) - 3)


LOWERINGS = {"concat": lower_concat}
