"""Entries read from, and written to, places that indices name, against NumPy and the specification's examples."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import windfall
from tests.lowering.neural_network.strategies import few, random, seeds, tensors
from tests.lowering.neural_network.symbolic import run_symbolic
from tests.support import run_layer
from windfall.errors import EngineError

MODES: dict[str, Callable[[Any, Any], Any]] = {
    "SCATTER_UPDATE": lambda _, update: update,
    "SCATTER_ADD": np.add,
    "SCATTER_SUB": np.subtract,
    "SCATTER_MUL": np.multiply,
    "SCATTER_DIV": np.divide,
    "SCATTER_MAX": np.maximum,
    "SCATTER_MIN": np.minimum,
}
modes = st.sampled_from(sorted(MODES))
index_shapes = st.lists(st.integers(1, 3), min_size=1, max_size=3)


def drawn(seed: int, size: int, dims: Any) -> NDArray[Any]:
    """Return indices into an axis, negative ones among them."""
    return np.random.default_rng(seed).integers(-size, size, dims)


def scattered(x: NDArray[Any], mode: str, updates: list[tuple[Any, NDArray[Any]]]) -> NDArray[Any]:
    """Apply updates one by one, each to the part that an index names."""
    result = x.astype(np.float64)
    for index, update in updates:
        result[index] = MODES[mode](result[index], update)
    return result


@few
@given(x=tensors(least_rank=1, most_rank=4), dims=index_shapes, seed=seeds, data=st.data())
def test_gather_is_numpys(x: NDArray[Any], dims: list[int], seed: int, data: st.DataObject) -> None:
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    indices = drawn(seed, x.shape[axis], dims)
    np.testing.assert_array_equal(run_layer("gather", x, indices, axis=axis), np.take(x, indices, axis))
    np.testing.assert_array_equal(run_symbolic("gather", x, indices, axis=axis), np.take(x, indices, axis))


@few
@given(x=tensors(least_rank=1, most_rank=4), count=st.integers(1, 5), mode=modes, seed=seeds, data=st.data())
def test_along_an_axis_is_numpys(x: NDArray[Any], count: int, mode: str, seed: int, data: st.DataObject) -> None:
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    dims = list(x.shape)
    dims[axis] = count
    indices = drawn(seed, x.shape[axis], dims)
    taken = run_layer("gatherAlongAxis", x, indices, axis=axis)
    np.testing.assert_array_equal(taken, np.take_along_axis(x, indices, axis))
    updates = random(seed + 1, dims, 0.5, 2)
    places = np.stack(np.meshgrid(*map(np.arange, dims), indexing="ij"), -1).reshape(-1, x.ndim)
    places[:, axis] = indices.ravel()
    pairs = [(tuple(place), update) for place, update in zip(places, updates.ravel(), strict=True)]
    result = run_layer("scatterAlongAxis", x, indices, updates, axis=axis, mode=mode)
    np.testing.assert_allclose(result, scattered(x, mode, pairs), rtol=1e-4, atol=1e-5)


@few
@given(x=tensors(least_rank=1, most_rank=3), dims=index_shapes, mode=modes, seed=seeds, data=st.data())
def test_scatter_is_numpys(x: NDArray[Any], dims: list[int], mode: str, seed: int, data: st.DataObject) -> None:
    axis = data.draw(st.integers(0, x.ndim - 1))
    indices = drawn(seed, x.shape[axis], dims)
    updates = random(seed + 1, (*x.shape[:axis], *dims, *x.shape[axis + 1 :]), 0.5, 2)
    rows = np.moveaxis(updates.reshape(*x.shape[:axis], -1, *x.shape[axis + 1 :]), axis, 0)
    pairs = [((slice(None),) * axis + (i,), row) for i, row in zip(indices.ravel(), rows, strict=True)]
    expected = scattered(x, mode, pairs)
    for at in (axis, axis - x.ndim):
        result = run_layer("scatter", x, indices, updates, axis=at, mode=mode)
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)
    result = run_symbolic("scatter", x, indices, updates, axis=axis, mode=mode)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)


@few
@given(x=tensors(least_rank=1, most_rank=4), dims=index_shapes, mode=modes, seed=seeds, data=st.data())
def test_points_are_numpys(x: NDArray[Any], dims: list[int], mode: str, seed: int, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, x.ndim))
    indices = np.stack([drawn(seed + i, x.shape[i], dims) for i in range(size)], -1)
    expected = x[tuple(np.moveaxis(indices, -1, 0))]
    np.testing.assert_array_equal(run_layer("gatherND", x, indices), expected)
    updates = random(seed, expected.shape, 0.5, 2)
    rows = updates.reshape(-1, *x.shape[size:])
    pairs = [(tuple(point), row) for point, row in zip(indices.reshape(-1, size), rows, strict=True)]
    scatter = scattered(x, mode, pairs)
    result = run_layer("scatterND", x, indices, updates, mode=mode)
    np.testing.assert_allclose(result, scatter, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("layer_type", "dims", "axis", "expected"),
    [
        ("gather", [(2, 3), (6, 8)], 0, (6, 8, 3)),
        ("gather", [(2, 3, 5), (6, 8)], 1, (2, 6, 8, 5)),
        ("gatherND", [(4, 2, 3, 4), (6, 2)], None, (6, 3, 4)),
        ("gatherND", [(3, 3, 3, 4, 7), (3, 5)], None, (3,)),
        ("gatherND", [(5, 3, 2, 5), (2, 7, 3, 2)], None, (2, 7, 3, 2, 5)),
        ("gatherND", [(2, 3), (2,)], None, (1,)),
        ("gatherND", [(2, 3), (1,)], None, (3,)),
        ("gatherAlongAxis", [(4, 4, 7), (4, 5, 7)], 1, (4, 5, 7)),
        ("scatter", [(4, 3), (5, 2, 3), (4, 5, 2, 3)], 1, (4, 3)),
        ("scatter", [(4, 4, 3), (6,), (4, 6, 3)], -2, (4, 4, 3)),
        ("scatter", [(5,), (5, 7, 5, 6), (5, 7, 5, 6)], -1, (5,)),
        ("scatterND", [(3, 2), (4, 2), (4,)], None, (3, 2)),
        ("scatterND", [(7, 6), (4, 7, 2, 5, 1), (4, 7, 2, 5, 6)], None, (7, 6)),
        ("scatterND", [(2, 3), (2,), (1,)], None, (2, 3)),
        ("scatterND", [(2, 3), (1,), (3,)], None, (2, 3)),
        ("scatterAlongAxis", [(2, 5, 6), (2, 2, 6), (2, 2, 6)], -2, (2, 5, 6)),
    ],
)
def test_shapes_of_the_examples(
    layer_type: str, dims: list[tuple[int, ...]], axis: int | None, expected: tuple[int, ...]
) -> None:
    fields = {} if axis is None else {"axis": axis}
    inputs = [np.zeros(d) for d in dims]
    assert run_layer(layer_type, *inputs, **fields).shape == expected


def test_the_last_of_several_updates_stays() -> None:
    updates = np.arange(10_000)
    indices = np.zeros_like(updates)
    assert run_layer("scatter", [0, 5], indices, updates).tolist() == [9999, 5]
    assert run_layer("scatterND", [0, 5], indices[:, None], updates).tolist() == [9999, 5]


@pytest.mark.parametrize("sizes", [(4, 3, 2), (2, 5, 3)])
def test_points_in_a_tensor_of_unknown_size(sizes: tuple[int, ...]) -> None:
    x, indices = random(0, sizes), np.array([[1, -1], [0, 2], [1, 0]])
    updates = random(1, (3, sizes[2]))
    expected = x.copy()
    expected[indices[:, 0], indices[:, 1]] += updates
    # Indices keep their last size: the rank of the output depends on it.
    result = run_symbolic("scatterND", x, indices, updates, fixed=(1,), mode="SCATTER_ADD")
    np.testing.assert_allclose(result, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("layer_type", "indices", "updates"),
    [
        ("gather", [2], None),
        ("gather", [-3], None),
        ("gather", [1e30], None),
        ("gather", [-1e30], None),
        ("gatherND", [[0, 3]], None),
        ("gatherND", [[-1e30, 0]], None),
        ("gatherAlongAxis", [[2, 0, 0]], None),
        ("scatter", [2], [[1, 1, 1]]),
        ("scatter", [-3], [[1, 1, 1]]),
        ("scatter", [1e30], [[1, 1, 1]]),
        ("scatterND", [[0, 3]], [1]),
        ("scatterND", [[0, -4]], [1]),
        ("scatterND", [[2, 0]], [1]),
        ("scatterND", [[1e30, -1e30]], [1]),
        ("scatterAlongAxis", [[2, 0, 0]], [[1, 1, 1]]),
        ("scatterAlongAxis", [[0, 0, -1e30]], [[1, 1, 1]]),
    ],
)
def test_an_index_beyond_its_axis_fails(layer_type: str, indices: Any, updates: Any) -> None:
    inputs = [np.ones((2, 3)), indices] + ([] if updates is None else [updates])
    wrong = (
        r"^'layer' \(\w+\) failed at run time: (indices element out of data bounds|invalid index|out of range value)"
    )
    with pytest.raises(EngineError, match=wrong):
        run_layer(layer_type, *inputs)


@pytest.mark.parametrize(
    ("layer_type", "dims", "fields", "message"),
    [
        ("gather", [(2, 3), (1,)], {"axis": 2}, "axis is 2, must be -2 to 1 for an input of rank 2"),
        (
            "gatherND",
            [(2, 3), (1, 3)],
            {},
            r"input for the indices has shape \[1, 3\], its last size must be known .* 1 to 2",
        ),
        ("gatherAlongAxis", [(2, 3), (4, 4)], {}, r"input for the indices has shape \[4, 4\], must be \[None, 3\]"),
        ("scatter", [(2, 3), (4,), (4, 2)], {}, r"input for the updates has shape \[4, 2\], must be \[4, 3\]"),
        ("scatter", [(2, 3), (4,), (4, 3)], {"mode": 7}, "mode is 7, must be 0 to 6"),
        ("scatterND", [(2, 3), (4, 1), (4, 2)], {}, r"input for the updates has shape \[4, 2\], must be \[4, 3\]"),
        (
            "scatterAlongAxis",
            [(2, 3), (4, 3), (4, 2)],
            {},
            r"input for the updates has shape \[4, 2\], must be \[4, 3\]",
        ),
    ],
)
def test_what_does_not_fit_is_refused(
    layer_type: str, dims: list[tuple[int, ...]], fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(windfall.LoweringError, match=message):
        run_layer(layer_type, *map(np.zeros, dims), **fields)
