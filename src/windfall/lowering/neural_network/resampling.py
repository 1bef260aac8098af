"""Resizing of planes, whole or in boxes.

Source: ``UpsampleLayerParams``, ``ResizeBilinearLayerParams`` and ``CropResizeLayerParams`` in NeuralNetwork.proto.
"""

from collections.abc import Callable, Mapping

from windfall.lowering.neural_network.context import LayerContext, Value
from windfall.lowering.neural_network.views import on_planes
from windfall.lowering.neural_network.windows import Pair, pair
from windfall.lowering.resampling import (
    ALIGNED,
    ASYMMETRIC,
    HALF_PIXEL,
    POINTS,
    linear_along,
    points_along,
    resize_planes,
    scale_planes,
    scaled_sizes,
)
from windfall.lowering.sampling import (
    Grid,
    aligned,
    aligned_or_middle,
    box_corners,
    inside,
    interpolate_boxes,
    roi_aligned,
    upsampled,
)
from windfall.lowering.windows import LARGEST


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
    sizes = scaled_sizes(ctx.shape(x), factors)
    if sizes is not None and min(sizes[2:]) < 1:
        raise ctx.error("fractionalScalingFactor", f"leaves no pixel of {list(ctx.shape(x)[2:])}")
    if params.mode == params.NN:
        # Pixel i takes floor(i / factor).
        return scale_planes(ctx, x, factors, mode="nearest", nearest_mode="floor", grid=ASYMMETRIC)
    return scale_planes(ctx, x, factors, mode="linear", grid=_UPSAMPLE_GRIDS[params.linearUpsampleMode])


_UPSAMPLE_GRIDS = {0: ASYMMETRIC, 1: ALIGNED, 2: HALF_PIXEL}


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
        LoweringError: ``targetSize`` has another length than 2, or the mode is unknown.
    """
    target = _target(ctx)
    method = _method(ctx)
    if method == "ROI_ALIGN_MODE":
        # No mode of ONNX's Resize has these points.
        for axis, count in zip((2, 3), target, strict=True):
            points = points_along(ctx, x, axis, ctx.integers([count]), POINTS["OFFSET_CORNERS"])
            x = linear_along(ctx, x, axis, points)
        return x
    grids = [ALIGNED, ALIGNED] if method != "UPSAMPLE_MODE" else [ASYMMETRIC, ASYMMETRIC]
    if method == "ALIGN_ENDPOINTS_MODE":
        # A single point lies in the middle, where half_pixel puts it.
        grids = [HALF_PIXEL if size == 1 else ALIGNED for size in target]
    if grids[0] == grids[1]:
        return resize_planes(ctx, x, target, grids[0])
    rows = resize_planes(ctx, x, (target[0], ctx.shape(x)[3]), grids[0])  # [N, C, H, W] -> [N, C, H_out, W]
    return resize_planes(ctx, rows, target, grids[1])


def _target(ctx: LayerContext) -> Pair:
    height, width = pair(ctx, "targetSize", 1, least=0)
    return height or 1, width or 1


def _method(ctx: LayerContext) -> str:
    mode = ctx.params.mode
    if mode.samplingMethod not in type(mode).Method.values():
        raise ctx.error("mode.samplingMethod", "must be 0 to 3", value=mode.samplingMethod)
    return str(type(mode).Method.Name(mode.samplingMethod))


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
    target, grid = _target(ctx), _BOX_GRIDS[_method(ctx)]
    mode = ctx.params.boxIndicesMode
    if mode.boxMode not in type(mode).Coordinates.values():
        raise ctx.error("boxIndicesMode.boxMode", "must be 0 to 3", value=mode.boxMode)
    order = type(mode).Coordinates.Name(mode.boxMode)
    columns = ctx.shape(boxes)[2]
    assert columns is not None
    table = ctx.reshape(boxes, ctx.sizes(boxes, 0, 1), columns)  # [N, 1, columns, 1, 1] -> [N, columns]
    picture = None if columns == 4 else ctx.op("Gather", table, ctx.integers([0]), axis=1)
    size = ctx.sizes(x, 3)
    corners = box_corners(
        ctx,
        table if picture is None else ctx.op("Gather", table, ctx.integers(range(1, 5)), axis=1),
        size,
        corners=order.startswith("CORNERS"),
        height_first=order.endswith("HEIGHT_FIRST"),
        scale=ctx.params.spatialScale or 1.0,
        normalized=ctx.params.normalizedCoordinates,
    )
    grids = [
        inside(ctx, grid(ctx, start, end, count), ctx.op("Gather", size, ctx.integers(axis), axis=0))
        for axis, (start, end), count in zip((0, 1), corners, target, strict=True)
    ]
    return interpolate_boxes(ctx, x, grids[0], grids[1], picture)


_BOX_GRIDS: Mapping[str, Grid] = {
    "STRICT_ALIGN_ENDPOINTS_MODE": aligned,
    "ALIGN_ENDPOINTS_MODE": aligned_or_middle,
    "UPSAMPLE_MODE": upsampled,
    "ROI_ALIGN_MODE": roi_aligned,
}


def _check_boxes(ctx: LayerContext, x: Value, boxes: Value) -> None:
    shape, box_shape = ctx.shape(x), ctx.shape(boxes)
    if len(shape) != 5 or shape[0] not in (None, 1):
        raise ctx.error("input", f"has shape {list(shape)}, must be [1, B, C, H, W]", value=None)
    rest_is_one = all(size in (None, 1) for size in box_shape[1:2] + box_shape[3:])
    if len(box_shape) != 5 or box_shape[2] not in (4, 5) or not rest_is_one:
        rule = f"holds boxes of shape {list(box_shape)}, must be [N, 1, 4, 1, 1] or [N, 1, 5, 1, 1]"
        raise ctx.error("input", rule, value=None)


LOWERINGS: dict[str, Callable[..., Value]] = {
    "upsample": lower_upsample,
    "resizeBilinear": lower_resize_bilinear,
    "cropResize": lower_crop_resize,
}
