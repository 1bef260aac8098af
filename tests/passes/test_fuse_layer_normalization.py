"""Instance normalizations of rows become layer normalizations."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.passes.graphs import check_rewritten, graph_of, normal, operators, run

from windfall.passes import optimize
from windfall.passes.fuse_layer_normalization import FuseLayerNormalization

EPSILON = 1e-5
FUSED = ["LayerNormalization", "Reshape"]  # the latter makes the graph's output


def normalized(g, x, channels: int, *, scale=1.0, bias=0.0):
    parts = (np.full(channels, number, np.float32) for number in (scale, bias))
    return g.op("InstanceNormalization", x, *map(g.constant, parts), epsilon=EPSILON)


def by_rows(g, x, scale, bias, channels: int, *, swap: bool = False):
    """Emit what coremltools makes of a layer normalization over the last axis of [1, channels, width]."""
    rows = g.op("Reshape", x, g.constant(np.array([1, channels, 1, len(scale)])))
    norm = normalized(g, rows, channels)
    operands = (g.constant(scale.reshape(1, 1, -1)), norm)
    scaled = g.op("Mul", *(operands if swap else operands[::-1]))
    added = g.op("Add", scaled, g.constant(bias.reshape(1, 1, -1)))
    return g.op("Reshape", added, g.constant(np.array([1, channels, len(scale)])))


@given(st.integers(1, 5), st.integers(2, 9), st.booleans(), st.integers(0, 99))
def test_rows_are_normalized_by_one_node(channels: int, width: int, swap: bool, seed: int) -> None:
    scale, bias, x = normal(width, seed=seed), normal(width, seed=seed + 1), normal(1, channels, width, seed=seed + 2)
    model = graph_of(lambda g, x: by_rows(g, x, scale, bias, channels, swap=swap), x.shape)
    expected = run(model, x)
    optimize(model)
    assert operators(model) == FUSED
    wanted = torch.nn.functional.layer_norm(torch.from_numpy(x), (width,), *map(torch.from_numpy, (scale, bias)))
    # Of two numbers that are nearly equal, the mean's rounding is much of what is left.
    np.testing.assert_allclose(run(model, x), wanted.numpy(), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(run(model, x), expected, rtol=1e-4, atol=1e-4)
    assert not FuseLayerNormalization()(model).modified


def test_without_reshapes_there_are_none() -> None:
    x, scale, bias = normal(2, 3, 8), normal(8, seed=1), normal(8, seed=2)

    def build(g, x):
        return g.op("Add", g.op("Mul", normalized(g, x, 3), g.constant(scale)), g.constant(bias))

    check_rewritten(FuseLayerNormalization(), build, x, ["LayerNormalization"])


def test_what_is_far_from_0_is_not_less_exact() -> None:
    x, ones, zeros = normal(1, 4, 384) + np.float32(1000), np.ones(384, np.float32), np.zeros(384, np.float32)
    model = graph_of(lambda g, x: by_rows(g, x, ones, zeros, 4), x.shape)
    exact = x.astype(np.float64)
    exact = (exact - exact.mean(-1, keepdims=True)) / np.sqrt(exact.var(-1, keepdims=True) + EPSILON)
    before = np.max(np.abs(run(model, x) - exact))
    optimize(model)
    assert operators(model) == FUSED
    assert np.max(np.abs(run(model, x) - exact)) <= before


def affine(g, x, scale=(1, 1, 8), bias=(1, 1, 8)):
    return g.op("Add", g.op("Mul", x, g.constant(normal(*scale))), g.constant(normal(*bias)))


def used_twice(g, x):
    norm = normalized(g, x, 3)
    return g.op("Mul", affine(g, norm), norm)


STAY = {
    "planes": lambda g, x: affine(g, normalized(g, g.op("Reshape", x, g.constant(np.array([1, 3, 2, 4]))), 3),
                                  (1, 1, 4), (1, 1, 4)),
    "scaled": lambda g, x: affine(g, normalized(g, x, 3, scale=2)),
    "moved": lambda g, x: affine(g, normalized(g, x, 3, bias=1)),
    "scale by channel": lambda g, x: affine(g, normalized(g, x, 3), (3, 1)),
    "bias by channel": lambda g, x: affine(g, normalized(g, x, 3), (8,), (3, 1)),
    "scale alone": lambda g, x: g.op("Mul", normalized(g, x, 3), g.constant(normal(8))),
    "repeated": lambda g, x: affine(g, normalized(g, x, 3), (2, 1, 8)),
    "used twice": used_twice,
    "one number": lambda g, x: affine(g, normalized(g, g.op("Reshape", x, g.constant(np.array([1, 24, 1]))), 24),
                                      (1, 1, 1), (1, 1, 1)),
}  # fmt: skip


@pytest.mark.parametrize("form", STAY)
def test_what_differs_stays(form: str) -> None:
    x = normal(1, 3, 8)
    check_rewritten(FuseLayerNormalization(), STAY[form], x, operators(graph_of(STAY[form], x.shape)))
