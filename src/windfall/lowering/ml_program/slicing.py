"""Parts of tensors.

Source: ``slice_by_index``, ``slice_by_size``, ``sliding_windows``, ``reverse``, ``reverse_sequence`` in
``tensor_transformation.py`` among coremltools' operator definitions.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from windfall.lowering.joining import windows
from windfall.lowering.ml_program.context import Ints, OperationContext, Value
from windfall.lowering.sections import AFTER, Numbers, Section, reversed_along, reversed_sequences, section, take

Masks = tuple[bool, ...]


def lower_slice_by_index(  # noqa: PLR0913, PLR0917 - the operator's own parameters
    ctx: OperationContext,
    x: Value,
    begin: Value,
    end: Value,
    stride: Ints | None = None,
    begin_mask: tuple[bool, ...] | None = None,
    end_mask: tuple[bool, ...] | None = None,
    squeeze_mask: tuple[bool, ...] | None = None,
) -> Value:
    """Take every ``stride``-th entry of each axis from ``begin`` up to, without, ``end``, as NumPy does.

    Args:
        ctx: The operation and the graph being built.
        x: Any shape and type.
        begin: Whole numbers, [rank of x], as all that follow.
        end: Whole numbers.
        stride: 1 for each axis by default.
        begin_mask: Where ``begin`` does not count, as in ``x[:3]``.
        end_mask: Where ``end`` does not count, as in ``x[3:]``.
        squeeze_mask: Which axes are indexed with ``begin`` alone, and are gone.

    Returns:
        The same rank less the squeezed axes.

    Raises:
        LoweringError: An argument does not have a number for each axis, or a stride is 0.
    """
    part, squeezed = indexed(ctx, ctx.rank(x), begin, end, stride, (begin_mask, end_mask, squeeze_mask))
    taken = take(ctx, x, part)
    return ctx.op("Squeeze", taken, ctx.integers(squeezed)) if squeezed else taken


def indexed(
    ctx: OperationContext,
    rank: int,
    begin: Value,
    end: Value,
    stride: Ints | None,
    masks: Sequence[Masks | None],
) -> tuple[Section, Sequence[int]]:
    """Return the section of a tensor that an operation describes by indices, strides and masks.

    Args:
        ctx: The operation and the graph being built.
        rank: The rank of the tensor.
        begin: Whole numbers, [rank].
        end: Whole numbers, [rank].
        stride: One for each axis.
        masks: The masks of begin and end, and which axes are squeezed.

    Returns:
        The section, and the axes that are squeezed.

    Raises:
        LoweringError: An argument does not have a number for each axis, or a stride is 0.
    """
    names = ("begin_mask", "end_mask", "squeeze_mask")
    begin_mask, end_mask, squeeze_mask = (_mask(ctx, n, m, rank) for n, m in zip(names, masks, strict=True))
    steps = np.array(stride if stride is not None else [1] * rank, np.int64)
    if len(steps) != rank or not steps[~squeeze_mask].all():
        raise ctx.error("stride", f"must be {rank} numbers other than 0", value=steps.tolist())
    starts, ends = (_numbers(ctx, name, value, rank) for name, value in (("begin", begin), ("end", end)))
    # A squeezed axis without a beginning is indexed with 0.
    if (first := begin_mask & squeeze_mask).any():
        starts = _with_zeros(ctx, starts, first)
    return section(ctx, starts, ends, steps, begin_mask, end_mask, squeeze_mask), np.flatnonzero(squeeze_mask).tolist()


def _mask(ctx: OperationContext, argument: str, mask: Masks | None, rank: int) -> Any:
    found = np.array(mask if mask is not None else [False] * rank, np.bool_)
    if len(found) != rank:
        raise ctx.error(argument, f"must be {rank} values for an x of rank {rank}", value=found.tolist())
    return found


def _numbers(ctx: OperationContext, argument: str, value: Value, rank: int) -> Numbers:
    """Return whole numbers as int64, known ones as an array."""
    dims = ctx.shape(value)
    if len(dims) != 1 or dims[0] not in (rank, None):
        raise ctx.error(argument, f"must be {rank} numbers for an x of rank {rank}", value=f"of shape {list(dims)}")
    whole = ctx.cast(value, ir.DataType.INT64)
    known = ctx.known(whole)
    return whole if known is None else known


def _with_zeros(ctx: OperationContext, numbers: Numbers, mask: Any) -> Numbers:
    if isinstance(numbers, ir.Value):
        return ctx.op("Where", ctx.constant(mask), ctx.integers(0), numbers)
    return np.where(mask, 0, numbers)


def lower_slice_by_size(ctx: OperationContext, x: Value, begin: Value, size: Value) -> Value:
    """Take a number of entries of each axis from ``begin`` on.

    Args:
        ctx: The operation and the graph being built.
        x: Any shape and type.
        begin: Whole numbers, [rank of x]; negative ones count from the end.
        size: Whole numbers, [rank of x]; -1 takes what is left. A part that leaves an axis makes a prediction fail.

    Returns:
        The same rank, with the sizes ``size``.

    Raises:
        LoweringError: An argument does not have a number for each axis, or a part is known to leave an axis.
    """
    rank = ctx.rank(x)
    begins, counts = (_numbers(ctx, name, value, rank) for name, value in (("begin", begin), ("size", size)))
    if not isinstance(counts, ir.Value) and any(count < -1 for count in counts):
        raise ctx.error("size", "must be at least 0, or -1 for what is left", value=counts.tolist())
    starts, ends = _bounds(ctx, x, begins, counts)
    taken = take(ctx, x, Section(starts, ends, np.ones(rank, np.int64), np.zeros(rank, np.bool_)))
    # Slice cuts off what is not there; Reshape fails then.
    if isinstance(counts, ir.Value):
        rest = ctx.op("Less", counts, ctx.integers(0))
        return ctx.reshape(taken, ctx.op("Where", rest, ctx.sizes(taken), counts))
    wanted = [None if count < 0 else int(count) for count in counts]
    pairs = list(zip(ctx.shape(taken), wanted, strict=True))
    if any(None not in pair and pair[0] != pair[1] for pair in pairs):
        raise ctx.error("size", f"must leave no axis of {list(ctx.shape(x))}", value=counts.tolist())
    if all(dim is not None or count is None for dim, count in pairs):
        return taken
    return ctx.reshape(taken, *(ctx.sizes(taken, i, i + 1) if n is None else n for i, n in enumerate(wanted)))


def _bounds(ctx: OperationContext, x: Value, begins: Numbers, counts: Numbers) -> tuple[Numbers, Numbers]:
    """Return where the parts start, counted from the front where they have a size, and where they end."""
    if not isinstance(begins, ir.Value) and not isinstance(counts, ir.Value):
        dims = [0 if dim is None else dim for dim in ctx.shape(x)]
        if not any(dim is None and start < 0 for dim, start in zip(ctx.shape(x), begins, strict=True)):
            starts = np.where(begins < 0, begins + dims, begins)
            # One still below 0 would count from the end once more.
            starts = np.where(starts < 0, AFTER, starts)
            return starts, np.where((counts < 0) | (starts == AFTER), AFTER, np.minimum(starts, 2**62) + counts)
    begin, count = (n if isinstance(n, ir.Value) else ctx.integers(n) for n in (begins, counts))
    zero, after = ctx.integers(0), ctx.integers(AFTER)
    start = ctx.op("Where", ctx.op("Less", begin, zero), ctx.op("Add", begin, ctx.sizes(x)), begin)
    start = ctx.op("Where", ctx.op("Less", start, zero), after, start)
    # The sum may not go beyond the largest number.
    end = ctx.op("Add", ctx.op("Min", start, ctx.integers(2**62)), count)
    return start, ctx.op("Where", ctx.op("Less", count, zero), after, end)


def lower_sliding_windows(ctx: OperationContext, x: Value, axis: int, size: int, stride: int = 1) -> Value:
    """Cut an axis into windows that may overlap.

    Args:
        ctx: The operation and the graph being built.
        x: [.., L, ..] with L at ``axis``; any type.
        axis: The axis.
        size: The length of a window.
        stride: How far the next window starts behind one.

    Returns:
        [.., M, size, ..] with M = (L - size) / stride + 1, rounded down.

    Raises:
        LoweringError: ``axis`` is no axis of x, ``size`` is not 1 to L, or ``stride`` is below 1.
    """
    place = ctx.axis("axis", axis, ctx.rank(x))
    length = ctx.shape(x)[place]
    if size < 1 or (length is not None and size > length):
        raise ctx.error("size", f"must be 1 to {length or 'the size'} along axis {place}", value=size)
    if stride < 1:
        raise ctx.error("stride", "must be at least 1", value=stride)
    return windows(ctx, x, place, size, stride)


def lower_reverse(ctx: OperationContext, x: Value, axes: Ints | None = None) -> Value:
    """Reverse the order along some axes.

    Args:
        ctx: The operation and the graph being built.
        x: Any shape and type.
        axes: The axes; None for all.

    Returns:
        The same shape.

    Raises:
        LoweringError: ``axes`` are no axes of x.
    """
    rank = ctx.rank(x)
    named = range(rank) if axes is None else axes
    # Twice reversed is not reversed.
    places = [ctx.axis("axes", axis, rank) for axis in named]
    return reversed_along(ctx, x, [axis for axis in range(rank) if places.count(axis) % 2])


def lower_reverse_sequence(
    ctx: OperationContext, x: Value, lengths: Value, seq_axis: int = 0, batch_axis: int = 0
) -> Value:
    """Reverse the first entries of each sequence of a batch.

    Args:
        ctx: The operation and the graph being built.
        x: [.., B, .., T, ..], in any order, of any type.
        lengths: Whole numbers, [B]: how many entries of each to reverse, 0 to T.
        seq_axis: The axis of size T.
        batch_axis: The axis of size B.

    Returns:
        The same shape.

    Raises:
        LoweringError: The axes are no axes of x, or the same.
    """
    rank = ctx.rank(x)
    sequence, batch = ctx.axis("seq_axis", seq_axis, rank), ctx.axis("batch_axis", batch_axis, rank)
    if sequence == batch:
        raise ctx.error("seq_axis", "must be another axis than batch_axis", value=seq_axis)
    return reversed_sequences(ctx, x, ctx.cast(lengths, ir.DataType.INT64), batch, sequence)


LOWERINGS: Mapping[str, Callable[..., Any]] = {
    "slice_by_index": lower_slice_by_index,
    "slice_by_size": lower_slice_by_size,
    "sliding_windows": lower_sliding_windows,
    "reverse": lower_reverse,
    "reverse_sequence": lower_reverse_sequence,
}
