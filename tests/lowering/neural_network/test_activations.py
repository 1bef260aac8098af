"""Activations against NumPy and PyTorch."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.lowering.neural_network.strategies import few, seeds, tensors
from tests.support import run_layer
from windfall.errors import LoweringError

numbers = st.floats(-2, 2, width=32)


def leaky(x: NDArray[Any], alpha: Any) -> NDArray[Any]:
    return np.where(x >= 0, x, alpha * x)


def softplus(x: NDArray[Any]) -> NDArray[Any]:
    return np.logaddexp(0, x)


# The formulas of the messages in NeuralNetwork.proto; a and b are alpha and beta.
FORMULAS = {
    "linear": lambda x, a, b: a * x + b,
    "ReLU": lambda x, a, b: np.maximum(x, 0),
    "leakyReLU": lambda x, a, b: leaky(x, a),
    "thresholdedReLU": lambda x, a, b: np.where(x >= a, x, 0),
    "PReLU": lambda x, a, b: leaky(x, a),
    "tanh": lambda x, a, b: np.tanh(x),
    "scaledTanh": lambda x, a, b: a * np.tanh(b * x),
    "sigmoid": lambda x, a, b: 1 / (1 + np.exp(-x)),
    "sigmoidHard": lambda x, a, b: np.clip(a * x + b, 0, 1),
    "ELU": lambda x, a, b: np.where(x >= 0, x, a * np.expm1(np.minimum(x, 0))),
    "softsign": lambda x, a, b: x / (1 + np.abs(x)),
    "softplus": lambda x, a, b: softplus(x),
    "parametricSoftplus": lambda x, a, b: a * softplus(b * x),
}
FIELDS = {
    "linear": ("alpha", "beta"),
    "leakyReLU": ("alpha",),
    "thresholdedReLU": ("alpha",),
    "PReLU": ("alpha",),
    "scaledTanh": ("alpha", "beta"),
    "sigmoidHard": ("alpha", "beta"),
    "ELU": ("alpha",),
    "parametricSoftplus": ("alpha", "beta"),
}
PER_CHANNEL = ("PReLU", "parametricSoftplus")


def parameters(kind: str, **values: Any) -> dict[str, Any]:
    return {field: values[field] for field in FIELDS.get(kind, ())}


@pytest.mark.parametrize("kind", sorted(set(FORMULAS) - set(PER_CHANNEL)))
@few
@given(x=tensors(least_rank=1), alpha=numbers, beta=numbers)
def test_plain_activations_follow_their_formula(kind: str, x: NDArray[Any], alpha: float, beta: float) -> None:
    y = run_layer("activation", x, **{kind: parameters(kind, alpha=alpha, beta=beta)})
    np.testing.assert_allclose(y, FORMULAS[kind](x.astype(np.float64), alpha, beta), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", PER_CHANNEL)
@few
@given(x=tensors(), shared=st.booleans(), seed=seeds)
def test_parameters_run_along_the_channels(kind: str, x: NDArray[Any], shared: bool, seed: int) -> None:
    count = 1 if shared else x.shape[-3]
    alpha, beta = np.random.default_rng(seed).uniform(-2, 2, (2, count)).astype(np.float32)
    y = run_layer("activation", x, **{kind: parameters(kind, alpha=alpha, beta=beta)})
    a, b = alpha.reshape(-1, 1, 1), beta.reshape(-1, 1, 1)
    np.testing.assert_allclose(y, FORMULAS[kind](x.astype(np.float64), a, b), rtol=1e-5, atol=1e-6)


def test_prelu_has_one_slope_for_each_channel() -> None:
    x = np.array([-1, 2, -3, 4], np.float32).reshape(2, 2, 1)
    y = run_layer("activation", x, PReLU={"alpha": np.array([0.5, 0.1])})
    np.testing.assert_allclose(y, np.array([-0.5, 2, -0.3, 4], np.float32).reshape(2, 2, 1))


def test_prelu_agrees_with_pytorch_in_a_network_of_rank_5() -> None:
    x = np.linspace(-2, 2, 2 * 3 * 4 * 5 * 6, dtype=np.float32).reshape(2, 3, 4, 5, 6)
    slopes = np.array([0.1, 0.2, -0.3, 4], np.float32)
    y = run_layer("activation", x, rank5=True, PReLU={"alpha": slopes})
    expected = torch.nn.functional.prelu(torch.tensor(x).flatten(0, 1), torch.tensor(slopes))
    np.testing.assert_allclose(y, expected.numpy().reshape(x.shape), rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("sigmoid", [0, 0, 1, 1]),
        ("tanh", [-1, -1, 1, 1]),
        ("softsign", [-1, -100 / 101, 100 / 101, 1]),
        ("softplus", [0, 0, 100, 1e30]),
        ("ELU", [-1.5, -1.5, 100, 1e30]),
        ("sigmoidHard", [0, 0, 1, 1]),
        ("parametricSoftplus", [0, 0, 150, 1.5e30]),
    ],
)
def test_large_values_neither_overflow_nor_turn_into_nan(kind: str, expected: list[float]) -> None:
    x = np.array([-1e30, -100, 100, 1e30], np.float32).reshape(1, 1, 4)
    array = kind in PER_CHANNEL
    alpha, beta = (np.array([value]) if array else value for value in (1.5, 1))
    y = run_layer("activation", x, **{kind: parameters(kind, alpha=alpha, beta=beta)})
    np.testing.assert_allclose(y.ravel(), expected, rtol=1e-6, atol=1e-37)


def test_thresholded_relu_keeps_the_threshold_itself() -> None:
    y = run_layer("activation", [0.5, 1.0, 1.5], thresholdedReLU={"alpha": 1})
    np.testing.assert_array_equal(y, [0, 1, 1.5])


def test_an_activation_without_a_function_is_refused() -> None:
    with pytest.raises(LoweringError, match="NonlinearityType is not set, must be set"):
        run_layer("activation", np.ones((1, 1, 1)))


@pytest.mark.parametrize("kind", PER_CHANNEL)
def test_parameters_per_channel_need_a_channel_axis(kind: str) -> None:
    fields = parameters(kind, alpha=np.ones(2), beta=np.ones(2))
    with pytest.raises(LoweringError, match=r"input has rank 2, alpha per channel needs rank 3 or more"):
        run_layer("activation", np.ones((2, 2)), **{kind: fields})


@pytest.mark.parametrize("kind", PER_CHANNEL)
def test_parameters_must_have_one_value_or_one_for_each_channel(kind: str) -> None:
    fields = parameters(kind, alpha=np.ones(3), beta=np.ones(2))
    with pytest.raises(LoweringError, match=r"alpha has 3 values, must have 2 or 1"):
        run_layer("activation", np.ones((2, 1, 1)), **{kind: fields})
