"""Parts of tensors of any rank, and axes in reverse.

Source: ``SliceStaticLayerParams``, ``SliceDynamicLayerParams``, ``SliceBySizeLayerParams``, ``ReverseLayerParams``,
``ReverseSeqLayerParams`` in NeuralNetwork.proto.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from windfall.lowering.indices import counted, known_numbers
from windfall.lowering.neural_network.axes import at_least_vector, each_axis, one_axis, vector
from windfall.lowering.neural_network.casts import as_booleans
from windfall.lowering.neural_network.context import LayerContext, Value
from windfall.lowering.sections import Numbers, Section, places, reversed_along, reversed_sequences, section, take


def lower_slice_static(ctx: LayerContext, x: Value) -> Value:
    """Take every ``strides``-th entry of each axis from ``beginIds`` up to, without, ``endIds``, as NumPy does.

    Source: ``SliceStaticLayerParams``. An index whose mask is set is left out, as in ``x[::2]``: so the message's
    examples have it, though its text says -1 for the end. A squeezed axis is indexed with ``beginIds``.

    Args:
        ctx: The layer and the graph being built.
        x: Any shape.

    Returns:
        The same rank less the squeezed axes; [1] if it would be 0.

    Raises:
        LoweringError: A field does not have a number for each axis, a stride is 0, or nothing is left of an axis.
    """
    params, rank = ctx.params, ctx.rank(x)
    for field in ("beginIds", "endIds", "strides", "beginMasks", "endMasks", "squeezeMasks"):
        values = list(getattr(params, field))
        if len(values) != rank and (values or "Masks" not in field):
            raise ctx.error(field, f"must be {rank} values for an input of rank {rank}", value=values)
    fields = [
        np.array(list(values) or [0] * rank, np.int64)
        for values in (params.beginIds, params.endIds, params.strides, params.beginMasks, params.endMasks)
    ]
    squeezed = np.array(list(params.squeezeMasks) or [False] * rank, np.bool_)
    return _slice(ctx, x, fields, squeezed)


def _slice(ctx: LayerContext, x: Value, fields: Sequence[Numbers], squeezed: NDArray[np.bool_]) -> Value:
    begin, end, strides, begin_masks, end_masks = fields
    if isinstance(strides, np.ndarray) and not (strides[~squeezed]).all():
        raise ctx.error("strides", "must not be 0", value=strides.tolist())
    part = section(ctx, begin, end, strides, begin_masks, end_masks, squeezed)
    _check_section(ctx, x, part)
    taken = take(ctx, x, part)
    if squeezed.any():
        return at_least_vector(ctx, ctx.op("Squeeze", taken, ctx.integers(np.flatnonzero(squeezed))))
    return at_least_vector(ctx, ctx.op("Identity", x) if taken is x else taken)


def _check_section(ctx: LayerContext, x: Value, part: Section) -> None:
    """Raise a LoweringError for a section that is known to be empty."""
    if not all(isinstance(numbers, np.ndarray) for numbers in part):
        return
    for axis, size in enumerate(ctx.shape(x)):
        if size is not None and not places(part, axis, size):
            raise ctx.error("beginIds", f"and endIds take nothing of axis {axis}, which has size {size}", value=None)


def lower_slice_dynamic(  # noqa: PLR0913, PLR0917 - the layer takes up to seven inputs
    ctx: LayerContext,
    x: Value,
    begin: Value,
    end: Value | None = None,
    strides: Value | None = None,
    begin_masks: Value | None = None,
    end_masks: Value | None = None,
    squeeze_masks: Value | None = None,
) -> Value:
    """Take a part of each axis as ``lower_slice_static`` does, by numbers that inputs may hold.

    Source: ``SliceDynamicLayerParams``. coremltools writes five numbers into a parameter that is left out, whatever the
    rank; those beyond the rank do not count.

    Args:
        ctx: The layer and the graph being built.
        x: Any shape.
        begin: [rank of x], as all inputs that follow.
        end: ``endIds`` by default.
        strides: ``strides`` by default.
        begin_masks: ``beginMasks`` by default.
        end_masks: ``endMasks`` by default.
        squeeze_masks: ``squeezeMasks`` by default; must be known when the model is loaded, for the rank depends on it.

    Returns:
        The same rank less the squeezed axes; [1] if it would be 0.

    Raises:
        LoweringError: A parameter or input does not have a number for each axis, or a known number is wrong.
    """
    names = ("beginIds", "endIds", "strides", "beginMasks", "endMasks", "squeezeMasks")
    inputs = (begin, end, strides, begin_masks, end_masks, squeeze_masks)
    fields = [_field(ctx, x, name, given) for name, given in zip(names, inputs, strict=True)]
    known = [known_numbers(field) for field in fields]
    if known[-1] is None:
        raise ctx.error("squeezeMasks", "must be known when the model is loaded, not an input", value=None)
    numbers = [
        _as_mask(ctx, name, field) if array is None else array
        for name, field, array in zip(names, fields, known, strict=True)
    ]
    return _slice(ctx, x, numbers[:-1], known[-1].astype(np.bool_))


def _as_mask(ctx: LayerContext, name: str, field: Value) -> Value:
    return as_booleans(ctx, field) if "Masks" in name else field


def _field(ctx: LayerContext, x: Value, name: str, given: Value | None) -> Value:
    """Return an input, or else the parameter, as an int64 vector with a number for each axis."""
    rank = ctx.rank(x)
    if given is not None:
        return vector(ctx, name, given, rank)
    stored = list(getattr(ctx.params, name))
    if not stored and "Masks" in name:
        stored = [False] * rank
    if len(stored) < rank:
        raise ctx.error(name, f"must be {rank} values for an input of rank {rank}", value=stored)
    return ctx.integers(stored[:rank])


def lower_slice_by_size(ctx: LayerContext, x: Value, begin: Value) -> Value:
    """Take ``size`` entries of an axis from an index that an input holds.

    Source: ``SliceBySizeLayerParams``.

    Args:
        ctx: The layer and the graph being built.
        x: Any shape.
        begin: [1]; a negative index counts from the end. A part that leaves the axis makes the prediction fail.

    Returns:
        The same rank, ``size`` along ``axis``.

    Raises:
        LoweringError: ``axis`` is no axis of x, ``size`` is not 1 to its size, or ``begin`` has another shape.
    """
    axis, size = one_axis(ctx, "axis", ctx.params.axis, ctx.rank(x)), int(ctx.params.size)
    length = ctx.shape(x)[axis]
    if size < 1 or (length is not None and size > length):
        raise ctx.error("size", f"must be 1 to {length or 'the size'} along axis {axis}")
    start = vector(ctx, "begin", begin, 1)
    end = ctx.sizes(x, axis, axis + 1)
    start = ctx.op("Where", ctx.op("Less", start, ctx.integers(0)), ctx.op("Add", start, end), start)
    # One still below 0 would count from the end once more.
    start = ctx.op("Where", ctx.op("Less", start, ctx.integers(0)), end, start)
    # Gather refuses what Slice would cut off.
    return ctx.op("Gather", x, ctx.op("Add", start, counted(ctx, size)), axis=axis)


def lower_reverse(ctx: LayerContext, x: Value) -> Value:
    """Reverse the order along some axes.

    Source: ``ReverseLayerParams``.

    Args:
        ctx: The layer and the graph being built.
        x: Any shape.

    Returns:
        The same shape.

    Raises:
        LoweringError: ``reverseDim`` does not have a value for each axis.
    """
    rank = ctx.rank(x)
    if len(ctx.params.reverseDim) != rank:
        raise ctx.error("reverseDim", f"must be {rank} values for an input of rank {rank}")
    axes = [axis for axis, reverse in enumerate(ctx.params.reverseDim) if reverse]
    return reversed_along(ctx, x, axes) if axes else ctx.op("Identity", x)


def lower_reverse_seq(ctx: LayerContext, x: Value, lengths: Value) -> Value:
    """Reverse the first entries of each sequence of a batch.

    Source: ``ReverseSeqLayerParams``.

    Args:
        ctx: The layer and the graph being built.
        x: [.., B, .., T, ..] with B at ``batchAxis`` and T at ``sequenceAxis``.
        lengths: [B], how many entries of each to reverse, 0 to T.

    Returns:
        The same shape.

    Raises:
        LoweringError: The axes are no axes of x, or ``batchAxis`` is not before ``sequenceAxis``.
    """
    params, rank = ctx.params, ctx.rank(x)
    batch, sequence = each_axis(ctx, "batchAxis and sequenceAxis", [params.batchAxis, params.sequenceAxis], rank)
    if batch >= sequence:
        raise ctx.error("batchAxis", f"must be before sequenceAxis, which is {params.sequenceAxis}")
    count = vector(ctx, "seq_lengths", lengths, ctx.shape(x)[batch])
    return reversed_sequences(ctx, x, count, batch, sequence)


LOWERINGS = {
    "sliceStatic": lower_slice_static,
    "sliceDynamic": lower_slice_dynamic,
    "sliceBySize": lower_slice_by_size,
    "reverse": lower_reverse,
    "reverseSeq": lower_reverse_seq,
}
