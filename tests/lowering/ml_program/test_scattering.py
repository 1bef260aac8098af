"""Entries written to places that indices name, against NumPy."""

from collections.abc import Callable
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
MODES: dict[str, Callable[[Any, Any], Any]] = {
    "update": lambda _, update: update,
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": lambda x, y: np.trunc(x / y) if x.dtype == np.int32 else np.divide(x, y),
    "max": np.maximum,
    "min": np.minimum,
}
sizes = st.integers(1, 4)
shapes = st.lists(sizes, min_size=1, max_size=4)
seeds = st.integers(0, 1000)
modes = st.sampled_from(sorted(MODES))
dtypes = st.sampled_from([np.float32, np.int32])


def drawn(seed: int, low: int, high: int, dims: Any) -> NDArray[Any]:
    return np.random.default_rng(seed).integers(low, high, dims)


def scattered(x: NDArray[Any], mode: str, updates: list[tuple[Any, Any]]) -> NDArray[Any]:
    """Apply updates one by one, each to the part that an index names."""
    result = x.copy()
    for index, update in updates:
        result[index] = MODES[mode](result[index], update)
    return result


def values(seed: int, dims: Any, dtype: Any) -> tuple[NDArray[Any]]:
    found = drawn(seed, 1, 9, dims).astype(dtype)
    return found * np.random.default_rng(seed).choice([-1, 1], dims).astype(dtype)


@few
@given(dims=shapes, count=sizes, mode=modes, seed=seeds, dtype=dtypes, data=st.data(), fed=st.booleans())
def test_scatter(dims: list[int], count: int, mode: str, seed: int, dtype: Any, data: st.DataObject, fed: bool) -> None:
    axis = data.draw(st.integers(-len(dims), len(dims) - 1))
    place = axis % len(dims)
    x, updates = values(seed, dims, dtype), values(seed + 1, [*dims[:place], count, *dims[place + 1 :]], dtype)
    for opset, low in ((5, -dims[place]), (7, 0)):
        indices = drawn(seed, low, dims[place], count).astype(np.int32)
        steps = [(np.s_[(slice(None),) * place + (i,)], np.take(updates, n, place)) for n, i in enumerate(indices)]
        expected = scattered(x, mode, steps)
        given_ = Input(indices) if fed else indices
        check_operator(
            "scatter",
            expected,
            opset=opset,
            data=Input(x),
            indices=given_,
            updates=Input(updates),
            axis=axis,
            mode=mode,
        )


@few
@given(dims=shapes, count=sizes, mode=modes, seed=seeds, dtype=dtypes, data=st.data())
def test_scatter_along_axis(dims: list[int], count: int, mode: str, seed: int, dtype: Any, data: st.DataObject) -> None:
    axis = data.draw(st.integers(-len(dims), len(dims) - 1))
    place = axis % len(dims)
    wanted = [*dims[:place], count, *dims[place + 1 :]]
    x, updates = values(seed, dims, dtype), values(seed + 1, wanted, dtype)
    indices = drawn(seed, -dims[place], dims[place], wanted).astype(np.int32)
    steps = [((*at[:place], indices[at], *at[place + 1 :]), updates[at]) for at in np.ndindex(*wanted)]
    arguments = {"indices": Input(indices), "updates": Input(updates), "axis": axis, "mode": mode}
    check_operator("scatter_along_axis", scattered(x, mode, steps), opset=5, data=Input(x), **arguments)


@few
@given(dims=shapes, points=st.lists(sizes, max_size=2), mode=modes, seed=seeds, dtype=dtypes, data=st.data())
def test_scatter_nd(dims: list[int], points: list[int], mode: str, seed: int, dtype: Any, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, len(dims)))
    x, updates = values(seed, dims, dtype), values(seed + 1, [*points, *dims[size:]], dtype)
    for opset in (5, 7):
        lows = [-d if opset == 5 else 0 for d in dims]
        indices = np.stack([drawn(seed + k, lows[k], dims[k], points) for k in range(size)], -1).astype(np.int32)
        steps = [(tuple(indices[at]), updates[at]) for at in np.ndindex(*points)]
        arguments = {"indices": Input(indices), "updates": Input(updates), "mode": mode}
        check_operator("scatter_nd", scattered(x, mode, steps), opset=opset, data=Input(x), **arguments)


