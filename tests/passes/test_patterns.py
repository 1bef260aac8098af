"""Patterns find what they describe, and nothing else."""

import numpy as np
import onnx_ir as ir
import pytest
from tests.passes.graphs import graph_of

from windfall.graph.builder import GraphBuilder
from windfall.passes.patterns import ANY, Pattern, matches, op


def value_of(build) -> ir.Value:
    return graph_of(build, [2, 2]).graph.outputs[0]


def names(pattern: Pattern, value: ir.Value) -> list[list[str]]:
    """Return the names that each match binds."""
    return [sorted(found) for found in matches(pattern, value, {})]


def gate(g: GraphBuilder, x: ir.Value) -> ir.Value:
    return g.op("Mul", g.op("Sigmoid", x), g.op("Add", g.constant(np.float32(1)), g.op("Neg", x)))


@pytest.mark.parametrize("pattern", [
    op("Mul", op("Sigmoid", "x"), op("Add", op("Neg", "x"), 1.0)),
    op("Mul", op("Add", 1.0, op("Neg", "x")), op("Sigmoid", "x")),
    op("Mul", "x", (op("Add", 2.0, ANY), op("Add", 1.0, ANY))),
    op("Mul", op("Sigmoid", ANY, name="x"), ANY),
])  # fmt: skip
def test_operands_come_in_any_order(pattern: Pattern) -> None:
    assert names(pattern, value_of(gate)) == [["x"]]


@pytest.mark.parametrize("pattern", [
    op("Mul", op("Sigmoid", "x"), op("Add", op("Neg", "x"), 2.0)),
    op("Mul", op("Sigmoid", "x"), op("Sub", 1.0, op("Neg", "x"))),
    op("Mul", op("Sigmoid", "x"), "x"),
    op("Mul", op("Sigmoid", "x", ANY, to=1), ANY),
    op("Mul", op("Sigmoid", op("Neg", "x")), ANY),
])  # fmt: skip
def test_what_is_something_else_is_not_found(pattern: Pattern) -> None:
    assert names(pattern, value_of(gate)) == []


def test_other_operands_keep_their_order() -> None:
    value = value_of(lambda g, x: g.op("Sub", x, g.constant(np.float32(1))))
    assert names(op("Sub", "x", 1.0), value) == [["x"]]
    assert names(op("Sub", 1.0, "x"), value) == []


@pytest.mark.parametrize(
    ("attributes", "found"), [({"transB": 1}, True), ({"transB": 1, "alpha": 2.0}, False), ({}, False)]
)
@pytest.mark.parametrize("has_bias", [True, False])
def test_attributes_are_these_and_a_last_input_may_be_missing(attributes, found, has_bias) -> None:
    def build(g: GraphBuilder, x: ir.Value) -> ir.Value:
        bias = [g.constant(np.ones(2, np.float32))] if has_bias else []
        return g.op("Gemm", x, g.constant(np.ones((2, 2), np.float32)), *bias, **attributes)

    ways = list(matches(op("Gemm", "x", "w", "b", transB=1), value_of(build), {}))
    assert len(ways) == found
    assert all((way["b"] is not None) == has_bias for way in ways)
    fewer = list(matches(op("Gemm", "x", "w", transB=1), value_of(build), {}))
    assert len(fewer) == (found and not has_bias)
