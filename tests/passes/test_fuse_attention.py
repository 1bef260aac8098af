"""Products, softmax and moves become attention."""

from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.passes.graphs import graph_of, normal, operators, run

from windfall.errors import EngineError
from windfall.graph.builder import GraphBuilder
from windfall.passes import optimize
from windfall.passes.fuse_attention import FuseAttention
from windfall.runtime.engine import EngineOptions
from windfall.runtime.onnxruntime import OnnxRuntime
from windfall.runtime.openvino import has_openvino
from windfall.runtime.serialize import serialize

if has_openvino():
    from windfall.runtime.openvino.program import OpenVino


@dataclass(frozen=True)
class Case:
    """Attention of the rows [B, S, N * H] of x to others; ``mask`` has the sizes of what is added to the products."""

    batch: int = 1
    heads: int = 2
    queries: int = 3
    keys: int = 5
    width: int = 4
    value_width: int = 4
    mask: tuple[int, ...] | None = None
    past: int = 0
    scale: str = "query"
    columns: str = "at once"
    number: float = 0.3

    def rows(self, name: str) -> np.ndarray:
        """[B, N, T, H] of the keys, the values and what comes before them."""
        seed, width = (1, self.width) if "key" in name else (2, self.value_width)
        count = self.past if "past" in name else self.keys
        return normal(self.batch, self.heads, count, width, seed=seed + 10 * ("past" in name))

    @property
    def x(self) -> np.ndarray:
        return normal(self.batch, self.queries, self.heads * self.width, seed=7)

    def expected(self) -> np.ndarray:
        """[B, S, N * H], computed by torch."""
        query = self.x.reshape(self.batch, self.queries, self.heads, self.width).swapaxes(1, 2)
        key, value = (np.concatenate([self.rows(f"past {name}"), self.rows(name)], 2) for name in ("key", "value"))
        tensors = (torch.from_numpy(np.ascontiguousarray(each)) for each in (query, key, value))
        mask = None if self.mask is None else torch.from_numpy(normal(*self.mask, seed=5))
        y = torch.nn.functional.scaled_dot_product_attention(*tensors, attn_mask=mask, scale=self.number)
        return y.transpose(1, 2).reshape(self.batch, self.queries, -1).numpy()


def spelled_out(g: GraphBuilder, x: ir.Value, case: Case) -> ir.Value:
    """Emit what lowerings make of attention."""
    dims = np.array([case.batch, case.queries, case.heads, case.width])
    query = g.op("Reshape", x, g.constant(dims))
    number = g.constant(np.float32(case.number))
    query = g.op("Mul", query, number) if case.scale == "rows" else query
    query = g.op("Transpose", query, perm=[0, 2, 1, 3])
    query = g.op("Mul", number, query) if case.scale == "query" else query
    columns = keys(g, case)
    scores = g.op("MatMul", query, columns)
    scores = g.op("Mul", scores, number) if case.scale == "scores" else scores
    scores = g.op("Div", scores, g.constant(np.float32(1 / case.number))) if case.scale == "divided" else scores
    scores = scores if case.mask is None else g.op("Add", scores, g.constant(normal(*case.mask, seed=5)))
    y = g.op("MatMul", g.op("Softmax", scores, axis=-1), with_past(g, case, "value"))
    rows = g.op("Transpose", y, perm=[0, 2, 1, 3])
    return g.op("Reshape", rows, g.constant(np.array([case.batch, case.queries, case.heads * case.value_width])))


def keys(g: GraphBuilder, case: Case) -> ir.Value:
    if case.columns == "at once" and not case.past:
        return g.op("Transpose", in_rows(g, case, "key"), perm=[0, 2, 3, 1])
    return g.op("Transpose", with_past(g, case, "key"), perm=[0, 1, 3, 2])


def in_rows(g: GraphBuilder, case: Case, name: str) -> ir.Value:
    """[B, T, N, H], not known beforehand"""
    (x,) = g.graph.inputs
    zero = g.op("ReduceSum", g.op("Sub", x, x), keepdims=0)
    return g.op("Add", g.constant(case.rows(name).swapaxes(1, 2)), zero)


def with_past(g: GraphBuilder, case: Case, name: str) -> ir.Value:
    """[B, N, T, H]"""
    new = g.op("Transpose", in_rows(g, case, name), perm=[0, 2, 1, 3])
    return g.op("Concat", g.constant(case.rows(f"past {name}")), new, axis=2) if case.past else new


def check(case: Case) -> ir.Model:
    """Check that a case becomes one node, of which all engines give what torch gives."""
    model = graph_of(lambda g, x: spelled_out(g, x, case), case.x.shape)
    before = run(model, case.x)
    np.testing.assert_allclose(before, case.expected(), rtol=1e-4, atol=1e-5)
    optimize(model)
    found = operators(model)
    assert found.count("Attention") == 1, found
    assert not {"MatMul", "Softmax", "Mul", "Div"} & {*found}, found
    assert ("Transpose" not in found) == (not case.past), found
    np.testing.assert_allclose(run(model, case.x), case.expected(), rtol=1e-4, atol=1e-5)
    if has_openvino():
        # Where sizes are 1, it may fail to compile a graph, also without Attention; then it is not used.
        with suppress(EngineError):
            program = OpenVino().compile(serialize(model), EngineOptions(threads=1))
            np.testing.assert_allclose(program.run({"x": case.x})[0], case.expected(), rtol=1e-4, atol=1e-5)
    assert not FuseAttention()(model).modified
    return model


