"""Resizing, against NumPy written from the comments of NeuralNetwork.proto, PyTorch, and coremltools' own numbers."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812  # PyTorch's own name for it
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import windfall
from tests.lowering.neural_network.symbolic import run_symbolic
from tests.support import run_layer

METHODS = ["STRICT_ALIGN_ENDPOINTS_MODE", "ALIGN_ENDPOINTS_MODE", "UPSAMPLE_MODE", "ROI_ALIGN_MODE"]
BOX_MODES = ["CORNERS_HEIGHT_FIRST", "CORNERS_WIDTH_FIRST", "CENTER_SIZE_HEIGHT_FIRST", "CENTER_SIZE_WIDTH_FIRST"]
SIZES = st.tuples(st.integers(1, 7), st.integers(1, 7))


def normal(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(shape).normal(size=shape).astype(np.float32)


def spec_grid(method: str, first: float, last: float, count: int) -> NDArray[np.float64]:
    """The points of ``SamplingMode`` between two pixels, as the proto's comments have them for 0 and X-1."""
    extent = last - first + 1
    start, end = 0.0, extent - 1
    if method == "ALIGN_ENDPOINTS_MODE" and count == 1:
        start = end = (extent - 1) / 2
    elif method == "UPSAMPLE_MODE":
        end = extent - extent / count
    elif method == "ROI_ALIGN_MODE":
        spacing = max(1, extent - 1) / count
        start = 0.5 * spacing
        end = start + (count - 1) * spacing
    grid = np.linspace(start, end, count)
    return first + (grid if method.endswith("ENDPOINTS_MODE") else np.minimum(extent - 1, grid))


def interpolate(x: NDArray[Any], rows: NDArray[Any], columns: NDArray[Any]) -> NDArray[Any]:
    """Interpolate [..., H, W] at the points where rows and columns cross, by NumPy's own 1-D interpolation."""
    for axis, points in ((-2, rows), (-1, columns)):
        places = np.arange(x.shape[axis])
        x = np.apply_along_axis(lambda line, at, known: np.interp(at, known, line), axis, x, points, places)
    return x


def test_linear_upsampling_gives_the_numbers_of_coremltools():
    y = run_layer("upsample", [[[1, 2, 3]]], scalingFactor=[2, 3], mode="BILINEAR")
    row = [1, 1.333, 1.666, 2, 2.333, 2.666, 3, 3, 3]
    np.testing.assert_allclose(y, [[row, row]], atol=1e-3)


@settings(deadline=None, max_examples=30)
@given(SIZES, st.tuples(st.integers(0, 4), st.integers(0, 4)), st.integers(3, 5))
def test_nearest_upsampling_repeats_pixels(size, factors, rank):
    x = normal(*[2, 1, 3][5 - rank :], *size)
    # A factor of 0 stands for 1.
    expected = x.repeat(factors[0] or 1, axis=-2).repeat(factors[1] or 1, axis=-1)
    np.testing.assert_array_equal(run_layer("upsample", x, scalingFactor=factors), expected)


@pytest.mark.parametrize("factor", [3, 5, 6, 7, 11, 13])
def test_nearest_upsampling_by_factors_that_binary_fractions_do_not_have(factor):
    x = np.arange(600, dtype=np.float32).reshape(1, 2, 300)
    y = run_layer("upsample", x, scalingFactor=[1, factor])
    np.testing.assert_array_equal(y, x.repeat(factor, axis=-1))


def upsample_grid(mode: str, size: int, out: int) -> NDArray[np.float64]:
    """The proto's formulas, word for word."""
    i = np.arange(out)
    if mode == "ALIGN_CORNERS_FALSE":
        spacing = size / out
        return np.clip(i * spacing + 0.5 * spacing - 0.5, 0, size - 1)
    numerator = size - 1 if mode == "ALIGN_CORNERS_TRUE" else size - size / out
    return np.clip(i * (numerator / max(1, out - 1)), 0, size - 1)


UPSAMPLE_MODES = ["DEFAULT", "ALIGN_CORNERS_TRUE", "ALIGN_CORNERS_FALSE"]


