"""On which device a graph runs where a graphics card is there: the card's program is the processor's, and is timed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import windfall
from tests.support import layer_spec
from windfall.errors import EngineError, UnsupportedError
from windfall.runtime import cache, choice, choices, onnxruntime, placement
from windfall.runtime.devices import CPU
from windfall.runtime.onnxruntime import OnnxRuntime, OrtProgram

CUDA = ("CUDAExecutionProvider", "CPUExecutionProvider")
RNG = np.random.default_rng(0)
X = RNG.random((1, 3, 40, 40)).astype(np.float32)
WEIGHTS = RNG.normal(size=(8, 3, 3, 3)).astype(np.float32)
CONV = {"outputChannels": 8, "kernelChannels": 3, "kernelSize": [3, 3], "valid": {}, "weights": WEIGHTS}


@pytest.fixture(autouse=True)
def card(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """A card that is there, and takes as long as a test says; says where graphs were compiled."""
    state: dict[str, Any] = {"cuda": 1.0, "cpu": 2.0, "compiled": [], "usable": True}
    compile_ = OnnxRuntime.compile

    def recorded(self: Any, model: Any, options: Any) -> OrtProgram:
        program = compile_(self, model, options)
        state["compiled"].append(options.device)
        if options.device != "cpu" and state["usable"]:
            program.devices = CUDA
        return program

    def times(runs: Any, _deadline: float) -> dict[str, float]:
        return {name: state[name] for name in runs}

    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: list(CUDA))
    monkeypatch.setattr(choices, "_IN_PROCESS", {})
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr("windfall.runtime.openvino.has_openvino", lambda: False)
    monkeypatch.setattr(OnnxRuntime, "compile", recorded)
    monkeypatch.setattr(placement, "best_times", times)
    monkeypatch.setattr(placement, "LEAST_WORK", 1)
    return state


NOT_GIVEN = (
    "device 'cuda' is not given the model: operator ArgMax: it may compute something else there than on the processor"
)


def run(**options: Any) -> Any:
    """Predict, and return what ran the model."""
    model = windfall.load(layer_spec("convolution", X, **CONV), threads=1, **options)
    model.predict({"x0": X})
    return model.compiled.program


@pytest.mark.parametrize(("seconds", "device"), [(1.0, "cuda"), (4.0, "cpu")])
def test_the_faster_device_is_taken_and_remembered(card: Any, seconds: float, device: str) -> None:
    card["cuda"] = seconds
    reason = f"cuda is {2 / seconds:.2f} times as fast as the processor"
    found = run()
    assert card["compiled"] == [None, "cpu"]
    assert found.choice == choices.Choice("onnxruntime", reason, {"cuda": seconds * 1000, "cpu": 2000.0}, device)
    assert (found.devices == CUDA) == (device == "cuda")
    choices._IN_PROCESS.clear()
    card["compiled"].clear()
    assert run().choice == found.choice  # from the cache's folder
    assert card["compiled"] == [device if device == "cpu" else None]


def test_a_small_graph_stays_on_the_processor(card: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "LEAST_WORK", choice.LEAST_WORK)
    assert run().choice.reason == "the model is small for cuda"
    assert card["compiled"] == ["cpu"]


def test_a_large_one_is_not_timed(card: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "SURE_WORK", 2)
    assert run().choice.reason == "the model is large"
    assert card["compiled"] == [None]


def test_a_card_that_cannot_be_used_is_tried_again_the_next_time(card: Any) -> None:
    card["usable"] = False
    assert run().choice.reason == placement.UNUSABLE
    card["usable"] = True
    assert run().choice.device == "cuda"


@pytest.mark.filterwarnings("ignore::windfall.DeviceWarning")  # the session has no such device in truth
@pytest.mark.parametrize("options", [{"device": "cuda"}, {"engine": "onnxruntime"}])
def test_where_the_device_or_the_engine_is_named_nothing_is_timed(card: Any, options: Any) -> None:
    program = run(**options)
    assert program.choice is None
    assert program.devices == CUDA
    assert len(card["compiled"]) == 1


def test_why_the_engine_of_the_processor_runs_it_is_told_too(card: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    card["cuda"] = 4.0
    monkeypatch.setattr("windfall.runtime.openvino.has_openvino", lambda: True)
    assert run().choice.reason == "cuda is 0.50 times as fast as the processor; the model is small"


def test_a_device_is_not_given_what_it_may_compute_otherwise(card: Any) -> None:
    spec = layer_spec("argMax", X, axis=1)
    with pytest.warns(windfall.DeviceWarning) as warned:
        got = windfall.load(spec, device="cuda").predict({"x0": X})["y0"]
    np.testing.assert_array_equal(got, X.argmax(1, keepdims=True))
    assert str(warned[0].message) == f"{NOT_GIVEN}; the processor runs the model"
    with pytest.raises(UnsupportedError) as error:
        windfall.load(spec, device="cuda", strict=True).predict({"x0": X})
    assert str(error.value) == f"{NOT_GIVEN}, or leave out strict"


def test_that_a_device_is_not_given_a_model_is_remembered(card: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "LEAST_WORK", 0)
    for _ in range(2):
        model = windfall.load(layer_spec("argMax", X, axis=1))
        model.predict({"x0": X})
        reason = model.compiled.program.choice.reason  # type: ignore[attr-defined]  # a program of one engine
        assert reason.startswith(NOT_GIVEN.replace("device 'cuda'", "cuda"))
    assert card["compiled"] == ["cpu", "cpu"]


def test_indices_are_checked_before_a_device_looks_them_up(monkeypatch: pytest.MonkeyPatch) -> None:
    session = onnxruntime._session

    def on_processor(proto: bytes, settings: Any, device: Any) -> Any:
        made = session(proto, settings, CPU)
        monkeypatch.setattr(made, "get_providers", lambda: [device.key, CPU.key])
        return made

    monkeypatch.setattr(onnxruntime, "_session", on_processor)
    table = RNG.normal(size=(3, 5)).astype(np.float32)
    fields = {"vocabSize": 5, "embeddingSize": 3, "weights": table}
    inputs = np.array([[4], [0], [2]], np.float32)
    spec = layer_spec("embeddingND", inputs, **fields)
    results = {}
    for device in ("cpu", "cuda"):
        model = windfall.load(spec, device=device, strict=True)
        results[device] = model.predict({"x0": inputs})["y0"]
        with pytest.raises(EngineError) as error:
            model.predict({"x0": inputs + 1})
        results[f"{device}: error"] = str(error.value)
    np.testing.assert_array_equal(results["cuda"], results["cpu"])
    np.testing.assert_array_equal(results["cpu"], table.T[inputs[:, 0].astype(int)])
    assert results["cuda: error"] == results["cpu: error"]