@settings(max_examples=25, deadline=None)
@given(
    st.builds(
        Case,
        batch=st.integers(1, 3),
        heads=st.integers(1, 3),
        queries=st.integers(1, 4),
        keys=st.integers(1, 4),
        width=st.integers(1, 5),
        value_width=st.integers(1, 5),
        past=st.integers(0, 3),
        scale=st.sampled_from(["rows", "query", "scores", "divided"]),
        columns=st.sampled_from(["at once", "twice"]),
    ),
    st.sampled_from([None, "full", "one row", "one head", "two axes"]),
)
def test_attention_is_one_node(case: Case, mask: str | None) -> None:
    full = (case.batch, case.heads, case.queries, case.past + case.keys)
    masks = {"full": full, "one row": (*full[:2], 1, full[3]), "one head": (1, 1, *full[2:]), "two axes": full[2:]}
    check(replace(case, mask=masks.get(mask or "")))


def test_what_comes_before_goes_in_and_all_of_it_comes_out() -> None:
    case = Case(past=3)
    model = graph_of(lambda g, x: spelled_out(g, x, case), case.x.shape)
    for index, name in ((0, "key"), (1, "value")):
        joined = [node for node in model.graph if node.op_type == "Concat"][index].outputs[0]
        joined.name = f"present {name}"
        model.graph.outputs.append(joined)
    optimize(model)
    assert not {"Concat", "Transpose"} & {*operators(model)}
    assert [value.name for value in model.graph.outputs] == ["y", "present key", "present value"]
    y, *present = OnnxRuntime().compile(serialize(model), EngineOptions(threads=1)).run({"x": case.x})
    np.testing.assert_allclose(y, case.expected(), rtol=1e-4, atol=1e-5)
    for name, found in zip(("key", "value"), present, strict=True):
        np.testing.assert_array_equal(found, np.concatenate([case.rows(f"past {name}"), case.rows(name)], 2))


def without_moves(g: GraphBuilder, x: ir.Value, perm=(0, 1, 3, 2), used: bool = False, axis: int = -1) -> ir.Value:
    """Attention of [B, N, S, H] to itself."""
    scores = g.op("MatMul", x, g.op("Transpose", x, perm=perm))
    shares = g.op("Softmax", scores, axis=axis)
    y = g.op("MatMul", shares, x)
    return g.op("Concat", shares, y, axis=3) if used else y


def test_heads_that_are_in_place_stay_there() -> None:
    x = normal(2, 3, 4, 5)
    model = graph_of(without_moves, x.shape)
    expected = run(model, x)
    optimize(model)
    assert operators(model) == ["Attention"]
    np.testing.assert_allclose(run(model, x), expected, rtol=1e-4, atol=1e-5)


def keys_of_one_head(g: GraphBuilder, x: ir.Value) -> ir.Value:
    first = g.op("Slice", x, *(g.constant(np.array([number])) for number in (0, 1, 1)))
    return g.op("MatMul", g.op("Softmax", g.op("MatMul", x, g.op("Transpose", first, perm=[0, 1, 3, 2]))), first)


def multiplied(g: GraphBuilder, x: ir.Value, number: np.ndarray) -> ir.Value:
    scores = g.op("MatMul", x, g.op("Transpose", x, perm=[0, 1, 3, 2]))
    return g.op("MatMul", g.op("Softmax", g.op("Mul", scores, g.constant(number))), x)


STAY = {
    "shares are used": lambda g, x: without_moves(g, x, used=True),
    "other axis": lambda g, x: without_moves(g, x, axis=2),
    "keys of one head": keys_of_one_head,
    "negative scale": lambda g, x: multiplied(g, x, np.float32(-1)),
    "scaled by a vector": lambda g, x: multiplied(g, x, normal(4)),
    "beside what ONNX Runtime has for earlier versions alone": lambda g, x: g.op(
        "Add", without_moves(g, x), g.op("Mul", g.op("RandomUniformLike", x), g.constant(np.float32(0)))),
    "no keys": lambda g, x: without_moves(g, g.op("Slice", x, *(g.constant(np.array([n])) for n in (0, 0, 2)))),
    "three axes": lambda g, x: without_moves(g, g.op("Reshape", x, g.constant(np.array([6, 4, 4]))), perm=(0, 2, 1)),
}  # fmt: skip


@pytest.mark.parametrize("form", STAY)
def test_what_differs_stays(form: str) -> None:
    x = normal(2, 3, 4, 4)
    model = graph_of(STAY[form], x.shape)
    before = operators(model)
    assert not FuseAttention()(model).modified
    assert operators(model) == before
    assert model.graph.opset_imports[""] == 21
    assert np.isfinite(run(model, x)).all()


def test_what_is_not_to_be_fused_is_not() -> None:
    model = graph_of(without_moves, (2, 3, 4, 4))
    optimize(model, attention=False)
    assert "Attention" not in operators(model)
