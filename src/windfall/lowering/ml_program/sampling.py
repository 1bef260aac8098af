"""Pictures sampled at given points.

Source: ``resample`` and ``affine`` in ``image_resizing.py`` among coremltools' operator definitions.
"""

from collections.abc import Callable, Mapping
from typing import Any

import onnx_ir as ir

from windfall.lowering.indices import counted
from windfall.lowering.ml_program.context import OperationContext, Value
from windfall.lowering.windows import LARGEST

_SAMPLING = {"bilinear": "linear", "nearest": "nearest"}
_PADDING = ("constant", "border", "reflection", "symmetric")
_COORDINATES = ("unnormalized", "normalized_minus_one_to_one", "normalized_zero_to_one")


def lower_resample(  # noqa: PLR0913, PLR0917 - the operator's own parameters
    ctx: OperationContext,
    x: Value,
    coordinates: Value,
    sampling_mode: str,
    padding_mode: str,
    padding_value: float,
    coordinates_mode: str,
    align_corners: bool,
) -> Value:
    """Sample pictures at given points.

    Args:
        ctx: The operation and the graph being built.
        x: float [B, C, H, W].
        coordinates: Numbers of any type, [B, H2, W2, 2]; along W stands before along H.
        sampling_mode: bilinear or nearest.
        padding_mode: What lies around a picture: constant, border, reflection (the edge does not appear twice) or
            symmetric (it does).
        padding_value: The constant.
        coordinates_mode: unnormalized, in pixels; normalized_minus_one_to_one or normalized_zero_to_one.
        align_corners: Whether the ends of normalized coordinates are the centres of the corner pixels, or their edges.

    Returns:
        [B, C, H2, W2].

    Raises:
        LoweringError: There is no such mode, or the shapes do not fit.
    """
    for name, mode, modes in (
        ("sampling_mode", sampling_mode, tuple(_SAMPLING)),
        ("padding_mode", padding_mode, _PADDING),
        ("coordinates_mode", coordinates_mode, _COORDINATES),
    ):
        _check_mode(ctx, name, mode, modes)
    _check_planes(ctx, x)
    dims, batch = ctx.shape(coordinates), ctx.shape(x)[0]
    if len(dims) != 4 or dims[3] not in (2, None) or (None not in (dims[0], batch) and dims[0] != batch):
        raise ctx.error("coordinates", f"must be [{batch or 'B'}, H2, W2, 2]", value=f"of shape {list(dims)}")
    points, align = ctx.cast(coordinates, ir.DataType.FLOAT), align_corners
    padding, mirrored = padding_mode.lower(), padding_mode.lower() in ("reflection", "symmetric")
    if mirrored or coordinates_mode.lower() != "normalized_minus_one_to_one":
        size = _width_and_height(ctx, x)
        points = _pixels(ctx, points, size, coordinates_mode.lower(), align_corners)
        if mirrored:
            # GridSample's own reflection does not check where far points end up in memory.
            points, padding = _mirrored(ctx, points, size, twice=padding == "symmetric"), "border"
        points, align = _edges_normalized(ctx, points, size), False
    return _sample(ctx, x, points, _SAMPLING[sampling_mode.lower()], padding, padding_value, align)


def _check_mode(ctx: OperationContext, name: str, mode: str, modes: tuple[str, ...]) -> None:
    if mode.lower() not in modes:
        raise ctx.error(name, f"must be {' or '.join(modes)}", value=repr(mode))


def _check_planes(ctx: OperationContext, x: Value) -> None:
    if ctx.rank(x) != 4:
        raise ctx.error("x", "must be [B, C, H, W]", value=f"of shape {list(ctx.shape(x))}")


def _sample(
    ctx: OperationContext, x: Value, points: Value, mode: str, padding: str, value: float, align: bool
) -> Value:
    """Sample [B, C, H, W] at normalized points, -1 to 1; around the pictures lies a value, or the nearest pixel."""

    def sample(planes: Value) -> Value:
        edges = "border" if padding == "border" else "zeros"
        return ctx.op("GridSample", planes, points, mode=mode, padding_mode=edges, align_corners=int(align))

    if padding == "border" or value == 0:
        return sample(x)
    one_channel = ctx.op("Concat", ctx.sizes(x, 0, 1), ctx.integers([1]), ctx.sizes(x, 2), axis=0)
    share = ctx.op("Sub", ctx.floats(1), sample(ctx.op("Expand", ctx.floats(1), one_channel)))
    return ctx.op("Add", sample(x), ctx.op("Mul", share, ctx.floats(value)))


def _width_and_height(ctx: OperationContext, x: Value) -> Value:
    sizes = ctx.op("Concat", ctx.sizes(x, 3, 4), ctx.sizes(x, 2, 3), axis=0)
    return ctx.op("Cast", sizes, to=ir.DataType.FLOAT)


def _pixels(ctx: OperationContext, points: Value, size: Value, mode: str, align_corners: bool) -> Value:
    """Return points counted in pixels, 0 being the centre of the first one."""
    if mode == "unnormalized":
        return points
    if mode == "normalized_minus_one_to_one":
        points = ctx.op("Mul", ctx.op("Add", points, ctx.floats(1)), ctx.floats(0.5))
    if align_corners:
        return ctx.op("Mul", points, ctx.op("Sub", size, ctx.floats(1)))
    return ctx.op("Sub", ctx.op("Mul", points, size), ctx.floats(0.5))


