"""Functions of one tensor, against NumPy."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import windfall
from tests.lowering.neural_network.strategies import random
from tests.programs import Input, Output, check_operator, operator_spec

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": np.abs,
    "acos": np.arccos,
    "asin": np.arcsin,
    "atan": np.arctan,
    "atanh": np.arctanh,
    "ceil": np.ceil,
    "cos": np.cos,
    "cosh": np.cosh,
    "erf": np.vectorize(math.erf),
    "exp": np.exp,
    "exp2": np.exp2,
    "floor": np.floor,
    "sign": np.sign,
    "sin": np.sin,
    "sinh": np.sinh,
    "square": np.square,
    "tan": np.tan,
    "tanh": np.tanh,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str) -> None:
    x = random(3, (2, 3, 4), -0.99, 0.99)
    check_operator(name, FUNCTIONS[name](x).astype(np.float32), x=Input(x))
    scalar = np.float32(0.25)
    check_operator(name, np.float32(FUNCTIONS[name](scalar)), x=scalar)


@pytest.mark.parametrize("name", ["abs", "sign", "square"])
def test_functions_of_whole_numbers(name: str) -> None:
    x = np.array([-3, 0, 40000, -2147483647], np.int32)
    with np.errstate(over="ignore"):
        check_operator(name, FUNCTIONS[name](x), rtol=0, x=Input(x))


def test_exp2_of_whole_numbers() -> None:
    expected = np.array([8, 1, 0, 2**30, 2**31 - 1], np.int32)
    check_operator("exp2", expected, rtol=0, x=Input([3, 0, -1, 30, 31]))


def test_round_takes_halves_to_even() -> None:
    x = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 2.6], np.float32)
    check_operator("round", np.float32([-2, -2, 0, 0, 2, 2, 3]), x=Input(x))


def test_logical_not_and_sqrt() -> None:
    check_operator("logical_not", np.array([False, True]), x=Input([True, False]))
    check_operator("sqrt", np.float32([0, 1.5]), x=Input(np.float32([0, 2.25])))


@pytest.mark.parametrize(
    ("name", "function", "default"),
    [("inverse", np.reciprocal, 1e-4), ("rsqrt", lambda x: 1 / np.sqrt(x), 1e-12), ("log", np.log, 1e-45)],
)
def test_epsilon_is_added_first(name: str, function: Callable[..., Any], default: float) -> None:
    x = np.array([1e-5, 0.5, 30], np.float32)
    check_operator(name, function(x + np.float32(default)), x=Input(x))
    check_operator(name, function(x + np.float32(0.25)), x=Input(x), epsilon=np.float32(0.25))
    check_operator(name, function(x), x=Input(x), epsilon=np.float32(0))


def test_the_default_epsilon_keeps_the_logarithm_finite() -> None:
    check_operator("log", np.log(np.float32([1e-45])), x=Input(np.float32([0])))


def test_clip() -> None:
    x = np.array([-5, 0.5, 7], np.float32)
    check_operator("clip", np.float32([-1, 0.5, 2]), x=Input(x), alpha=np.float32(-1), beta=np.float32(2))
    # numpy.minimum of numpy.maximum, as iOS 15 has it: the upper bound wins.
    check_operator("clip", np.float32([1, 1, 1]), opset=5, x=Input(x), alpha=np.float32(3), beta=np.float32(1))


def test_a_clip_is_one_node_where_its_bounds_are_in_order() -> None:
    """Engines compute it along with a convolution before it, as they do not with Max and Min."""
    x = np.array([-5, np.nan, 7], np.float32)
    arguments = {"x": Input(x), "alpha": np.float32(0), "beta": np.float32(6)}
    spec, _ = operator_spec("clip", [Output(np.float32, (3,))], 8, **arguments)
    assert [node.op_type for node in windfall.load(spec).compiled.onnx.graph.node] == ["Clip"]
    check_operator("clip", np.float32([0, np.nan, 6]), **arguments)


def test_threshold() -> None:
    check_operator("threshold", np.float32([0.5, 2]), x=Input(np.float32([-1, 2])), alpha=np.float32(0.5))
    check_operator("threshold", np.int32([3, 2147483647]), rtol=0, x=Input([-1, 2147483647]), alpha=np.int32(3))
