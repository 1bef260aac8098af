"""Parts of pictures, against NumPy, TensorFlow's formula and the definitions' examples."""

from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import windfall
from tests.programs import Input, Output, check_operator, run_operator
from windfall.errors import EngineError

few = settings(max_examples=25, deadline=None)
PICTURE = np.arange(1, 17, dtype=np.float32).reshape(1, 1, 4, 4)


@few
@given(cut=st.lists(st.integers(0, 2), min_size=4, max_size=4), rank=st.integers(3, 5))
def test_crop(cut: list[int], rank: int) -> None:
    x = np.random.default_rng(0).normal(size=[2] * (rank - 2) + [5, 4]).astype(np.float32)
    expected = x[..., cut[0] : 5 - cut[1], cut[2] : 4 - cut[3]]
    check_operator("crop", expected, x=Input(x), crop_height=cut[:2], crop_width=cut[2:])


@pytest.mark.parametrize(
    ("box", "size", "arguments", "expected"),
    [
        ([1, 1, 2, 2], 2, {}, [6, 7, 10, 11]),
        ([1, 1, 2, 2], 1, {}, [8.5]),
        ([2, 2, 1, 1], 2, {}, [11, 10, 7, 6]),
        ([0, 0.0, 0.0, 1 / 3, 1 / 3], 2, {"normalized_coordinates": True}, [1, 2, 5, 6]),
    ],
)
def test_coremltools_examples(box: list[float], size: int, arguments: dict[str, Any], expected: list[float]) -> None:
    roi = np.array(box, np.float32).reshape(1, 1, -1, 1, 1)
    wanted = np.array(expected, np.float32).reshape(1, 1, 1, size, size)
    arguments |= {"target_width": size, "target_height": size, "sampling_mode": "ALIGN_CORNERS"}
    for opset in (5, 6):
        check_operator("crop_resize", wanted, opset=opset, x=Input(PICTURE), roi=roi, **arguments)


@pytest.mark.parametrize("pad_value", [None, 0.0, 10.0])
def test_what_lies_outside_is_padded_from_ios_16_on(pad_value: float | None) -> None:
    boxes = np.array([[0.1, 0.3, 1.3, 1], [0.5, 1.8, 1, 0.3], [0, 0.4, 0.6, 0.7]], np.float32)
    arguments = {"target_width": 2, "target_height": 2, "normalized_coordinates": True}
    arguments |= {"sampling_mode": "ALIGN_CORNERS", "pad_value": None if pad_value is None else np.float32(pad_value)}
    pad = pad_value or 0
    expected = np.array([3.1, 5.2, pad, pad, pad, 7.9, pad, 13.9, 2.2, 3.1, 9.4, 10.3], np.float32).reshape(3, 1, 2, 2)
    indices = np.zeros(3, np.int32)
    check_operator("crop_resize", expected, x=Input(PICTURE), boxes=boxes, box_indices=Input(indices), **arguments)
    roi = np.concatenate([np.zeros((3, 1), np.float32), boxes], 1).reshape(3, 1, 5, 1, 1)
    check_operator("crop_resize", expected[:, None], opset=6, x=Input(PICTURE), roi=roi, **arguments)


def test_what_lies_outside_is_the_nearest_pixel_on_ios_15() -> None:
    roi = np.array([-2, 0, 5, 3], np.float32).reshape(1, 1, 4, 1, 1)
    arguments = {"target_width": 4, "target_height": 2, "sampling_mode": "ALIGN_CORNERS"}
    expected = PICTURE[:, :, [0, 3]][None]
    check_operator("crop_resize", expected, opset=5, x=Input(PICTURE), roi=roi, **arguments)


