"""Programs with states through both engines."""

import threading
from typing import Any

import numpy as np
import pytest

import windfall
from tests.lowering.ml_program.test_states import accumulator, add_state
from tests.programs import Name, Output, add_input, add_operation, new_program
from windfall.errors import EngineError
from windfall.runtime.samples import sample_feeds, sample_state
from windfall.spec.proto import FeatureTypes_pb2

pytest.importorskip("openvino", reason="it is no dependency of other processors")

X = np.float32([[1, 2, 3], [4, 5, 6]])
VECTORS = Output(np.float32, (2, 3))


def swapping() -> Any:
    """Return a model with the states a, b and c: a becomes b, b becomes x + a, and c is read."""
    spec, function, block = new_program()
    for name in "abc":
        add_state(spec, function, name, (2, 3), np.float32)
    add_input(spec, function, "x", X, (2, 3))
    for name in "abc":
        add_operation(block, "read_state", {f"old_{name}": VECTORS}, input_=Name(name))
    add_operation(block, "add", {"sum": VECTORS}, x=Name("x"), y=Name("old_a"))
    add_operation(block, "write_state", {}, input_=Name("a"), data=Name("old_b"))
    add_operation(block, "write_state", {}, input_=Name("b"), data=Name("sum"))
    add_operation(block, "mul", {"product": VECTORS}, x=Name("sum"), y=Name("old_c"))
    block.outputs.append("product")
    spec.description.output.add(name="product").type.multiArrayType.dataType = FeatureTypes_pb2.ArrayFeatureType.FLOAT32
    return spec


def test_states_are_the_same_after_each_prediction() -> None:
    models = [windfall.load(swapping(), engine=engine, threads=1) for engine in ("onnxruntime", "openvino")]
    states = [model.make_state() for model in models]
    for state in states:
        state.write("a", X / 10)
        state.write("b", -X)
        state.write("c", X + 3)
    for step in range(5):
        one, other = (
            model.predict({"x": X * step}, state)["product"] for model, state in zip(models, states, strict=True)
        )
        np.testing.assert_array_equal(other, one)
        for name in "abc":
            np.testing.assert_array_equal(states[1].read(name), states[0].read(name))
    assert [model.compiled.program.engine for model in models] == ["onnxruntime", "openvino"]


def test_results_and_other_states_are_not_written_to() -> None:
    model = windfall.load(accumulator(), engine="openvino", threads=1)
    one, other = model.make_state(), model.make_state()
    first = model.predict({"x": X[0]}, one)
    model.predict({"x": X[0]}, one)
    np.testing.assert_array_equal(first["after"], X[0])
    np.testing.assert_array_equal(one.read("total"), X[0] * 2)
    np.testing.assert_array_equal(other.read("total"), X[0] * 0)
    assert model.compiled.program.engine == "openvino"


def test_predictions_with_one_state_wait_for_each_other() -> None:
    model, threads = windfall.load(accumulator(), engine="openvino", threads=1), []
    state = model.make_state()
    for _ in range(8):
        threads.append(threading.Thread(target=lambda: [model.predict({"x": X[0]}, state) for _ in range(10)]))
        threads[-1].start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(state.read("total"), X[0] * 80)


def test_a_prediction_that_fails_leaves_the_state_as_it_was() -> None:
    model = windfall.load(accumulator(), engine="openvino", threads=1)
    state = model.make_state()
    model.predict({"x": X[0]}, state)
    with pytest.raises(EngineError, match="OpenVINO failed: "):
        model.compiled.program.run({"x": np.zeros((2, 2), np.float32)}, state)
    np.testing.assert_array_equal(state.read("total"), X[0])


def test_engines_are_timed_with_states_as_in_a_prediction() -> None:
    proto = windfall.load(swapping()).compiled.onnx
    feeds = sample_feeds(proto.graph)
    assert feeds is not None
    one, other = (sample_state(proto.graph, feeds) for _ in range(2))
    assert one is not None
    assert one is not other
    assert {name: (buffer.shape, buffer.dtype) for name, buffer in one.buffers.items()} == dict.fromkeys(
        ["a", "b"], ((2, 3), np.float32)
    )
    for engine, state in (("onnxruntime", one), ("openvino", other)):
        program = windfall.load(swapping(), engine=engine).compiled.program
        (product,) = program.run({**feeds, "c": X}, state)
        np.testing.assert_array_equal(product, feeds["x"] * X)
    assert sample_state(proto.graph, {}) is None
