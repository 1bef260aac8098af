"""Preprocessing goes into the first convolution, and the numbers stay."""

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from windfall.graph.builder import GraphBuilder, build_model
from windfall.passes.fold_affine_into_conv import FoldAffineIntoConv
from windfall.passes.order import PASSES
from windfall.runtime.engine import EngineOptions
from windfall.runtime.onnxruntime import OnnxRuntime
from windfall.runtime.serialize import serialize

RNG = np.random.default_rng(0)


def image_graph(pads: list[int], mode: str | None, *, keep_scaled: bool = False) -> ir.Model:
    """x -> Mul -> Add -> [Pad] -> Conv, as a lowering of an image input writes it."""
    graph = GraphBuilder("image")
    x = graph.input("x", ir.DataType.FLOAT, [1, 3, 8, 9])
    scaled = graph.op("Mul", x, graph.constant(np.float32(1 / 127.5)))
    biased = graph.op("Add", scaled, graph.constant(np.array([-1, 0.5, 2], np.float32).reshape(1, 3, 1, 1)))
    if mode:
        biased = graph.op("Pad", biased, graph.constant(np.array([0, 0, 1, 2, 0, 0, 2, 1])), mode=mode)
    weights = graph.constant(RNG.normal(size=(4, 3, 3, 3)).astype(np.float32))
    bias = graph.constant(RNG.normal(size=4).astype(np.float32))
    graph.graph.outputs.append(graph.rename(graph.op("Conv", biased, weights, bias, pads=pads), "y"))
    if keep_scaled:
        graph.graph.outputs.append(graph.rename(scaled, "scaled"))
    return build_model(graph.graph)


def run(model: ir.Model) -> list[np.ndarray[Any, Any]]:
    x = np.random.default_rng(1).integers(0, 256, (1, 3, 8, 9)).astype(np.float32)
    return OnnxRuntime().compile(serialize(model), EngineOptions(threads=1)).run({"x": x})


@pytest.mark.parametrize(
    ("pads", "mode", "left"),
    [
        ([0, 0, 0, 0], None, []),
        ([0, 0, 0, 0], "reflect", ["Pad"]),
        ([0, 0, 0, 0], "edge", ["Pad"]),
        # The borders hold zeros, not preprocessed values: nothing may move.
        ([1, 1, 1, 1], None, ["Mul", "Add"]),
        ([0, 0, 0, 0], "constant", ["Mul", "Add"]),
    ],
)
def test_scale_and_bias_move_where_that_is_exact(pads: list[int], mode: str | None, left: list[str]) -> None:
    model = image_graph(pads, mode)
    before = run(model)
    for rewrite in PASSES:
        rewrite(model)
    assert [node.op_type for node in model.graph] == [*left, "Conv"]
    np.testing.assert_allclose(run(model)[0], before[0], rtol=1e-4, atol=1e-4)
    assert not FoldAffineIntoConv()(model).modified


def test_a_value_that_others_use_stays() -> None:
    model = image_graph([0, 0, 0, 0], None, keep_scaled=True)
    before = run(model)
    for rewrite in PASSES:
        rewrite(model)
    assert [node.op_type for node in model.graph] == ["Mul", "Conv"]
    for old, new in zip(before, run(model), strict=True):
        np.testing.assert_allclose(new, old, rtol=1e-4, atol=1e-4)
