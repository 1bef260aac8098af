"""Resizing of planes, whole or in boxes.

Source: ``UpsampleLayerParams``, ``ResizeBilinearLayerParams`` and ``CropResizeLayerParams`` in NeuralNetwork.proto.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windfall.graph.builder import Dim
from windfall.lowering.neural_network.context import LayerContext, Value
from windfall.lowering.neural_network.sampling import box_grid, interpolate_boxes
from windfall.lowering.neural_network.views import on_planes
from windfall.lowering.neural_network.windows import Pair, pair
from windfall.lowering.windows import LARGEST

_HALF_PIXEL = "half_pixel"
_ALIGNED = "align_corners"
_ASYMMETRIC = "asymmetric"


@on_planes
def lower_upsample(ctx: LayerContext, x: Value) -> Value:
    """Enlarge H and W by a factor, with the nearest pixel or bilinearly.

    Source: ``UpsampleLayerParams``. Its grids are ONNX's: DEFAULT, whose spacing simplifies to Xin/Xout, is
    ``asymmetric``; ALIGN_CORNERS_TRUE is ``align_corners``; ALIGN_CORNERS_FALSE is ``half_pixel``.

    A factor of 0 counts as 1, as in NeuralNetworkShapes.cpp. Fractional sizes are rounded down.

    Args:
        ctx: The layer and the graph being built.
        x: [*batch, C, H, W].

    Returns:
        [*batch, C, scalingFactor[0] * H, scalingFactor[1] * W].

    Raises:
        LoweringError: Factors of both kinds are set, or the mode does not allow them.
    """
    params = ctx.params
    if params.mode not in (params.NN, params.BILINEAR):
        raise ctx.error("mode", "must be NN or BILINEAR")
    if params.linearUpsampleMode not in _UPSAMPLE_GRIDS:
        raise ctx.error("linearUpsampleMode", "must be DEFAULT, ALIGN_CORNERS_TRUE or ALIGN_CORNERS_FALSE")
    if params.mode == params.NN and params.linearUpsampleMode != params.DEFAULT:
        raise ctx.error("linearUpsampleMode", "must be DEFAULT for nearest neighbours, where mode is NN")
    factors = _factors(ctx)
    if params.mode == params.NN:
        # Pixel i takes floor(i / factor).
        return _scale(ctx, x, factors, mode="nearest", nearest_mode="floor", grid=_ASYMMETRIC)
    return _scale(ctx, x, factors, mode="linear", grid=_UPSAMPLE_GRIDS[params.linearUpsampleMode])


_UPSAMPLE_GRIDS = {0: _ASYMMETRIC, 1: _ALIGNED, 2: _HALF_PIXEL}


def _factors(ctx: LayerContext) -> tuple[float, float]:
    params = ctx.params
    if not params.fractionalScalingFactor:
        height, width = pair(ctx, "scalingFactor", 1, least=0)
        return height or 1, width or 1
    if params.scalingFactor:
        raise ctx.error("fractionalScalingFactor", "must be empty where scalingFactor is set")
    if params.linearUpsampleMode == params.DEFAULT:
        rule = "needs mode BILINEAR and linearUpsampleMode ALIGN_CORNERS_TRUE or ALIGN_CORNERS_FALSE"
        raise ctx.error("fractionalScalingFactor", rule)
    factors = tuple(params.fractionalScalingFactor)
    if len(factors) != 2 or not all(0 < factor <= LARGEST for factor in factors):
        raise ctx.error("fractionalScalingFactor", "must have two numbers above 0, for H and W")
    return factors


def _scale(ctx: LayerContext, x: Value, factors: tuple[float, float], *, grid: str, **attributes: Any) -> Value:
    if factors == (1, 1):
        return ctx.op("Identity", x)
    attributes["coordinate_transformation_mode"] = grid
    if all(factor == int(factor) for factor in factors):
        return ctx.op("Resize", x, None, ctx.floats([1, 1, *factors], "scales"), **attributes)
    # ONNX takes Xout / Xin for the factor where sizes are given, as the spec does; with scales it would not.
    return ctx.op("Resize", x, None, None, _scaled_sizes(ctx, x, factors), **attributes)


def _scaled_sizes(ctx: LayerContext, x: Value, factors: tuple[float, float]) -> Value:
    dims = ctx.shape(x)
    scales = np.array([1, 1, *factors], np.float32)
    if None in dims:
        scaled = ctx.op("Mul", ctx.op("Cast", ctx.sizes(x), to=1), ctx.floats(scales))
        return ctx.op("Cast", ctx.op("Floor", scaled), to=7)
    sizes = np.floor(np.array(dims, np.float32) * scales)
    if sizes.min() < 1:
        raise ctx.error("fractionalScalingFactor", f"leaves no pixel of {list(dims[2:])}")
    return ctx.integers(sizes, "sizes")


@on_planes
def lower_resize_bilinear(ctx: LayerContext, x: Value) -> Value:
    """Resize H and W to a given size by bilinear interpolation.

    Source: ``ResizeBilinearLayerParams``; the grids are those of ``SamplingMode``. A size of 0 counts as 1, as in
    NeuralNetworkShapes.cpp.

    Args:
        ctx: The layer and the graph being built.
        x: [*batch, C, H, W].

    Returns:
        [*batch, C, targetSize[0], targetSize[1]].

    Raises:
        LoweringError: ``targetSize`` has another length than 2, or the mode is unknown, or ROI_ALIGN_MODE is used
            where H and W are known only at run time.
    """
    target = _target(ctx)
    method = _method(ctx)
    if method == "ROI_ALIGN_MODE":
        return _resize_roi_align(ctx, x, target)
    grids = [_ALIGNED, _ALIGNED] if method != "UPSAMPLE_MODE" else [_ASYMMETRIC, _ASYMMETRIC]
    if method == "ALIGN_ENDPOINTS_MODE":
        # A single point lies in the middle, where half_pixel puts it.
        grids = [_HALF_PIXEL if size == 1 else _ALIGNED for size in target]
    if grids[0] == grids[1]:
        return _resize(ctx, x, target, grids[0])
    rows = _resize(ctx, x, (target[0], ctx.shape(x)[3]), grids[0])  # [N, C, H, W] -> [N, C, H_out, W]
    return _resize(ctx, rows, target, grids[1])


def _target(ctx: LayerContext) -> Pair:
    height, width = pair(ctx, "targetSize", 1, least=0)
    return height or 1, width or 1


def _method(ctx: LayerContext) -> str:
    mode = ctx.params.mode
    if mode.samplingMethod not in type(mode).Method.values():
        raise ctx.error("mode.samplingMethod", "must be 0 to 3", value=mode.samplingMethod)
    return str(type(mode).Method.Name(mode.samplingMethod))


def _resize(ctx: LayerContext, x: Value, target: Sequence[Dim], grid: str) -> Value:
    """Resize to [H_out, W_out]; None keeps a size that is known only at run time."""
    wanted = [*ctx.shape(x)[:2], *target]
    if None in wanted:
        parts = [
            ctx.sizes(x, axis, axis + 1) if size is None else ctx.integers([size]) for axis, size in enumerate(wanted)
        ]
        sizes = ctx.op("Concat", *parts, axis=0)
    else:
        sizes = ctx.integers(np.array(wanted, np.int64), "sizes")
    return ctx.op("Resize", x, None, None, sizes, mode="linear", coordinate_transformation_mode=grid)


def _resize_roi_align(ctx: LayerContext, x: Value, target: Pair) -> Value:
    """Interpolate along H, then along W, at points that no mode of ONNX's Resize has."""
    for axis, name, count in zip((2, 3), "HW", target, strict=True):
        size = ctx.shape(x)[axis]
        if size is None:
            rule = f"needs an input whose size along {name} is known when the model is loaded for ROI_ALIGN_MODE"
            raise ctx.error("mode.samplingMethod", rule, value=None)
        x = _interpolate(ctx, x, axis, size, roi_align_points(size, count))
    return x


