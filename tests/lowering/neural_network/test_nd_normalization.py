"""Normalization of tensors of any rank, against PyTorch."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.lowering.neural_network.strategies import few, random, seeds
from tests.lowering.neural_network.symbolic import run_symbolic
from tests.support import run_layer
from windfall.errors import LoweringError


@few
@given(shape=hnp.array_shapes(min_dims=1, max_dims=5, max_side=4), data=st.data())
def test_softmax_nd_matches_pytorch(shape: tuple[int, ...], data: st.DataObject) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32) * 20
    expected = torch.softmax(torch.from_numpy(x), axis).numpy()
    np.testing.assert_allclose(run_layer("softmaxND", x, axis=axis), expected, rtol=1e-5, atol=1e-7)


def test_an_axis_beyond_the_rank_is_refused() -> None:
    with pytest.raises(LoweringError, match="axis is 2, must be -2 to 1 for an input of rank 2"):
        run_layer("softmaxND", np.ones((2, 3)), axis=2)


@few
@given(
    shape=hnp.array_shapes(min_dims=1, max_dims=5, max_side=4),
    data=st.data(),
    seed=seeds,
    eps=st.sampled_from([1e-5, 0.1]),
    symbolic=st.booleans(),
)
def test_layer_normalization_matches_pytorch(
    shape: tuple[int, ...], data: Any, seed: int, eps: float, symbolic: bool
) -> None:
    dims = shape[-data.draw(st.integers(1, len(shape))) :]
    x, gamma, beta = random(seed, shape), random(seed + 1, dims), random(seed + 2, dims)
    run = run_symbolic if symbolic else run_layer
    y = run("layerNormalization", x, normalizedShape=dims, gamma=gamma, beta=beta, eps=eps)
    tensors = [torch.from_numpy(array.astype(np.float64)) for array in (x, gamma, beta)]
    expected = torch.nn.functional.layer_norm(tensors[0], dims, *tensors[1:], eps)
    np.testing.assert_allclose(y, expected.numpy(), rtol=1e-3, atol=1e-4)


def test_a_large_mean_does_not_drown_the_variance() -> None:
    x = random(0, (4, 64)) + np.float32(1000)
    y = run_layer("layerNormalization", x, normalizedShape=[64], gamma=np.ones(64), beta=np.zeros(64), eps=1e-5)
    wide = x.astype(np.float64)
    expected = (wide - wide.mean(-1, keepdims=True)) / wide.std(-1, keepdims=True)
    np.testing.assert_allclose(y, expected, atol=1e-3)


@pytest.mark.parametrize("dims", [[], [2], [4, 2, 3], [0]])
def test_a_shape_that_is_not_the_end_of_the_input_is_refused(dims: list[int]) -> None:
    message = r"normalizedShape is \[.*\], must be the last sizes of the input's shape \[2, 3\]"
    with pytest.raises(LoweringError, match=message):
        run_layer("layerNormalization", np.ones((2, 3)), normalizedShape=dims)


def test_weights_must_fit_the_shape() -> None:
    with pytest.raises(LoweringError, match="gamma"):
        run_layer("layerNormalization", np.ones((2, 3)), normalizedShape=[3], gamma=np.ones(2), beta=np.ones(3))
