"""Other numbers of pixels along the last axes.

Source: ``upsample_nearest_neighbor``, ``resize_nearest_neighbor``, ``upsample_bilinear``, ``resize_bilinear``,
``resize`` in ``image_resizing.py`` among coremltools' operator definitions.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import onnx_ir as ir

from windfall.lowering.ml_program.context import OperationContext, Value
from windfall.lowering.resampling import (
    ALIGNED,
    ASYMMETRIC,
    HALF_PIXEL,
    POINTS,
    corner_along,
    linear_along,
    middle_along,
    nearest_along,
    points_along,
    resize_planes,
    scale_planes,
    scaled_sizes,
)
from windfall.lowering.windows import LARGEST


def lower_upsample_nearest_neighbor(
    ctx: OperationContext, x: Value, scale_factor_height: float = 1, scale_factor_width: float = 1
) -> Value:
    """Scale H and W by factors; new pixel i is pixel floor(i * size / new size).

    Args:
        ctx: The operation and the graph being built.
        x: float [*batch, C, H, W].
        scale_factor_height: For H; fractional sizes are rounded down.
        scale_factor_width: For W.

    Returns:
        [*batch, C, H * scale_factor_height, W * scale_factor_width].

    Raises:
        LoweringError: x has fewer than three axes, a factor is not above 0, or no pixel is left.
    """
    factors = _factors(ctx, x, scale_factor_height, scale_factor_width)
    if all(factor == int(factor) for factor in factors):
        planes = ctx.graph.planes(x)
        scaled = scale_planes(ctx, planes, factors, grid=ASYMMETRIC, mode="nearest", nearest_mode="floor")
        return ctx.graph.restore(scaled, like=x)
    for axis, factor in zip((-2, -1), factors, strict=True):
        if factor != 1:
            place = ctx.rank(x) + axis
            x = corner_along(ctx, x, place, _scaled(ctx, x, place, factor))
    return x


def _factors(ctx: OperationContext, x: Value, height: float, width: float) -> tuple[float, float]:
    _check_rank(ctx, x)
    for name, factor in (("height", height), ("width", width)):
        if not 0 < factor <= LARGEST:
            raise ctx.error(f"scale_factor_{name}", f"must be above 0, at most {LARGEST}", value=factor)
    sizes = scaled_sizes([1, 1, *ctx.shape(x)[-2:]], (height, width))
    if sizes is not None and min(sizes[2:]) < 1:
        raise ctx.error("scale_factor_height", f"and width leave no pixel of {list(ctx.shape(x)[-2:])}")
    return height, width


def _check_rank(ctx: OperationContext, x: Value) -> None:
    if ctx.rank(x) < 3:
        raise ctx.error("x", "must have rank 3 or more", value=f"of shape {list(ctx.shape(x))}")


def _scaled(ctx: OperationContext, x: Value, axis: int, factor: float) -> Value:
    """Return floor(factor * size) in float32, as an int64 vector of one."""
    size = ctx.op("Cast", ctx.sizes(x, axis, axis + 1), to=ir.DataType.FLOAT)
    return ctx.op("Cast", ctx.op("Floor", ctx.op("Mul", size, ctx.floats([factor]))), to=ir.DataType.INT64)


def lower_resize_nearest_neighbor(
    ctx: OperationContext, x: Value, target_size_height: int, target_size_width: int
) -> Value:
    """Resize H and W; new pixel i is the one that its middle lies in, pixel floor((i + 0.5) * size / new size).

    Args:
        ctx: The operation and the graph being built.
        x: float [*batch, C, H, W].
        target_size_height: The new H.
        target_size_width: The new W.

    Returns:
        [*batch, C, target_size_height, target_size_width].

    Raises:
        LoweringError: x has fewer than three axes, or a size is not above 0.
    """
    return _resized(ctx, x, _targets(ctx, x, target_size_height, target_size_width), "DEFAULT", linear=False)


def _targets(ctx: OperationContext, x: Value, height: int, width: int) -> Sequence[Value]:
    _check_rank(ctx, x)
    for name, size in (("height", height), ("width", width)):
        if not 0 < size <= LARGEST:
            raise ctx.error(f"target_size_{name}", f"must be 1 to {LARGEST}", value=size)
    return [ctx.integers([height]), ctx.integers([width])]


def lower_upsample_bilinear(
    ctx: OperationContext,
    x: Value,
    scale_factor_height: float = 1,
    scale_factor_width: float = 1,
    align_corners: bool = True,
    half_pixel_centers: bool | None = None,
) -> Value:
    """Scale H and W by factors, bilinearly.

    Args:
        ctx: The operation and the graph being built.
        x: float [*batch, C, H, W].
        scale_factor_height: For H; fractional sizes are rounded down, and the factor is then that of the sizes.
        scale_factor_width: For W.
        align_corners: Whether the centres of the corner pixels stay where they are.
        half_pixel_centers: Whether the edges of the corner pixels do; by default where the centres do not.

    Returns:
        [*batch, C, H * scale_factor_height, W * scale_factor_width].

    Raises:
        LoweringError: x has fewer than three axes, a factor is not above 0, no pixel is left, or centres and edges
            are both to stay.
    """
    factors = _factors(ctx, x, scale_factor_height, scale_factor_width)
    halves = not align_corners if half_pixel_centers is None else half_pixel_centers
    if align_corners and halves:
        raise ctx.error("half_pixel_centers", "must be false where align_corners is true", value=halves)
    grid = ALIGNED if align_corners else HALF_PIXEL if halves else ASYMMETRIC
    return ctx.graph.restore(scale_planes(ctx, ctx.graph.planes(x), factors, grid=grid, mode="linear"), like=x)


def lower_resize_bilinear(
    ctx: OperationContext,
    x: Value,
    target_size_height: int = 1,
    target_size_width: int = 1,
    sampling_mode: str = "DEFAULT",
) -> Value:
    """Resize H and W by bilinear interpolation.

    Args:
        ctx: The operation and the graph being built.
        x: float [*batch, C, H, W].
        target_size_height: The new H.
        target_size_width: The new W.
        sampling_mode: Where the points lie that are interpolated; a key of ``POINTS``.

    Returns:
        [*batch, C, target_size_height, target_size_width].

    Raises:
        LoweringError: x has fewer than three axes, a size is not above 0, or there is no such mode.
    """
    check_sampling_mode(ctx, sampling_mode)
    return _resized(ctx, x, _targets(ctx, x, target_size_height, target_size_width), sampling_mode, linear=True)


def check_sampling_mode(ctx: OperationContext, mode: str) -> None:
    """Raise a LoweringError where there is no such mode."""
    if mode not in POINTS:
        raise ctx.error("sampling_mode", f"must be one of {', '.join(POINTS)}", value=repr(mode))


def lower_resize(
    ctx: OperationContext,
    x: Value,
    shape: Value,
    resized_dims: int,
    interpolation_mode: str = "LINEAR",
    sampling_mode: str = "DEFAULT",
) -> Value:
    """Resize the last axes.

    NEAREST_NEIGHBOR takes the pixel nearest to each point of the sampling mode. For DEFAULT, whose points are the
    starts of the new pixels, that is the pixel that the middle of the new one lies in.

    Args:
        ctx: The operation and the graph being built.
        x: float or int32, any shape. An int32 is interpolated as a fraction, which is then cut off.
        shape: Whole numbers, the last of them the new sizes; 0 keeps a size.
        resized_dims: How many axes are resized.
        interpolation_mode: LINEAR or NEAREST_NEIGHBOR.
        sampling_mode: Where the points lie; a key of ``POINTS``.

    Returns:
        The rank of x.

    Raises:
        LoweringError: There are not as many sizes or axes, a size is below 0, or there is no such mode.
    """
    check_sampling_mode(ctx, sampling_mode)
    if interpolation_mode not in ("LINEAR", "NEAREST_NEIGHBOR"):
        raise ctx.error("interpolation_mode", "must be LINEAR or NEAREST_NEIGHBOR", value=repr(interpolation_mode))
    dims, rank = ctx.shape(shape), ctx.rank(x)
    if len(dims) != 1 or (dims[0] or 0) > rank:
        raise ctx.error("shape", f"must be at most {rank} sizes", value=f"of shape {list(dims)}")
    most = rank if dims[0] is None else dims[0]
    if not 0 <= resized_dims <= most:
        raise ctx.error("resized_dims", f"must be 0 to {most}", value=resized_dims)
    counts = [_wanted(ctx, x, shape, axis - rank) for axis in range(rank - resized_dims, rank)]
    return _resized(ctx, x, counts, sampling_mode, linear=interpolation_mode == "LINEAR")


def _wanted(ctx: OperationContext, x: Value, shape: Value, axis: int) -> Value:
    """Return the new size of an axis, which is counted from the end, as an int64 vector of one."""
    place, known = ctx.rank(x) + axis, ctx.known(shape)
    own = ctx.sizes(x, place, place + 1)
    if known is None:
        size = ctx.cast(ctx.op("Gather", shape, ctx.integers([axis])), ir.DataType.INT64)
        return ctx.op("Where", ctx.op("Equal", size, ctx.integers([0])), own, size)
    if known[axis] < 0:
        raise ctx.error("shape", "must be sizes of at least 0", value=known.tolist())
    return ctx.integers([known[axis]]) if known[axis] else own


def _resized(ctx: OperationContext, x: Value, counts: Sequence[Value], mode: str, *, linear: bool) -> Value:
    """Resize the last axes to some sizes, each an int64 vector of one."""
    if linear and x.dtype == ir.DataType.INT32:
        wide = _resized(ctx, ctx.cast(x, ir.DataType.DOUBLE), counts, mode, linear=True)
        return ctx.cast(wide, ir.DataType.INT32)
    grid = _grid(ctx, counts, mode)
    if linear and grid and len(counts) == 2 and ctx.rank(x) >= 3 and x.dtype == ir.DataType.FLOAT:
        sizes = [count if (known := ctx.known(count)) is None else int(known[0]) for count in counts]
        return ctx.graph.restore(resize_planes(ctx, ctx.graph.planes(x), sizes, grid), like=x)
    for axis, count in enumerate(counts, ctx.rank(x) - len(counts)):
        if mode != "OFFSET_CORNERS" and ctx.sizes(x, axis, axis + 1) is count:
            continue
        if not linear and mode in ("DEFAULT", "UNALIGN_CORNERS"):
            x = middle_along(ctx, x, axis, count)
        else:
            along = linear_along if linear else nearest_along
            x = along(ctx, x, axis, points_along(ctx, x, axis, count, POINTS[mode]))
    return x


def _grid(ctx: OperationContext, counts: Sequence[Value], mode: str) -> str | None:
    """Return which grid of ONNX's Resize a sampling mode is, None if it is none."""
    if mode != "ALIGN_CORNERS":
        return _GRIDS.get(mode)
    numbers = [ctx.known(count) for count in counts]
    singles = {number is not None and int(number[0]) == 1 for number in numbers}
    if len(singles) > 1 or any(number is None for number in numbers):
        return None
    # A single point lies in the middle, where half_pixel puts it.
    return HALF_PIXEL if True in singles else ALIGNED


_GRIDS: Mapping[str, str] = {
    "STRICT_ALIGN_CORNERS": ALIGNED,
    "DEFAULT": ASYMMETRIC,
    "UNALIGN_CORNERS": HALF_PIXEL,
}

LOWERINGS: Mapping[str, Callable[..., Any]] = {
    "upsample_nearest_neighbor": lower_upsample_nearest_neighbor,
    "resize_nearest_neighbor": lower_resize_nearest_neighbor,
    "upsample_bilinear": lower_upsample_bilinear,
    "resize_bilinear": lower_resize_bilinear,
    "resize": lower_resize,
}
