"""The time of each layer, and the plan of a compiled model."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import windfall
from tests.support import fill, layer_spec
from windfall.errors import EngineError
from windfall.runtime.openvino import has_openvino
from windfall.runtime.profile import NodeTime, _node_times, layer_times
from windfall.spec.proto import Model_pb2

RNG = np.random.default_rng(0)
ENGINES = [
    "onnxruntime",
    pytest.param("openvino", marks=pytest.mark.skipif(not has_openvino(), reason="it is not installed")),
]


def network() -> Any:
    """Return a large convolution, ``big, one``, and a small one, ``small``."""
    x = np.zeros((1, 16, 64, 64), np.float32)
    weights = RNG.normal(size=(32, 16, 3, 3)).astype(np.float32)
    fields = {"outputChannels": 32, "kernelChannels": 16, "kernelSize": [3, 3], "valid": {}, "weights": weights}
    spec = layer_spec("convolution", x, **fields)
    spec.neuralNetwork.layers[0].name = "big, one"
    spec.neuralNetwork.layers[0].output[0] = "inner"
    layer = {"name": "small", "input": ["inner"], "output": ["y0"], "softmaxND": {"axis": -1}}
    fill(spec.neuralNetwork.layers.add(), layer)
    return spec


@pytest.mark.parametrize("engine", ENGINES)
def test_times_are_those_of_layers(engine: str) -> None:
    layers = windfall.load(network(), engine=engine, threads=1).compiled.profile(runs=3)
    times = {layer.name: layer for layer in layers}
    assert {"big, one", "small"} >= set(times) - {""}
    assert times["big, one"].milliseconds > 0
    assert times["big, one"].operators[0].startswith("Conv")
    assert times["big, one"].device.startswith("CPU")
    assert sum(layer.share for layer in layers) == pytest.approx(1)
    assert [layer.milliseconds for layer in layers] == sorted((layer.milliseconds for layer in layers), reverse=True)


def test_no_file_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    windfall.load(network(), engine="onnxruntime", threads=1).compiled.profile(runs=1)
    assert list(tmp_path.iterdir()) == []


def test_the_time_of_a_layer_is_the_median_of_its_sums() -> None:
    def run(a: float, b: float) -> list[NodeTime]:
        return [
            NodeTime("a", "Conv", "CPU", a / 2),
            NodeTime("b", "Relu", "GPU", b),
            NodeTime("a", "Add", "CPU", a / 2),
        ]

    layers = layer_times([run(0.001, 0.003), run(0.009, 0.001), run(0.002, 0.002)])
    assert [(layer.name, layer.milliseconds, layer.share) for layer in layers] == [("a", 2.0, 0.5), ("b", 2.0, 0.5)]
    assert layers[0].operators == ["Conv", "Add"]
    assert layers[1].to_dict() == {
        "name": "b", "operators": ["Relu"], "device": "GPU", "milliseconds": 2.0, "share": 0.5
    }  # fmt: skip


def test_a_layer_that_some_runs_lack_took_no_time_there() -> None:
    one = [NodeTime("a", "If", "CPU", 0.001)]
    assert [(layer.name, layer.milliseconds) for layer in layer_times([one, [], []])] == [("a", 0.0)]
    assert layer_times([]) == []


def test_the_time_inside_of_a_loop_counts_once() -> None:
    def event(name: str, start: int, length: int) -> dict[str, Any]:
        return {"name": f"{name}_kernel_time", "ts": start, "dur": length, "args": {"op_name": "X", "provider": "P"}}

    events = [event("l.Loop", 0, 100), event("in.Add", 10, 20), event("in.Mul", 40, 30), event("z.Neg", 100, 5)]
    times = [(node.layer, round(node.seconds * 1e6)) for node in _node_times(events, {})]
    assert times == [("l", 50), ("in", 20), ("in", 30), ("z", 5)]


def test_an_input_of_text_cannot_be_made_up() -> None:
    spec = Model_pb2.Model(specificationVersion=1)
    fill(spec.description.input.add(name="x"), {"type": {"stringType": {}}})
    fill(spec.description.output.add(name="y"), {"type": {"int64Type": {}}})
    spec.categoricalMapping.stringToInt64Map.map["a"] = 1
    with pytest.raises(EngineError) as error:
        windfall.load(spec).compiled.profile()
    assert str(error.value) == "the model cannot be profiled: it has an input of no known size, or of text"


@pytest.mark.parametrize("engine", ENGINES)
def test_a_plan_names_what_runs_the_model(engine: str) -> None:
    plan = windfall.load(network(), engine=engine, threads=1).compiled.plan
    assert plan.engine == engine
    found = plan.to_dict()
    assert found["devices"] == (["CPU"] if engine == "openvino" else ["CPUExecutionProvider"])
    assert found["choice"] is None
    assert "big, one" in [layer["name"] for layer in found["layers"]]
    assert f"engine   {engine}" in str(plan)
    assert "big, one" in str(plan)


def test_a_plan_names_the_passes_that_fired() -> None:
    x = np.zeros((1, 3, 16, 16), np.float32)
    weights = RNG.normal(size=(8, 3, 3, 3)).astype(np.float32)
    fields = {"outputChannels": 8, "kernelChannels": 3, "kernelSize": [3, 3], "valid": {}, "weights": weights}
    spec = layer_spec("convolution", x, **fields)
    layer = spec.neuralNetwork.layers[0]
    scaled = Model_pb2.Model()
    scaled.CopyFrom(spec)
    del scaled.neuralNetwork.layers[:]
    scale = {"alpha": 2.0, "beta": 3.0}
    linear = {"name": "s", "input": ["x0"], "output": ["scaled"], "activation": {"linear": scale}}
    fill(scaled.neuralNetwork.layers.add(), linear)
    scaled.neuralNetwork.layers.add().CopyFrom(layer)
    scaled.neuralNetwork.layers[1].input[0] = "scaled"
    plan = windfall.load(scaled, threads=1).compiled.plan
    assert plan.passes["FoldAffineIntoConv"] == 2  # a scale and a bias
    assert "FoldAffineIntoConv 2x" in str(plan)
    assert plan.choice is not None
    assert "the model is small" in str(plan)


def test_a_plan_is_cut_short_unless_it_is_to_be_complete() -> None:
    from windfall.description.report import as_text
    from windfall.runtime.plan import Plan

    layers = layer_times([[NodeTime(f"layer{index}", "Neg", "CPU", 0.001) for index in range(30)]])
    plan = Plan("onnxruntime", ["CPU"], None, {}, layers)
    assert "10 more" in str(plan)
    assert "none fired" in str(plan)
    assert "layer29" in as_text(plan.report(complete=True), 100)
