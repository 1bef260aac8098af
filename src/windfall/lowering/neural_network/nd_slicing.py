"""Parts of tensors of any rank, and axes in reverse.

Source: ``SliceStaticLayerParams``, ``SliceDynamicLayerParams``, ``SliceBySizeLayerParams``, ``ReverseLayerParams``,
``ReverseSeqLayerParams`` in NeuralNetwork.proto.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from windfall.lowering.neural_network.axes import (
    at_least_vector,
    counted,
    each_axis,
    known_numbers,
    one_axis,
    vector,
)
from windfall.lowering.neural_network.context import LayerContext, Value

# ONNX takes an index beyond the axis for its end, or below it for the place before its start.
_AFTER, _BEFORE = 2**63 - 1, -(2**63)


@dataclass(frozen=True)
class _Section:
    """The part of each axis to take, one entry of each list per axis."""

    begin: Sequence[int]
    end: Sequence[int]
    strides: Sequence[int]
    begin_masks: Sequence[int]
    end_masks: Sequence[int]
    squeeze_masks: Sequence[int]


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
    section = _Section(
        list(params.beginIds),
        list(params.endIds),
        list(params.strides),
        list(params.beginMasks) or [False] * rank,
        list(params.endMasks) or [False] * rank,
        list(params.squeezeMasks) or [False] * rank,
    )
    return _slice(ctx, x, section)


def _slice(ctx: LayerContext, x: Value, section: _Section) -> Value:
    starts, ends, steps, axes = [], [], [], []
    squeezed = [axis for axis, mask in enumerate(section.squeeze_masks) if mask]
    for axis, size in enumerate(ctx.shape(x)):
        start, end, step = _squeezed(section, axis) if axis in squeezed else _bounds(ctx, section, axis)
        _check_section(ctx, axis, size, (start, end, step))
        if (start, end, step) != (0, _AFTER, 1):
            starts.append(start)
            ends.append(end)
            steps.append(step)
            axes.append(axis)
    if axes:
        x = ctx.op("Slice", x, *(ctx.integers(numbers) for numbers in (starts, ends, axes, steps)))
    return at_least_vector(ctx, ctx.op("Squeeze", x, ctx.integers(squeezed)) if squeezed else ctx.op("Identity", x))


def _squeezed(section: _Section, axis: int) -> tuple[int, int, int]:
    begin = section.begin[axis]
    return begin, _AFTER if begin == -1 else begin + 1, 1


def _bounds(ctx: LayerContext, section: _Section, axis: int) -> tuple[int, int, int]:
    step = section.strides[axis]
    if step == 0:
        raise ctx.error("strides", "must not be 0", value=section.strides)
    first, last = (0, _AFTER) if step > 0 else (_AFTER, _BEFORE)
    start = first if section.begin_masks[axis] else section.begin[axis]
    return start, last if section.end_masks[axis] else section.end[axis], step


def _check_section(ctx: LayerContext, axis: int, size: int | None, bounds: tuple[int, int, int]) -> None:
    """Raise a LoweringError for a section that is empty."""
    if size is None:
        return
    start, end, step = bounds
    stop = None if end == _BEFORE else end
    if not range(*slice(start, stop, step).indices(size)):
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
    squeezed = [axis for axis, mask in enumerate(known[-1]) if mask]
    lists = [numbers.tolist() for numbers in known if numbers is not None]
    if len(lists) == len(fields):
        return _slice(ctx, x, _Section(*lists))
    return _slice_at_run_time(ctx, x, fields, squeezed)


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


def _slice_at_run_time(ctx: LayerContext, x: Value, fields: Sequence[Value], squeezed: Sequence[int]) -> Value:
    begin, end, strides, begin_masks, end_masks, _ = fields
    after, before, zero, one = (ctx.integers(number) for number in (_AFTER, _BEFORE, 0, 1))
    forward = ctx.op("Greater", strides, zero)
    starts = ctx.op("Where", _set(ctx, begin_masks), ctx.op("Where", forward, zero, after), begin)
    ends = ctx.op("Where", _set(ctx, end_masks), ctx.op("Where", forward, after, before), end)
    if squeezed:
        is_squeezed = ctx.constant(np.isin(np.arange(ctx.rank(x)), squeezed))
        only = ctx.op("Where", ctx.op("Equal", begin, ctx.integers(-1)), after, ctx.op("Add", begin, one))
        starts, ends = ctx.op("Where", is_squeezed, begin, starts), ctx.op("Where", is_squeezed, only, ends)
        strides = ctx.op("Where", is_squeezed, one, strides)
    part = ctx.op("Slice", x, starts, ends, ctx.integers(range(ctx.rank(x))), strides)
    return at_least_vector(ctx, ctx.op("Squeeze", part, ctx.integers(squeezed)) if squeezed else part)


def _set(ctx: LayerContext, masks: Value) -> Value:
    return ctx.op("Cast", masks, to=ir.DataType.BOOL)


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
    if not axes:
        return ctx.op("Identity", x)
    starts, ends, steps = (ctx.integers([number] * len(axes)) for number in (_AFTER, _BEFORE, -1))
    return ctx.op("Slice", x, starts, ends, ctx.integers(axes), steps)


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
    # ReverseSequence takes the first two axes alone.
    perm = [batch, sequence, *(axis for axis in range(rank) if axis not in (batch, sequence))]
    if perm == list(range(rank)):
        return ctx.op("ReverseSequence", x, count, batch_axis=0, time_axis=1)
    front = ctx.op("ReverseSequence", ctx.op("Transpose", x, perm=perm), count, batch_axis=0, time_axis=1)
    return ctx.op("Transpose", front, perm=np.argsort(perm).tolist())


LOWERINGS = {
    "sliceStatic": lower_slice_static,
    "sliceDynamic": lower_slice_dynamic,
    "sliceBySize": lower_slice_by_size,
    "reverse": lower_reverse,
    "reverseSeq": lower_reverse_seq,
}
