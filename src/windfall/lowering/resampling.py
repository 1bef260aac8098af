"""Other numbers of pixels along some axes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from windfall.graph.shapes import Dim
from windfall.lowering.context import GraphContext, Value

HALF_PIXEL = "half_pixel"
ALIGNED = "align_corners"
ASYMMETRIC = "asymmetric"
"""Grids of ONNX's Resize."""

_DOUBLE = ir.DataType.DOUBLE


def scale_planes(ctx: GraphContext, x: Value, factors: tuple[float, float], *, grid: str, **attributes: Any) -> Value:
    """Scale H and W by factors; fractional sizes are rounded down, and the factor is then the quotient of the sizes.

    Args:
        ctx: The graph being built.
        x: float [N, C, H, W].
        factors: For H and W.
        grid: ``ASYMMETRIC``, ``ALIGNED`` or ``HALF_PIXEL``.
        attributes: Those of Resize.

    Returns:
        [N, C, H * factors[0], W * factors[1]].
    """
    if factors == (1, 1):
        return ctx.op("Identity", x)
    attributes["coordinate_transformation_mode"] = grid
    if all(factor == int(factor) for factor in factors):
        return ctx.op("Resize", x, None, ctx.floats([1, 1, *factors], "scales"), **attributes)
    # ONNX takes Xout / Xin for the factor where sizes are given, as the spec does; with scales it would not.
    known = scaled_sizes(ctx.shape(x), factors)
    if known is not None:
        return ctx.op("Resize", x, None, None, ctx.integers(known, "sizes"), **attributes)
    scaled = ctx.op("Mul", ctx.op("Cast", ctx.sizes(x), to=ir.DataType.FLOAT), ctx.floats([1, 1, *factors]))
    sizes = ctx.op("Cast", ctx.op("Floor", scaled), to=ir.DataType.INT64)
    return ctx.op("Resize", x, None, None, sizes, **attributes)


def scaled_sizes(dims: Sequence[Dim], factors: tuple[float, float]) -> Sequence[int] | None:
    """Return the sizes of [N, C, H, W] after ``scale_planes``; None where one is known only at run time."""
    if None in dims:
        return None
    scaled: Sequence[int] = np.floor(np.array(dims, np.float32) * np.array([1, 1, *factors], np.float32)).tolist()
    return scaled


def resize_planes(ctx: GraphContext, x: Value, target: Sequence[Dim | Value], grid: str) -> Value:
    """Resize H and W by bilinear interpolation.

    Args:
        ctx: The graph being built.
        x: float [N, C, H, W].
        target: The new H and W, numbers or int64 [1]; None keeps a size.
        grid: ``ASYMMETRIC``, ``ALIGNED`` or ``HALF_PIXEL``.

    Returns:
        [N, C, *target].
    """
    wanted = [*ctx.shape(x)[:2], *(ctx.shape(x)[2 + i] if size is None else size for i, size in enumerate(target))]
    if all(isinstance(size, int) for size in wanted):
        sizes = ctx.integers(np.array(wanted, np.int64), "sizes")
    else:
        parts = [_size(ctx, x, axis, size) for axis, size in enumerate(wanted)]
        sizes = ctx.op("Concat", *parts, axis=0)
    return ctx.op("Resize", x, None, None, sizes, mode="linear", coordinate_transformation_mode=grid)


def _size(ctx: GraphContext, x: Value, axis: int, size: Dim | Value) -> Value:
    if isinstance(size, ir.Value):
        return size
    return ctx.sizes(x, axis, axis + 1) if size is None else ctx.integers([size])


Points = Callable[[GraphContext, Value, Value, Value], Value]
"""Returns where pixels i are taken from: (ctx, i [count], size [1], count [1]), all of them float64."""


def _between(ctx: GraphContext, number: Value, size: Value, count: Value) -> Value:
    # i * (size - 1) / (count - 1), 0 for a single one
    one = ctx.constant(np.ones(1))
    last, most = ctx.op("Sub", size, one), ctx.op("Max", ctx.op("Sub", count, one), one)
    return ctx.op("Div", ctx.op("Mul", number, last), most)


def _between_or_middle(ctx: GraphContext, number: Value, size: Value, count: Value) -> Value:
    one = ctx.constant(np.ones(1))
    middle = ctx.op("Mul", ctx.op("Sub", size, one), ctx.constant(np.array([0.5])))
    return ctx.op("Where", ctx.op("Equal", count, one), middle, _between(ctx, number, size, count))


def _asymmetric(ctx: GraphContext, number: Value, size: Value, count: Value) -> Value:
    return ctx.op("Div", ctx.op("Mul", number, size), count)


def _half_pixel(ctx: GraphContext, number: Value, size: Value, count: Value) -> Value:
    # (i + 0.5) * size / count - 0.5
    half = ctx.constant(np.array([0.5]))
    return ctx.op("Sub", _asymmetric(ctx, ctx.op("Add", number, half), size, count), half)


