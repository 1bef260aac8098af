"""Reductions of tensors of any rank, against NumPy and PyTorch."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from tests.lowering.neural_network.strategies import few, random, seeds, tensors
from tests.lowering.neural_network.symbolic import run_symbolic
from tests.support import run_layer
from windfall.errors import LoweringError

REDUCTIONS: dict[str, Callable[..., NDArray[Any]]] = {
    "reduceL1": lambda x, **how: np.sum(np.abs(x), **how),
    "reduceL2": lambda x, **how: np.sqrt(np.sum(x**2, **how)),
    "reduceMax": np.max,
    "reduceMin": np.min,
    "reduceSum": np.sum,
    "reduceProd": np.prod,
    "reduceMean": np.mean,
    "reduceLogSum": lambda x, **how: np.log(np.sum(x, **how)),
    "reduceSumSquare": lambda x, **how: np.sum(x**2, **how),
    "reduceLogSumExp": lambda x, **how: np.log(np.sum(np.exp(x), **how)),
}


@pytest.mark.parametrize("layer_type", REDUCTIONS)
@few
@given(shape=hnp.array_shapes(min_dims=1, max_dims=5, max_side=3), data=st.data(), keep=st.booleans(), seed=seeds)
def test_reductions_match_numpy(layer_type: str, shape: tuple[int, ...], data: Any, keep: bool, seed: int) -> None:
    rank = len(shape)
    x = random(seed, shape, 0.1 if layer_type == "reduceLogSum" else -2, 2)
    axes = data.draw(st.lists(st.integers(-rank, rank - 1), min_size=1, unique_by=lambda axis: axis % rank))
    expected = REDUCTIONS[layer_type](x.astype(np.float64), axis=tuple(axes), keepdims=keep)
    y = run_layer(layer_type, x, axes=axes, keepDims=keep)
    # No tensor is without axes.
    assert y.shape == (expected.shape or (1,))
    np.testing.assert_allclose(y, expected.reshape(y.shape), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layer_type", REDUCTIONS)
@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("dims", [(6,), (2, 3, 4)])
def test_reduce_all_ignores_the_axes(layer_type: str, keep: bool, dims: tuple[int, ...]) -> None:
    x = random(0, dims, 0.5, 1.5)
    expected = REDUCTIONS[layer_type](x, keepdims=keep)
    for run in (run_layer, run_symbolic):
        y = run(layer_type, x, reduceAll=True, keepDims=keep, axes=[0])
        assert y.shape == (expected.shape or (1,))
        np.testing.assert_allclose(y, expected.reshape(y.shape), rtol=1e-5)


def test_large_exponents_do_not_overflow() -> None:
    # log(exp(1000) + exp(1000)) = 1000 + log(2)
    y = run_layer("reduceLogSumExp", [[1000.0, 1000.0], [-1000.0, -1000.0]], axes=[1])
    np.testing.assert_allclose(y, [1000 + np.log(2), -1000 + np.log(2)], rtol=1e-6)


@pytest.mark.parametrize("layer_type", ["argMax", "argMin"])
@few
@given(x=tensors(least_rank=1), data=st.data(), remove=st.booleans())
def test_arg_max_and_arg_min_find_the_first(layer_type: str, x: NDArray[Any], data: Any, remove: bool) -> None:
    x = np.round(x)
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    function = np.argmax if layer_type == "argMax" else np.argmin
    # "input shape = (5,): output shape = (1,), if removeDim = False or True"
    expected = function(x, axis=axis, keepdims=x.ndim == 1 or not remove)
    y = run_layer(layer_type, x, axis=axis, removeDim=remove)
    np.testing.assert_array_equal(y, expected)
    assert y.shape == expected.shape


@pytest.mark.parametrize(
    ("exclusive", "reverse", "expected"),
    [
        (False, False, [4, 10, 17]),
        (True, False, [0, 4, 10]),
        (False, True, [17, 13, 7]),
        (True, True, [13, 7, 0]),
    ],
)
def test_cum_sum_matches_the_example(exclusive: bool, reverse: bool, expected: list[float]) -> None:
    # The example in the comment on CumSumLayerParams.
    fields = {"excludeFinalSum": exclusive, "reverse": reverse}
    np.testing.assert_array_equal(run_layer("cumSum", [4, 6, 7], **fields), expected)
    np.testing.assert_array_equal(run_layer("cumSum", [4, 6, 7], [-1], **fields), expected)


@few
@given(x=tensors(least_rank=1), data=st.data(), as_input=st.booleans())
def test_cum_sum_runs_along_an_axis(x: NDArray[Any], data: Any, as_input: bool) -> None:
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    # The parameter is ignored where there is a second input.
    y = run_layer("cumSum", x, [axis], axis=99) if as_input else run_layer("cumSum", x, axis=axis)
    np.testing.assert_allclose(y, np.cumsum(x, axis=axis), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("layer_type", "fields", "message"),
    [
        ("reduceSum", {"axes": []}, r"axes is \[\], must be one or more axes, each -2 to 1"),
        ("reduceMax", {"axes": [2]}, r"axes is \[2\], must be one or more axes, each -2 to 1"),
        ("reduceMax", {"axes": [0, -2]}, r"axes is \[0, -2\], must name each axis once"),
        ("argMax", {"axis": -3}, "axis is -3, must be -2 to 1 for an input of rank 2"),
        ("cumSum", {"axis": 2}, "axis is 2, must be -2 to 1 for an input of rank 2"),
    ],
)
def test_axes_that_are_not_there_are_refused(layer_type: str, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(LoweringError, match=message):
        run_layer(layer_type, np.ones((2, 3)), **fields)
