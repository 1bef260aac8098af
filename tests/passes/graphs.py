"""Graphs of a few nodes, optimized and run."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes import InPlacePass

from windfall.graph.builder import GraphBuilder, build_model
from windfall.runtime.engine import EngineOptions
from windfall.runtime.onnxruntime import OnnxRuntime
from windfall.runtime.serialize import serialize

Build = Callable[[GraphBuilder, ir.Value], ir.Value]


def graph_of(build: Build, dims: Sequence[int | str]) -> ir.Model:
    """Return a graph with the float32 input x, and an output y that is built from it."""
    graph = GraphBuilder("g", ["x"])
    x = graph.input("x", ir.DataType.FLOAT, dims)
    graph.graph.outputs.append(graph.rename(build(graph, x), "y"))
    return build_model(graph.graph)


def run(model: ir.Model, x: NDArray[Any]) -> NDArray[Any]:
    """Compute y with ONNX Runtime, which checks the graph and the shapes it declares."""
    return OnnxRuntime().compile(serialize(model), EngineOptions(threads=1)).run({"x": x})[0]


def operators(model: ir.Model) -> list[str]:
    """Return the operators of a graph's nodes in their order."""
    return [node.op_type for node in model.graph]


def check_rewritten(
    rewrite: InPlacePass, build: Build, x: NDArray[Any], after: Sequence[str], *, changed: bool | None = None
) -> ir.Model:
    """Check that a pass leaves these operators and the same numbers, and has nothing to do a second time.

    Args:
        rewrite: The pass.
        build: Adds the nodes.
        x: The input.
        after: The operators of all nodes after the pass.
        changed: Whether the pass has something to do, by default if the operators change.
    """
    model = graph_of(build, x.shape)
    before = operators(model)
    expected = run(model, x)
    assert rewrite(model).modified == (before != list(after) if changed is None else changed)
    assert operators(model) == list(after)
    assert [value.name for value in model.graph.outputs] == ["y"]
    got = run(model, x)
    assert got.shape == expected.shape
    largest = float(np.max(np.abs(expected), initial=0.0))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5 * largest)
    assert not rewrite(model).modified
    return model


def normal(*dims: int, seed: int = 0) -> NDArray[np.float32]:
    """Return float32 numbers around 0."""
    return np.random.default_rng(seed).normal(size=dims).astype(np.float32)
