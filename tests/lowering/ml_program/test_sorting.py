"""Sorting and finding elements, against NumPy."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import windfall
from tests.lowering.neural_network.strategies import few, random, seeds
from tests.programs import Input, Output, check_operator, run_operator

NUMBERS = [np.float32, np.int32, np.int8, np.uint8, np.int16, np.uint16]


def order(x: NDArray[Any], axis: int, ascending: bool) -> NDArray[Any]:
    wide = x.astype(np.float64)
    return np.argsort(wide if ascending else -wide, axis=axis, kind="stable")


@few
@given(
    dims=st.lists(st.integers(1, 4), min_size=1, max_size=3), dtype=st.sampled_from(NUMBERS), ascending=st.booleans(),
    data=st.data(), seed=seeds,
)  # fmt: skip
def test_topk_and_argsort_keep_the_order_of_equal_elements(
    dims: list[int], dtype: Any, ascending: bool, data: st.DataObject, seed: int
) -> None:
    x = random(seed, dims, 0, 4).astype(np.int64).astype(dtype)
    axis = data.draw(st.integers(-len(dims), len(dims) - 1))
    indices = order(x, axis, ascending)
    check_operator("argsort", indices, x=Input(x), axis=axis, ascending=ascending)
    k = data.draw(st.sampled_from([-1, *range(1, dims[axis] + 1)]))
    first = np.take(indices, range(dims[axis] if k < 0 else k), axis)
    expected = [np.take_along_axis(x, first, axis), first]
    check_operator("topk", expected, x=Input(x), k=k, axis=axis, ascending=ascending)


def test_topk_of_later_versions() -> None:
    x = np.array([[2, 3, 1], [5, 4, 6]], np.int32)
    best = [np.array([[3], [6]]), np.array([[1], [2]])]
    check_operator("topk", best, opset=5, x=Input(x))
    check_operator("topk", best[0], opset=6, x=Input(x), sort=False, return_indices=False)
    for name, dtype in (("int32", np.int32), ("uint16", np.uint16)):
        typed = [best[0], best[1].astype(dtype)]
        check_operator("topk", typed, opset=7, x=Input(x), k=np.int8(1), output_indices_dtype=name)


@pytest.mark.parametrize("dtype", [*NUMBERS, np.bool_])
def test_non_zero(dtype: Any) -> None:
    x = np.array([[3, 0, 0], [0, 1, 0], [5, 6, 0]]).astype(dtype)
    outputs = [Output(np.int32, [None, 2])]
    for dims in (None, [None, None]):
        (result,) = run_operator("non_zero", outputs, x=Input(x, dims))
        np.testing.assert_array_equal(result, np.argwhere(x))
    (result,) = run_operator("non_zero", outputs, x=Input(np.zeros((2, 2), dtype)))
    assert result.shape == (0, 2)


@few
@given(dims=st.lists(st.integers(1, 4), min_size=2, max_size=3), lower=st.integers(-1, 4), upper=st.integers(-1, 4),
       dtype=st.sampled_from([np.float32, np.int32, np.bool_]))  # fmt: skip
def test_band_part_takes_the_formula_of_its_definition(dims: list[int], lower: int, upper: int, dtype: Any) -> None:
    x = random(1, dims, 1, 2).astype(dtype)
    m, n = np.indices(dims[-2:])
    band = ((lower < 0) | (m - n <= lower)) & ((upper < 0) | (n - m <= upper))
    check_operator("band_part", np.where(band, x, np.zeros((), dtype)), x=Input(x), lower=lower, upper=upper)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("axis", [0, -1])
def test_cumsum(dtype: Any, reverse: bool, exclusive: bool, axis: int) -> None:
    x = random(1, (3, 4)).astype(dtype)
    forward = np.flip(x, axis) if reverse else x
    sums = np.cumsum(forward, axis) - (forward if exclusive else 0)
    expected = (np.flip(sums, axis) if reverse else sums).astype(dtype)
    check_operator("cumsum", expected, x=Input(x), axis=axis, exclusive=exclusive, reverse=reverse)
    if axis == 0:
        check_operator("cumsum", np.cumsum(x, 0).astype(dtype), x=Input(x))


@pytest.mark.parametrize(
    ("operator", "arguments", "message"),
    [
        ("topk", {"k": 4, "axis": 1}, "k is 4, must be 0 to 3 of axis 1, or -1"),
        ("topk", {"k": -2}, "k is -2, must be 0 to 3 of axis 1, or -1"),
        ("topk", {"axis": 2}, "axis is 2, must be -2 to 1"),
        ("topk", {"output_indices_dtype": "int8"}, "output_indices_dtype is 'int8', must be 'int32' or 'uint16'"),
        ("argsort", {"axis": -3}, "axis is -3, must be -2 to 1"),
        ("cumsum", {"axis": 2}, "axis is 2, must be -2 to 1"),
    ],
)
def test_what_does_not_fit_is_refused(operator: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(windfall.LoweringError, match=message):
        run_operator(operator, [Output(np.float32, (2, 1))] * 2, x=Input(np.zeros((2, 3))), **arguments)


def test_a_band_needs_a_matrix() -> None:
    with pytest.raises(windfall.LoweringError, match="x is of rank 1, must have rank 2 or more"):
        run_operator("band_part", [Output(np.float32, (2,))], x=Input(np.zeros(2)))
