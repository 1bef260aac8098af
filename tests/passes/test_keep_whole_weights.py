"""Layers between rounded activations keep the codes of their weights; all others are left as they are."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator
from tests.passes.graphs import check_rewritten, graph_of, normal, operators, run

from windfall.graph.compressed import Compressed, CompressedTensor
from windfall.passes.keep_whole_weights import KeepWholeWeights
from windfall.passes.nodes import array_of

RNG = np.random.default_rng(0)
X = RNG.uniform(-3, 3, (1, 6, 5, 5)).astype(np.float32)
Q, DQ = "QuantizeLinear", "DequantizeLinear"
CODES = RNG.integers(-64, 64, (4, 6, 3, 3)).astype(np.int8)  # those of 7 bits are exact in all kernels


def weight(g, codes: np.ndarray = CODES, **parts: Any):
    """A weight [O, ...] of codes, as a program holds it."""
    parts = {"scale": RNG.uniform(0.001, 0.01, (len(codes), *[1] * (codes.ndim - 1))).astype(np.float32)} | parts
    compressed = Compressed(lambda: codes, codes.shape, parts.pop("bits", 7), signed=codes.dtype == np.int8, **parts)

    def load() -> np.ndarray:
        if compressed.table is not None:
            return compressed.table.reshape(-1)[codes]
        scale, zero = compressed.scale, 0 if compressed.zero is None else compressed.zero
        for axis, size in enumerate(codes.shape):
            scale = np.repeat(scale, size // scale.shape[axis], axis)
        return ((codes - zero) * scale).astype(np.float32)

    return g.stored(CompressedTensor(load, codes.shape, "w", lambda: compressed), "w")


def steps(g, scale: float = 0.025, zero: int = 128):
    return g.constant(np.float32(scale)), g.constant(np.uint8(zero))


def rounded(g, x, scale: float = 0.025, zero: int = 128):
    return g.op(DQ, g.op(Q, x, *steps(g, scale, zero)), *steps(g, scale, zero))


def convolution(g, x, between: Callable[..., Any] = lambda g, y: y, bias: Any = (1, 2, -3, 0), **given: Any):
    y = g.op("Conv", rounded(g, x), weight(g, **given), g.constant(np.float32(bias)), pads=[1, 1, 1, 1])
    return rounded(g, between(g, y), 0.05)


def relu6(g, y):
    return g.op("Clip", y, g.constant(np.float32(0)), g.constant(np.float32(6)))


def defined(model: ir.Model, x: np.ndarray) -> np.ndarray:
    """Compute a graph as ONNX defines it, one node after the other; an engine fuses them, and rounds ties otherwise."""
    return ReferenceEvaluator(ir.to_proto(model)).run(None, {"x": x})[0]


BEHIND = {
    "nothing": (lambda g, y: y, []),
    "Relu": (lambda g, y: g.op("Relu", y), ["Clip"]),
    "Clip": (relu6, ["Clip"]),
    "wide Clip": (lambda g, y: g.op("Clip", y, g.constant(np.float32(-50)), g.constant(np.float32(50))), []),
    "Reshape": (lambda g, y: g.op("Reshape", y, g.constant(np.array([4, 25]))), ["Reshape"]),
}


@pytest.mark.parametrize("kind", BEHIND)
def test_convolutions(kind: str) -> None:
    between, left = BEHIND[kind]
    # The code of a weight and of a bias are the other two.
    after = [Q, DQ, DQ, DQ, "Conv", Q, *left, DQ]
    model = graph_of(lambda g, x: convolution(g, x, between), X.shape)
    expected = run(model, X)
    assert KeepWholeWeights()(model).modified
    assert operators(model) == after
    conv = next(node for node in model.graph if node.op_type == "Conv")
    assert [array_of(conv.inputs[index].producer(), 0).dtype for index in (1, 2)] == [np.int8, np.int32]
    off = np.abs(run(model, X) - expected)
    assert off.max() <= 0.0501  # a step, where the bias decides
    assert np.mean(off > 0.001) < 0.05
    assert not KeepWholeWeights()(model).modified


def test_products() -> None:
    codes = RNG.integers(-64, 64, (7, 25)).astype(np.int8)

    def build(g, x, end: Callable[..., Any] = lambda g, y: y):
        flat = g.op("Reshape", rounded(g, x), g.constant(np.array([6, 25])))
        y = g.op("Gemm", flat, weight(g, codes), g.constant(np.float32([1, 0, 2, 3, 4, 5, 6])), transB=1)
        return end(g, y)

    check_rewritten(KeepWholeWeights(), build, X, [Q, DQ, "Reshape", DQ, "Gemm", "Add"])
    after = [Q, DQ, "Reshape", DQ, DQ, "Gemm", Q, "Clip", DQ]
    model = graph_of(lambda g, x: build(g, x, lambda g, y: rounded(g, g.op("Relu", y), 0.1)), X.shape)
    KeepWholeWeights()(model)
    assert operators(model) == after


def test_sums() -> None:
    def build(g, x):
        return rounded(g, g.op("Relu", g.op("Add", rounded(g, x), rounded(g, x, 0.01, 3))), 0.04, 10)

    model = graph_of(build, X.shape)
    expected = defined(model, X)
    assert KeepWholeWeights()(model).modified
    assert operators(model) == [Q, DQ, Q, DQ, "Add", Q, "Clip", DQ]
    np.testing.assert_array_equal(defined(model, X), expected)
    assert not KeepWholeWeights()(model).modified


def not_rounded_before(g, x):
    return rounded(g, g.op("Conv", x, weight(g)))


def not_rounded_behind(g, x):
    return g.op("Conv", rounded(g, x), weight(g))


def also_used(g, x):
    y = g.op("Conv", rounded(g, x), weight(g))
    return g.op("Add", y, rounded(g, y))


LARGE = RNG.integers(-64, 64, (1, 3, 210, 210)).astype(np.int8)
LEFT = {
    "x is not rounded": not_rounded_before,
    "the result is not rounded": not_rounded_behind,
    "the result is used otherwise": also_used,
    "the bias would move": lambda g, x: convolution(
        g, x, scale=np.full((4, 1, 1, 1), 0.5, np.float32), bias=[0.003] * 4
    ),
    "the bias is too large": lambda g, x: convolution(g, x, scale=np.full((4, 1, 1, 1), 1e-8, np.float32)),
    "scales of blocks": lambda g, x: convolution(g, x, scale=np.full((4, 2, 1, 1), 0.01, np.float32)),
    "zero points differ": lambda g, x: convolution(g, x, zero=np.arange(4, dtype=np.float32).reshape(4, 1, 1, 1)),
    "a zero point is no code": lambda g, x: convolution(g, x, zero=np.full((1, 1, 1, 1), 0.4, np.float32)),
    "a table": lambda g, x: convolution(
        g, x, codes=CODES.view(np.uint8) % 64, table=normal(1, 1, 1, 1, 64), scale=None, bits=6
    ),
}  # fmt: skip


@pytest.mark.parametrize("build", LEFT.values(), ids=LEFT)
def test_what_has_no_kernel_stays(build) -> None:
    model = graph_of(build, X.shape)
    before = operators(model)
    assert not KeepWholeWeights()(model).modified
    assert operators(model) == before


def test_sums_beyond_32_bits_stay() -> None:
    x = normal(1, 3, 210, 210)

    def build(g, x):
        return rounded(g, g.op("Conv", rounded(g, x), weight(g, LARGE, scale=np.full((1, 1, 1, 1), 1e-3, np.float32))))

    model = graph_of(build, x.shape)
    assert not KeepWholeWeights()(model).modified


@given(
    st.floats(-20, 20, width=32),
    st.floats(0, 20, width=32),
    st.floats(0.015625, 0.25, width=32),
    st.integers(0, 255),
)
def test_rounding_before_limits_gives_the_same_codes(low: float, width: float, scale: float, zero: int) -> None:
    x = np.linspace(-30, 30, 999, dtype=np.float32)

    def build(g, x):
        total = g.op("Add", rounded(g, x, 0.25), rounded(g, x, 0.0078125))
        limits = (g.constant(np.float32(edge)) for edge in (low, np.float32(low) + np.float32(width)))
        return rounded(g, g.op("Clip", total, *limits), scale, zero)

    model = graph_of(build, x.shape)
    expected = defined(model, x)
    KeepWholeWeights()(model)
    assert operators(model)[-4:-1] in ([DQ, "Add", Q], ["Add", Q, "Clip"])
    np.testing.assert_array_equal(defined(model, x), expected)
