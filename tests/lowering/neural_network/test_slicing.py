"""Concatenation, splitting and slicing against NumPy."""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.lowering.neural_network.strategies import few, random, seeds, tensors
from tests.support import run_layer
from windfall.errors import LoweringError

AXES = {"CHANNEL_AXIS": -3, "HEIGHT_AXIS": -2, "WIDTH_AXIS": -1}


@few
@given(x=tensors(), sizes=st.lists(st.integers(1, 4), min_size=1, max_size=3))
def test_concat_joins_channels(x: NDArray[Any], sizes: list[int]) -> None:
    others = [random(size, (*x.shape[:-3], size, *x.shape[-2:])) for size in sizes]
    np.testing.assert_array_equal(run_layer("concat", x, *others), np.concatenate([x, *others], axis=-3))


@few
@given(x=tensors(least_rank=5), size=st.integers(1, 4))
def test_sequence_concat_joins_the_fifth_axis_from_the_end(x: NDArray[Any], size: int) -> None:
    other = random(size, (size, *x.shape[1:]))
    y = run_layer("concat", x, other, sequenceConcat=True)
    np.testing.assert_array_equal(y, np.concatenate([x, other], axis=-5))


def test_concat_in_a_network_of_rank_5() -> None:
    x, y = random(0, (2, 3, 4, 1, 2)), random(1, (2, 3, 1, 1, 2))
    np.testing.assert_array_equal(run_layer("concat", x, y, rank5=True), np.concatenate([x, y], axis=2))


@pytest.mark.parametrize(
    ("shapes", "sequence", "message"),
    [
        ([(2, 2), (2, 2)], False, r"input has ranks \[2, 2\], must all have the same rank of 3 or more"),
        ([(1, 2, 2), (1, 1, 2, 2)], False, r"input has ranks \[3, 4\], must all have the same rank of 3 or more"),
        ([(1, 2, 2), (1, 2, 2)], True, r"input has ranks \[3, 3\], must all have the same rank of 5 or more"),
        ([(1, 2, 2), (1, 3, 2)], False, r"input is 'x0' \[1, 2, 2\], 'x1' \[1, 3, 2\], does not fit the layer"),
    ],
)
def test_inputs_of_concat_must_fit(shapes: list[tuple[int, ...]], sequence: bool, message: str) -> None:
    with pytest.raises(LoweringError, match=message):
        run_layer("concat", *map(np.ones, shapes), sequenceConcat=sequence)


@few
@given(x=tensors(), count=st.integers(2, 4))
def test_split_cuts_the_channels(x: NDArray[Any], count: int) -> None:
    x = np.concatenate([x + i for i in range(count)], axis=-3)
    parts = run_layer("split", x, outputs=count, nOutputs=count)
    for part, expected in zip(parts, np.split(x, count, axis=-3), strict=True):
        np.testing.assert_array_equal(part, expected)


def test_split_into_parts_that_do_not_come_out_even_is_refused() -> None:
    with pytest.raises(LoweringError, match="nOutputs is 2, must divide the input's number of channels, 3"):
        run_layer("split", np.ones((3, 1, 1)), outputs=2, nOutputs=2)


def test_split_must_name_each_output() -> None:
    with pytest.raises(LoweringError, match="nOutputs is 3, must be the layer's number of outputs, 2"):
        run_layer("split", np.ones((6, 1, 1)), outputs=2, nOutputs=3)


def test_split_needs_a_channel_axis() -> None:
    with pytest.raises(LoweringError, match="input has rank 2, must have rank 3 or more"):
        run_layer("split", np.ones((2, 2)), outputs=2, nOutputs=2)


@few
@given(
    axis=st.sampled_from(sorted(AXES)),
    start=st.integers(-6, 5),
    end=st.integers(-5, 9).filter(bool),
    stride=st.integers(1, 4),
    rank=st.integers(3, 5),
    seed=seeds,
)
def test_slice_is_numpys(axis: str, start: int, end: int, stride: int, rank: int, seed: int) -> None:
    x = random(seed, [2, 3, 6, 6, 6][5 - rank :])
    section: list[slice] = [slice(None)] * rank
    section[AXES[axis]] = slice(start, end, stride)
    expected = x[tuple(section)]
    assume(expected.size)
    y = run_layer("slice", x, axis=axis, startIndex=start, endIndex=end, stride=stride)
    np.testing.assert_array_equal(y, expected)


def test_slice_to_an_end_of_0_reaches_the_end() -> None:
    x = random(0, (1, 1, 5))
    y = run_layer("slice", x, axis="WIDTH_AXIS", startIndex=2, endIndex=0, stride=1)
    np.testing.assert_array_equal(y, x[..., 2:])
    y = run_layer("slice", x, axis="WIDTH_AXIS", startIndex=-2, endIndex=0, stride=1)
    np.testing.assert_array_equal(y, x[..., -2:])


@pytest.mark.parametrize(
    ("dims", "fields", "message"),
    [
        ((1, 1, 5), {"axis": "WIDTH_AXIS", "endIndex": 3}, "stride is 0, must be at least 1"),
        (
            (2, 2),
            {"axis": "CHANNEL_AXIS", "endIndex": 1, "stride": 1},
            "axis is 0, must be 0 to 2 for C, H or W, and an axis of the input of rank 2",
        ),
        (
            (1, 1, 5),
            {"axis": "WIDTH_AXIS", "startIndex": 3, "endIndex": -2, "stride": 1},
            "startIndex is 3, and endIndex is -2; they must enclose a part of the axis, which has size 5",
        ),
        (
            (1, 1, 5),
            {"axis": "WIDTH_AXIS", "startIndex": -6, "endIndex": 2, "stride": 1},
            "startIndex is -6, and endIndex is 2; they must enclose a part of the axis, which has size 5",
        ),
    ],
)
def test_a_section_that_has_no_meaning_is_refused(dims: tuple[int, ...], fields: dict[str, Any], message: str) -> None:
    with pytest.raises(LoweringError, match=message):
        run_layer("slice", np.ones(dims), **fields)
