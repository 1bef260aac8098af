"""Reductions against NumPy."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.lowering.neural_network.strategies import few, random, tensors
from tests.support import run_layer
from windfall.errors import LoweringError

AXES = {"CHW": (-3, -2, -1), "HW": (-2, -1), "C": (-3,), "H": (-2,), "W": (-1,)}
MODES: dict[str, Callable[..., NDArray[Any]]] = {
    "SUM": np.sum,
    "AVG": np.mean,
    "PROD": np.prod,
    "LOGSUM": lambda x, **axes: np.sum(np.log(x), **axes),
    "SUMSQUARE": lambda x, **axes: np.sum(x**2, **axes),
    "L1": lambda x, **axes: np.sum(np.abs(x), **axes),
    "L2": lambda x, **axes: np.sqrt(np.sum(x**2, **axes)),
    "MAX": np.max,
    "MIN": np.min,
}


@pytest.mark.parametrize("mode", MODES)
@few
@given(x=tensors(), axis=st.sampled_from(sorted(AXES)), epsilon=st.sampled_from([0, 0.5]))
def test_a_reduction_keeps_the_axes(mode: str, x: NDArray[Any], axis: str, epsilon: float) -> None:
    if mode == "LOGSUM":
        x = np.abs(x) + np.float32(0.1)
    y = run_layer("reduce", x, mode=mode, axis=axis, epsilon=epsilon)
    # An epsilon of 0 stands for 1e-6; only LOGSUM reads it.
    inner = x.astype(np.float64) + ((epsilon or 1e-6) if mode == "LOGSUM" else 0)
    expected = MODES[mode](inner, axis=AXES[axis], keepdims=True)
    assert y.shape == expected.shape
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)


@few
@given(x=tensors(), axis=st.sampled_from(["C", "H", "W"]))
def test_arg_max_finds_the_first_largest(x: NDArray[Any], axis: str) -> None:
    x = np.round(x)
    y = run_layer("reduce", x, mode="ARGMAX", axis=axis)
    np.testing.assert_array_equal(y, np.argmax(x, axis=AXES[axis][0], keepdims=True))


@pytest.mark.parametrize(("rank", "axis"), [(1, "W"), (2, "H"), (2, "HW")])
def test_few_axes_are_enough_for_the_last_ones(rank: int, axis: str) -> None:
    x = random(0, (3, 4)[:rank])
    y = run_layer("reduce", x, mode="SUM", axis=axis)
    np.testing.assert_allclose(y, x.sum(axis=AXES[axis], keepdims=True), rtol=1e-6)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"axis": "C"}, "axis is 2, must be 0 to 4 for CHW, HW, C, H or W, and of the input of rank 2"),
        ({"axis": 5}, "axis is 5, must be 0 to 4 for CHW, HW, C, H or W, and of the input of rank 2"),
        ({"axis": "H", "mode": 10}, "mode is 10, must be 0 to 9"),
        ({"axis": "HW", "mode": "ARGMAX"}, r"axis is 1, must be 2, 3 or 4 \(C, H or W\) for ARGMAX"),
    ],
)
def test_a_reduction_that_has_no_meaning_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(LoweringError, match=message):
        run_layer("reduce", np.ones((2, 2)), **fields)
