"""Normalization against PyTorch and NumPy."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.lowering.neural_network.strategies import few, random, seeds, tensors
from tests.support import run_layer
from windfall.errors import LoweringError

F = torch.nn.functional
epsilons = st.sampled_from([0, 1e-3, 0.5])


def instances(x: NDArray[Any]) -> torch.Tensor:
    """Return [*batch, C, H, W] as [N, C, H, W]."""
    return torch.tensor(x).reshape(-1, *x.shape[-3:])


def affine(seed: int, channels: int) -> dict[str, NDArray[np.float32]]:
    gamma, beta, mean = random(seed, (3, channels))
    return {"gamma": gamma, "beta": beta, "mean": mean, "variance": random(seed + 1, [channels], 0.1, 2)}


def check(y: NDArray[Any], expected: torch.Tensor, tolerance: float = 1e-4) -> None:
    np.testing.assert_allclose(y, expected.numpy().reshape(y.shape), rtol=tolerance, atol=tolerance)


@few
@given(x=tensors(), epsilon=epsilons, seed=seeds)
def test_batchnorm_with_stored_statistics(x: NDArray[Any], epsilon: float, seed: int) -> None:
    channels = x.shape[-3]
    stored = affine(seed, channels)
    y = run_layer("batchnorm", x, channels=channels, epsilon=epsilon, **stored)
    gamma, beta, mean, variance = map(torch.tensor, stored.values())
    # An epsilon of 0 stands for 1e-5.
    check(y, F.batch_norm(instances(x), mean, variance, gamma, beta, eps=epsilon or 1e-5))


@few
@given(x=tensors(), epsilon=epsilons, seed=seeds)
def test_batchnorm_with_the_statistics_of_each_instance(x: NDArray[Any], epsilon: float, seed: int) -> None:
    x = np.concatenate([x, x + 1], axis=-1)  # PyTorch refuses a single pixel
    stored = affine(seed, x.shape[-3])
    y = run_layer(
        "batchnorm",
        x,
        channels=x.shape[-3],
        epsilon=epsilon,
        computeMeanVar=True,
        instanceNormalization=True,
        gamma=stored["gamma"],
        beta=stored["beta"],
    )
    weights = torch.tensor(stored["gamma"]), torch.tensor(stored["beta"])
    check(y, F.instance_norm(instances(x), None, None, *weights, eps=epsilon or 1e-5), 1e-3)


@few
@given(x=tensors(), epsilon=epsilons, seed=seeds)
def test_batchnorm_with_the_statistics_of_the_batch(x: NDArray[Any], epsilon: float, seed: int) -> None:
    x = np.concatenate([x, x + 1], axis=-1)
    stored = affine(seed, x.shape[-3])
    y = run_layer("batchnorm", x, channels=x.shape[-3], epsilon=epsilon, computeMeanVar=True, **stored)
    weights = torch.tensor(stored["gamma"]), torch.tensor(stored["beta"])
    check(y, F.batch_norm(instances(x), None, None, *weights, training=True, eps=epsilon or 1e-5), 1e-3)


def test_batchnorm_in_a_network_of_rank_5() -> None:
    x = random(0, (2, 3, 4, 5, 6))
    stored = affine(1, 4)
    y = run_layer("batchnorm", x, rank5=True, channels=4, **stored)
    gamma, beta, mean, variance = map(torch.tensor, stored.values())
    check(y, F.batch_norm(instances(x), mean, variance, gamma, beta, eps=1e-5))


def test_batchnorm_for_other_channels_is_refused() -> None:
    with pytest.raises(LoweringError, match="channels is 3, must be the input's number of channels, 2"):
        run_layer("batchnorm", np.ones((2, 1, 1)), channels=3, **affine(0, 3))


def test_batchnorm_without_statistics_is_refused() -> None:
    with pytest.raises(LoweringError, match="mean has no values, must have 2"):
        run_layer("batchnorm", np.ones((2, 1, 1)), channels=2, gamma=np.ones(2), beta=np.ones(2))


@few
@given(x=tensors(), across=st.booleans(), divide=st.booleans(), epsilon=epsilons)
def test_mvn(x: NDArray[Any], across: bool, divide: bool, epsilon: float) -> None:
    x = np.concatenate([x, x + 1], axis=-1)
    y = run_layer("mvn", x, acrossChannels=across, normalizeVariance=divide, epsilon=epsilon)
    axes = (-3, -2, -1) if across else (-2, -1)
    if divide:
        dims = list(x.shape[axes[0] :])
        check(y, F.layer_norm(torch.tensor(x), dims, eps=epsilon or 1e-6), 1e-3)
    else:
        np.testing.assert_allclose(y, x - x.mean(axis=axes, keepdims=True), rtol=1e-4, atol=1e-4)


def test_mvn_gives_coremltools_numbers() -> None:
    x = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    expected = x - np.array([1.5, 5.5]).reshape(2, 1, 1)
    np.testing.assert_allclose(run_layer("mvn", x, rank5=True), expected)


@few
@given(x=tensors(), epsilon=epsilons)
def test_l2_normalize_takes_all_of_c_h_and_w(x: NDArray[Any], epsilon: float) -> None:
    y = run_layer("l2normalize", x, epsilon=epsilon)
    total = (x.astype(np.float64) ** 2).sum(axis=(-3, -2, -1), keepdims=True)
    np.testing.assert_allclose(y, x / np.sqrt(total + (epsilon or 1e-6)), rtol=1e-5, atol=1e-6)


@few
@given(
    x=tensors(),
    size=st.integers(1, 7),
    alpha=st.floats(0, 5),
    beta=st.floats(0, 2),
    k=st.sampled_from([0, 0.5, 2]),
)
def test_lrn(x: NDArray[Any], size: int, alpha: float, beta: float, k: float) -> None:
    y = run_layer("lrn", x, localSize=size, alpha=alpha, beta=beta, k=k)
    # A k of 0 stands for 1.
    check(y, F.local_response_norm(instances(x), size, alpha, beta, k or 1.0))


def test_lrn_gives_coremltools_numbers() -> None:
    y = run_layer("lrn", np.ones((1, 3, 3)), rank5=True, alpha=2, beta=3, localSize=1, k=8)
    np.testing.assert_allclose(y, np.full((1, 3, 3), 1e-3), rtol=1e-6)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "localSize is 0, must be at least 1"),
        ({"localSize": 3, "k": -1}, r"k is -1.0, must be positive, or 0 for the default of 1"),
    ],
)
def test_lrn_without_a_meaning_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(LoweringError, match=message):
        run_layer("lrn", np.ones((1, 1, 1)), **fields)


@few
@given(x=tensors(low=-100, high=100))
def test_softmax_runs_over_the_channels(x: NDArray[Any]) -> None:
    check(run_layer("softmax", x), F.softmax(torch.tensor(x), dim=-3), 1e-6)


@pytest.mark.parametrize("layer_type", ["softmax", "mvn", "l2normalize", "lrn", "batchnorm"])
def test_the_inner_axes_must_be_there(layer_type: str) -> None:
    with pytest.raises(LoweringError, match="input has rank 2, must have rank 3 or more"):
        run_layer(layer_type, np.ones((2, 2)))
