"""Entries read from places that indices name, against NumPy."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import windfall
from tests.programs import Input, Output, check_operator, operator_spec, run_operator
from windfall.errors import EngineError
from windfall.lowering import lower
from windfall.spec.modelfile import from_spec

few = settings(max_examples=25, deadline=None)
DTYPES = [np.float32, np.int32, np.int16, np.uint16, np.int8, np.uint8]
sizes = st.integers(1, 4)
shapes = st.lists(sizes, min_size=1, max_size=4)
seeds = st.integers(0, 1000)


def drawn(seed: int, low: int, high: int, dims: Any, dtype: Any = np.int32) -> NDArray[Any]:
    return np.random.default_rng(seed).integers(low, high, dims).astype(dtype)


@few
@given(dims=shapes, points=st.lists(sizes, max_size=2), seed=seeds, data=st.data(), fed=st.booleans())
def test_gather_with_batches_is_numpys(
    dims: list[int], points: list[int], seed: int, data: st.DataObject, fed: bool
) -> None:
    axis = data.draw(st.integers(-len(dims), len(dims) - 1))
    place = axis % len(dims)
    batch = data.draw(st.integers(0, place))
    x = drawn(seed, -9, 9, dims)
    indices = drawn(seed, -dims[place], dims[place], [*dims[:batch], *points])
    expected = np.empty([*dims[:place], *points, *dims[place + 1 :]], np.int32)
    for at in np.ndindex(*dims[:batch]):
        expected[at] = np.take(x[at], indices[at], place - batch)
    arguments = {"axis": axis, "batch_dims": batch} if batch else {"axis": axis}
    check_operator("gather", expected, opset=6, x=Input(x), indices=Input(indices) if fed else indices, **arguments)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("index_dtype", DTYPES[1:])
def test_all_types(dtype: Any, index_dtype: Any) -> None:
    x, indices = drawn(0, 0, 100, (2, 3, 4), dtype), drawn(1, 0, 2, (2, 3, 4), index_dtype)
    # Models take int32 alone, so the narrow types are constants.
    check_operator("gather", x[:, indices[0, 0]], x=x, indices=indices[0, 0], axis=1, validate_indices=False)
    check_operator("gather_along_axis", np.take_along_axis(x, indices.astype(int), 0), x=x, indices=indices)
    points = indices[0, :2, :2]
    check_operator("gather_nd", x[tuple(points.astype(int).T)], x=x, indices=points)


@few
@given(dims=shapes, count=sizes, seed=seeds, data=st.data())
def test_gather_along_axis_is_numpys(dims: list[int], count: int, seed: int, data: st.DataObject) -> None:
    axis = data.draw(st.integers(-len(dims), len(dims) - 1))
    x = drawn(seed, -9, 9, dims)
    indices = drawn(seed, -dims[axis], dims[axis], [count if i == axis % len(dims) else d for i, d in enumerate(dims)])
    expected = np.take_along_axis(x, indices, axis)
    check_operator("gather_along_axis", expected, opset=5, x=Input(x), indices=Input(indices), axis=axis)


@few
@given(dims=shapes, points=st.lists(sizes, max_size=2), seed=seeds, data=st.data())
def test_gather_nd_is_numpys(dims: list[int], points: list[int], seed: int, data: st.DataObject) -> None:
    batch = data.draw(st.integers(0, len(dims) - 1))
    size = data.draw(st.integers(1, len(dims) - batch))
    x = drawn(seed, -9, 9, dims)
    lead = [*dims[:batch], *points]
    indices = np.stack([drawn(seed + k, -dims[batch + k], dims[batch + k], lead) for k in range(size)], -1)
    expected = np.empty([*lead, *dims[batch + size :]], np.int32)
    for at in np.ndindex(*lead):
        expected[at] = x[at[:batch]][tuple(indices[at])]
    arguments = {"batch_dims": batch} if batch else {}
    check_operator("gather_nd", expected, opset=6, x=Input(x), indices=Input(indices), **arguments)


X = np.arange(6, dtype=np.int32).reshape(2, 3)
OPERATORS = {
    "gather": ({"axis": 1}, [0, 1], (2, 2)),
    "gather_along_axis": ({"axis": 1}, [[0], [1]], (2, 1)),
    "gather_nd": ({}, [[1, 1], [0, 0]], (2,)),
}


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("index", [-1, 3])
@pytest.mark.parametrize("fed", [True, False])
def test_indices_are_validated(operator: str, index: int, fed: bool) -> None:
    arguments, good, dims = OPERATORS[operator]
    indices = np.array(good, np.int32)
    indices[..., -1].flat[-1] = index

    def run(values: Any) -> None:
        given_ = Input(values) if fed else values
        run_operator(operator, [Output(np.int32, dims)], x=Input(X), indices=given_, validate_indices=True, **arguments)

    run(np.array(good, np.int32))
    error = EngineError if fed else windfall.LoweringError
    with pytest.raises(error, match="ind" if fed else "indices is .* must be at least 0 and below"):
        run(indices)


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("index", [3, 2**31 - 1, -4, -(2**31)])
def test_an_index_beyond_the_axis_makes_a_prediction_fail(operator: str, index: int) -> None:
    arguments, good, dims = OPERATORS[operator]
    indices = np.array(good, np.int32)
    indices[..., -1].flat[-1] = index
    with pytest.raises(EngineError):
        run_operator(operator, [Output(np.int32, dims)], x=Input(X), indices=Input(indices), **arguments)


@pytest.mark.parametrize(
    ("operator", "arguments", "error"),
    [
        ("gather", {"indices": [0], "axis": 2}, "axis is 2, must be -2 to 1"),
        ("gather", {"indices": [0], "axis": 0, "batch_dims": 1}, "batch_dims is 1, must be 0 to 0 for axis 0"),
        (
            "gather",
            {"indices": [0, 0, 0], "axis": 1, "batch_dims": 1},
            r"indices is of \[3\], must have the sizes \[2\], None for any",
        ),
        (
            "gather_along_axis",
            {"indices": [[0], [0], [0]], "axis": 1},
            r"indices is of \[3, 1\], must have the sizes \[2, None\], None for any",
        ),
        ("gather_nd", {"indices": [[0, 0, 0]]}, r"indices is of \[1, 3\], must have a last size of 1 to 2"),
        ("gather_nd", {"indices": [[0]], "batch_dims": 2}, "batch_dims is 2, must be 0 to 1"),
    ],
)
def test_what_is_refused(operator: str, arguments: dict[str, Any], error: str) -> None:
    with pytest.raises(windfall.LoweringError, match=error):
        run_operator(operator, [Output(np.int32, [None] * 2)], x=Input(X), **arguments)


def test_known_sizes_stay_known() -> None:
    x = np.array([4, 5, 6], np.int32)
    for indices in (np.int32(-1), np.array([[2, 0]], np.int32)):
        spec, _ = operator_spec("gather", [Output(np.int32, np.shape(indices))], 6, x=x, indices=indices)
        graph = lower(from_spec(spec), {}, ["out0"]).graph
        assert [node.op_type for node in graph if node.op_type != "Identity"] == []
