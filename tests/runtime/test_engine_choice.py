"""Which engine runs a model: the one asked for, the faster one, the one remembered."""

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import windfall
from tests.support import layer_spec
from windfall.errors import EngineError, UnsupportedError
from windfall.runtime import cache, choice, choices, findings, openvino
from windfall.runtime.choices import Choice
from windfall.runtime.openvino import program
from windfall.runtime.work import input_size, multiplications

pytestmark = pytest.mark.skipif(not openvino.has_openvino(), reason="there is one engine alone")

RNG = np.random.default_rng(0)
X = RNG.random((1, 3, 40, 40)).astype(np.float32)
WEIGHTS = RNG.normal(size=(8, 3, 3, 3)).astype(np.float32)
CONV = {"outputChannels": 8, "kernelChannels": 3, "kernelSize": [3, 3], "valid": {}, "weights": WEIGHTS}


@pytest.fixture(autouse=True)
def _nothing_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choices, "_IN_PROCESS", {})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return windfall.load(layer_spec("convolution", X, **CONV)).save(tmp_path / "model.mlmodel")


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Time any model; with the times that a test sets, of which it sees how often they are taken."""
    state: dict[str, Any] = {"onnxruntime": 2.0, "openvino": 1.0, "count": 0}

    def times(runs: Any, _deadline: float) -> dict[str, float]:
        state["count"] += 1
        assert set(runs) == {"onnxruntime", "openvino"}
        return {name: state[name] for name in runs}

    monkeypatch.setattr(choice, "LEAST_WORK", 1)
    monkeypatch.setattr(choice, "best_times", times)
    return state


def run(path: Any, **options: Any) -> Any:
    """Predict, and return what ran the model."""
    model = windfall.load(path, threads=1, **options)
    y = model.predict({"x0": X})["y0"]
    expected = windfall.load(path, threads=1, engine="onnxruntime").predict({"x0": X})["y0"]
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    return model.compiled.program


@pytest.mark.parametrize(
    ("seconds", "engine"), [((2.0, 1.0), "openvino"), ((1.0, 2.0), "onnxruntime"), ((1.04, 1.0), "onnxruntime")]
)
def test_the_faster_engine_is_taken(timed: Any, path: Path, seconds: tuple[float, float], engine: str) -> None:
    timed["onnxruntime"], timed["openvino"] = seconds
    program = run(path)
    assert program.engine == program.choice.engine == engine
    ratio = seconds[0] / seconds[1]
    assert program.choice.reason == f"OpenVINO is {ratio:.2f} times as fast as ONNX Runtime"
    assert program.choice.milliseconds == {"onnxruntime": seconds[0] * 1000, "openvino": seconds[1] * 1000}


def test_a_small_model_is_not_timed(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    monkeypatch.setattr(choice, "_timed", None)
    assert run(path).choice == Choice("onnxruntime", "the model is small", {})


def test_a_large_model_is_not_timed(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    monkeypatch.setattr(choice, "_timed", None)
    monkeypatch.setattr(choice, "MOST_WEIGHTS", 1)
    reason = "the model is large, and OpenVINO would hold its weights twice"
    assert run(path).choice == Choice("onnxruntime", reason, {})


def test_a_choice_is_remembered_by_the_process(timed: Any, path: Path) -> None:
    assert [run(path).engine for _ in range(3)] == ["openvino"] * 3
    assert timed["count"] == 1


def test_a_choice_is_remembered_on_disk(timed: Any, path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(path)
    monkeypatch.setattr(choices, "_IN_PROCESS", {})
    second = run(path)
    assert timed["count"] == 1
    assert second.engine == "openvino"
    assert second.choice == first.choice
    # One for the model, and one for all that differ from it in their weights alone.
    assert [json.loads(entry.read_text())["engine"] for entry in folder.glob("*.engine")] == ["openvino"] * 2


def test_a_model_with_other_weights_is_not_timed_again(timed: Any, path: Path, tmp_path: Path) -> None:
    assert run(path).engine == "openvino"
    other = windfall.load(layer_spec("convolution", X, **{**CONV, "weights": WEIGHTS + 1})).save(tmp_path / "o.mlmodel")
    assert run(other).engine == "openvino"
    assert timed["count"] == 1
    wide = {**CONV, "outputChannels": 4, "weights": WEIGHTS[:4]}
    run(windfall.load(layer_spec("convolution", X, **wide)).save(tmp_path / "w.mlmodel"))
    assert timed["count"] == 2


def test_numbers_of_a_model_with_other_weights_are_compared_again(
    timed: Any, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(path).engine == "openvino"
    monkeypatch.setattr(choice, "agree", lambda *_: False)
    other = windfall.load(layer_spec("convolution", X, **{**CONV, "weights": WEIGHTS + 1})).save(tmp_path / "o.mlmodel")
    assert run(other).choice == Choice("onnxruntime", "OpenVINO gives other numbers", {})


def test_a_small_model_is_remembered_too(folder: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(path)
    monkeypatch.setattr(choices, "_IN_PROCESS", {})
    monkeypatch.setattr("windfall.runtime.work.multiplications", None)  # it would need onnx
    assert run(path).choice.reason == "the model is small"


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"engine": "openvino"}',
        b'{"engine": "abacus", "reason": "", "milliseconds": {}}',
        b'{"engine": ["openvino"], "reason": "", "milliseconds": {}}',
        b'{"engine": "openvino", "reason": "", "milliseconds": {"openvino": "fast"}}',
        b'{"engine": "openvino", "reason": "", "milliseconds": 3}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_a_damaged_entry_is_not_believed(
    timed: Any, path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, damage: bytes
) -> None:
    timed["onnxruntime"] = 0.5
    run(path)
    entries = list(folder.glob("*.engine"))
    for entry in entries:
        entry.write_bytes(damage)
    monkeypatch.setattr(choices, "_IN_PROCESS", {})
    assert run(path).engine == "onnxruntime"
    assert timed["count"] == 2
    assert [json.loads(entry.read_text())["engine"] for entry in entries] == ["onnxruntime"] * 2


def test_entries_do_not_pile_up(timed: Any, path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "_MOST_ENTRIES", 4)
    folder.mkdir()
    for number in range(6):
        (folder / f"{number:064x}.engine").write_text("{}")
    run(path)
    assert len(list(folder.glob("*.engine"))) <= 5
    assert timed["count"] == 1


def test_other_threads_are_another_choice(timed: Any, path: Path, folder: Path) -> None:
    for threads in (1, 2):
        windfall.load(path, threads=threads).predict({"x0": X})
    assert timed["count"] == 2


def test_an_engine_that_gives_other_numbers_is_not_taken(
    timed: Any, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program.OpenVinoProgram, "run", lambda *_: [np.zeros((1, 8, 38, 38), np.float32)])
    assert run(path).choice == Choice("onnxruntime", "OpenVINO gives other numbers", {})
    assert timed["count"] == 0


def test_what_openvino_does_not_take_is_not_timed(timed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "LEAST_WORK", 0)  # nothing is multiplied here
    x = RNG.normal(size=(3, 5)).astype(np.float32)
    model = windfall.load(layer_spec("topK", x, outputs=2, axis=-1, K=2))
    model.predict({"x0": x})
    program: Any = model.compiled.program
    assert program.engine == "onnxruntime"
    assert program.choice.reason.startswith("OpenVINO does not take the model: ")
    assert timed["count"] == 0


def test_times_are_the_best_of_several_turns() -> None:
    calls: list[str] = []
    times = choice.best_times({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, float("inf"))
    assert set(times) == {"a", "b"}
    # Of runs as short as these, more than three in a turn.
    assert calls.count("a") == calls.count("b") == 2 + 4 * choice._MOST_RUNS
    assert calls[:2] == ["a", "a"]


@pytest.mark.parametrize(("slow", "expected"), [(1.0, ["a", "a", "b", "b"]), (0.0, ["a", "b"])])
def test_one_turn_is_finished_though_the_time_is_up(
    slow: float, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "_SLOW", slow)
    calls: list[str] = []
    choice.best_times({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 0.0)
    assert calls == expected


def test_a_model_with_large_inputs_is_not_timed(timed: Any, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "_MOST_INPUT", X.size - 1)
    program = run(path)
    assert program.choice.reason == "its inputs are large, and timing would hold more of them"
    assert (program.engine, timed["count"]) == ("onnxruntime", 0)


def test_work_is_counted() -> None:
    compiled = windfall.load(layer_spec("convolution", X, **CONV), threads=1).compiled
    assert input_size(compiled.onnx.graph) == X.size
    assert multiplications(compiled.onnx.graph) == 8 * 38 * 38 * 3 * 3 * 3
    dense = layer_spec("innerProduct", X[0, 0], inputChannels=40, outputChannels=30, weights=np.ones(1200, np.float32))
    assert multiplications(windfall.load(dense, threads=1).compiled.onnx.graph) == 40 * 30 * 40
    assert multiplications(onnx.GraphProto()) == 0


def test_a_small_model_imports_no_openvino(path: Path) -> None:
    code = (
        "import sys, numpy as np, windfall\n"
        f"windfall.load({str(path)!r}).predict({{'x0': np.zeros((1, 3, 40, 40))}})\n"
        "print('openvino' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603  # our own
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("engine", ["auto", "openvino"])
def test_a_missing_openvino(engine: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("windfall.runtime.engine.find_spec", lambda _: None)
    monkeypatch.setattr("windfall.runtime.openvino.has_openvino", lambda: False)
    if engine == "auto":
        assert run(path).engine == "onnxruntime"
        return
    with pytest.raises(UnsupportedError) as error:
        windfall.load(path, engine="openvino")
    assert str(error.value) == "engine is 'openvino', which is not installed: pip install openvino, or use 'auto'"


def test_an_openvino_that_cannot_run_is_not_taken(timed: Any, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise EngineError("OpenVINO failed: no memory")

    monkeypatch.setattr(program.OpenVinoProgram, "run", fail)
    assert run(path).choice == Choice("onnxruntime", "OpenVINO failed: no memory", {})


@pytest.mark.parametrize("name", ["onnxruntime", "numpy", "pytest-xdist", "no-such-package"])
def test_versions_are_those_of_the_packages(name: str) -> None:
    try:
        expected = metadata.version(name)
    except metadata.PackageNotFoundError:
        assert choices.installed(name) == ""
    else:
        assert choices.installed(name).startswith(expected)
