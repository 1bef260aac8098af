"""What depends on constants alone is computed once."""

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.passes.graphs import check_rewritten, graph_of, normal, operators, run

import windfall
from windfall.graph.builder import GraphBuilder
from windfall.passes import fold_constants, optimize
from windfall.passes.fold_constants import FoldConstants
from windfall.runtime.openvino import has_openvino

SIZES = st.integers(1, 4)


def causal_mask(g: GraphBuilder, keys: int) -> ir.Value:
    """[S, T]: 0, and -10,000 where a key comes later; as coremltools converts the masks of transformers."""
    places = np.stack([np.zeros(keys, np.int64), np.arange(keys)], 1)
    present = g.op("Cast", g.op("GatherND", g.constant(np.ones((1, keys), np.int32)), g.constant(places)), to=9)
    lower = g.op("And", g.constant(np.tri(keys, dtype=bool)), present)
    return g.op("Where", lower, g.constant(np.float32(0)), g.constant(np.float32(-1e4)))


def test_a_mask_is_one_constant():
    x = normal(2, 5, 5)
    model = check_rewritten(FoldConstants(), lambda g, x: g.op("Add", x, causal_mask(g, 5)), x, ["Add"])
    np.testing.assert_array_equal(run(model, x)[0], np.where(np.tri(5), x[0], x[0] - np.float32(1e4)))


@settings(max_examples=30, deadline=None)
@given(st.lists(SIZES, max_size=3).map(tuple), st.sampled_from(["Add", "Mul", "Sub", "Max"]), st.booleans())
def test_numbers_are_those_of_numpy(dims: tuple[int, ...], operator: str, is_used_twice: bool):
    one, other, x = normal(*dims, seed=1), normal(*dims[-1:], seed=2), normal(*dims)

    def build(g: GraphBuilder, x: ir.Value) -> ir.Value:
        made = g.op(operator, g.constant(one), g.constant(other))
        y = g.op("Add", x, g.op("Exp", made))
        return g.op("Add", y, made) if is_used_twice else y

    functions = {"Add": np.add, "Mul": np.multiply, "Sub": np.subtract, "Max": np.maximum}
    made = functions[operator](one, other)
    model = graph_of(build, dims)
    assert FoldConstants()(model).modified
    assert operators(model) == ["Add"] * (1 + is_used_twice)
    np.testing.assert_allclose(run(model, x), x + np.exp(made) + is_used_twice * made, rtol=1e-6, atol=1e-6)


def moved_weight(g: GraphBuilder, x: ir.Value) -> ir.Value:
    return g.op("MatMul", x, g.op("Transpose", g.constant(normal(3, 4)), perm=[1, 0]))


def quantized(g: GraphBuilder, x: ir.Value) -> ir.Value:
    codes, scale = g.constant(np.arange(4, dtype=np.int8)), g.constant(np.float32(0.5))
    return g.op("Add", x, g.op("DequantizeLinear", codes, scale))


def drawn(g: GraphBuilder, x: ir.Value) -> ir.Value:
    return g.op("Add", x, g.op("Bernoulli", g.constant(np.full(4, 0.0, np.float32))))


def beyond_its_axis(g: GraphBuilder, x: ir.Value) -> ir.Value:
    return g.op("Add", x, g.op("Gather", g.constant(normal(4, 4)), g.constant(np.int64(9))))


@pytest.mark.parametrize(
    ("build", "after"),
    [
        (moved_weight, ["Transpose", "MatMul"]),
        (quantized, ["DequantizeLinear", "Add"]),
        (drawn, ["Bernoulli", "Add"]),
        (beyond_its_axis, ["Gather", "Add"]),
    ],
)
def test_what_stays(build: Callable[[GraphBuilder, ir.Value], ir.Value], after: Sequence[str]):
    model = graph_of(build, [2, 4])
    assert not FoldConstants()(model).modified
    assert operators(model) == after


def test_an_output_of_the_graph_stays():
    model = graph_of(lambda g, _: g.op("Neg", g.constant(np.arange(3, dtype=np.float32))), [1])
    assert not FoldConstants()(model).modified
    np.testing.assert_array_equal(run(model, normal(1)), [0, -1, -2])


def test_the_budget(monkeypatch: pytest.MonkeyPatch):
    """One result fits, the one computed from it does not: the first is a constant then."""

    def build(g: GraphBuilder, x: ir.Value) -> ir.Value:
        small = g.op("Neg", g.constant(np.arange(4, dtype=np.float32)))
        return g.op("Add", x, g.op("Expand", small, g.constant(np.array([8, 4]))))

    monkeypatch.setattr(fold_constants, "_BUDGET", 64)
    check_rewritten(FoldConstants(), build, normal(8, 4), ["Expand", "Add"])


def test_no_more_is_read_than_may_be(monkeypatch: pytest.MonkeyPatch):
    def build(g: GraphBuilder, x: ir.Value) -> ir.Value:
        rows = (g.op("Gather", g.constant(normal(9, 4, seed=seed)), g.constant(np.int64(seed))) for seed in (1, 2))
        return g.op("Add", x, g.op("Sub", *rows))

    monkeypatch.setattr(fold_constants, "_MOST_READ", 2 * 9 * 4 * 4)
    check_rewritten(FoldConstants(), build, normal(2, 4), ["Gather", "Gather", "Sub", "Add"])
    monkeypatch.setattr(fold_constants, "_MOST_READ", 2 * 9 * 4 * 4 + 2 * 8)
    check_rewritten(FoldConstants(), build, normal(2, 4), ["Add"])


def test_text_is_no_operand():
    def build(g: GraphBuilder, x: ir.Value) -> ir.Value:
        words = g.constant(np.array(["a", "b"], object))
        return g.op("Add", x, g.op("Cast", g.op("Equal", words, words), to=ir.DataType.FLOAT))

    check_rewritten(FoldConstants(), build, normal(2), ["Equal", "Cast", "Add"])


@pytest.mark.skipif(not has_openvino(), reason="needs OpenVINO")
def test_openvino_is_given_a_network_with_a_mask():
    from windfall.runtime.engine import EngineOptions
    from windfall.runtime.openvino.program import OpenVino
    from windfall.runtime.serialize import serialize

    x = normal(1, 2, 5, 5)
    model = graph_of(lambda g, x: g.op("Softmax", g.op("Add", x, causal_mask(g, 5)), axis=-1), x.shape)
    expected = run(model, x)
    with pytest.raises(windfall.EngineError, match="GatherND"):
        OpenVino().compile(serialize(model), EngineOptions(threads=1))
    optimize(model)
    got = OpenVino().compile(serialize(model), EngineOptions(threads=1)).run({"x": x})[0]
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)
