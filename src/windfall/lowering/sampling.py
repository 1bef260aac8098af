"""Bilinear interpolation in boxes that are known only at run time.

Source: ``SamplingMode`` in NeuralNetwork.proto; the sampling modes of ``crop_resize`` in ML programs are the same ones.

A grid is defined there on [0, X-1]; for a box it runs from the box's start to its end, so X = end - start + 1.
"""

from collections.abc import Callable

import onnx_ir as ir

from windfall.lowering.context import GraphContext, Value
from windfall.lowering.indices import counted

Grid = Callable[[GraphContext, Value, Value, int], Value]
"""Returns the points that boxes are sampled at along one axis, float32 [N, count]; see ``aligned``."""


def aligned(ctx: GraphContext, start: Value, end: Value, count: int) -> Value:
    """Return points spread evenly from start to end; a single point is the start.

    Args:
        ctx: The graph being built.
        start: The first pixel of each box, float32 [N, 1].
        end: The last.
        count: How many points.
    """
    steps = _steps(ctx, count, divisor=max(1, count - 1))
    # A weighted mean and not start + step * (end - start), so that the last point is the end to the last bit.
    first = ctx.op("Mul", start, ctx.op("Sub", ctx.floats(1), steps))  # [N, 1] -> [N, count]
    return ctx.op("Add", first, ctx.op("Mul", end, steps))


def aligned_or_middle(ctx: GraphContext, start: Value, end: Value, count: int) -> Value:
    """Return what ``aligned`` does, but the middle for a single point."""
    if count > 1:
        return aligned(ctx, start, end, count)
    return ctx.op("Mul", ctx.op("Add", start, end), ctx.floats([[0.5]]))


def upsampled(ctx: GraphContext, start: Value, end: Value, count: int) -> Value:
    """Return min(end, start + i * X / count)."""
    return _bounded(ctx, start, end, ctx.op("Mul", _extent(ctx, start, end), _steps(ctx, count)))


def roi_aligned(ctx: GraphContext, start: Value, end: Value, count: int) -> Value:
    """Return min(end, start + (i + 0.5) * max(1, X - 1) / count)."""
    extent = ctx.op("Max", ctx.op("Sub", end, start), ctx.floats(1))
    return _bounded(ctx, start, end, ctx.op("Mul", extent, _steps(ctx, count, first=0.5)))


def unaligned(ctx: GraphContext, start: Value, end: Value, count: int) -> Value:
    """Return min(end, max(start, start + (i + 0.5) * X / count - 0.5))."""
    centres = ctx.op("Mul", _extent(ctx, start, end), _steps(ctx, count, first=0.5))
    offsets = ctx.op("Max", ctx.op("Sub", centres, ctx.floats(0.5)), ctx.floats(0))
    return _bounded(ctx, start, end, offsets)


def _steps(ctx: GraphContext, count: int, *, first: float = 0, divisor: int | None = None) -> Value:
    """Return (first + i) / divisor, which is ``count`` by default, for i from 0 to count - 1."""
    numbers = ctx.op("Cast", counted(ctx, count), to=ir.DataType.FLOAT)
    return ctx.op("Div", ctx.op("Add", numbers, ctx.floats(first)), ctx.floats(divisor or count))


def _extent(ctx: GraphContext, start: Value, end: Value) -> Value:
    return ctx.op("Add", ctx.op("Sub", end, start), ctx.floats(1))


def _bounded(ctx: GraphContext, start: Value, end: Value, offsets: Value) -> Value:
    return ctx.op("Min", ctx.op("Add", start, offsets), end)


def box_corners(
    ctx: GraphContext, table: Value, size: Value, *, corners: bool, height_first: bool, scale: float, normalized: bool
) -> list[tuple[Value, Value]]:
    """Return where boxes start and end along H and along W, in pixels.

    Args:
        ctx: The graph being built.
        table: float32 [N, 4].
        size: The size of the pictures, int64 [2].
        corners: Whether a row holds the start and the end; else the centre and the size.
        height_first: Whether H stands before W.
        scale: Multiplies the coordinates.
        normalized: Whether the coordinates are 0 to 1.

    Returns:
        (start, end) along H and along W, each [N, 1].
    """
    found = []
    for axis in (0, 1):
        place = axis if height_first else 1 - axis
        start, end = (ctx.op("Gather", table, ctx.integers([at]), axis=1) for at in (place, place + 2))
        if not corners:
            half = ctx.op("Mul", end, ctx.floats(0.5))
            start, end = ctx.op("Sub", start, half), ctx.op("Add", start, half)
        factor = _factor(ctx, ctx.op("Gather", size, ctx.integers(axis), axis=0), scale, normalized)
        if factor is not None:
            start, end = ctx.op("Mul", start, factor), ctx.op("Mul", end, factor)
        found.append((start, end))
    return found


def _factor(ctx: GraphContext, size: Value, scale: float, normalized: bool) -> Value | None:
    """Return what coordinates are multiplied with; None for nothing."""
    scaled = None if scale == 1 else ctx.floats(scale)
    if not normalized:
        return scaled
    last = ctx.op("Cast", ctx.op("Sub", size, ctx.integers(1)), to=ir.DataType.FLOAT)
    return last if scaled is None else ctx.op("Mul", last, scaled)


