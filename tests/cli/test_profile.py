import json
from pathlib import Path

import numpy as np
import pytest

import windfall
from tests.cli.conftest import Run
from tests.support import layer_spec
from windfall.runtime.openvino import has_openvino


@pytest.fixture
def path(tmp_path: Path) -> Path:
    x = np.ones((1, 200, 300), np.float32)
    return windfall.load(layer_spec("tanh", x)).save(tmp_path / "m.mlmodel")


def test_a_table_of_layers(run: Run, path: Path) -> None:
    shown = run("profile", path, "--engine", "onnxruntime", "--runs", 2)
    assert shown.exit_code == 0, shown.output
    first, _, heading, row, *_ = shown.stdout.splitlines()
    assert first.startswith("onnxruntime: ")
    assert first.endswith(" ms in 1 layers, medians of 2")
    assert heading.split() == ["layer", "operators", "device", "ms", "share"]
    assert row.split()[0::4] == ["layer", "100.0%"]


def test_json(run: Run, path: Path) -> None:
    found = json.loads(run("profile", path, "--json", "--runs", 1, "--threads", 1).stdout)
    assert found["engine"] == "onnxruntime"
    (layer,) = found["layers"]
    assert layer["name"] == "layer"
    assert layer["operators"] == ["Tanh"]
    assert layer["share"] == 1
    assert found["milliseconds"] == pytest.approx(layer["milliseconds"])


@pytest.mark.skipif(not has_openvino(), reason="it is not installed")
def test_openvino(run: Run, path: Path) -> None:
    found = json.loads(run("profile", path, "--json", "--runs", 1, "--engine", "openvino").stdout)
    assert found["engine"] == "openvino"
    assert "layer" in [layer["name"] for layer in found["layers"]]


def test_an_unknown_engine(run: Run, path: Path) -> None:
    shown = run("profile", path, "--engine", "abacus")
    assert shown.exit_code == 2
    assert "'abacus' is not one of" in shown.stderr


def test_the_plan_of_a_model(run: Run, path: Path) -> None:
    shown = run("inspect", path, "--plan")
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.splitlines()[0].split() == ["engine", "onnxruntime"]
    assert json.loads(run("inspect", path, "--plan", "--json").stdout)["choice"]["reason"] == "the model is small"
