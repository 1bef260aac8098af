"""Tensors of any rank joined, split, padded and cut into windows.

Source: ``ConcatNDLayerParams``, ``StackLayerParams``, ``ConstantPaddingLayerParams``, ``SplitNDLayerParams``,
``SlidingWindowsLayerParams`` in NeuralNetwork.proto.
"""

from collections.abc import Sequence

import numpy as np

from windfall.lowering.indices import known_numbers
from windfall.lowering.joining import interleaved, stacked, windows
from windfall.lowering.neural_network.axes import one_axis, vector
from windfall.lowering.neural_network.context import LayerContext, Value
from windfall.lowering.windows import LARGEST


def lower_concat_nd(ctx: LayerContext, x: Value, y: Value, *others: Value) -> Value:
    """Join tensors along an axis; with ``interleave`` their entries take turns.

    Source: ``ConcatNDLayerParams``.

    Args:
        ctx: The layer and the graph being built.
        x: Any shape with at least one axis.
        y: The same shape but for the axis that is joined; with ``interleave`` the same there too.
        others: As y.

    Returns:
        The same rank, that axis as long as all of them together.

    Raises:
        LoweringError: The ranks differ, or ``axis`` is no axis of x.
    """
    inputs = [x, y, *others]
    axis = one_axis(ctx, "axis", ctx.params.axis, _same_rank(ctx, inputs))
    if not ctx.params.interleave:
        return ctx.op("Concat", *inputs, axis=axis)
    return interleaved(ctx, inputs, axis)


def lower_stack(ctx: LayerContext, x: Value, y: Value, *others: Value) -> Value:
    """Join tensors along a new axis.

    Source: ``StackLayerParams``.

    Args:
        ctx: The layer and the graph being built.
        x: Any shape.
        y: The same shape.
        others: The same shape.

    Returns:
        The shape with the number of inputs at ``axis``, which counts in the output.

    Raises:
        LoweringError: The ranks differ, or ``axis`` is no axis of the output.
    """
    inputs = [x, y, *others]
    rank = _same_rank(ctx, inputs) + 1
    if not -rank <= ctx.params.axis < rank:
        raise ctx.error("axis", f"must be {-rank} to {rank - 1} for an output of rank {rank}")
    return stacked(ctx, inputs, ctx.params.axis % rank)


def _same_rank(ctx: LayerContext, inputs: Sequence[Value]) -> int:
    ranks = [ctx.rank(value) for value in inputs]
    if len(set(ranks)) > 1:
        raise ctx.error("input", f"has ranks {ranks}, must all have the same rank", value=None)
    return ranks[0]


def lower_split_nd(ctx: LayerContext, x: Value) -> Sequence[Value]:
    """Cut an axis into parts of the sizes ``splitSizes``, or into ``numSplits`` equal parts.

    Source: ``SplitNDLayerParams``. Where the parts do not come out even the first ones have one entry more, as with
    numpy.array_split: so coremltools' test of the layer has it.

    Args:
        ctx: The layer and the graph being built.
        x: Any shape with at least one axis.

    Returns:
        A value for each part, the same shape but for that axis.

    Raises:
        LoweringError: ``axis`` is no axis of x, or the parts are not one for each output and the whole axis together.
    """
    params = ctx.params
    axis = one_axis(ctx, "axis", params.axis, ctx.rank(x))
    outputs, size = len(ctx.layer.output), ctx.shape(x)[axis]
    field = "splitSizes" if params.splitSizes else "numSplits"
    if (len(params.splitSizes) or params.numSplits) != outputs or not outputs:
        raise ctx.error(field, f"must stand for the layer's {outputs} outputs")
    if params.splitSizes:
        parts = [int(part) for part in params.splitSizes]
        if size not in (None, sum(parts)):
            raise ctx.error(field, f"must be {size} together, the input's size along axis {axis}")
        return ctx.ops("Split", x, ctx.integers(parts), outputs=outputs, axis=axis)
    return ctx.ops("Split", x, _even_parts(ctx, x, axis, outputs), outputs=outputs, axis=axis)