def inside(ctx: GraphContext, points: Value, size: Value) -> tuple[Value, Value]:
    """Return points moved to the nearest one inside the picture, and the picture's last pixel.

    Args:
        ctx: The graph being built.
        points: float32 [N, count].
        size: How many pixels the picture has, an int64 scalar.
    """
    last = ctx.op("Sub", size, ctx.integers(1))
    return ctx.op("Max", ctx.op("Min", points, ctx.op("Cast", last, to=ir.DataType.FLOAT)), ctx.floats(0)), last


def interpolate_boxes(
    ctx: GraphContext, x: Value, rows: tuple[Value, Value], columns: tuple[Value, Value], picture: Value | None
) -> Value:
    """Sample pictures at the points where rows and columns cross, one grid for each box.

    Args:
        ctx: The graph being built.
        x: [1, B, C, H, W].
        rows: The points along H, [N, H_out], and the last row's number.
        columns: The points along W, [N, W_out], and the last column's number.
        picture: Which of the B pictures each box is of, [N, 1]; None for boxes of all of them.

    Returns:
        [N, B, C, H_out, W_out], or [N, 1, C, H_out, W_out] where there is ``picture``.
    """
    table = _pixel_table(ctx, x, joined=picture is None)
    height, width = (ctx.op("Gather", ctx.sizes(x, 3), ctx.integers(axis), axis=0) for axis in (0, 1))
    above, below, down = _neighbours(ctx, rows)
    left, right, across = _neighbours(ctx, columns)
    if picture is not None:
        # Row r of picture b is row b * H + r of the table.
        shift = ctx.op("Mul", ctx.op("Cast", picture, to=ir.DataType.INT64), height)
        above, below = ctx.op("Add", above, shift), ctx.op("Add", below, shift)
    across = ctx.op("Unsqueeze", across, ctx.integers([1, 3]))  # [N, W_out] -> [N, 1, W_out, 1]
    down = ctx.op("Unsqueeze", down, ctx.integers([2, 3]))  # [N, H_out] -> [N, H_out, 1, 1]
    top, bottom = (
        _mix(ctx, _pixels(ctx, table, row, left, width), _pixels(ctx, table, row, right, width), across)
        for row in (above, below)
    )
    mixed = ctx.op("Transpose", _mix(ctx, top, bottom, down), perm=[0, 3, 1, 2])
    batch = ctx.sizes(x, 1, 2) if picture is None else 1
    # [N, B * C, H_out, W_out] -> [N, B, C, H_out, W_out]
    return ctx.reshape(mixed, ctx.sizes(rows[0], 0, 1), batch, ctx.sizes(x, 2, 3), ctx.sizes(mixed, 2))


def _pixel_table(ctx: GraphContext, x: Value, joined: bool) -> Value:
    """Return pixels as rows, so that one is gathered with all its channels at once.

    Returns:
        [H * W, B * C] where pictures are joined, else [B * H * W, C].
    """
    if joined:
        moved = ctx.op("Transpose", x, perm=[0, 3, 4, 1, 2])  # [1, B, C, H, W] -> [1, H, W, B, C]
        batch, channels = ctx.shape(x)[1:3]
        known = batch is not None and channels is not None
        count = batch * channels if known else ctx.op("ReduceProd", ctx.sizes(x, 1, 3))  # type: ignore[operator]
        return ctx.reshape(moved, -1, count)
    moved = ctx.op("Transpose", x, perm=[0, 1, 3, 4, 2])  # [1, B, C, H, W] -> [1, B, H, W, C]
    return ctx.reshape(moved, -1, ctx.sizes(x, 2, 3))


def _pixels(ctx: GraphContext, table: Value, row: Value, column: Value, width: Value) -> Value:
    """Return [N, H_out, W_out, channels] at rows [N, H_out] and columns [N, W_out]."""
    first = ctx.op("Unsqueeze", ctx.op("Mul", row, width), ctx.integers([2]))
    number = ctx.op("Add", first, ctx.op("Unsqueeze", column, ctx.integers([1])))
    return ctx.op("Gather", table, number, axis=0)


def _neighbours(ctx: GraphContext, grid: tuple[Value, Value]) -> tuple[Value, Value, Value]:
    """Return the pixel at or below each point, the next one, and the weight of that; each [N, count]."""
    points, last = grid
    floor = ctx.op("Floor", points)
    below = ctx.op("Cast", floor, to=ir.DataType.INT64)
    above = ctx.op("Min", ctx.op("Add", below, ctx.integers(1)), last)
    return below, above, ctx.op("Sub", points, floor)


def _mix(ctx: GraphContext, first: Value, second: Value, weight: Value) -> Value:
    # first * (1 - weight) + second * weight
    rest = ctx.op("Sub", ctx.floats(1), weight)
    return ctx.op("Add", ctx.op("Mul", first, rest), ctx.op("Mul", second, weight))
