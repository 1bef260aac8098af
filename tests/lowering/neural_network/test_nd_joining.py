"""Tensors of any rank joined, split, padded and cut into windows, against NumPy and the specification's examples."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import windfall
from tests.lowering.neural_network.strategies import few, random, tensors
from tests.lowering.neural_network.symbolic import run_symbolic
from tests.support import run_layer
from windfall.errors import EngineError


@few
@given(x=tensors(least_rank=1), data=st.data())
def test_stack_and_concat_are_numpys(x: NDArray[Any], data: st.DataObject) -> None:
    others = [x + 10 * i for i in range(1, data.draw(st.integers(2, 4)))]
    axis = data.draw(st.integers(-x.ndim - 1, x.ndim))
    np.testing.assert_array_equal(run_layer("stack", x, *others, axis=axis), np.stack([x, *others], axis))
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    others[-1] = np.concatenate([others[-1]] * 2, axis)
    np.testing.assert_array_equal(run_layer("concatND", x, *others, axis=axis), np.concatenate([x, *others], axis))


@pytest.mark.parametrize(
    ("interleave", "expected"),
    [
        (False, [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10], [11, 12]]),
        (True, [[1, 2], [7, 8], [3, 4], [9, 10], [5, 6], [11, 12]]),
    ],
)
def test_concat_of_the_example(interleave: bool, expected: list[list[int]]) -> None:
    x, y = np.arange(1, 7).reshape(3, 2), np.arange(7, 13).reshape(3, 2)
    np.testing.assert_array_equal(run_layer("concatND", x, y, axis=0, interleave=interleave), expected)
    np.testing.assert_array_equal(run_symbolic("concatND", x, y, axis=0, interleave=interleave), expected)


@few
@given(x=tensors(least_rank=1, most_rank=4), count=st.integers(2, 3), data=st.data())
def test_interleaved_entries_take_turns(x: NDArray[Any], count: int, data: st.DataObject) -> None:
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    inputs = [x + 10 * i for i in range(count)]
    result = np.moveaxis(run_layer("concatND", *inputs, axis=axis, interleave=True), axis, 0)
    for i, value in enumerate(inputs):
        np.testing.assert_array_equal(result[i::count], np.moveaxis(value, axis, 0))


@few
@given(x=tensors(least_rank=1, most_rank=4), sizes=st.lists(st.integers(1, 3), min_size=2, max_size=4), data=st.data())
def test_split_is_numpys(x: NDArray[Any], sizes: list[int], data: st.DataObject) -> None:
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    x = random(0, np.moveaxis(np.empty((sum(sizes), *x.shape[1:])), 0, axis).shape)
    results = run_layer("splitND", x, outputs=len(sizes), axis=axis, splitSizes=sizes)
    even = run_layer("splitND", x, outputs=len(sizes), axis=axis, numSplits=len(sizes))
    for result, expected in zip(results, np.split(x, np.cumsum(sizes)[:-1], axis), strict=True):
        np.testing.assert_array_equal(result, expected)
    for result, expected in zip(even, np.array_split(x, len(sizes), axis), strict=True):
        np.testing.assert_array_equal(result, expected)


def test_split_of_a_size_known_at_run_time() -> None:
    # The first of one output: run_symbolic asks for a single one.
    x = random(0, (2, 5))
    np.testing.assert_array_equal(run_symbolic("splitND", x, axis=1, numSplits=1), x)


@few
@given(x=tensors(least_rank=1, most_rank=4), data=st.data())
def test_padding_is_numpys(x: NDArray[Any], data: st.DataObject) -> None:
    amounts = data.draw(st.lists(st.integers(0, 3), min_size=2 * x.ndim, max_size=2 * x.ndim))
    expected = np.pad(x, np.reshape(amounts, (x.ndim, 2)), constant_values=34)
    np.testing.assert_array_equal(run_layer("constantPad", x, padAmounts=amounts, value=34), expected)
    np.testing.assert_array_equal(run_layer("constantPad", x, amounts, value=34), expected)


@pytest.mark.parametrize(
    ("dims", "amounts", "to_size", "expected"),
    [
        ((20, 10), [0, 1, 4, 0], False, (21, 14)),
        ((20, 10, 5), [0, 0, 3, 4, 0, 9], False, (20, 17, 14)),
        ((20, 10), [0, 21, 14, 0], True, (21, 14)),
        ((20, 10, 5), [0, 0, 17, 0, 0, 14], True, (20, 17, 14)),
        ((20, 10), [0, 5, 5, 0], True, (20, 10)),
    ],
)
def test_padding_of_the_examples(
    dims: tuple[int, ...], amounts: list[int], to_size: bool, expected: tuple[int, ...]
) -> None:
    x = random(0, dims)
    pads = [
        (max(0, a - size), max(0, b - size)) if to_size else (a, b)
        for size, a, b in zip(dims, amounts[::2], amounts[1::2], strict=True)
    ]
    padded = np.pad(x, pads, constant_values=-1)
    assert padded.shape == expected
    fields = {"value": -1, "padToGivenOutputSizeMode": to_size}
    np.testing.assert_array_equal(run_layer("constantPad", x, padAmounts=amounts, **fields), padded)
    np.testing.assert_array_equal(run_layer("constantPad", x, amounts, **fields), padded)
    np.testing.assert_array_equal(run_symbolic("constantPad", x, padAmounts=amounts, **fields), padded)


@few
@given(x=tensors(least_rank=1, most_rank=4), data=st.data())
def test_windows_are_numpys(x: NDArray[Any], data: st.DataObject) -> None:
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    window, step = data.draw(st.integers(1, x.shape[axis])), data.draw(st.integers(1, 4))
    view = np.lib.stride_tricks.sliding_window_view(x, window, axis)
    front = axis % x.ndim
    view = np.moveaxis(view, -1, front + 1)  # [.., M, .., W] -> [.., M, W, ..]
    expected = view[(slice(None),) * front + (slice(None, None, step),)]
    fields = {"axis": axis, "windowSize": window, "step": step}
    np.testing.assert_array_equal(run_layer("slidingWindows", x, **fields), expected)
    np.testing.assert_array_equal(run_symbolic("slidingWindows", x, **fields), expected)


def test_a_window_longer_than_the_axis_fails_at_run_time() -> None:
    with pytest.raises(EngineError, match="out of data bounds"):
        run_symbolic("slidingWindows", np.ones(3), axis=0, windowSize=4, step=1)


@pytest.mark.parametrize(
    ("layer_type", "inputs", "fields", "message"),
    [
        ("stack", [(2,), (2, 1)], {}, r"input has ranks \[1, 2\], must all have the same rank"),
        ("stack", [(2,), (2,)], {"axis": 2}, "axis is 2, must be -2 to 1 for an output of rank 2"),
        ("stack", [(2,), (3,)], {}, r"input is 'x0' \[2\], 'x1' \[3\], does not fit the layer"),
        ("concatND", [(2,), (2, 1)], {}, r"input has ranks \[1, 2\], must all have the same rank"),
        ("concatND", [(2,), (2,)], {"axis": 1}, "axis is 1, must be -1 to 0 for an input of rank 1"),
        ("concatND", [(2,), (3,)], {"interleave": True}, r"input is 'x0' \[2\], 'x1' \[3\], does not fit the layer"),
        ("splitND", [(4,)], {"numSplits": 3}, "numSplits is 3, must stand for the layer's 1 outputs"),
        ("splitND", [(4,)], {"splitSizes": [3]}, r"splitSizes is \[3\], must be 4 together"),
        (
            "constantPad",
            [(2, 3)],
            {"padAmounts": [1]},
            r"padAmounts is \[1\], must be 4 numbers for an input of rank 2",
        ),
        ("constantPad", [(2,)], {"padAmounts": [0, 2**40]}, r"padAmounts is .*, must be 0 to \d+ at every edge"),
        (
            "constantPad",
            [(2,)],
            {"padAmounts": [3, 4], "padToGivenOutputSizeMode": True},
            r"padAmounts is \[3, 4\], must be 0 before or after each axis for padToGivenOutputSizeMode",
        ),
        ("constantPad", [(2,), (3,)], {}, r"input for padAmounts has shape \[3\], must be a vector of 2"),
        ("slidingWindows", [(2,)], {"windowSize": 3, "step": 1}, "windowSize is 3, must be 1 to 2 along axis 0"),
        ("slidingWindows", [(2,)], {"windowSize": 2}, "step is 0, must be at least 1"),
    ],
)
def test_what_does_not_fit_is_refused(
    layer_type: str, inputs: list[tuple[int, ...]], fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(windfall.LoweringError, match=message):
        run_layer(layer_type, *map(np.ones, inputs), **fields)


def test_more_parts_than_entries_are_refused() -> None:
    with pytest.raises(
        windfall.LoweringError, match="numSplits is 3, must be at most the input's size along axis 0, 2"
    ):
        run_layer("splitND", np.ones(2), outputs=3, numSplits=3)
