"""Operators of two tensors, against NumPy."""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.lowering.neural_network.strategies import few, random, seeds
from tests.programs import Input, check_operator

ARITHMETIC: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "maximum": np.maximum,
    "minimum": np.minimum,
}
COMPARISONS: dict[str, Callable[..., Any]] = {
    "equal": operator.eq,
    "not_equal": operator.ne,
    "greater": operator.gt,
    "greater_equal": operator.ge,
    "less": operator.lt,
    "less_equal": operator.le,
}
LOGICAL: dict[str, Callable[..., Any]] = {
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
}
INT_MIN, INT_MAX = -(2**31), 2**31 - 1
int32s = st.one_of(st.integers(-9, 9), st.sampled_from([INT_MIN, INT_MIN + 1, INT_MAX]), st.integers(INT_MIN, INT_MAX))


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
@pytest.mark.parametrize("name", [*ARITHMETIC, *COMPARISONS])
def test_arithmetic_and_comparisons_broadcast(name: str, dtype: Any) -> None:
    x = random(1, (2, 1, 3), -4, 4).round().astype(dtype)
    y = random(2, (4, 1), -4, 4).round().astype(dtype)
    check_operator(name, (ARITHMETIC | COMPARISONS)[name](x, y), x=Input(x), y=Input(y))


@pytest.mark.parametrize("name", LOGICAL)
def test_logic(name: str) -> None:
    x, y = np.array([[True], [False]]), np.array([True, False])
    check_operator(name, LOGICAL[name](x, y), x=Input(x), y=Input(y))


def test_truth_values_are_compared_too() -> None:
    x, y = [True, True, False], [True, False, False]
    check_operator("equal", np.array([True, False, True]), x=Input(x), y=Input(y))
    check_operator("not_equal", np.array([False, True, False]), x=Input(x), y=Input(y))


@few
@given(pairs=st.lists(st.tuples(int32s, int32s), min_size=1, max_size=8))
@example([(7, 2), (-7, 2), (7, -2), (-7, -2), (6, -3), (-1, INT_MAX)])
@example([(INT_MIN, -1), (INT_MIN, 1), (5, 0), (0, 0), (INT_MIN, 0)])
def test_int32_division(pairs: list[tuple[int, int]]) -> None:
    x, y = np.array(pairs, np.int64).T
    some = np.where(y == 0, 1, y)
    cases = {
        "floor_div": x // some,
        "mod": x % some,
        "real_div": np.sign(x) * np.sign(some) * (abs(x) // abs(some)),
    }
    for name, result in cases.items():
        expected = np.where(y == 0, 0, result).astype(np.int32)
        check_operator(name, expected, symbolic=False, x=Input(x.astype(np.int32)), y=Input(y.astype(np.int32)))


@few
@given(seed=seeds)
def test_float_division_as_numpy_does(seed: int) -> None:
    x, y = random(seed, (4, 5), -9, 9), random(seed + 1, (5,), -2, 2)
    for name, function in {"floor_div": np.floor_divide, "mod": np.mod, "real_div": np.divide}.items():
        check_operator(name, function(x, y), symbolic=False, rtol=1e-5, atol=1e-5, x=Input(x), y=Input(y))


def test_float_division_at_the_edges() -> None:
    x = np.array([1, 1, -1, 5, -5, 5, 0, 7, -7, np.inf, 3e38], np.float32)
    y = np.array([0.1, 0, 0, np.inf, np.inf, -np.inf, 0, -2, 2, 2, 1], np.float32)
    with np.errstate(all="ignore"):
        for name, function in {"floor_div": np.floor_divide, "mod": np.mod, "real_div": np.divide}.items():
            check_operator(name, function(x, y), x=Input(x), y=Input(y))


def test_pow() -> None:
    x, y = np.array([[2, 0.5], [3, -2]], np.float32), np.array([3, -2], np.float32)
    check_operator("pow", x**y, x=Input(x), y=Input(y))
    # Exact up to the largest int32; fractions are cut off, and what does not fit is the nearest that does.
    base = np.array([2, 2, -2, -2, 46341, 3, 2, 0, 0, -1, INT_MAX], np.int32)
    power = np.array([30, 31, 31, 33, 2, 19, -1, -1, 0, -3, 1], np.int32)
    expected = [2**30, INT_MAX, INT_MIN, INT_MIN, INT_MAX, 3**19, 0, INT_MAX, 1, -1, INT_MAX]
    check_operator("pow", np.int32(expected), rtol=0, x=Input(base), y=Input(power))


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.bool_, np.int8, np.uint8, np.int16, np.uint16])
def test_select_takes_every_type(dtype: Any) -> None:
    condition = np.array([[True], [False]])
    a, b = np.array([1, 0, 1]).astype(dtype), np.array([[0, 1, 1]]).astype(dtype)
    check_operator("select", np.where(condition, a, b), cond=Input(condition), a=Input(a), b=Input(b))
    check_operator("select", np.where(condition, a, b), cond=Input(condition), a=a, b=Input(b))


def test_select_does_not_mix_in_what_is_not_taken() -> None:
    a, b = np.array([1, np.nan, 3], np.float32), np.array([np.inf, 2, np.nan], np.float32)
    check_operator("select", np.float32([1, 2, 3]), cond=Input([True, False, True]), a=Input(a), b=Input(b))