def _offset(ctx: GraphContext, number: Value, size: Value, count: Value) -> Value:
    # (i + 0.5) * max(1, size - 1) / count
    one, half = ctx.constant(np.ones(1)), ctx.constant(np.array([0.5]))
    extent = ctx.op("Max", ctx.op("Sub", size, one), one)
    return _asymmetric(ctx, ctx.op("Add", number, half), extent, count)


POINTS: Mapping[str, Points] = {
    "STRICT_ALIGN_CORNERS": _between,
    "ALIGN_CORNERS": _between_or_middle,
    "DEFAULT": _asymmetric,
    "OFFSET_CORNERS": _offset,
    "UNALIGN_CORNERS": _half_pixel,
}
"""The sampling modes of ML programs."""


def points_along(ctx: GraphContext, x: Value, axis: int, count: Value, points: Points) -> Value:
    """Return where the pixels of a resized axis are taken from, float64 [count]; all lie on the axis.

    Args:
        ctx: The graph being built.
        x: Any shape.
        axis: The axis.
        count: Its new size, int64 [1].
        points: One of ``POINTS``.
    """
    zero = ctx.constant(np.zeros(1))
    numbers = ctx.op("Range", ctx.integers(0), ctx.reshape(count, ()), ctx.integers(1))
    wide = [ctx.op("Cast", value, to=_DOUBLE) for value in (numbers, ctx.sizes(x, axis, axis + 1), count)]
    last = ctx.op("Sub", wide[1], ctx.constant(np.ones(1)))
    return ctx.op("Max", ctx.op("Min", points(ctx, *wide), last), zero)


def nearest_along(ctx: GraphContext, x: Value, axis: int, points: Value) -> Value:
    """Take the pixel nearest to each point, of two the latter.

    Args:
        ctx: The graph being built.
        x: Any shape and type.
        axis: The axis that the points lie on.
        points: float64 [count]; see ``points_along``.
    """
    rounded = ctx.op("Floor", ctx.op("Add", points, ctx.constant(np.array([0.5]))))
    return ctx.op("Gather", x, ctx.op("Cast", rounded, to=ir.DataType.INT64), axis=axis)


def middle_along(ctx: GraphContext, x: Value, axis: int, count: Value) -> Value:
    """Resize an axis by taking the pixel that the middle of each new one lies in: floor((i + 0.5) * size / count).

    Args:
        ctx: The graph being built.
        x: Any shape and type.
        axis: The axis.
        count: Its new size, int64 [1].
    """
    numbers = ctx.op("Range", ctx.integers(0), ctx.reshape(count, ()), ctx.integers(1))
    two = ctx.integers([2])
    odd = ctx.op("Add", ctx.op("Mul", numbers, two), ctx.integers([1]))
    places = ctx.op("Div", ctx.op("Mul", odd, ctx.sizes(x, axis, axis + 1)), ctx.op("Mul", count, two))
    return ctx.op("Gather", x, places, axis=axis)


def corner_along(ctx: GraphContext, x: Value, axis: int, count: Value) -> Value:
    """Resize an axis by taking the pixel that the start of each new one lies in: floor(i * size / count).

    Args:
        ctx: The graph being built.
        x: Any shape and type.
        axis: The axis.
        count: Its new size, int64 [1].
    """
    numbers = ctx.op("Range", ctx.integers(0), ctx.reshape(count, ()), ctx.integers(1))
    places = ctx.op("Div", ctx.op("Mul", numbers, ctx.sizes(x, axis, axis + 1)), count)
    return ctx.op("Gather", x, places, axis=axis)


def linear_along(ctx: GraphContext, x: Value, axis: int, points: Value) -> Value:
    """Interpolate between the pixels before and after each point.

    Args:
        ctx: The graph being built.
        x: float or double, any shape.
        axis: The axis that the points lie on.
        points: float64 [count]; see ``points_along``.
    """
    floor = ctx.op("Floor", points)
    before = ctx.op("Cast", floor, to=ir.DataType.INT64)
    last = ctx.op("Sub", ctx.sizes(x, axis, axis + 1), ctx.integers([1]))
    after = ctx.op("Min", ctx.op("Add", before, ctx.integers([1])), last)
    # [count] -> [count, 1, ..], to be broadcast along the axes behind it
    share = ctx.reshape(ctx.op("Cast", ctx.op("Sub", points, floor), to=x.dtype), -1, [1] * (ctx.rank(x) - axis - 1))
    assert x.dtype is not None, x
    rest = ctx.op("Sub", ctx.constant(np.asarray(1, x.dtype.numpy())), share)
    first, second = (ctx.op("Gather", x, places, axis=axis) for places in (before, after))
    return ctx.op("Add", ctx.op("Mul", first, rest), ctx.op("Mul", second, share))
