from multiprocessing.pool import ThreadPool

import numpy as np
import onnx_ir as ir
import pytest

from windfall.errors import EngineError, UnsupportedError
from windfall.graph.builder import GraphBuilder, build_model
from windfall.runtime.engine import COMPUTE_UNITS, EngineOptions, checked_options, engine_named
from windfall.runtime.serialize import serialize


def product(count=3):
    """Return a graph of y = x * weight, with a weight large enough to be handed over by address for 300 or more."""
    graph = GraphBuilder("g")
    x = graph.input("x", ir.DataType.FLOAT, (count,))
    weight = np.arange(count, dtype=np.float32)
    graph.graph.outputs.append(graph.rename(graph.op("Mul", x, graph.constant(weight)), "y"))
    return build_model(graph.graph), weight


@pytest.mark.parametrize("engine", ["auto", "onnxruntime"])
@pytest.mark.parametrize("threads", [None, 1, 2])
@pytest.mark.parametrize(("count", "embedded"), [(3, 0), (1000, 0), (1000, 4000)])
def test_engines_compute(engine, threads, count, embedded, monkeypatch):
    monkeypatch.setattr("windfall.runtime.serialize.MOST_EMBEDDED", embedded)
    model, weight = product(count)
    program = engine_named(engine).compile(serialize(model), EngineOptions(threads))
    x = np.linspace(-1, 1, count, dtype=np.float32)
    (y,) = program.run({"x": x})
    np.testing.assert_array_equal(y, x * weight)


def test_large_weights_stay_in_the_graph_and_out_of_what_is_serialized(monkeypatch):
    monkeypatch.setattr("windfall.runtime.serialize.MOST_EMBEDDED", 0)
    model, weight = product(1000)
    before = dict(model.graph.initializers)
    serialized = serialize(model)
    assert len(serialized.proto) < weight.nbytes
    (array,) = serialized.arrays.values()
    np.testing.assert_array_equal(array, weight)
    assert dict(model.graph.initializers) == before


def test_a_program_keeps_its_weights_alive(monkeypatch):
    monkeypatch.setattr("windfall.runtime.serialize.MOST_EMBEDDED", 0)
    model, weight = product(1000)
    program = engine_named("auto").compile(serialize(model), EngineOptions(1))
    del model
    x = np.ones(1000, np.float32)
    junk = [np.full(1000, 7, np.float32) for _ in range(50)]
    np.testing.assert_array_equal(program.run({"x": x})[0], weight)
    assert len(junk) == 50


def test_a_program_may_run_in_many_threads():
    model, weight = product(1000)
    program = engine_named("auto").compile(serialize(model), EngineOptions(1))
    with ThreadPool(8) as pool:
        for factor, y in enumerate(pool.map(lambda k: program.run({"x": np.full(1000, k, np.float32)})[0], range(40))):
            np.testing.assert_array_equal(y, weight * factor)


def test_a_graph_that_the_engine_does_not_take_is_an_engine_error():
    model, _ = product()
    model.graph.opset_imports["nobody"] = 1
    model.graph.outputs[0].producer().domain = "nobody"
    with pytest.raises(EngineError) as error:
        engine_named("auto").compile(serialize(model), EngineOptions(1))
    assert str(error.value).startswith("ONNX Runtime cannot compile the model: ")
    assert "\n" not in str(error.value)


def test_inputs_that_the_program_does_not_take_are_an_engine_error():
    model, _ = product()
    program = engine_named("auto").compile(serialize(model), EngineOptions(1))
    with pytest.raises(EngineError) as error:
        program.run({"x": np.zeros(4, np.float32)})
    assert str(error.value).startswith("ONNX Runtime failed: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("units", COMPUTE_UNITS)
def test_all_compute_units_of_core_ml_are_known(units):
    assert checked_options(None, units) == EngineOptions(None, units)


@pytest.mark.parametrize(
    ("threads", "units", "text"),
    [
        (None, "gpu", "compute_units is 'gpu', must be one of: all, cpu_only, cpu_and_gpu, cpu_and_ne"),
        (None, None, "compute_units is None, must be one of: all, cpu_only, cpu_and_gpu, cpu_and_ne"),
        (None, [], "compute_units is [], must be one of: all, cpu_only, cpu_and_gpu, cpu_and_ne"),
        (0, "all", "threads is 0, must be 1 to 1024, or None for all cores"),
        (-1, "all", "threads is -1, must be 1 to 1024, or None for all cores"),
        (10**9, "all", "threads is 1000000000, must be 1 to 1024, or None for all cores"),
        (1.5, "all", "threads is 1.5, must be 1 to 1024, or None for all cores"),
        ("2", "all", "threads is '2', must be 1 to 1024, or None for all cores"),
    ],
)
def test_unknown_options_are_refused(threads, units, text):
    with pytest.raises(UnsupportedError) as error:
        checked_options(threads, units)
    assert str(error.value) == text


@pytest.mark.parametrize("name", ["tensorflow", "", None, ["auto"]])
def test_unknown_engines_are_refused(name):
    with pytest.raises(UnsupportedError) as error:
        engine_named(name)
    assert str(error.value) == f"engine is {name!r}, must be one of: auto, onnxruntime, openvino"
