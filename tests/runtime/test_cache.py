"""Compiled graphs on disk: used where they are valid, and nowhere else."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.support import layer_spec

import windfall
from windfall.runtime import cache

X = np.random.default_rng(0).normal(size=(1, 40)).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return save(tmp_path / "model.mlmodel", scale=1)


def save(path: Path, scale: float) -> Path:
    weights = np.arange(30 * 40, dtype=np.float32) * scale
    spec = layer_spec("innerProduct", X, inputChannels=40, outputChannels=30, weights=weights)
    return windfall.load(spec).save(path)


def predict(path: Path) -> np.ndarray:
    return windfall.load(path).predict({"x0": X})["y0"]


def expected(scale: float) -> np.ndarray:
    return X @ (np.arange(30 * 40, dtype=np.float32) * scale).reshape(30, 40).T


def forbid_lowering(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("the model was lowered again")

    monkeypatch.setattr(windfall.Model, "_lower", fail)


def test_the_second_start_lowers_nothing(folder: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = predict(path)
    np.testing.assert_allclose(first, expected(1), rtol=1e-4)
    (entry,) = folder.glob("*.onnx")
    assert entry.stat().st_size < 2000  # the weights stay in the model file
    forbid_lowering(monkeypatch)
    np.testing.assert_array_equal(predict(path), first)


def test_a_model_written_over_the_first_is_another_one(folder: Path, path: Path) -> None:
    predict(path)
    save(path, scale=3)
    np.testing.assert_allclose(predict(path), expected(3), rtol=1e-4)


def test_other_outputs_and_shapes_are_other_entries(folder: Path, path: Path) -> None:
    predict(path)
    inner = windfall.load(path).predict({"x0": X}, outputs=["x0", "y0"])
    np.testing.assert_array_equal(inner["x0"], X)
    assert len(list(folder.glob("*.onnx"))) == 2


def test_a_damaged_entry_is_made_again(folder: Path, path: Path) -> None:
    predict(path)
    (entry,) = folder.glob("*.onnx")
    entry.write_bytes(entry.read_bytes()[:-40])
    np.testing.assert_allclose(predict(path), expected(1), rtol=1e-4)
    assert entry.stat().st_size > 40


def test_newer_code_does_not_take_older_entries(folder: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predict(path)
    monkeypatch.setattr(cache, "_code_stamp", lambda: ("later", 0))
    predict(path)
    assert len(list(folder.glob("*.onnx"))) == 2


def test_the_least_recently_used_entries_go_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "LARGEST", 1000)
    entries = cache.CompileCache(folder)
    folder.mkdir()
    for age, name in enumerate("abc"):
        (folder / f"{name}.onnx").write_bytes(bytes(400))
        os.utime(folder / f"{name}.onnx", (1000 - age, 1000 - age))
    entries.put("d", windfall.runtime.serialized.SerializedModel(b"graph", {}, None))
    assert sorted(path.stem for path in folder.glob("*.onnx")) == ["a", "b", "d"]


def test_a_folder_that_cannot_be_written_does_no_harm(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "file"))
    np.testing.assert_allclose(predict(path), expected(1), rtol=1e-4)


def test_nothing_is_kept_when_switched_off(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.VARIABLE, "off")
    assert cache.cache_folder() is None
    predict(path)


def test_a_start_from_the_cache_imports_no_onnx(folder: Path, path: Path) -> None:
    predict(path)
    code = (
        "import sys, numpy as np, windfall\n"
        f"windfall.load({str(path)!r}).predict({{'x0': np.zeros((1, 40))}})\n"
        "print([name for name in ('onnx', 'onnx_ir', 'PIL', 'rich') if name in sys.modules])"
    )
    shown = subprocess.run(  # noqa: S603  # our own interpreter and code
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert shown.strip() == "[]"
