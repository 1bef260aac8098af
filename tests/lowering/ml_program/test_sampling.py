"""Pictures sampled at given points, against PyTorch and NumPy."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import windfall
from tests.programs import Input, Output, check_operator, run_operator

few = settings(max_examples=40, deadline=None)
NUMPYS = {"border": "edge", "reflection": "reflect", "symmetric": "symmetric"}
EDGE = 40
"""How far NumPy pads the pictures; points lie closer to them."""


def in_pixels(points: NDArray[Any], size: int, mode: str, align: bool) -> NDArray[Any]:
    if mode == "unnormalized":
        return points
    share = points if mode == "normalized_zero_to_one" else (points + 1) / 2
    return share * (size - 1) if align else share * size - 0.5


def resampled(x: NDArray[Any], points: NDArray[Any], padding: str, value: float, nearest: bool) -> NDArray[Any]:
    """Sample pictures, padded by NumPy, at points in pixels."""
    edges = [(0, 0), (0, 0), (EDGE, EDGE), (EDGE, EDGE)]
    more: dict[str, Any] = {"constant_values": value} if padding == "constant" else {}
    wide = np.pad(x.astype(np.float64), edges, mode=NUMPYS.get(padding, "constant"), **more)
    columns, rows = points[..., 0] + EDGE, points[..., 1] + EDGE
    if nearest:
        rows, columns = np.rint(rows), np.rint(columns)
    result = np.zeros((*x.shape[:2], *points.shape[1:3]))
    for b in range(len(x)):
        r, c = np.floor(rows[b]).astype(int), np.floor(columns[b]).astype(int)
        for dr in (0, 1):
            for dc in (0, 1):
                share = np.abs(1 - dr - (rows[b] - r)) * np.abs(1 - dc - (columns[b] - c))
                result[b] += wide[b][:, r + dr, c + dc] * share
    return result.astype(np.float32)


@few
@given(
    dims=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    sampling=st.sampled_from(["bilinear", "nearest"]),
    padding=st.sampled_from(["constant", "border", "reflection", "symmetric"]),
    coordinates=st.sampled_from(["unnormalized", "normalized_minus_one_to_one", "normalized_zero_to_one"]),
    align=st.booleans(),
    value=st.sampled_from([0.0, 6.25]),
    seed=st.integers(0, 1000),
)
def test_resample(
    dims: tuple[int, int], sampling: str, padding: str, coordinates: str, align: bool, value: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, 3, *dims)).astype(np.float32)
    # Not near the middle between two pixels, where rounding decides which of them is the nearest.
    points = (rng.integers(-30, 30, (2, 3, 5, 2)) / 4 + rng.uniform(0.02, 0.08, (2, 3, 5, 2))).astype(np.float32)
    pixels = np.stack(
        [in_pixels(points[..., k].astype(np.float64), dims[1 - k], coordinates, align) for k in (0, 1)], -1
    )
    if sampling == "nearest":
        middle = np.abs(pixels % 1 - 0.5) < 0.01
        points[middle.any(-1)] = pixels[middle.any(-1)] = 0
        if coordinates != "unnormalized" and middle.any():
            return
    check_operator(
        "resample",
        resampled(x, pixels, padding, value, sampling == "nearest"),
        x=Input(x),
        coordinates=Input(points),
        sampling_mode=sampling,
        padding_mode=padding,
        padding_value=np.float32(value),
        coordinates_mode=coordinates,
        align_corners=align,
        rtol=1e-4,
        atol=1e-4,
    )


def run_resample(x: NDArray[Any], coordinates: NDArray[Any], **arguments: Any) -> NDArray[Any]:
    given_ = {
        "sampling_mode": "bilinear",
        "padding_mode": "constant",
        "padding_value": np.float32(0),
        "coordinates_mode": "unnormalized",
        "align_corners": True,
    } | arguments
    dims = (*x.shape[:2], *coordinates.shape[1:3])
    (got,) = run_operator("resample", [Output(np.float32, dims)], x=Input(x), coordinates=Input(coordinates), **given_)
    return got


def test_coordinates_may_be_whole_numbers() -> None:
    x = np.array([11, 22, 33, 44], np.float32).reshape(1, 1, 2, 2)
    points = np.array([[[[0, 0], [1, 1]], [[1, 0], [0, 1]]]], np.int32)
    np.testing.assert_array_equal(run_resample(x, points), [[[[11, 44], [22, 33]]]])


@pytest.mark.parametrize("padding", ["constant", "border", "reflection", "symmetric"])
@pytest.mark.parametrize("sampling", ["bilinear", "nearest"])
def test_points_anywhere_stay_in_memory(padding: str, sampling: str) -> None:
    x = np.arange(1, 13, dtype=np.float32).reshape(1, 1, 3, 4)
    far = [np.nan, np.inf, -np.inf, 1e10, -1e10, 3e18, -1e38, 2.0**31]
    points = np.array([[[[a, b] for a in far] for b in far]], np.float32)
    got = run_resample(x, points, padding_mode=padding, sampling_mode=sampling)
    assert (np.isnan(got) | ((got >= 0) & (got <= 12))).all()


@pytest.mark.filterwarnings("ignore:Since version 1.3.0, affine_grid behavior has changed for unit-size grids")
@pytest.mark.parametrize("dims", [(3, 3), (2, 5), (1, 4)])
@pytest.mark.parametrize("shared", [True, False])
def test_affine_is_pytorchs(dims: tuple[int, int], shared: bool) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3, 4, 5)).astype(np.float32)
    matrix = rng.normal(size=(1 if shared else 2, 6)).astype(np.float32)
    theta = torch.from_numpy(matrix).reshape(-1, 2, 3).expand(2, 2, 3)
    grid = torch.nn.functional.affine_grid(theta, [2, 3, *dims], align_corners=True)
    expected = torch.nn.functional.grid_sample(torch.from_numpy(x), grid, align_corners=True).numpy()
    check_operator(
        "affine", expected, x=Input(x), transform_matrix=Input(matrix), output_height=dims[0], output_width=dims[1],
        **AFFINE, rtol=1e-4, atol=1e-5,
    )  # fmt: skip


AFFINE: dict[str, Any] = {
    "sampling_mode": "bilinear",
    "padding_mode": "constant",
    "padding_value": np.float32(0),
    "coordinates_mode": "normalized_minus_one_to_one",
    "align_corners": True,
}


def test_coremltools_example_of_affine() -> None:
    x = np.array([11, 22, 33, 44], np.float32).reshape(1, 1, 2, 2)
    matrix = np.array([[-1.0, -2.0, -3.7, -1.0, 3.5, 1.2]], np.float32)
    expected = np.array([10.752501, 5.94, 2.5025, 0.44000006, 0, 0, 0, 0, 0, 0], np.float32).reshape(1, 1, 2, 5)
    arguments = {"transform_matrix": Input(matrix), "output_height": 2, "output_width": 5}
    check_operator("affine", expected, x=Input(x), **arguments, **AFFINE, atol=1e-5)


PLANES = np.zeros((2, 1, 2, 2), np.float32)
POINTS = np.zeros((2, 1, 1, 2), np.float32)
MATRIX = np.zeros((2, 6), np.float32)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"padding_value": np.float32(1)}, "padding_value is 1.0, must be 0"),
        ({"align_corners": False}, "align_corners is False, must be true"),
        ({"sampling_mode": "nearest"}, "sampling_mode is 'nearest', must be bilinear"),
        ({"padding_mode": "border"}, "padding_mode is 'border', must be constant"),
        (
            {"coordinates_mode": "unnormalized"},
            "coordinates_mode is 'unnormalized', must be normalized_minus_one_to_one",
        ),
        ({"output_height": 0}, "output_height is 0, must be 1 to"),
        ({"output_height": 2**31 - 1}, "bytes, must be at most"),
        ({"transform_matrix": MATRIX[:, :5]}, r"transform_matrix is of shape \[2, 5\], must be \[2, 6\] or \[1, 6\]"),
        ({"x": PLANES[0]}, r"x is of shape \[1, 2, 2\], must be \[B, C, H, W\]"),
    ],
)
def test_what_affine_refuses(arguments: dict[str, Any], error: str) -> None:
    given_ = {"x": PLANES, "transform_matrix": MATRIX, "output_height": 1, "output_width": 2, **AFFINE} | arguments
    with pytest.raises(windfall.LoweringError, match=error):
        run_operator("affine", [Output(np.float32, [None] * 4)], **given_)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"sampling_mode": "x"}, "sampling_mode is 'x', must be bilinear or nearest"),
        ({"padding_mode": "x"}, "padding_mode is 'x', must be constant or border or reflection or symmetric"),
        ({"coordinates_mode": "x"}, "coordinates_mode is 'x', must be unnormalized or normalized"),
        ({"coordinates": POINTS[:1]}, r"coordinates is of shape \[1, 1, 1, 2\], must be \[2, H2, W2, 2\]"),
    ],
)
def test_what_resample_refuses(arguments: dict[str, Any], error: str) -> None:
    with pytest.raises(windfall.LoweringError, match=error):
        run_operator(
            "resample", [Output(np.float32, [None] * 4)], **{"x": PLANES, "coordinates": POINTS, **AFFINE} | arguments
        )
