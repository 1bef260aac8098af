"""Parts of pictures.

Source: ``crop`` and ``crop_resize`` in ``image_resizing.py`` among coremltools' operator definitions.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import onnx_ir as ir

from windfall.lowering.ml_program.context import Ints, OperationContext, Value
from windfall.lowering.sampling import (
    Grid,
    aligned,
    aligned_or_middle,
    box_corners,
    inside,
    interpolate_boxes,
    roi_aligned,
    unaligned,
    upsampled,
)
from windfall.lowering.windows import LARGEST

_IOS16 = 6
_GRIDS: Mapping[str, Grid] = {
    "STRICT_ALIGN_CORNERS": aligned,
    "ALIGN_CORNERS": aligned_or_middle,
    "DEFAULT": upsampled,
    "OFFSET_CORNERS": roi_aligned,
    "UNALIGN_CORNERS": unaligned,
}
_BOX_MODES = (
    "CORNERS_HEIGHT_FIRST",
    "CORNERS_WIDTH_FIRST",
    "CENTER_SIZE_HEIGHT_FIRST",
    "CENTER_SIZE_WIDTH_FIRST",
)


def lower_crop(ctx: OperationContext, x: Value, crop_height: Ints, crop_width: Ints) -> Value:
    """Cut pixels off at the edges.

    Args:
        ctx: The operation and the graph being built.
        x: float [*batch, C, H, W].
        crop_height: How many at the top and at the bottom.
        crop_width: How many on the left and on the right.

    Returns:
        [*batch, C, H - top - bottom, W - left - right].

    Raises:
        LoweringError: x has fewer than three axes, or there are not as many pixels.
    """
    rank = ctx.rank(x)
    if rank < 3:
        raise ctx.error("x", "must have rank 3 or more", value=f"of shape {list(ctx.shape(x))}")
    starts, ends = [], []
    for name, axis, cut in (("crop_height", -2, crop_height), ("crop_width", -1, crop_width)):
        size = ctx.shape(x)[axis]
        if len(cut) != 2 or min(cut) < 0 or sum(cut) > (LARGEST if size is None else size):
            raise ctx.error(name, f"must be two numbers of pixels, of {size or 'all'} there are", value=list(cut))
        starts.append(cut[0])
        ends.append(-cut[1] if cut[1] else LARGEST)
    return ctx.op("Slice", x, ctx.integers(starts), ctx.integers(ends), ctx.integers([rank - 2, rank - 1]))


def lower_crop_resize(  # noqa: PLR0913, PLR0917 - the operator's own parameters
    ctx: OperationContext,
    x: Value,
    roi: Value | None = None,
    boxes: Value | None = None,
    box_indices: Value | None = None,
    target_height: int = 1,
    target_width: int = 1,
    normalized_coordinates: bool = False,
    spatial_scale: float = 1.0,
    box_coordinate_mode: str = "CORNERS_HEIGHT_FIRST",
    sampling_mode: str = "DEFAULT",
    pad_value: float | None = None,
) -> Value:
    """Cut boxes out of pictures and resize each to one size by bilinear interpolation.

    The points of the sampling modes are defined for a whole picture; see ``windfall.lowering.sampling`` for those of a
    box. Points outside the picture are ``pad_value`` from iOS 16 on; before, they take the nearest pixel.

    Args:
        ctx: The operation and the graph being built.
        x: float [B, C, H, W].
        roi: Up to iOS 16: [N, 1, 4, 1, 1], boxes of all pictures, or [N, 1, 5, 1, 1] with a picture's number in front.
        boxes: From iOS 17 on: [N, 4].
        box_indices: From iOS 17 on: the number of the picture that each box is of, [N]; by default the box's own.
        target_height: The new H.
        target_width: The new W.
        normalized_coordinates: Whether the coordinates of boxes are 0 to 1.
        spatial_scale: Multiplies the coordinates.
        box_coordinate_mode: One of ``_BOX_MODES``: the order of the coordinates.
        sampling_mode: A key of ``_GRIDS``.
        pad_value: What stands around a picture; 0 by default.

    Returns:
        [N, B or 1, C, target_height, target_width] for ``roi``, [N, C, target_height, target_width] for ``boxes``.

    Raises:
        LoweringError: Shapes do not fit, a size is not above 0, or there is no such mode.
    """
    _check_modes(ctx, box_coordinate_mode, sampling_mode, target_height, target_width)
    if ctx.rank(x) != 4:
        raise ctx.error("x", "must be [B, C, H, W]", value=f"of shape {list(ctx.shape(x))}")
    table, picture = _from_roi(ctx, roi) if roi is not None else _from_boxes(ctx, boxes, box_indices)
    corners = box_corners(
        ctx,
        table,
        ctx.sizes(x, 2),
        corners=box_coordinate_mode.startswith("CORNERS"),
        height_first=box_coordinate_mode.endswith("HEIGHT_FIRST"),
        scale=spatial_scale,
        normalized=normalized_coordinates,
    )
    points = [
        _GRIDS[sampling_mode](ctx, start, end, count)
        for (start, end), count in zip(corners, (target_height, target_width), strict=True)
    ]
    grids = [inside(ctx, p, ctx.op("Gather", ctx.sizes(x, 2), ctx.integers(i))) for i, p in enumerate(points)]
    result = interpolate_boxes(ctx, ctx.op("Unsqueeze", x, ctx.integers([0])), grids[0], grids[1], picture)
    if ctx.opset >= _IOS16:
        outside = [_outside(ctx, p, c, last) for p, c, (_, last) in zip(points, corners, grids, strict=True)]
        result = _padded(ctx, result, outside, pad_value or 0.0)
    return result if roi is not None else ctx.op("Squeeze", result, ctx.integers([1]))


def _check_modes(ctx: OperationContext, boxes: str, sampling: str, height: int, width: int) -> None:
    if boxes not in _BOX_MODES:
        raise ctx.error("box_coordinate_mode", f"must be one of {', '.join(_BOX_MODES)}", value=repr(boxes))
    if sampling not in _GRIDS:
        raise ctx.error("sampling_mode", f"must be one of {', '.join(_GRIDS)}", value=repr(sampling))
    for name, size in (("target_height", height), ("target_width", width)):
        if not 0 < size <= LARGEST:
            raise ctx.error(name, f"must be 1 to {LARGEST}", value=size)


def _from_roi(ctx: OperationContext, roi: Value) -> tuple[Value, Value | None]:
    """Return the coordinates of boxes, [N, 4], and the numbers of their pictures, [N, 1], or None for all pictures."""
    dims = ctx.shape(roi)
    if len(dims) != 5 or dims[2] not in (4, 5) or any(size not in (None, 1) for size in (dims[1], *dims[3:])):
        raise ctx.error("roi", "must be [N, 1, 4, 1, 1] or [N, 1, 5, 1, 1]", value=f"of shape {list(dims)}")
    columns = int(dims[2])
    table = ctx.reshape(roi, ctx.sizes(roi, 0, 1), columns)
    if columns == 4:
        return table, None
    picture, *rest = (ctx.op("Gather", table, ctx.integers(places), axis=1) for places in ([0], range(1, 5)))
    return rest[0], picture


def _from_boxes(ctx: OperationContext, boxes: Value | None, indices: Value | None) -> tuple[Value, Value]:
    """Return the coordinates of boxes, [N, 4], and the numbers of their pictures, [N, 1]."""
    if boxes is None:
        raise ctx.error("boxes", "must be given, or roi up to iOS 16")
    dims = ctx.shape(boxes)
    if len(dims) != 2 or dims[1] not in (4, None):
        raise ctx.error("boxes", "must be [N, 4]", value=f"of shape {list(dims)}")
    if indices is None:
        count = ctx.reshape(ctx.sizes(boxes, 0, 1), ())
        indices = ctx.op("Range", ctx.integers(0), count, ctx.integers(1))
    have = ctx.shape(indices)
    if len(have) != 1 or (None not in (have[0], dims[0]) and have[0] != dims[0]):
        raise ctx.error(
            "box_indices", f"must be one for each of {dims[0] or 'the'} boxes", value=f"of shape {list(have)}"
        )
    return ctx.cast(boxes, ir.DataType.FLOAT), ctx.reshape(indices, -1, 1)


def _outside(ctx: OperationContext, points: Value, corners: tuple[Value, Value], last: Value) -> Value:
    """Return whether each point lies outside the picture along one axis, [N, count]."""
    # Rounding may not put a point beyond the corners of its box.
    least, most = ctx.op("Min", *corners), ctx.op("Max", *corners)
    points = ctx.op("Max", ctx.op("Min", points, most), least)
    beyond = ctx.op("Greater", points, ctx.cast(last, ir.DataType.FLOAT))
    return ctx.op("Or", ctx.op("Less", points, ctx.floats(0)), beyond)


def _padded(ctx: OperationContext, result: Value, outside: Sequence[Value], pad_value: float) -> Value:
    # [N, H_out] -> [N, 1, 1, H_out, 1], and [N, W_out] -> [N, 1, 1, 1, W_out]
    rows = ctx.op("Unsqueeze", outside[0], ctx.integers([1, 2, 4]))
    columns = ctx.op("Unsqueeze", outside[1], ctx.integers([1, 2, 3]))
    return ctx.op("Where", ctx.op("Or", rows, columns), ctx.floats(pad_value), result)


LOWERINGS: Mapping[str, Callable[..., Any]] = {"crop": lower_crop, "crop_resize": lower_crop_resize}
