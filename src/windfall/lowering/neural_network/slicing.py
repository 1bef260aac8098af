"""Parts of tensors, and tensors from parts.

Source: ``ConcatLayerParams``, ``SplitLayerParams``, ``SliceLayerParams`` in NeuralNetwork.proto.
"""

from collections.abc import Sequence

from windfall.lowering.neural_network.context import LayerContext, Value
from windfall.lowering.neural_network.views import elementwise

# ONNX takes an end beyond the axis for the end of the axis.
_END = 2**63 - 1


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


def lower_split(ctx: LayerContext, x: Value) -> Sequence[Value]:
    """Cut the channels into equal parts.

    Source: ``SplitLayerParams``.

    Args:
        ctx: The layer and the graph being built.
        x: [*batch, C, H, W], rank 3 or more.

    Returns:
        ``nOutputs`` values of [*batch, C / nOutputs, H, W].

    Raises:
        LoweringError: The rank is below 3, or ``nOutputs`` is not the number of outputs or does not divide C.
    """
    count = int(ctx.params.nOutputs)
    if ctx.rank(x) < 3:
        raise ctx.error("input", f"has rank {ctx.rank(x)}, must have rank 3 or more", value=None)
    if count < 1 or count != len(ctx.layer.output):
        raise ctx.error("nOutputs", f"must be the layer's number of outputs, {len(ctx.layer.output)}")
    channels = ctx.shape(x)[-3]
    if channels is not None and channels % count:
        raise ctx.error("nOutputs", f"must divide the input's number of channels, {channels}")
    planes = ctx.graph.planes(x)
    parts = ctx.ops("Split", planes, outputs=count, axis=1, num_outputs=count)
    return [ctx.graph.restore(part, like=x) for part in parts]


@elementwise
def lower_slice(ctx: LayerContext, x: Value) -> Value:
    """Take every ``stride``-th entry of an axis from ``startIndex`` up to, without, ``endIndex``.

    Source: ``SliceLayerParams``. Negative indices count from the end. An ``endIndex`` of 0 is the end: so the shape
    rules of Core ML's validator (``shapeSliceLayer``) have it. One beyond the end is the end as well: so coremltools'
    test of this layer has it.

    Args:
        ctx: The layer and the graph being built.
        x: [..., C, H, W]; the rank must reach the axis.

    Returns:
        The same rank.

    Raises:
        LoweringError: ``stride`` is 0, the axis is missing, or the section is empty or starts before the axis.
    """
    params = ctx.params
    axis = {params.CHANNEL_AXIS: -3, params.HEIGHT_AXIS: -2, params.WIDTH_AXIS: -1}.get(params.axis)
    if axis is None or ctx.rank(x) < -axis:
        raise ctx.error("axis", f"must be 0 to 2 for C, H or W, and an axis of the input of rank {ctx.rank(x)}")
    if params.stride < 1:
        raise ctx.error("stride", "must be at least 1")
    start, end = params.startIndex, params.endIndex or _END
    _check_section(ctx, start, end, ctx.shape(x)[axis])
    bounds = [ctx.integers([number]) for number in (start, end, axis, params.stride)]
    return ctx.op("Slice", x, *bounds)


def _check_section(ctx: LayerContext, start: int, end: int, size: int | None) -> None:
    """Raise a LoweringError for a section that is empty or starts before the axis."""
    if size is None:
        return
    first = start + size if start < 0 else start
    last = end + size if end < 0 else min(end, size)
    if not 0 <= first < last:
        raise ctx.error(
            "startIndex",
            f"and endIndex is {ctx.params.endIndex}; they must enclose a part of the axis, which has size {size}",
        )


LOWERINGS = {
    "concat": lower_concat,
    "split": lower_split,
    "slice": lower_slice,
}