@settings(deadline=None, max_examples=25)
@given(SIZES, st.tuples(st.integers(1, 4), st.integers(1, 4)), st.sampled_from(UPSAMPLE_MODES))
def test_linear_upsampling_follows_the_spec(size, factors, mode):
    x = normal(2, 3, *size)
    grids = [upsample_grid(mode, n, n * f) for n, f in zip(size, factors, strict=True)]
    fields = {"scalingFactor": factors, "mode": "BILINEAR", "linearUpsampleMode": mode}
    np.testing.assert_allclose(run_layer("upsample", x, **fields), interpolate(x, *grids), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(run_symbolic("upsample", x, **fields), interpolate(x, *grids), rtol=1e-4, atol=1e-5)


@settings(deadline=None, max_examples=25)
@given(
    st.tuples(st.integers(2, 6), st.integers(2, 6)),
    st.tuples(*[st.sampled_from([1.0, 1.66, 2.32, 2.98, 0.6, 3.0])] * 2),
    st.booleans(),
)
def test_fractional_upsampling_matches_pytorch(size, factors, aligned):
    x = normal(1, 2, *size)
    expected = F.interpolate(
        torch.from_numpy(x), scale_factor=factors, mode="bilinear", align_corners=aligned, recompute_scale_factor=True
    ).numpy()
    mode = "ALIGN_CORNERS_TRUE" if aligned else "ALIGN_CORNERS_FALSE"
    fields = {"fractionalScalingFactor": factors, "mode": "BILINEAR", "linearUpsampleMode": mode}
    np.testing.assert_allclose(run_layer("upsample", x, **fields), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(run_symbolic("upsample", x, **fields), expected, rtol=1e-4, atol=1e-5)


@settings(deadline=None, max_examples=35)
@given(SIZES, SIZES, st.sampled_from(METHODS), st.integers(3, 5))
def test_resize_bilinear_follows_the_spec(size, target, method, rank):
    x = normal(*[2, 1, 3][5 - rank :], *size)
    grids = [spec_grid(method, 0, n - 1, out) for n, out in zip(size, target, strict=True)]
    y = run_layer("resizeBilinear", x, targetSize=target, mode={"samplingMethod": method})
    np.testing.assert_allclose(y, interpolate(x, *grids), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("target", [(3, 9), (1, 4), (1, 1)])
@pytest.mark.parametrize("method", METHODS)
def test_resize_bilinear_of_a_size_known_at_run_time(method, target):
    x = normal(2, 3, 5, 6)
    grids = [spec_grid(method, 0, n - 1, out) for n, out in zip((5, 6), target, strict=True)]
    y = run_symbolic("resizeBilinear", x, targetSize=target, mode={"samplingMethod": method})
    np.testing.assert_allclose(y, interpolate(x, *grids), rtol=1e-4, atol=1e-5)


def test_no_target_size_is_one_pixel():
    x = normal(1, 4, 5)
    np.testing.assert_array_equal(run_layer("resizeBilinear", x), x[:, :1, :1])


PICTURE = np.arange(1, 17, dtype=np.float32).reshape(1, 1, 1, 4, 4)
ALIGNED = {"samplingMethod": "ALIGN_ENDPOINTS_MODE"}


@pytest.mark.parametrize(
    ("box", "size", "normalized", "expected"),
    [
        ([1, 1, 2, 2], 2, False, [[6, 7], [10, 11]]),
        (
            [1, 1, 2, 2],
            4,
            False,
            [
                [6, 6.333333, 6.66666, 7],
                [7.333333, 7.666666, 8, 8.333333],
                [8.666666, 9, 9.3333333, 9.666666],
                [10, 10.333333, 10.666666, 11],
            ],
        ),
        ([1, 1, 2, 2], 1, False, [[8.5]]),
        ([0, 0.0, 0.0, 1.0 / 3, 1.0 / 3], 2, True, [[1, 2], [5, 6]]),
        ([2, 2, 1, 1], 2, False, [[11, 10], [7, 6]]),
    ],
)
def test_crop_resize_gives_the_numbers_of_coremltools(box, size, normalized, expected):
    boxes = np.array(box, np.float32).reshape(1, 1, -1, 1, 1)
    fields = {"targetSize": [size, size], "normalizedCoordinates": normalized, "mode": ALIGNED, "spatialScale": 1}
    y = run_layer("cropResize", PICTURE, boxes, **fields)
    np.testing.assert_allclose(y[0, 0, 0], expected, rtol=1e-5)


def as_box(mode: str, corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Express [h_start, w_start, h_end, w_end] in another mode."""
    start, end = corners[:2], corners[2:]
    first, second = (start, end) if mode.startswith("CORNERS") else ((start + end) / 2, end - start)
    order = 1 if mode.endswith("HEIGHT_FIRST") else -1
    return np.concatenate([first[::order], second[::order]])


@settings(deadline=None, max_examples=35)
@given(
    SIZES,
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
    st.sampled_from(METHODS),
    st.sampled_from(BOX_MODES),
    st.sampled_from([(False, 1.0), (False, 0.5), (True, 1.0), (True, 0.5)]),
    st.booleans(),
    st.booleans(),
)
def test_crop_resize_follows_the_spec(size, target, method, box_mode, units, numbered, symbolic):
    batch, count = 3, 4
    normalized, scale = units
    rng = np.random.default_rng(size)
    x = normal(1, batch, 2, *size)
    last = np.tile(np.array(size) - 1, 2)
    corners = np.concatenate(np.sort(rng.random((2, count, 2)), axis=0), axis=-1) * last
    stored = corners / scale / (np.maximum(last, 1) if normalized else 1)
    boxes = np.array([as_box(box_mode, box) for box in stored])
    pictures = rng.integers(0, batch, count)
    if numbered:
        boxes = np.column_stack([pictures, boxes])
    boxes = boxes.astype(np.float32).reshape(count, 1, -1, 1, 1)
    expected = np.stack(
        [
            interpolate(
                x[0, pictures[n], None] if numbered else x[0],
                spec_grid(method, corners[n, 0], corners[n, 2], target[0]),
                spec_grid(method, corners[n, 1], corners[n, 3], target[1]),
            )
            for n in range(count)
        ]
    )
    fields = {
        "targetSize": target,
        "normalizedCoordinates": normalized,
        "spatialScale": scale,
        "mode": {"samplingMethod": method},
        "boxIndicesMode": {"boxMode": box_mode},
    }
    run = (lambda *inputs, **f: run_symbolic(*inputs, fixed=(2,), **f)) if symbolic else run_layer
    np.testing.assert_allclose(run("cropResize", x, boxes, **fields), expected, rtol=1e-4, atol=1e-5)


def test_boxes_beyond_the_picture_take_its_border():
    boxes = np.array([-2, -2, 5, 5], np.float32).reshape(1, 1, 4, 1, 1)
    y = run_layer("cropResize", PICTURE, boxes, targetSize=[2, 2], mode=ALIGNED)
    np.testing.assert_array_equal(y[0, 0, 0], [[1, 4], [13, 16]])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"mode": 5}, "mode is 5, must be NN or BILINEAR"),
        ({"linearUpsampleMode": 5}, "linearUpsampleMode is 5, must be DEFAULT, ALIGN_CORNERS_TRUE or"),
        (
            {"linearUpsampleMode": 1},
            "linearUpsampleMode is 1, must be DEFAULT for nearest neighbours, where mode is NN",
        ),
        ({"scalingFactor": [2]}, r"scalingFactor is \[2\], must have two numbers, for H and W, or none"),
        (
            {"scalingFactor": [2, 2], "fractionalScalingFactor": [2.5, 2.5]},
            r"fractionalScalingFactor is \[2.5, 2.5\], must be empty where scalingFactor is set",
        ),
        (
            {"fractionalScalingFactor": [2.5, 2.5]},
            r"fractionalScalingFactor is \[2.5, 2.5\], needs mode BILINEAR and linearUpsampleMode ALIGN_CORNERS_TRUE",
        ),
        (
            {"fractionalScalingFactor": [2.5], "mode": "BILINEAR", "linearUpsampleMode": 1},
            r"fractionalScalingFactor is \[2.5\], must have two numbers above 0, for H and W",
        ),
        (
            {"fractionalScalingFactor": [0.25, -1], "mode": "BILINEAR", "linearUpsampleMode": 1},
            r"fractionalScalingFactor is \[0.25, -1.0\], must have two numbers above 0",
        ),
        (
            {"fractionalScalingFactor": [0.25, 0.25], "mode": "BILINEAR", "linearUpsampleMode": 1},
            r"fractionalScalingFactor is \[0.25, 0.25\], leaves no pixel of \[3, 4\]",
        ),
    ],
)
def test_upsample_names_the_rule_that_is_broken(fields, message):
    with pytest.raises(windfall.FormatError, match=rf"cannot lower layer 'layer' \(upsample\) of the model: {message}"):
        run_layer("upsample", normal(1, 3, 4), **fields)


def test_resize_bilinear_names_the_rule_that_is_broken():
    with pytest.raises(windfall.FormatError, match=r"targetSize is \[2\], must have two numbers, for H and W, or none"):
        run_layer("resizeBilinear", normal(1, 3, 4), targetSize=[2])
    with pytest.raises(windfall.FormatError, match="samplingMethod is 4, must be 0 to 3"):
        run_layer("resizeBilinear", normal(1, 3, 4), mode={"samplingMethod": 4})


@pytest.mark.parametrize(
    ("shape", "box_shape", "fields", "message"),
    [
        ((2, 1, 1, 4, 4), (1, 1, 4, 1, 1), {}, r"input has shape \[2, 1, 1, 4, 4\], must be \[1, B, C, H, W\]"),
        ((1, 1, 4, 4), (1, 1, 4, 1, 1), {}, r"input has shape \[1, 1, 4, 4\], must be"),
        (
            (1, 1, 1, 4, 4),
            (1, 1, 3, 1, 1),
            {},
            r"input holds boxes of shape \[1, 1, 3, 1, 1\], must be \[N, 1, 4, 1, 1\]",
        ),
        ((1, 1, 1, 4, 4), (1, 2, 4, 1, 1), {}, r"input holds boxes of shape \[1, 2, 4, 1, 1\], must be"),
        ((1, 1, 1, 4, 4), (1, 1, 4, 1, 1), {"boxIndicesMode": {"boxMode": 4}}, "boxMode is 4, must be 0 to 3"),
    ],
)
def test_crop_resize_names_the_rule_that_is_broken(shape, box_shape, fields, message):
    with pytest.raises(windfall.FormatError, match=message):
        run_layer("cropResize", normal(*shape), normal(*box_shape), **fields)
