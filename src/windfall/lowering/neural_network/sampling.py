"""Bilinear interpolation at points that are known only at run time: the arithmetic of ``cropResize``.

Source: ``SamplingMode`` in NeuralNetwork.proto.
"""

from collections.abc import Callable

import numpy as np

from windfall.lowering.neural_network.context import LayerContext, Value


def box_grid(ctx: LayerContext, method: str, start: Value, end: Value, count: int, size: Value) -> tuple[Value, Value]:
    """Return the points that a box is sampled at along one axis.

    Args:
        ctx: The layer and the graph being built.
        method: A member of ``SamplingMode.Method``.
        start: The first pixel of each box, [N, 1].
        end: The last, [N, 1].
        count: How many points.
        size: How many pixels the picture has, an int64 scalar.

    Returns:
        The points, float32 [N, count], all inside the picture, and the picture's last pixel, an int64 scalar.
    """
    points = _METHODS[method](ctx, start, end, count)
    last = ctx.op("Sub", size, ctx.integers(1))
    inside = ctx.op("Max", ctx.op("Min", points, ctx.op("Cast", last, to=1)), ctx.floats(0))
    return inside, last


def _aligned(ctx: LayerContext, start: Value, end: Value, count: int) -> Value:
    # linspace(start, end, count); a single point is the start.
    steps = np.arange(count) / max(1, count - 1)
    # A weighted mean and not start + step * (end - start), so that the last point is the end to the last bit.
    first = ctx.op("Mul", start, ctx.floats([1 - steps]))  # [N, 1] -> [N, count]
    return ctx.op("Add", first, ctx.op("Mul", end, ctx.floats([steps])))


def _aligned_or_middle(ctx: LayerContext, start: Value, end: Value, count: int) -> Value:
    if count > 1:
        return _aligned(ctx, start, end, count)
    return ctx.op("Mul", ctx.op("Add", start, end), ctx.floats([[0.5]]))


def _upsample(ctx: LayerContext, start: Value, end: Value, count: int) -> Value:
    # X = end - start + 1; min(end, start + i * X / count)
    extent = ctx.op("Add", ctx.op("Sub", end, start), ctx.floats(1))
    return _bounded(ctx, start, end, ctx.op("Mul", extent, ctx.floats([np.arange(count) / count])))


def _roi_align(ctx: LayerContext, start: Value, end: Value, count: int) -> Value:
    # min(end, start + (i + 0.5) * max(1, end - start) / count)
    extent = ctx.op("Max", ctx.op("Sub", end, start), ctx.floats(1))
    return _bounded(ctx, start, end, ctx.op("Mul", extent, ctx.floats([(np.arange(count) + 0.5) / count])))


def _bounded(ctx: LayerContext, start: Value, end: Value, offsets: Value) -> Value:
    return ctx.op("Min", ctx.op("Add", start, offsets), end)


_METHODS: dict[str, Callable[[LayerContext, Value, Value, int], Value]] = {
    "STRICT_ALIGN_ENDPOINTS_MODE": _aligned,
    "ALIGN_ENDPOINTS_MODE": _aligned_or_middle,
    "UPSAMPLE_MODE": _upsample,
    "ROI_ALIGN_MODE": _roi_align,
}


def interpolate_boxes(
    ctx: LayerContext, x: Value, rows: tuple[Value, Value], columns: tuple[Value, Value], picture: Value | None
) -> Value:
    """Sample pictures at the points where rows and columns cross, one grid for each box.

    Args:
        ctx: The layer and the graph being built.
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
        shift = ctx.op("Mul", ctx.op("Cast", picture, to=7), height)
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


def _pixel_table(ctx: LayerContext, x: Value, joined: bool) -> Value:
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


def _pixels(ctx: LayerContext, table: Value, row: Value, column: Value, width: Value) -> Value:
    """Return [N, H_out, W_out, channels] at rows [N, H_out] and columns [N, W_out]."""
    first = ctx.op("Unsqueeze", ctx.op("Mul", row, width), ctx.integers([2]))
    number = ctx.op("Add", first, ctx.op("Unsqueeze", column, ctx.integers([1])))
    return ctx.op("Gather", table, number, axis=0)


def _neighbours(ctx: LayerContext, grid: tuple[Value, Value]) -> tuple[Value, Value, Value]:
    """Return the pixel at or below each point, the next one, and the weight of that; each [N, count]."""
    points, last = grid
    floor = ctx.op("Floor", points)
    below = ctx.op("Cast", floor, to=7)
    above = ctx.op("Min", ctx.op("Add", below, ctx.integers(1)), last)
    return below, above, ctx.op("Sub", points, floor)


def _mix(ctx: LayerContext, first: Value, second: Value, weight: Value) -> Value:
    # first * (1 - weight) + second * weight
    rest = ctx.op("Sub", ctx.floats(1), weight)
    return ctx.op("Add", ctx.op("Mul", first, rest), ctx.op("Mul", second, weight))
