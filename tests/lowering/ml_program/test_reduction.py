"""Reductions, against NumPy."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import windfall
from tests.lowering.neural_network.strategies import few, random, seeds
from tests.programs import Input, Output, check_operator, run_operator

REDUCTIONS: dict[str, Callable[..., Any]] = {
    "reduce_l1_norm": lambda x, **how: np.abs(x).sum(**how),
    "reduce_l2_norm": lambda x, **how: np.sqrt(np.square(x).sum(**how)),
    "reduce_log_sum": lambda x, **how: np.log(x.sum(**how)),
    "reduce_log_sum_exp": lambda x, **how: np.log(np.exp(x).sum(**how)),
    "reduce_max": np.max,
    "reduce_mean": np.mean,
    "reduce_min": np.min,
    "reduce_prod": np.prod,
    "reduce_sum": np.sum,
    "reduce_sum_square": lambda x, **how: np.square(x).sum(**how),
}
INT_MIN, INT_MAX = -(2**31), 2**31 - 1


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("axes", [None, [0], [-1, 0], [1, -1, 0], []])
def test_reductions_over_axes(name: str, dtype: Any, axes: list[int] | None) -> None:
    x = random(7, (2, 3, 2), 0.5, 3).astype(dtype) + 1
    for keep_dims in (None, True):
        how = {"axis": None if axes is None else tuple(axes), "keepdims": bool(keep_dims)}
        # A fraction of whole numbers is cut off, as coremltools does.
        expected = np.asarray(REDUCTIONS[name](x.astype(np.float64), **how)).astype(x.dtype)
        given_axes = None if axes is None else np.array(axes, np.int32)
        check_operator(name, expected, symbolic=axes == [0], x=Input(x), axes=given_axes, keep_dims=keep_dims)


def test_means_of_large_whole_numbers_are_exact() -> None:
    check_operator("reduce_mean", np.int32(INT_MAX - 1), rtol=0, x=Input([INT_MAX, INT_MAX, INT_MAX - 3]))
    check_operator("reduce_mean", np.int32(-1), rtol=0, x=Input([-1, -2]))


def test_logarithms_of_whole_numbers_stay_within_int32() -> None:
    check_operator("reduce_log_sum", np.int32(INT_MIN), x=Input([0, 0]))
    check_operator("reduce_log_sum", np.int32(0), x=Input([-3, 0]))


def test_log_sum_exp_does_not_overflow() -> None:
    x = np.array([[1000, 1000], [-1000, -1000]], np.float32)
    expected = np.float32([1000, -1000]) + np.log(np.float32(2))
    check_operator("reduce_log_sum_exp", expected, x=Input(x), axes=np.int32([1]))


def test_scalars() -> None:
    for name in ("reduce_sum", "reduce_max", "reduce_mean"):
        check_operator(name, np.float32(3), x=Input(np.float32(3)))


@few
@given(
    dims=st.lists(st.integers(1, 4), min_size=1, max_size=3), dtype=st.sampled_from([np.float32, np.int32]),
    keep_dims=st.booleans(), data=st.data(), seed=seeds,
)  # fmt: skip
def test_arg_finds_the_first(dims: list[int], dtype: Any, keep_dims: bool, data: st.DataObject, seed: int) -> None:
    x = random(seed, dims, -3, 3).astype(np.int32).astype(dtype)
    axis = data.draw(st.integers(-len(dims), len(dims) - 1))
    for name, function in {"reduce_argmax": np.argmax, "reduce_argmin": np.argmin}.items():
        expected = function(x, axis=axis, keepdims=keep_dims)
        check_operator(name, expected.astype(np.int32), x=Input(x), axis=axis, keep_dims=keep_dims)


def test_arg_as_another_type() -> None:
    x = Input(np.array([[1, 5, 2]], np.int32))
    check_operator("reduce_argmax", np.uint16([1]), x=x, output_dtype="uint16")
    check_operator("reduce_argmin", np.int32([0]), x=x, output_dtype="int32")
    check_operator("reduce_argmax", np.int32([0, 0, 0]), opset=5, x=x, axis=0)


def test_arg_of_whole_numbers_that_float32_cannot_tell_apart() -> None:
    check_operator("reduce_argmax", np.int32(1), x=Input([2**24, 2**24 + 1, 2**24]))


@pytest.mark.parametrize(
    ("name", "given_arguments", "text"),
    [
        ("reduce_sum", {"axes": np.int32([2])}, "axes is 2, must be -2 to 1"),
        ("reduce_sum", {"axes": np.int32([1, -1])}, "axes is (1, -1), must name each axis once"),
        ("reduce_argmax", {"axis": -3}, "axis is -3, must be -2 to 1"),
        ("reduce_argmax", {"output_dtype": "fp16"}, "output_dtype is 'fp16', must be int32 or uint16"),
    ],
)
def test_broken_rules_are_named(name: str, given_arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(windfall.LoweringError, match=re.escape(f"({name}) of the model: {text}")):
        run_operator(name, [Output(np.int32, (2,))], x=Input(np.ones((2, 2))), **given_arguments)
