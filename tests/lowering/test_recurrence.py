"""Recurrent nodes of sequences whose length is known at run time only."""

import numpy as np
import onnx_ir as ir
import pytest
import torch

from tests.passes.graphs import normal
from windfall.graph.builder import GraphBuilder, build_model
from windfall.lowering.chunks import within
from windfall.lowering.recurrence import gru
from windfall.runtime.engine import EngineOptions
from windfall.runtime.onnxruntime import OnnxRuntime
from windfall.runtime.serialize import serialize


@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("length", [0, 1, 4])
@pytest.mark.parametrize("is_known", [False, True])
def test_a_gru_of_any_number_of_steps(direction: str, length: int, is_known: bool):
    torch.manual_seed(0)
    module = torch.nn.GRU(3, 4, bias=False)
    # ONNX has the update gate first, PyTorch the reset gate.
    w, r = (each.detach().numpy().reshape(3, 4, -1)[[1, 0, 2]].reshape(1, 12, -1) for each in module.parameters())
    x, h = normal(length, 2, 3), normal(1, 2, 4, seed=1)
    graph = GraphBuilder("g", ["x"])
    value = graph.input("x", ir.DataType.FLOAT, [length if is_known else "steps", 2, 3])
    weights = [graph.constant(w), graph.constant(r), None]
    options = {"hidden_size": 4, "direction": direction, "linear_before_reset": 1}
    found = gru(within(graph), value, weights, graph.constant(h), **options)
    graph.graph.outputs.extend(graph.rename(each, f"y{index}") for index, each in enumerate(found))
    every, last = OnnxRuntime().compile(serialize(build_model(graph.graph)), EngineOptions(threads=1)).run({"x": x})
    assert every.shape == (length, 1, 2, 4)
    if length:
        order = slice(None, None, 1 if direction == "forward" else -1)
        expected, final = (each.detach().numpy() for each in module(torch.from_numpy(x[order].copy()), torch.tensor(h)))
        np.testing.assert_allclose(every[order, 0], expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(last, final, rtol=1e-5, atol=1e-6)