def roi_align_points(size: int, count: int) -> NDArray[np.float64]:
    """Return the points of ROI_ALIGN_MODE on [0, size - 1].

    >>> roi_align_points(5, 4)
    array([0.5, 1.5, 2.5, 3.5])
    """
    spacing = max(1, size - 1) / count
    points: NDArray[np.float64] = np.minimum(size - 1, (np.arange(count) + 0.5) * spacing)
    return points


def _interpolate(ctx: LayerContext, x: Value, axis: int, size: int, points: NDArray[np.float64]) -> Value:
    below = np.floor(points).astype(np.int64)
    # [count] -> [count, 1] along H, to be broadcast along W.
    weight = (points - below).reshape((-1,) + (1,) * (3 - axis))
    first = ctx.op("Gather", x, ctx.integers(below), axis=axis)
    if not weight.any():
        return first
    second = ctx.op("Gather", x, ctx.integers(np.minimum(below + 1, size - 1)), axis=axis)
    return ctx.op("Add", ctx.op("Mul", first, ctx.floats(1 - weight)), ctx.op("Mul", second, ctx.floats(weight)))


def lower_crop_resize(ctx: LayerContext, x: Value, boxes: Value) -> Value:
    """Cut boxes out of pictures and resize each to one size by bilinear interpolation.

    Source: ``CropResizeLayerParams``. ``SamplingMode`` is defined on [0, X-1]; for a box it runs from the box's start
    to its end, so X = end - start + 1. Points outside the picture take its nearest pixel; the spec wants boxes
    inside it. A ``spatialScale`` of 0 counts as not set, thus 1: coremltools writes 1 by default.

    Args:
        ctx: The layer and the graph being built.
        x: [1, B, C, H, W].
        boxes: [N, 1, 4, 1, 1], or [N, 1, 5, 1, 1] with the picture's number in front.

    Returns:
        [N, B, C, H_out, W_out] of four, [N, 1, C, H_out, W_out] of five.

    Raises:
        LoweringError: Shapes do not fit, or a mode is unknown.
    """
    _check_boxes(ctx, x, boxes)
    target = _target(ctx)
    method = _method(ctx)
    columns = ctx.shape(boxes)[2]
    assert columns is not None
    table = ctx.reshape(boxes, ctx.sizes(boxes, 0, 1), columns)  # [N, 1, columns, 1, 1] -> [N, columns]
    size = ctx.sizes(x, 3)
    corners = _corners(ctx, table, columns - 4, size)
    grids = [
        box_grid(ctx, method, start, end, count, ctx.op("Gather", size, ctx.integers(axis), axis=0))
        for axis, (start, end), count in zip((0, 1), corners, target, strict=True)
    ]
    picture = None if columns == 4 else _column(ctx, table, 0)
    return interpolate_boxes(ctx, x, grids[0], grids[1], picture)