def grid(mode: str, start: float, end: float, count: int) -> NDArray[Any]:
    """Return the points of a box along one axis: those of resize_bilinear's definition from its start to its end."""
    size, i = end - start + 1, np.arange(count)
    if mode == "ALIGN_CORNERS" and count == 1:
        return np.array([(start + end) / 2])
    points = {
        "STRICT_ALIGN_CORNERS": i * (size - 1) / max(count - 1, 1),
        "ALIGN_CORNERS": i * (size - 1) / max(count - 1, 1),
        "DEFAULT": i * size / count,
        "OFFSET_CORNERS": (i + 0.5) * max(1, size - 1) / count,
        "UNALIGN_CORNERS": (i + 0.5) * size / count - 0.5,
    }[mode]
    return start + np.clip(points, 0, size - 1)


def sampled(plane: NDArray[Any], rows: NDArray[Any], columns: NDArray[Any]) -> NDArray[Any]:
    for axis, points in ((0, rows), (1, columns)):
        below = np.floor(points).astype(int)
        share = (points - below).reshape([-1] + [1] * (1 - axis))
        above = np.minimum(below + 1, plane.shape[axis] - 1)
        plane = np.take(plane, below, axis) * (1 - share) + np.take(plane, above, axis) * share
    return plane


BOX_MODES = ["CORNERS_HEIGHT_FIRST", "CORNERS_WIDTH_FIRST", "CENTER_SIZE_HEIGHT_FIRST", "CENTER_SIZE_WIDTH_FIRST"]
SAMPLING_MODES = ["STRICT_ALIGN_CORNERS", "ALIGN_CORNERS", "DEFAULT", "OFFSET_CORNERS", "UNALIGN_CORNERS"]


@few
@given(
    mode=st.sampled_from(SAMPLING_MODES),
    box_mode=st.sampled_from(BOX_MODES),
    target=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    scale=st.sampled_from([1.0, 0.5]),
    normalized=st.booleans(),
    indexed=st.booleans(),
    seed=st.integers(0, 100),
)
def test_boxes_inside_the_picture(
    mode: str, box_mode: str, target: tuple[int, int], scale: float, normalized: bool, indexed: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(3, 2, 5, 6)).astype(np.float32)
    starts, ends = np.sort(rng.random((2, 3, 2)) * [4, 5], axis=0)
    indices = rng.integers(0, 3, 3) if indexed else np.arange(3)
    expected = [
        [sampled(plane, *(grid(mode, s[a], e[a], target[a]) for a in (0, 1))) for plane in x[i]]
        for i, s, e in zip(indices, starts, ends, strict=True)
    ]
    columns = [starts, ends] if box_mode.startswith("CORNERS") else [(starts + ends) / 2, ends - starts]
    boxes = np.stack(columns, 1) / scale / (np.array([4, 5]) if normalized else 1)
    boxes = boxes if box_mode.endswith("HEIGHT_FIRST") else boxes[..., ::-1]
    check_operator(
        "crop_resize",
        np.array(expected, np.float32),
        opset=7,
        x=Input(x),
        boxes=Input(boxes.reshape(3, 4).astype(np.float32)),
        box_indices=Input(indices) if indexed else None,
        target_height=target[0],
        target_width=target[1],
        normalized_coordinates=normalized,
        spatial_scale=np.float32(scale),
        box_coordinate_mode=box_mode,
        sampling_mode=mode,
        rtol=1e-3,
        atol=1e-3,
    )


def test_boxes_of_all_pictures() -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    roi = np.array([[0, 1, 2, 3], [1, 0, 3, 4]], np.float32).reshape(2, 1, 4, 1, 1)
    expected = np.stack([x[:, :, 0:3:2, 1:4:2], x[:, :, 1:4:2, 0:5:4]])
    arguments = {"target_height": 2, "target_width": 2, "sampling_mode": "STRICT_ALIGN_CORNERS"}
    check_operator("crop_resize", expected, opset=6, x=Input(x), roi=roi, **arguments)


