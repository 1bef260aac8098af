"""Stored and repeated tensors against NumPy."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import windfall
from tests.lowering.neural_network.strategies import few, random, tensors
from tests.lowering.neural_network.symbolic import run_symbolic
from tests.support import layer_spec, run_layer


@few
@given(x=tensors(least_rank=1, most_rank=4), data=st.data())
def test_broadcasting_is_numpys(x: NDArray[Any], data: st.DataObject) -> None:
    ones = data.draw(st.lists(st.booleans(), min_size=x.ndim, max_size=x.ndim))
    target = [*data.draw(st.lists(st.integers(1, 3), max_size=2)), *x.shape]
    x = x[tuple(slice(0, 1) if one else slice(None) for one in ones)]
    expected = np.broadcast_to(x, target)
    np.testing.assert_array_equal(run_layer("broadcastToStatic", x, targetShape=target), expected)
    np.testing.assert_array_equal(run_layer("broadcastToLike", x, np.zeros(target)), expected)
    np.testing.assert_array_equal(run_layer("broadcastToDynamic", x, target), expected)
    np.testing.assert_array_equal(run_symbolic("broadcastToLike", x, np.zeros(target)), expected)


@pytest.mark.parametrize("target", [[3, 1], [2, 4], [4]])
def test_a_shape_that_does_not_fit_is_refused(target: list[int]) -> None:
    message = r"input has shape \[2, 3\], which does not broadcast to .*: each size must be 1 or that of the target"
    with pytest.raises(windfall.LoweringError, match=message):
        run_layer("broadcastToStatic", np.ones((2, 3)), targetShape=target)
    with pytest.raises(windfall.LoweringError, match=message):
        run_layer("broadcastToLike", np.ones((2, 3)), np.ones(target))


def test_a_shape_of_unknown_length_is_refused() -> None:
    with pytest.raises(windfall.LoweringError, match="input for the shape must have a length that is known"):
        run_symbolic("broadcastToDynamic", np.ones((2, 3)), np.array([2, 3]))


@few
@given(x=tensors(least_rank=1), data=st.data())
def test_tile_is_numpys(x: NDArray[Any], data: st.DataObject) -> None:
    reps = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=x.ndim))
    np.testing.assert_array_equal(run_layer("tile", x, reps=reps), np.tile(x, reps))
    np.testing.assert_array_equal(run_layer("tile", x, reps), np.tile(x, reps))


@pytest.mark.parametrize(("reps", "expected"), [([1, 2, 6], (2, 8, 12)), ([6], (2, 4, 12))])
def test_tile_of_the_examples(reps: list[int], expected: tuple[int, ...]) -> None:
    assert run_layer("tile", np.ones((2, 4, 2)), reps=reps).shape == expected


@pytest.mark.parametrize(
    ("reps", "message"),
    [
        ([], "reps is 0 numbers, must be 1 to 2 numbers for an input of rank 2"),
        ([1, 1, 1], "reps is 3 numbers, must be 1 to 2 numbers for an input of rank 2"),
        ([2, 0], r"reps is \[2, 0\], must be at least 1 along each axis"),
    ],
)
def test_repetitions_that_do_not_fit_are_refused(reps: list[int], message: str) -> None:
    with pytest.raises(windfall.LoweringError, match=message):
        run_layer("tile", np.ones((2, 3)), reps=reps)


@pytest.mark.parametrize("dims", [(5,), (2, 3), (2, 3, 4, 5, 20)])
def test_constants_come_as_they_are(dims: tuple[int, ...]) -> None:
    data = random(0, dims)
    spec = layer_spec("loadConstantND", np.zeros(1), shape=dims, data=data)
    del spec.neuralNetwork.layers[0].input[:]
    np.testing.assert_array_equal(windfall.load(spec).predict({"x0": [0]})["y0"], data)


@pytest.mark.parametrize("dims", [[], [0, 2]])
def test_a_constant_without_values_is_refused(dims: list[int]) -> None:
    spec = layer_spec("loadConstantND", np.zeros(1), shape=dims)
    del spec.neuralNetwork.layers[0].input[:]
    with pytest.raises(windfall.LoweringError, match="must have one or more sizes, each of at least 1"):
        windfall.load(spec).predict({"x0": [0]})


def test_copy_copies() -> None:
    x = random(0, (2, 3))
    np.testing.assert_array_equal(run_layer("copy", x), x)