def _check_boxes(ctx: LayerContext, x: Value, boxes: Value) -> None:
    shape, box_shape = ctx.shape(x), ctx.shape(boxes)
    if len(shape) != 5 or shape[0] not in (None, 1):
        raise ctx.error("input", f"has shape {list(shape)}, must be [1, B, C, H, W]", value=None)
    rest_is_one = all(size in (None, 1) for size in box_shape[1:2] + box_shape[3:])
    if len(box_shape) != 5 or box_shape[2] not in (4, 5) or not rest_is_one:
        rule = f"holds boxes of shape {list(box_shape)}, must be [N, 1, 4, 1, 1] or [N, 1, 5, 1, 1]"
        raise ctx.error("input", rule, value=None)


def _column(ctx: LayerContext, table: Value, index: int) -> Value:
    return ctx.op("Gather", table, ctx.integers([index]), axis=1)  # [N, columns] -> [N, 1]


def _corners(ctx: LayerContext, table: Value, first: int, size: Value) -> list[tuple[Value, Value]]:
    """Return (start, end) along H and along W, each [N, 1], in pixels."""
    mode = ctx.params.boxIndicesMode
    if mode.boxMode not in type(mode).Coordinates.values():
        raise ctx.error("boxIndicesMode.boxMode", "must be 0 to 3", value=mode.boxMode)
    name = type(mode).Coordinates.Name(mode.boxMode)
    axes = (0, 1) if name.endswith("HEIGHT_FIRST") else (1, 0)
    corners = []
    for axis in (0, 1):
        place = first + axes[axis]
        pair_ = _column(ctx, table, place), _column(ctx, table, place + 2)
        start, end = pair_ if name.startswith("CORNERS") else _from_center(ctx, *pair_)
        corners.append((_to_pixels(ctx, start, size, axis), _to_pixels(ctx, end, size, axis)))
    return corners


def _from_center(ctx: LayerContext, center: Value, length: Value) -> tuple[Value, Value]:
    half = ctx.op("Mul", length, ctx.floats(0.5))
    return ctx.op("Sub", center, half), ctx.op("Add", center, half)


def _to_pixels(ctx: LayerContext, value: Value, size: Value, axis: int) -> Value:
    scale = ctx.params.spatialScale or 1.0
    if scale != 1:
        value = ctx.op("Mul", value, ctx.floats(scale))
    if not ctx.params.normalizedCoordinates:
        return value
    last = ctx.op("Sub", ctx.op("Gather", size, ctx.integers(axis), axis=0), ctx.integers(1))
    return ctx.op("Mul", value, ctx.op("Cast", last, to=1))


LOWERINGS: dict[str, Callable[..., Value]] = {
    "upsample": lower_upsample,
    "resizeBilinear": lower_resize_bilinear,
    "cropResize": lower_crop_resize,
}