def test_the_definitions_example() -> None:
    data, updates = np.array([[1, 2, 3], [4, 5, 6]]), np.array([[5, 6, 7], [8, 9, 10]])
    expected = np.array([[9, 11, 13], [9, 11, 13]])
    check_operator("scatter", expected, data=Input(data), indices=[1, 0], updates=Input(updates), axis=0, mode="add")
    check_operator("scatter", expected, data=Input(data), indices=[1, 0], updates=Input(updates))


DATA = np.arange(6, dtype=np.float32).reshape(2, 3)
OPERATORS = {
    "scatter": ([0, 1], [[10, 20, 30], [40, 50, 60]]),
    "scatter_along_axis": ([[0, 1, 0]], [[10, 20, 30]]),
    "scatter_nd": ([[0], [1]], [[10, 20, 30], [40, 50, 60]]),
}


def run_with(operator: str, index: int, *, fed: bool, **arguments: Any) -> NDArray[Any]:
    indices = np.array(OPERATORS[operator][0], np.int32)
    indices.flat[0] = index
    (result,) = run_operator(
        operator,
        [Output(np.float32, DATA.shape)],
        data=Input(DATA),
        indices=Input(indices) if fed else indices,
        updates=Input(np.array(OPERATORS[operator][1], np.float32)),
        mode="update",
        **arguments,
    )
    return result


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("index", [-1, 2])
@pytest.mark.parametrize("fed", [True, False])
def test_indices_are_validated(operator: str, index: int, fed: bool) -> None:
    assert (run_with(operator, 0, fed=fed, validate_indices=True)[0, 0] == 10).all()
    error = EngineError if fed else windfall.LoweringError
    with pytest.raises(error, match="ind" if fed else "indices is .* must be at least 0 and below 2"):
        run_with(operator, index, fed=fed, validate_indices=True)


@pytest.mark.parametrize("operator", ["scatter", "scatter_nd"])
@pytest.mark.parametrize("index", [-1, 2, 2**31 - 1, -(2**31)])
@pytest.mark.parametrize("fed", [True, False])
def test_updates_beyond_the_axis_are_left_out(operator: str, index: int, fed: bool) -> None:
    np.testing.assert_array_equal(run_with(operator, index, fed=fed), [[0, 1, 2], [40, 50, 60]])


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("index", [2, 2**31 - 1, -3, -(2**31)])
def test_an_index_beyond_the_axis_makes_a_prediction_fail_up_to_ios_16(operator: str, index: int) -> None:
    with pytest.raises(EngineError):
        run_with(operator, index, fed=True, opset=6)


def test_one_index_beyond_its_axis_does_not_name_another_part() -> None:
    arguments = {"data": Input(DATA), "updates": np.array([7], np.float32), "mode": "update"}
    (result,) = run_operator("scatter_nd", [Output(np.float32, (2, 3))], indices=Input([[0, 3]]), **arguments)
    np.testing.assert_array_equal(result, DATA)
    with pytest.raises(EngineError):
        run_operator("scatter_nd", [Output(np.float32, (2, 3))], opset=6, indices=Input([[0, 3]]), **arguments)


@pytest.mark.parametrize(
    ("operator", "arguments", "error"),
    [
        ("scatter", {"indices": [0], "mode": "x"}, "mode is 'x', must be one of update, add, sub, mul, div, max, min"),
        ("scatter", {"indices": [0], "axis": 2}, "axis is 2, must be -2 to 1"),
        ("scatter", {"indices": [[0]]}, r"indices is of \[1, 1\], must have the sizes \[None\]"),
        ("scatter", {"indices": [0, 1]}, r"updates is of \[1, 3\], must have the sizes \[2, 3\]"),
        ("scatter_along_axis", {"indices": [[0, 0]]}, r"indices is of \[1, 2\], must have the sizes \[None, 3\]"),
        ("scatter_nd", {"indices": [[0, 0, 0]]}, r"indices is of \[1, 3\], must have a last size of 1 to 2"),
        ("scatter_nd", {"indices": [[0, 0]]}, r"updates is of \[1, 3\], must have the sizes \[1\]"),
    ],
)
def test_what_is_refused(operator: str, arguments: dict[str, Any], error: str) -> None:
    updates = np.zeros((1, 3), np.float32)
    with pytest.raises(windfall.LoweringError, match=error):
        run_operator(operator, [Output(np.float32, (2, 3))], data=Input(DATA), updates=updates, **arguments)
