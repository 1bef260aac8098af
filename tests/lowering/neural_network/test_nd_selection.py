"""Sorting and finding elements of tensors of any rank, against NumPy."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from tests.lowering.neural_network.strategies import few, random, seeds, tensors
from tests.lowering.neural_network.symbolic import run_symbolic
from tests.support import layer_spec, run_layer
from windfall.errors import LoweringError
from windfall.lowering.neural_network.network import lower_network
from windfall.spec.modelfile import from_spec

MATRICES = tensors(least_rank=2)


def sorting(x: NDArray[Any], axis: int, descending: bool) -> NDArray[Any]:
    return np.argsort(-x if descending else x, axis=axis, kind="stable")


@few
@given(x=tensors(least_rank=1), data=st.data(), bottom=st.booleans(), as_input=st.booleans())
def test_top_k_finds_elements_and_indices(x: NDArray[Any], data: Any, bottom: bool, as_input: bool) -> None:
    x = np.round(x)  # so that some are equal
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    k = data.draw(st.integers(1, x.shape[axis]))
    inputs, fields = ([x, [k]], {"K": 99}) if as_input else ([x], {"K": k})
    values, indices = run_layer("topK", *inputs, outputs=2, axis=axis, useBottomK=bottom, **fields)
    expected = np.take(sorting(x, axis, not bottom), range(k), axis=axis)
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_array_equal(values, np.take_along_axis(x, expected, axis))


def test_the_other_sizes_of_top_k_stay_known() -> None:
    spec = layer_spec("topK", np.ones((2, 3, 4)), np.ones(1), outputs=2, axis=1)
    lowered = lower_network(from_spec(spec), {"x0": (2, 3, "n"), "x1": (1,)})
    for output in lowered.graph.outputs:
        assert output.shape is not None
        assert [str(dim) for dim in output.shape] == ["2", "None", "n"]


@few
@given(x=tensors(least_rank=1), data=st.data(), descending=st.booleans())
def test_arg_sort_matches_numpy(x: NDArray[Any], data: Any, descending: bool) -> None:
    x = np.round(x)
    axis = data.draw(st.integers(0, x.ndim - 1))
    expected = sorting(x, axis, descending)
    np.testing.assert_array_equal(run_layer("argSort", x, axis=axis, descending=descending), expected)
    np.testing.assert_array_equal(run_symbolic("argSort", x, axis=axis, descending=descending), expected)


@pytest.mark.parametrize(
    ("x", "axis", "descending", "expected"),
    [
        ([3.1, 5.4, 32.9, 3.2, 77.0], 0, False, [0, 3, 1, 2, 4]),
        ([3.1, 5.4, 32.9, 3.2, 77.0], 0, True, [4, 2, 1, 3, 0]),
        ([[3, 5, 32], [3, 77, 6]], 1, False, [[0, 1, 2], [0, 2, 1]]),
        ([[3, 5, 32], [3, 77, 6]], 1, True, [[2, 1, 0], [1, 2, 0]]),
    ],
)
def test_arg_sort_matches_the_examples(x: Any, axis: int, descending: bool, expected: Any) -> None:
    np.testing.assert_array_equal(run_layer("argSort", x, axis=axis, descending=descending), expected)


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        ([0, 1, 0, 2], [[1], [3]]),
        ([[1, 2, 1], [0, 2, 2], [2, 1, 0]], [[0, 0], [0, 1], [0, 2], [1, 1], [1, 2], [2, 0], [2, 1]]),
        ([[0, 0]], np.zeros((0, 2))),
    ],
)
def test_where_non_zero_matches_the_examples(x: Any, expected: Any) -> None:
    np.testing.assert_array_equal(run_layer("whereNonZero", x), expected)


@few
@given(x=tensors(least_rank=1))
def test_where_non_zero_matches_numpy(x: NDArray[Any]) -> None:
    x = np.trunc(x)
    np.testing.assert_array_equal(run_layer("whereNonZero", x), np.transpose(np.nonzero(x)))
    np.testing.assert_array_equal(run_symbolic("whereNonZero", x), np.transpose(np.nonzero(x)))


def test_one_hot_matches_the_examples() -> None:
    fields = {"oneHotVectorSize": 4, "axis": -1, "onValue": 5, "offValue": -1}
    np.testing.assert_array_equal(run_layer("oneHot", [2, 0], **fields), [[-1, -1, 5, -1], [5, -1, -1, -1]])
    np.testing.assert_array_equal(run_layer("oneHot", [2, -1], **fields), [[-1, -1, 5, -1], [-1, -1, -1, -1]])


@few
@given(
    shape=hnp.array_shapes(min_dims=1, max_dims=4, max_side=3),
    size=st.integers(1, 6),
    data=st.data(),
    as_input=st.booleans(),
    seed=seeds,
)
def test_one_hot_inserts_an_axis(shape: tuple[int, ...], size: int, data: Any, as_input: bool, seed: int) -> None:
    axis = data.draw(st.integers(-len(shape) - 1, len(shape)))
    x = np.random.default_rng(seed).integers(-2, 8, shape)
    fields = {"axis": axis, "onValue": 30.0, "offValue": -4.0}
    expected = np.stack([np.where(x == index, 30, -4) for index in range(size)], axis=axis)
    if as_input:
        y = run_layer("oneHot", x, [size], oneHotVectorSize=99, **fields)
    else:
        y = run_layer("oneHot", x, oneHotVectorSize=size, **fields)
        np.testing.assert_array_equal(run_symbolic("oneHot", x, oneHotVectorSize=size, **fields), expected)
    np.testing.assert_array_equal(y, expected)


def band(rows: int, columns: int, lower: int, upper: int) -> NDArray[Any]:
    m, n = np.ogrid[:rows, :columns]
    return ((lower < 0) | (m - n <= lower)) & ((upper < 0) | (n - m <= upper))


@few
@given(x=MATRICES, lower=st.integers(-7, 7), upper=st.integers(-7, 7))
def test_matrix_band_part_follows_its_formula(x: NDArray[Any], lower: int, upper: int) -> None:
    expected = np.where(band(*x.shape[-2:], lower, upper), x, 0)
    np.testing.assert_array_equal(run_layer("matrixBandPart", x, numLower=lower, numUpper=upper), expected)
    np.testing.assert_array_equal(run_symbolic("matrixBandPart", x, numLower=lower, numUpper=upper), expected)


@few
@given(x=MATRICES, k=st.integers(-7, 7))
def test_triangles_match_numpy(x: NDArray[Any], k: int) -> None:
    np.testing.assert_array_equal(run_layer("upperTriangular", x, k=k), np.triu(x, k))
    np.testing.assert_array_equal(run_layer("lowerTriangular", x, k=k), np.tril(x, k))
    np.testing.assert_array_equal(run_symbolic("lowerTriangular", x, k=k), np.tril(x, k))


def test_what_is_cut_off_is_zero_whatever_it_was() -> None:
    x = np.full((2, 2), np.nan, np.float32)
    np.testing.assert_array_equal(run_layer("lowerTriangular", x, k=-(2**62)), np.zeros((2, 2)))


@pytest.mark.parametrize(
    ("layer_type", "dims", "fields", "message"),
    [
        ("topK", (2, 3), {"axis": 2, "K": 1}, "axis is 2, must be -2 to 1 for an input of rank 2"),
        ("topK", (2, 3), {"axis": 1, "K": 4}, "K is 4, must be 1 to the size of axis 1, 3"),
        ("topK", (2, 3), {"axis": -1}, "K is 0, must be 1 to the size of axis 1, 3"),
        ("argSort", (2, 3), {"axis": -1}, "axis is -1, must be 0 to 1 for an input of rank 2"),
        ("oneHot", (2,), {"axis": 2}, "axis is 2, must be -2 to 1 for an input of rank 2"),
        ("matrixBandPart", (3,), {}, "input has rank 1, must have rank 2 or more"),
        ("upperTriangular", (3,), {}, "input has rank 1, must have rank 2 or more"),
        ("lowerTriangular", (3,), {}, "input has rank 1, must have rank 2 or more"),
    ],
)
def test_wrong_parameters_are_refused(
    layer_type: str, dims: tuple[int, ...], fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(LoweringError, match=message):
        run_layer(layer_type, np.ones(dims), outputs=2 if layer_type == "topK" else 1, **fields)


def test_k_has_a_lower_bound_also_where_the_size_is_unknown() -> None:
    spec = layer_spec("topK", random(0, (3,)), outputs=2, K=0)
    with pytest.raises(LoweringError, match="K is 0, must be 1 to the size of axis 0, which is known only at run time"):
        lower_network(from_spec(spec), {"x0": ("n",)})
