import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from tests.support import fill, layer_spec
from windfall.cli.main import cli
from windfall.spec.proto import Model_pb2

Run = Callable[..., Result]
IDENTITY = {"linear": {"alpha": 1.0}}


def image_spec(**more_inputs: Any) -> Any:
    """A network from a 16x8 picture to the same picture; further inputs by name and type go nowhere."""
    image = {"imageType": {"width": 16, "height": 8, "colorSpace": "RGB"}}
    spec = Model_pb2.Model(specificationVersion=4)
    inputs = [{"name": "photo", "type": image}, *({"name": name, "type": kind} for name, kind in more_inputs.items())]
    layer = {"name": "same", "input": ["photo"], "output": ["styled"], "activation": IDENTITY}
    outputs = [{"name": "styled", "type": image}]
    fill(spec, {"description": {"input": inputs, "output": outputs}, "neuralNetwork": {"layers": [layer]}})
    return spec


def classifier_spec() -> Any:
    """A classifier whose probabilities are its input."""
    spec = layer_spec("activation", np.zeros(3), **IDENTITY)
    layers = spec.neuralNetwork.layers
    spec.neuralNetworkClassifier.layers.extend(layers)
    spec.neuralNetworkClassifier.arrayInputShapeMapping = 1
    spec.neuralNetworkClassifier.stringClassLabels.vector.extend(["cat", "dog", "owl"])
    del spec.description.output[:]
    string, dictionary = {"stringType": {}}, {"dictionaryType": {"stringKeyType": {}}}
    outputs = [{"name": "label", "type": string}, {"name": "scores", "type": dictionary}]
    names = {"predictedFeatureName": "label", "predictedProbabilitiesName": "scores"}
    fill(spec, {"description": {"output": outputs, **names}})
    return spec


def saved(spec: Any, path: Path) -> str:
    path.write_bytes(spec.SerializeToString())
    return path.name


def runner(charset: str = "utf-8") -> CliRunner:
    """Return what runs the command with stderr apart from stdout, which from click 8.2 it always is."""
    apart = {"mix_stderr": False} if "mix_stderr" in inspect.signature(CliRunner).parameters else {}
    return CliRunner(charset=charset, **apart)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a few models and photos in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
    saved(image_spec(), tmp_path / "style.mlmodel")
    saved(classifier_spec(), tmp_path / "classify.mlmodel")
    saved(layer_spec("activation", np.zeros((2, 3)), **IDENTITY), tmp_path / "array.mlmodel")
    saved(layer_spec("activation", np.zeros((20, 60)), **IDENTITY), tmp_path / "large.mlmodel")
    saved(layer_spec("activation", np.zeros((1, 1)), **IDENTITY), tmp_path / "number.mlmodel")
    Image.new("RGB", (40, 20), (200, 100, 50)).save(tmp_path / "cat.png")
    Image.new("RGB", (20, 40), (10, 20, 30)).save(tmp_path / "dog.png")
    return tmp_path


@pytest.fixture
def run(folder: Path) -> Run:
    """Run the command in that folder."""
    return lambda *arguments: runner().invoke(cli, [str(argument) for argument in arguments], prog_name="windfall")