def _even_parts(ctx: LayerContext, x: Value, axis: int, count: int) -> Value:
    """Return the sizes of as good as equal parts, the larger ones first; ONNX's num_outputs makes the last one smaller.

    Part i has (size + count - 1 - i) / count entries, rounded down.
    """
    size, rest = ctx.shape(x)[axis], np.arange(count)[::-1]
    if size is not None:
        if size < count:
            raise ctx.error("numSplits", f"must be at most the input's size along axis {axis}, {size}")
        return ctx.integers((size + rest) // count)
    sizes = ctx.op("Add", ctx.sizes(x, axis, axis + 1), ctx.integers(rest))
    return ctx.op("Div", sizes, ctx.integers(count))


def lower_constant_pad(ctx: LayerContext, x: Value, amounts: Value | None = None) -> Value:
    """Add entries of one value before and after each axis.

    Source: ``ConstantPaddingLayerParams``. With ``padToGivenOutputSizeMode`` an amount is the size to reach.

    Args:
        ctx: The layer and the graph being built.
        x: Any shape.
        amounts: [2 * rank of x], before and after each axis in turn; ``padAmounts`` by default.

    Returns:
        The same rank.

    Raises:
        LoweringError: There are not two amounts for each axis, or both are a size to reach.
    """
    rank = ctx.rank(x)
    known = np.array(ctx.params.padAmounts, np.int64) if amounts is None else known_numbers(amounts)
    if known is None:
        assert amounts is not None
        pads = ctx.reshape(vector(ctx, "padAmounts", amounts, 2 * rank), rank, 2)
    else:
        if known.shape != (2 * rank,):
            raise ctx.error(
                "padAmounts", f"must be {2 * rank} numbers for an input of rank {rank}", value=known.tolist()
            )
        pads = ctx.integers(known.reshape(rank, 2))
        if not ((known >= 0) & (known <= LARGEST)).all():
            raise ctx.error("padAmounts", f"must be 0 to {LARGEST} at every edge", value=known.tolist())
        if ctx.params.padToGivenOutputSizeMode and known.reshape(rank, 2).all(axis=1).any():
            raise ctx.error(
                "padAmounts", "must be 0 before or after each axis for padToGivenOutputSizeMode", value=known.tolist()
            )
    return ctx.op("Pad", x, _onnx_pads(ctx, x, pads), ctx.floats(ctx.params.value))


def _onnx_pads(ctx: LayerContext, x: Value, pads: Value) -> Value:
    """Return [rank, 2] amounts in ONNX's order, all before and then all after."""
    rank, known = ctx.rank(x), known_numbers(pads)
    if not ctx.params.padToGivenOutputSizeMode:
        return _by_side(ctx, pads)
    dims = ctx.shape(x)
    if known is not None and None not in dims:
        missing = known - np.array(dims, np.int64)[:, None]
        return _by_side(ctx, ctx.integers(np.maximum(missing, 0)))
    room = ctx.op("Sub", pads, ctx.reshape(ctx.sizes(x), rank, 1))
    return _by_side(ctx, ctx.op("Max", room, ctx.integers(0)))


def _by_side(ctx: LayerContext, pads: Value) -> Value:
    known = known_numbers(pads)
    if known is not None:
        return ctx.integers(known.T.reshape(-1), "pads")
    return ctx.reshape(ctx.op("Transpose", pads, perm=[1, 0]), -1)


def lower_sliding_windows(ctx: LayerContext, x: Value) -> Value:
    """Cut an axis into windows that may overlap.

    Source: ``SlidingWindowsLayerParams``.

    Args:
        ctx: The layer and the graph being built.
        x: [.., L, ..] with L at ``axis``.

    Returns:
        [.., M, windowSize, ..] with M = (L - windowSize) / step + 1, rounded down.

    Raises:
        LoweringError: ``axis`` is no axis of x, ``windowSize`` or ``step`` is 0, or L is below ``windowSize``.
    """
    params = ctx.params
    axis = one_axis(ctx, "axis", params.axis, ctx.rank(x))
    size, window, step = ctx.shape(x)[axis], int(params.windowSize), int(params.step)
    if window < 1 or (size is not None and window > size):
        raise ctx.error("windowSize", f"must be 1 to {size or 'the size'} along axis {axis}")
    if step < 1:
        raise ctx.error("step", "must be at least 1")
    return windows(ctx, x, axis, window, step)


LOWERINGS = {
    "concatND": lower_concat_nd,
    "stack": lower_stack,
    "splitND": lower_split_nd,
    "constantPad": lower_constant_pad,
    "slidingWindows": lower_sliding_windows,
}
