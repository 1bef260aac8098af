"""Tensors joined, or cut into windows, along an axis."""

from collections.abc import Sequence

from windfall.lowering.context import GraphContext, Value
from windfall.lowering.indices import counted, known_numbers


def stacked(ctx: GraphContext, values: Sequence[Value], axis: int) -> Value:
    """Return tensors of one shape joined along a new axis."""
    return ctx.op("Concat", *[ctx.op("Unsqueeze", value, ctx.integers([axis])) for value in values], axis=axis)


def interleaved(ctx: GraphContext, values: Sequence[Value], axis: int) -> Value:
    """Return tensors of one shape joined along an axis, whose entries take turns there."""
    together = stacked(ctx, values, axis + 1)  # [.., L, ..] -> [.., L, count, ..]
    return ctx.reshape(together, ctx.sizes(values[0], 0, axis), -1, ctx.sizes(values[0], axis + 1))


def windows(ctx: GraphContext, x: Value, axis: int, window: int, step: int) -> Value:
    """Return an axis cut into windows that may overlap: [.., L, ..] -> [.., M, window, ..].

    M = (L - window) / step + 1, rounded down; a prediction fails where L is below ``window``.
    """
    starts = _window_starts(ctx, ctx.sizes(x, axis, axis + 1), window, step)
    indices = ctx.op("Add", starts, counted(ctx, window))  # [M, 1], [window] -> [M, window]
    return ctx.op("Gather", x, indices, axis=axis)


def _window_starts(ctx: GraphContext, size: Value, window: int, step: int) -> Value:
    """Return [M, 1]; at least one window, which makes Gather fail where the axis is too short for it."""
    known = known_numbers(size)
    if known is not None:
        end = ctx.integers(int(known[0]) - window + 1)
    else:
        room = ctx.op("Sub", ctx.reshape(size, ()), ctx.integers(window))
        end = ctx.op("Add", ctx.op("Max", room, ctx.integers(0)), ctx.integers(1))
    starts = ctx.op("Range", ctx.integers(0), end, ctx.integers(step))
    return ctx.op("Unsqueeze", starts, ctx.integers([1]))
