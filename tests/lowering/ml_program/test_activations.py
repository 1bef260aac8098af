"""Activation functions, against PyTorch's formulas in NumPy."""

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import windfall
from tests.lowering.neural_network.strategies import random
from tests.programs import Input, Output, check_operator, run_operator

erf = np.vectorize(math.erf)


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def softplus(x: Any) -> Any:
    return np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0)


# Operator, its parameters, the same in NumPy.
ROWS: list[tuple[str, dict[str, Any], Callable[[Any], Any]]] = [
    ("clamped_relu", {"alpha": 0.5, "beta": 2.0}, lambda x: np.minimum(np.where(x >= 0, x, 0.5 * x), 2)),
    ("clamped_relu", {"alpha": -2.0, "beta": 1.0}, lambda x: np.minimum(np.where(x >= 0, x, -2 * x), 1)),
    ("elu", {"alpha": 2.0}, lambda x: np.where(x > 0, x, 2 * np.expm1(np.minimum(x, 0)))),
    ("gelu", {}, lambda x: 0.5 * x * (1 + erf(x / math.sqrt(2)))),
    ("gelu", {"mode": "EXACT"}, lambda x: 0.5 * x * (1 + erf(x / math.sqrt(2)))),
    (
        "gelu",
        {"mode": "TANH_APPROXIMATION"},
        lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    ),
    ("gelu", {"mode": "SIGMOID_APPROXIMATION"}, lambda x: x * sigmoid(1.702 * x)),
    ("leaky_relu", {"alpha": 0.3}, lambda x: np.where(x >= 0, x, 0.3 * x)),
    ("linear_activation", {"alpha": 2.0, "beta": -1.0}, lambda x: 2 * x - 1),
    ("linear_activation", {"alpha": 2.0, "beta": 0.0}, lambda x: 2 * x),
    ("relu", {}, lambda x: np.maximum(x, 0)),
    ("relu6", {}, lambda x: np.clip(x, 0, 6)),
    ("scaled_tanh", {"alpha": 1.5, "beta": 0.25}, lambda x: 1.5 * np.tanh(0.25 * x)),
    ("sigmoid", {}, sigmoid),
    ("sigmoid_hard", {"alpha": 0.2, "beta": 0.4}, lambda x: np.clip(0.2 * x + 0.4, 0, 1)),
    ("silu", {}, lambda x: x * sigmoid(x)),
    ("softplus", {}, softplus),
    ("softsign", {}, lambda x: x / (1 + np.abs(x))),
    ("thresholded_relu", {"alpha": 2.0}, lambda x: np.where(x >= 2, x, 0)),
]


@pytest.mark.parametrize(("name", "parameters", "function"), ROWS)
def test_functions(name: str, parameters: dict[str, Any], function: Callable[[Any], Any]) -> None:
    x = np.concatenate([random(4, 12, -8, 8), [-1, 0, 1, 2]]).astype(np.float32).reshape(2, 4, 2)
    given = {key: np.float32(value) if isinstance(value, float) else value for key, value in parameters.items()}
    expected = function(x.astype(np.float64)).astype(np.float32)
    check_operator(name, expected, atol=1e-5, x=Input(x), **given)


def test_large_numbers_do_not_overflow() -> None:
    x = np.array([-1000, 1000], np.float32)
    check_operator("softplus", np.float32([0, 1000]), x=Input(x))
    check_operator("sigmoid", np.float32([0, 1]), x=Input(x))
    check_operator("silu", np.float32([0, 1000]), x=Input(x))
    check_operator("softmax", np.float32([0, 1]), x=Input(x))


@pytest.mark.parametrize("axis", [-3, -2, -1, 0, 1, 2, None])
def test_softmax_along_each_axis(axis: int | None) -> None:
    x = random(5, (2, 3, 4), -3, 3)
    along = -1 if axis is None else axis
    expected = np.exp(x) / np.exp(x).sum(along, keepdims=True)
    check_operator("softmax", expected, x=Input(x), axis=axis)


def channels(numbers: NDArray[Any], rank: int) -> NDArray[Any]:
    return numbers.reshape(-1, *[1] * (rank - 2))


@pytest.mark.parametrize("rank", [2, 3, 4, 5])
def test_parameters_per_channel(rank: int) -> None:
    # The last size is that of the channels, too, to which ONNX would align a vector.
    x = random(6, (2, 3, 3, 3, 3)[:rank], -2, 2)
    alpha, beta = np.float32([0.5, -1, 2]), np.float32([1, 3, -2])
    check_operator("prelu", np.where(x > 0, x, channels(alpha, rank) * x), x=Input(x), alpha=alpha)
    expected = channels(alpha, rank) * softplus(channels(beta, rank) * x)
    check_operator("softplus_parametric", expected, x=Input(x), alpha=alpha, beta=beta)


@pytest.mark.parametrize(
    ("name", "x", "given", "text"),
    [
        ("gelu", [1.0], {"mode": "FAST"}, "mode is 'FAST', must be EXACT, TANH_APPROXIMATION or SIGMOID_APPROXIMATION"),
        ("softmax", [1.0], {"axis": 1}, "axis is 1, must be -1 to 0"),
        ("prelu", [[[1.0]]], {"alpha": np.ones(2)}, "alpha is of shape [2], must have one value for each channel, [1]"),
        ("prelu", [1.0], {"alpha": np.ones(1)}, "x has rank 1, must have channels as axis 1"),
        ("elu", [1.0], {}, "alpha is missing, must be given"),
    ],
)
def test_broken_rules_are_named(name: str, x: Any, given: dict[str, Any], text: str) -> None:
    with pytest.raises(windfall.LoweringError, match=re.escape(f"({name}) of the model: {text}")):
        run_operator(name, [Output(np.float32, np.shape(x))], x=Input(x), **given)