def test_boxes_may_be_whole_numbers() -> None:
    boxes = np.array([[1, 1, 2, 2]], np.uint16)
    arguments = {"target_height": 2, "target_width": 2, "box_indices": np.zeros(1, np.uint16)}
    expected = PICTURE[:, :, 1:3, 1:3]
    check_operator("crop_resize", expected, x=Input(PICTURE), boxes=boxes, **arguments)


@settings(max_examples=15, deadline=None)
@given(corner=st.floats(0, 3, width=32), count=st.integers(1, 9), mode=st.sampled_from(SAMPLING_MODES))
def test_rounding_does_not_put_points_outside(corner: float, count: int, mode: str) -> None:
    boxes = np.array([[corner, 3, 3, 3]], np.float32)
    (got,) = run_operator(
        "crop_resize",
        [Output(np.float32, (1, 1, count, count))],
        x=Input(PICTURE),
        boxes=Input(boxes),
        sampling_mode=mode,
        target_height=count,
        target_width=count,
        pad_value=np.float32(-99),
    )
    assert (got > 0).all()


@pytest.mark.parametrize("boxes", [[[np.nan] * 4], [[np.inf] * 4], [[-1e30, 1e30, 1e38, -1e38]]])
def test_boxes_anywhere_stay_in_memory(boxes: Any) -> None:
    arguments = {"x": Input(PICTURE), "boxes": Input(np.array(boxes, np.float32)), "target_height": 3}
    with suppress(EngineError):
        run_operator("crop_resize", [Output(np.float32, (1, 1, 3, 1))], **arguments)


def test_a_picture_that_is_not_there_makes_a_prediction_fail() -> None:
    boxes, indices = np.zeros((1, 4), np.float32), np.array([1], np.int32)
    with pytest.raises(EngineError, match="ind"):
        run_operator(
            "crop_resize",
            [Output(np.float32, (1, 1, 1, 1))],
            x=Input(PICTURE),
            boxes=boxes,
            box_indices=Input(indices),
        )


BOX = np.zeros((1, 4), np.float32)


@pytest.mark.parametrize(
    ("operator", "arguments", "error"),
    [
        (
            "crop",
            {"crop_height": [3, 2], "crop_width": [0, 0]},
            r"crop_height is \[3, 2\], must be two numbers of pixels",
        ),
        ("crop", {"crop_height": [0, 0], "crop_width": [-1, 0]}, r"crop_width is \[-1, 0\], must be two numbers"),
        ("crop", {"crop_height": [0], "crop_width": [0, 0]}, r"crop_height is \[0\], must be two numbers"),
        ("crop_resize", {}, "boxes must be given, or roi up to iOS 16"),
        ("crop_resize", {"boxes": BOX[:, :3]}, r"boxes is of shape \[1, 3\], must be \[N, 4\]"),
        (
            "crop_resize",
            {"boxes": BOX, "box_indices": [0, 0]},
            r"box_indices is of shape \[2\], must be one for each of 1",
        ),
        ("crop_resize", {"roi": BOX}, r"roi is of shape \[1, 4\], must be \[N, 1, 4, 1, 1\] or \[N, 1, 5, 1, 1\]"),
        ("crop_resize", {"boxes": BOX, "target_width": 0}, "target_width is 0, must be 1 to"),
        (
            "crop_resize",
            {"boxes": BOX, "sampling_mode": "x"},
            "sampling_mode is 'x', must be one of STRICT_ALIGN_CORNERS",
        ),
        (
            "crop_resize",
            {"boxes": BOX, "box_coordinate_mode": "x"},
            "box_coordinate_mode is 'x', must be one of CORNERS",
        ),
        ("crop_resize", {"boxes": BOX, "target_width": 2**31 - 1}, "bytes, must be at most"),
    ],
)
def test_what_is_refused(operator: str, arguments: dict[str, Any], error: str) -> None:
    with pytest.raises(windfall.LoweringError, match=error):
        run_operator(operator, [Output(np.float32, [None] * 4)], x=Input(PICTURE), **arguments)