def _mirrored(ctx: OperationContext, pixels: Value, size: Value, *, twice: bool) -> Value:
    """Fold points outside a picture back into it, at its edges (then these pixels appear twice) or at their centres."""
    first = ctx.floats(-0.5 if twice else 0)
    extent = size if twice else ctx.op("Sub", size, ctx.floats(1))
    period = ctx.op("Mul", extent, ctx.floats(2))
    away = ctx.op("Abs", ctx.op("Sub", pixels, first))
    away = ctx.op("Mod", away, ctx.op("Max", period, ctx.floats(1)), fmod=1)
    return ctx.op("Add", ctx.op("Min", away, ctx.op("Sub", period, away)), first)


def _edges_normalized(ctx: OperationContext, pixels: Value, size: Value) -> Value:
    """Return points in pixels as -1 to 1, from edge to edge: (2 p + 1) / size - 1."""
    doubled = ctx.op("Add", ctx.op("Mul", pixels, ctx.floats(2)), ctx.floats(1))
    return ctx.op("Sub", ctx.op("Div", doubled, size), ctx.floats(1))


def lower_affine(  # noqa: PLR0913, PLR0917 - the operator's own parameters
    ctx: OperationContext,
    x: Value,
    transform_matrix: Value,
    output_height: int,
    output_width: int,
    sampling_mode: str,
    padding_mode: str,
    padding_value: float,
    coordinates_mode: str,
    align_corners: bool,
) -> Value:
    """Sample pictures at points that an affine transform makes of those of the output.

    Args:
        ctx: The operation and the graph being built.
        x: float [B, C, H, W].
        transform_matrix: float [B or 1, 6]: a0, a1, a2, b0, b1, b2 with x' = a0 x + a1 y + a2, y' = b0 x + b1 y + b2.
        output_height: The new H.
        output_width: The new W.
        sampling_mode: bilinear.
        padding_mode: constant.
        padding_value: 0.
        coordinates_mode: normalized_minus_one_to_one.
        align_corners: true: -1 and 1 are the centres of the corner pixels. A single pixel is at 0.

    Returns:
        [B, C, output_height, output_width].

    Raises:
        LoweringError: A mode is another one, a size is not above 0, or the shapes do not fit.
    """
    _check_mode(ctx, "sampling_mode", sampling_mode, ("bilinear",))
    _check_mode(ctx, "padding_mode", padding_mode, ("constant",))
    _check_mode(ctx, "coordinates_mode", coordinates_mode, ("normalized_minus_one_to_one",))
    if padding_value != 0:
        raise ctx.error("padding_value", "must be 0", value=padding_value)
    if not align_corners:
        raise ctx.error("align_corners", "must be true", value=align_corners)
    for name, size in (("output_height", output_height), ("output_width", output_width)):
        if not 0 < size <= LARGEST:
            raise ctx.error(name, f"must be 1 to {LARGEST}", value=size)
    _check_planes(ctx, x)
    dims, batch = ctx.shape(transform_matrix), ctx.shape(x)[0]
    if len(dims) != 2 or dims[1] not in (6, None) or (None not in (dims[0], batch) and dims[0] not in (1, batch)):
        rule = f"must be [{batch or 'B'}, 6] or [1, 6]"
        raise ctx.error("transform_matrix", rule, value=f"of shape {list(dims)}")
    points = _transformed(ctx, transform_matrix, output_height, output_width)
    # [1 or B, H, W, 2] -> [B, H, W, 2]
    points = ctx.op("Expand", points, ctx.op("Concat", ctx.sizes(x, 0, 1), ctx.integers([1, 1, 1]), axis=0))
    return _sample(ctx, x, points, "linear", "constant", 0, True)


def _transformed(ctx: OperationContext, matrix: Value, height: int, width: int) -> Value:
    """Return the points of a grid of pixels after the transforms [D, 6], as [D, height, width, 2]."""
    across, down = ctx.reshape(_spread(ctx, width), 1, 1, width), ctx.reshape(_spread(ctx, height), 1, height, 1)
    rows = []
    for row in (0, 3):
        factors = [
            ctx.op("Unsqueeze", ctx.op("Gather", matrix, ctx.integers([row + i]), axis=1), ctx.integers([2]))
            for i in range(3)
        ]
        sums = ctx.op("Add", ctx.op("Mul", across, factors[0]), ctx.op("Mul", down, factors[1]))
        rows.append(ctx.op("Unsqueeze", ctx.op("Add", sums, factors[2]), ctx.integers([3])))
    return ctx.op("Concat", *rows, axis=3)


def _spread(ctx: OperationContext, count: int) -> Value:
    """Return points spread evenly from -1 to 1; a single one is 0."""
    if count == 1:
        return ctx.floats([0])
    doubled = ctx.op("Mul", ctx.op("Cast", counted(ctx, count), to=ir.DataType.FLOAT), ctx.floats(2))
    return ctx.op("Sub", ctx.op("Div", doubled, ctx.floats(count - 1)), ctx.floats(1))


LOWERINGS: Mapping[str, Callable[..., Any]] = {"resample": lower_resample, "affine": lower_affine}
