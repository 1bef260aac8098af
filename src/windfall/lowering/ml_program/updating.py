"""Tensors with a part replaced.

Source: ``slice_update`` in ``tensor_transformation.py`` among coremltools' operator definitions.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from windfall.lowering.ml_program.context import Ints, OperationContext, Value
from windfall.lowering.ml_program.slicing import indexed
from windfall.lowering.sections import Section, as_value, cut_axes, places

# More are worked out by nodes, whose sizes are checked.
_MOST_STORED = 4096


def lower_slice_update(  # noqa: PLR0913, PLR0917 - the operator's own parameters
    ctx: OperationContext,
    x: Value,
    update: Value,
    begin: Value,
    end: Value,
    stride: Ints | None = None,
    begin_mask: tuple[bool, ...] | None = None,
    end_mask: tuple[bool, ...] | None = None,
    squeeze_mask: tuple[bool, ...] | None = None,
) -> Value:
    """Replace the part of a tensor that ``slice_by_index`` would take.

    One ScatterND of x itself, so that a state may be updated where it lies. It writes all axes behind the last one
    that is cut at once.

    Args:
        ctx: The operation and the graph being built.
        x: Any shape and type.
        update: The shape of that part, of the same type. Another one makes a prediction fail.
        begin: As for ``lower_slice_by_index``, as all that follow.
        end: See there.
        stride: See there.
        begin_mask: See there.
        end_mask: See there.
        squeeze_mask: See there.

    Returns:
        The shape of x.

    Raises:
        LoweringError: ``update`` does not have the shape of the part, or an argument is wrong; see there.
    """
    rank = ctx.rank(x)
    part, squeezed = indexed(ctx, rank, begin, end, stride, (begin_mask, end_mask, squeeze_mask))
    if ctx.rank(update) != rank - len(squeezed):
        raise ctx.error("update", f"must have rank {rank - len(squeezed)}", value=f"of rank {ctx.rank(update)}")
    cut = cut_axes(part, ctx.shape(x))
    if not cut:
        # All of x. The reshape, of which nothing is left if the sizes are known, fails where that is not so.
        return ctx.reshape(update, ctx.sizes(x))
    if 0 in ctx.shape(update):
        return x
    written = _Written(ctx, x, update, part, squeezed, max(*cut, *squeezed, 0) + 1)
    updated = ctx.op("ScatterND", x, written.indices(), update)
    updated.shape = x.shape
    return updated


class _Written:
    """The places of a tensor that an update writes, along the first ``count`` axes; behind them all of each."""

    def __init__(
        self, ctx: OperationContext, x: Value, update: Value, part: Section, squeezed: Sequence[int], count: int
    ) -> None:
        self.ctx = ctx
        self.update = update
        self.part = part
        self.dims = ctx.shape(x)[:count]
        self.sizes = ctx.sizes(x)
        self.kept = [axis for axis in range(count) if axis not in squeezed]

    def indices(self) -> Value:
        """Return [*sizes of the update along the first axes, count], the indices that ScatterND wants."""
        known = self._known()
        if known is not None and math.prod(map(len, known)) * len(known) <= _MOST_STORED:
            return self._stored(known)
        ctx = self.ctx
        along = self._ranges() if known is None else [self._range(r.start, r.stop, r.step) for r in known]
        columns = [self._column(axis, numbers) for axis, numbers in enumerate(along)]
        if len(columns) == 1:
            return columns[0]
        # [.., 1, n, 1, .., 1] -> [*sizes, 1] -> [*sizes, count]
        shape = ctx.op("Concat", ctx.sizes(self.update, 0, len(self.kept)), ctx.integers([1]), axis=0)
        return ctx.op("Concat", *[ctx.op("Expand", column, shape) for column in columns], axis=len(self.kept))

    def _known(self) -> list[range] | None:
        if None in self.dims or any(isinstance(numbers, ir.Value) for numbers in self.part):
            return None
        return [places(self.part, axis, size) for axis, size in enumerate(self.dims) if size is not None]

    def _stored(self, known: Sequence[range]) -> Value:
        """Return known indices as a constant."""
        sizes = [len(known[axis]) for axis in self.kept]
        have = self.ctx.shape(self.update)[: len(sizes)]
        if any(dim not in (None, size) for dim, size in zip(have, sizes, strict=True)):
            raise self.ctx.error("update", f"must have the sizes {sizes} along the first axes", value=list(have))
        if any(len(numbers) != 1 for axis, numbers in enumerate(known) if axis not in self.kept):
            raise self.ctx.error("begin", f"must be an index of {list(self.dims)} along the squeezed axes")
        grid = np.meshgrid(*known, indexing="ij")
        return self.ctx.integers(np.stack(grid, -1).reshape(*sizes, len(known)))

    def _range(self, start: Value | int, end: Value | int, step: int) -> Value:
        bounds = (n if isinstance(n, ir.Value) else self.ctx.integers(n) for n in (start, end, step))
        return self.ctx.op("Range", *bounds)

    def _ranges(self) -> list[Value]:
        """Return the indices along each axis, worked out at run time as NumPy does it."""
        ctx, steps = self.ctx, np.asarray(self.part.steps)
        # Counted from the front, and cut off at the ends, which are one place lower where the way is backward.
        low = ctx.integers(np.where(steps > 0, 0, -1))
        high = ctx.op("Add", self.sizes, low)
        bounds = []
        for numbers in self.part[:2]:
            number = as_value(ctx, numbers)
            behind = ctx.op("Less", number, ctx.integers(0))
            front = ctx.op("Where", behind, ctx.op("Add", number, self.sizes), number)
            bounds.append(ctx.op("Max", low, ctx.op("Min", high, front)))
        return [self._along(axis, bounds, int(steps[axis])) for axis in range(len(self.dims))]

    def _along(self, axis: int, bounds: Sequence[Value], step: int) -> Value:
        size = self.dims[axis]
        if self.part.whole[axis] and size is not None:
            return self._range(0, size, 1)
        start, end = (self.ctx.op("Gather", bound, self.ctx.integers(axis)) for bound in bounds)
        return self._range(start, end, step)

    def _column(self, axis: int, numbers: Value) -> Value:
        """Return the indices along an axis as [.., 1, n, 1, .., 1], n being what the update has there."""
        ctx, around = self.ctx, len(self.kept)
        if axis not in self.kept:
            return ctx.reshape(numbers, [1] * (around + 1))
        at = self.kept.index(axis)
        return ctx.reshape(numbers, [1] * at, ctx.sizes(self.update, at, at + 1), [1] * (around - at))


LOWERINGS: Mapping[str, Callable[..., Any]] = {"slice_update": lower_slice_update}
