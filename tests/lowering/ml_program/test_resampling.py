"""Other numbers of pixels along the last axes, against PyTorch and the formulas of the definitions."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import windfall
from tests.programs import Input, Output, check_operator, run_operator

few = settings(max_examples=25, deadline=None)
sizes = st.integers(1, 6)
MODES = ["STRICT_ALIGN_CORNERS", "ALIGN_CORNERS", "DEFAULT", "OFFSET_CORNERS", "UNALIGN_CORNERS"]


def picture(*dims: int) -> NDArray[Any]:
    return np.random.default_rng(0).normal(size=dims).astype(np.float32)


def grid(mode: str, size: int, count: int) -> NDArray[Any]:
    """Return the points of a sampling mode as the definition of resize_bilinear has them."""
    i = np.arange(count)
    if mode == "ALIGN_CORNERS" and count == 1:
        return np.array([(size - 1) / 2])
    spacing, first = {
        "STRICT_ALIGN_CORNERS": ((size - 1) / max(count - 1, 1), 0.0),
        "ALIGN_CORNERS": ((size - 1) / max(count - 1, 1), 0.0),
        "DEFAULT": ((size - size / count) / max(count - 1, 1), 0.0),
        "OFFSET_CORNERS": (max(1, size - 1) / count, 0.5 * max(1, size - 1) / count),
        "UNALIGN_CORNERS": (size / count, 0.5 * size / count - 0.5),
    }[mode]
    return np.clip(first + i * spacing, 0, size - 1)


def interpolated(x: NDArray[Any], axis: int, points: NDArray[Any]) -> NDArray[Any]:
    below = np.floor(points).astype(int)
    above = np.minimum(below + 1, x.shape[axis] - 1)
    share = (points - below).reshape([-1] + [1] * (x.ndim - axis - 1))
    return np.take(x, below, axis) * (1 - share) + np.take(x, above, axis) * share


def resized(x: NDArray[Any], counts: list[int], mode: str) -> NDArray[Any]:
    for axis, count in enumerate(counts, x.ndim - len(counts)):
        x = interpolated(x, axis, grid(mode, x.shape[axis], count))
    return x.astype(np.float32)


@pytest.mark.parametrize(
    ("mode", "count", "points"),
    [
        ("UNALIGN_CORNERS", 5, [0.0, 0.1, 0.5, 0.9, 1.0]),
        ("STRICT_ALIGN_CORNERS", 5, [0.0, 0.25, 0.5, 0.75, 1.0]),
        ("ALIGN_CORNERS", 5, [0.0, 0.25, 0.5, 0.75, 1.0]),
        ("DEFAULT", 5, [0.0, 0.4, 0.8, 1.0, 1.0]),
        ("OFFSET_CORNERS", 5, [0.1, 0.3, 0.5, 0.7, 0.9]),
        ("UNALIGN_CORNERS", 6, [0.0, 0.0, 1 / 3, 2 / 3, 1.0, 1.0]),
        ("DEFAULT", 6, [0.0, 1 / 3, 2 / 3, 1.0, 1.0, 1.0]),
        ("ALIGN_CORNERS", 1, [0.5]),
        ("STRICT_ALIGN_CORNERS", 1, [0.0]),
    ],
)
def test_the_definitions_grids(mode: str, count: int, points: list[float]) -> None:
    x = np.array([0, 1], np.float32).reshape(1, 1, 2)
    expected = np.array(points, np.float32).reshape(1, 1, count)
    arguments = {"target_size_height": 1, "target_size_width": count, "sampling_mode": mode}
    check_operator("resize_bilinear", expected, x=Input(x), **arguments)


@few
@given(h=sizes, w=sizes, new=st.tuples(sizes, sizes), mode=st.sampled_from(MODES), rank=st.integers(3, 5))
def test_resize_bilinear(h: int, w: int, new: tuple[int, int], mode: str, rank: int) -> None:
    x = picture(*[2] * (rank - 2), h, w)
    arguments = {"target_size_height": new[0], "target_size_width": new[1], "sampling_mode": mode}
    check_operator("resize_bilinear", resized(x, list(new), mode), x=Input(x), rtol=1e-4, atol=1e-5, **arguments)


@few
@given(
    dims=st.lists(sizes, min_size=1, max_size=4),
    data=st.data(),
    mode=st.sampled_from(MODES),
    fed=st.booleans(),
)
def test_resize_takes_any_number_of_axes_and_computed_sizes(
    dims: list[int], data: st.DataObject, mode: str, fed: bool
) -> None:
    x = picture(*dims)
    count = data.draw(st.integers(0, len(dims)))
    ignored = data.draw(st.integers(0, len(dims) - count))
    shape = np.array([1] * ignored + [data.draw(st.integers(0, 6)) for _ in range(count)], np.int32)
    if not shape.size:
        shape = np.array([1], np.int32)
    wanted = [int(new) or old for new, old in zip(shape[len(shape) - count :], dims[len(dims) - count :], strict=True)]
    check_operator(
        "resize",
        resized(x, wanted, mode),
        x=Input(x),
        shape=Input(shape) if fed else shape,
        resized_dims=np.uint32(count),
        interpolation_mode="LINEAR",
        sampling_mode=mode,
        rtol=1e-4,
        atol=1e-5,
    )


def test_resize_of_whole_numbers_cuts_fractions_off() -> None:
    x = np.array([[0, 2**30 + 1]], np.int32)
    wanted = np.array([[0, (2**30 + 1) // 10, (2**30 + 1) // 2, (2**30 + 1) * 9 // 10, 2**30 + 1]], np.int32)
    (got,) = run_operator(
        "resize", [Output(np.int32, (1, 5))], x=Input(x), shape=[5], resized_dims=np.uint32(1),
        sampling_mode="UNALIGN_CORNERS",
    )  # fmt: skip
    np.testing.assert_array_equal(got, wanted)


def exact_nearest(x: NDArray[Any], counts: list[int]) -> NDArray[Any]:
    return torch.nn.functional.interpolate(torch.from_numpy(x), counts, mode="nearest-exact").numpy()


@few
@given(h=sizes, w=sizes, new=st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_resize_nearest_neighbor_takes_the_pixel_under_the_middle(h: int, w: int, new: tuple[int, int]) -> None:
    x = picture(1, 2, h, w)
    expected = exact_nearest(x, list(new))
    check_operator("resize_nearest_neighbor", expected, x=Input(x), target_size_height=new[0], target_size_width=new[1])
    check_operator(
        "resize",
        expected,
        x=Input(x),
        shape=list(new),
        resized_dims=np.uint32(2),
        interpolation_mode="NEAREST_NEIGHBOR",
    )


def test_resize_takes_the_nearest_pixel() -> None:
    x = np.array([-6.174, 9.371], np.float32).reshape(1, 1, 1, 2, 1)
    expected = np.array([-6.174, -6.174, 9.371, 9.371, 9.371, 9.371], np.float32).reshape(1, 1, 1, 3, 2)
    arguments = {"shape": [1, 1, 3, 2], "resized_dims": np.uint32(2), "interpolation_mode": "NEAREST_NEIGHBOR"}
    check_operator("resize", expected, x=Input(x), sampling_mode="DEFAULT", **arguments)
    x = np.arange(4, dtype=np.float32)
    arguments |= {"shape": [7], "resized_dims": np.uint32(1)}
    check_operator("resize", x[[0, 1, 1, 2, 2, 3, 3]], x=Input(x), sampling_mode="STRICT_ALIGN_CORNERS", **arguments)


@pytest.mark.parametrize("factors", [(2, 3), (3.17, 0.67), (2.0, 1.12), (1, 1), (1.0, 2.5)])
def test_upsample_nearest_neighbor(factors: tuple[float, float]) -> None:
    x = picture(2, 2, 3, 4)
    new = [int(np.floor(np.float32(size) * np.float32(factor))) for size, factor in zip((3, 4), factors, strict=True)]
    expected = torch.nn.functional.interpolate(torch.from_numpy(x), new, mode="nearest").numpy()
    height, width = factors
    check_operator(
        "upsample_nearest_neighbor", expected, x=Input(x), scale_factor_height=height, scale_factor_width=width
    )


@pytest.mark.parametrize("factors", [(2, 3), (2.5, 2.0), (0.5, 0.75)])
@pytest.mark.parametrize("aligned", [True, False])
def test_upsample_bilinear_is_pytorchs(factors: tuple[float, float], aligned: bool) -> None:
    x = picture(2, 3, 4, 8)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(x), scale_factor=factors, mode="bilinear", align_corners=aligned, recompute_scale_factor=True
    ).numpy()
    arguments = {"scale_factor_height": factors[0], "scale_factor_width": factors[1], "align_corners": aligned}
    check_operator("upsample_bilinear", expected, x=Input(x), **arguments)
    check_operator("upsample_bilinear", expected, x=Input(x), half_pixel_centers=not aligned, **arguments)


def test_upsample_bilinear_from_corner_to_corner() -> None:
    x = np.array([1, 2], np.float32).reshape(1, 1, 1, 2)
    expected = np.array([[1, 4 / 3, 5 / 3, 2, 2, 2]] * 2, np.float32).reshape(1, 1, 2, 6)
    arguments = {"scale_factor_height": 2, "scale_factor_width": 3}
    check_operator(
        "upsample_bilinear", expected, x=Input(x), align_corners=False, half_pixel_centers=False, **arguments
    )


@pytest.mark.parametrize(
    ("operator", "arguments", "error"),
    [
        ("upsample_bilinear", {"scale_factor_width": 0.0}, "scale_factor_width is 0.0, must be above 0"),
        ("upsample_bilinear", {"scale_factor_width": 0.1}, r"scale_factor_height and width leave no pixel of \[2, 3\]"),
        ("upsample_bilinear", {"half_pixel_centers": True}, "half_pixel_centers is True, must be false where"),
        ("upsample_nearest_neighbor", {"scale_factor_height": -1}, "scale_factor_height is -1.0, must be above 0"),
        ("resize_bilinear", {"target_size_width": 0}, "target_size_width is 0, must be 1 to"),
        ("resize_bilinear", {"sampling_mode": "x"}, "sampling_mode is 'x', must be one of STRICT_ALIGN_CORNERS, "),
        ("resize", {"shape": [2], "resized_dims": np.uint32(2)}, "resized_dims is 2, must be 0 to 1"),
        (
            "resize",
            {"shape": [1] * 4, "resized_dims": np.uint32(2)},
            r"shape is of shape \[4\], must be at most 3 sizes",
        ),
        ("resize", {"shape": [-1], "resized_dims": np.uint32(1)}, r"shape is \[-1\], must be sizes of at least 0"),
        (
            "resize",
            {"shape": [2], "resized_dims": np.uint32(1), "interpolation_mode": "x"},
            "interpolation_mode is 'x', must be LINEAR or NEAREST_NEIGHBOR",
        ),
    ],
)
def test_what_is_refused(operator: str, arguments: dict[str, Any], error: str) -> None:
    with pytest.raises(windfall.LoweringError, match=error):
        run_operator(operator, [Output(np.float32, [None] * 3)], x=Input(picture(1, 2, 3)), **arguments)


def test_planes_must_be_planes() -> None:
    with pytest.raises(windfall.LoweringError, match=r"x is of shape \[2, 3\], must have rank 3 or more"):
        run_operator("upsample_bilinear", [Output(np.float32, [2, 3])], x=Input(picture(2, 3)))


def test_sizes_beyond_memory_are_refused() -> None:
    arguments = {"target_size_height": 2**31 - 1, "target_size_width": 2**31 - 1}
    with pytest.raises(windfall.LoweringError, match="bytes, must be at most"):
        run_operator("resize_bilinear", [Output(np.float32, [None] * 3)], x=Input(picture(1, 2, 3)), **arguments)
