"""Sections of tensors: every n-th entry of each axis from one place to another, as NumPy's slices take them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from windfall.graph.shapes import Dim
from windfall.lowering.context import GraphContext, Value

# ONNX takes an index beyond the axis for its end, or below it for the place before its start.
AFTER, BEFORE = 2**63 - 1, -(2**63)

Numbers = NDArray[Any] | Value
"""Numbers, or truth values, that are known or an int64, or bool, vector of the graph: one for each axis."""


class Section(NamedTuple):
    """A section of a tensor; its numbers mean what they mean in NumPy's slices and in ONNX's Slice.

    Attributes:
        starts: The first place of each axis.
        ends: The place before which each ends.
        steps: How far the next place is.
        whole: Which axes are known to be taken as they are.
    """

    starts: Numbers
    ends: Numbers
    steps: Numbers
    whole: NDArray[np.bool_]


def section(
    ctx: GraphContext,
    begin: Numbers,
    end: Numbers,
    strides: Numbers,
    begin_masks: Numbers,
    end_masks: Numbers,
    squeezed: NDArray[np.bool_],
) -> Section:
    """Return the section that Core ML describes by an index, a stride and masks for each axis.

    Args:
        ctx: The graph being built.
        begin: The first index of each axis; a negative one counts from the end.
        end: The index before which each ends.
        strides: The step.
        begin_masks: Where the first index is left out, as in ``x[:3]``.
        end_masks: Where the end is left out, as in ``x[3:]``.
        squeezed: Where the entry at ``begin`` alone is taken.
    """
    some = np.zeros(squeezed.shape, np.int64)
    forward = _forward(ctx, strides)
    starts = _choose(ctx, begin_masks, _choose(ctx, forward, some, some + AFTER), begin)
    ends = _choose(ctx, end_masks, _choose(ctx, forward, some + AFTER, some + BEFORE), end)
    if squeezed.any():
        starts = _choose(ctx, squeezed, begin, starts)
        ends = _choose(ctx, squeezed, _behind(ctx, begin), ends)
        strides = _choose(ctx, squeezed, some + 1, strides)
    return Section(starts, ends, strides, _whole(strides, begin_masks, end_masks) & ~squeezed)


def _forward(ctx: GraphContext, strides: Numbers) -> Numbers:
    return ctx.op("Greater", strides, ctx.integers(0)) if isinstance(strides, ir.Value) else strides > 0


def _behind(ctx: GraphContext, begin: Numbers) -> Numbers:
    """Return the index behind each one; behind the last one, -1, there is no other."""
    if not isinstance(begin, ir.Value):
        return np.where(begin == -1, AFTER, begin + 1)
    is_last = ctx.op("Equal", begin, ctx.integers(-1))
    return ctx.op("Where", is_last, ctx.integers(AFTER), ctx.op("Add", begin, ctx.integers(1)))


def _whole(strides: Numbers, begin_masks: Numbers, end_masks: Numbers) -> Any:
    if isinstance(strides, ir.Value) or isinstance(begin_masks, ir.Value) or isinstance(end_masks, ir.Value):
        return np.array(False)
    return (strides == 1) & (begin_masks != 0) & (end_masks != 0)


def _choose(ctx: GraphContext, mask: Numbers, one: Numbers, other: Numbers) -> Numbers:
    """Return one number where the mask is set, the other elsewhere; known ones where it takes only known ones."""
    if not isinstance(mask, ir.Value):
        mask = mask.astype(np.bool_)
        if not isinstance(one, ir.Value) and not isinstance(other, ir.Value):
            return np.where(mask, one, other)
        if mask.all() or not mask.any():
            return one if mask.all() else other
    return ctx.op("Where", as_value(ctx, mask), as_value(ctx, one), as_value(ctx, other))


def as_value(ctx: GraphContext, numbers: Numbers) -> Value:
    """Return numbers as a value of the graph."""
    return numbers if isinstance(numbers, ir.Value) else ctx.constant(numbers)


def take(ctx: GraphContext, x: Value, part: Section) -> Value:
    """Return a section of a tensor, or the tensor itself where that is all of it."""
    axes = cut_axes(part, ctx.shape(x))
    if not axes:
        return x
    if any(isinstance(numbers, ir.Value) for numbers in part[:3]):
        axes = list(range(ctx.rank(x)))
    starts, ends, steps = (_of_axes(ctx, numbers, axes) for numbers in part[:3])
    taken = ctx.op("Slice", x, starts, ends, ctx.integers(axes), steps)
    assert taken.shape is not None, x
    assert x.shape is not None, x
    # Inference follows known bounds alone.
    taken.shape = ir.Shape([x.shape[i] if part.whole[i] else dim for i, dim in enumerate(taken.shape)])
    return taken


def cut_axes(part: Section, dims: Sequence[Dim]) -> list[int]:
    """Return the axes that are not known to be taken as they are."""
    starts, ends, steps, _ = part
    known = not any(isinstance(numbers, ir.Value) for numbers in (starts, ends, steps))
    return [
        axis
        for axis, size in enumerate(dims)
        if not part.whole[axis] and not (known and size is not None and places(part, axis, size) == range(size))
    ]


def _of_axes(ctx: GraphContext, numbers: Numbers, axes: Sequence[int]) -> Value:
    if isinstance(numbers, ir.Value):
        return numbers
    return ctx.integers(numbers[list(axes)])


def places(part: Section, axis: int, size: int) -> range:
    """Return the indices along an axis of known size that a section of known numbers takes."""
    start, end, step = (int(numbers[axis]) for numbers in part[:3])  # type: ignore[index]
    return range(*slice(start, end, step).indices(size))


def reversed_along(ctx: GraphContext, x: Value, axes: Sequence[int]) -> Value:
    """Return a tensor with the entries of some axes in reverse order."""
    if not axes:
        return x
    starts, ends, steps = (ctx.integers([number] * len(axes)) for number in (AFTER, BEFORE, -1))
    return ctx.op("Slice", x, starts, ends, ctx.integers(axes), steps)


def reversed_sequences(ctx: GraphContext, x: Value, lengths: Value, batch: int, sequence: int) -> Value:
    """Return a batch of sequences, the first entries of each in reverse order.

    Args:
        ctx: The graph being built.
        x: [.., B, .., T, ..], in any order.
        lengths: int64 [B]: how many entries of each to reverse, 0 to T.
        batch: The axis of size B.
        sequence: The axis of size T, another one.
    """
    # ReverseSequence takes the first two axes alone.
    perm = [batch, sequence, *(axis for axis in range(ctx.rank(x)) if axis not in (batch, sequence))]
    if perm[2:] == list(range(2, ctx.rank(x))):
        return ctx.op("ReverseSequence", x, lengths, batch_axis=batch, time_axis=sequence)
    front = ctx.op("ReverseSequence", ctx.op("Transpose", x, perm=perm), lengths, batch_axis=0, time_axis=1)
    return ctx.op("Transpose", front, perm=np.argsort(perm).tolist())
