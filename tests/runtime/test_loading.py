"""The work of loading a model grows with its layers and no faster."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.loading import block, write_model

import windfall
from tests.support import fill, layer_spec


def calls(work: Callable[[], object]) -> int:
    """Count the function calls, and the steps of generators, of some work: time itself varies too much to test."""
    count = 0

    def profile(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def mixed(count: int, path: Path) -> Any:
    write_model(count, path)
    return path


def loops(count: int, path: Path) -> Any:
    """Return a network of loops whose bodies make names that nothing reads later."""
    spec = layer_spec("activation", np.zeros(1), linear={"alpha": 1})
    layers = spec.neuralNetwork.layers
    layers[0].output[0] = "x"
    for index in range(count):
        inner = {"name": "inner", "input": ["x"], "output": [f"inner_{index}"], "activation": {"ReLU": {}}}
        back = {"name": "back", "input": [f"inner_{index}"], "output": ["x"], "copy": {}}
        body = {"bodyNetwork": {"layers": [inner, back]}, "maxLoopIterations": 2}
        fill(layers.add(), {"name": f"loop_{index}", "loop": body})
    fill(layers.add(), {"name": "end", "input": ["x"], "output": ["y0"], "copy": {}})
    return spec


@pytest.mark.parametrize("make", [mixed, loops])
def test_work_grows_with_the_number_of_layers(make: Callable[[int, Path], Any], tmp_path: Path) -> None:
    models = [make(count, tmp_path / f"{count}.mlmodel") for count in (30, 30, 240)]
    _, few, many = [calls(lambda model=model: windfall.load(model, threads=1).compiled) for model in models]
    assert many < 8.8 * few


def test_the_timed_models_predict(tmp_path: Path) -> None:
    write_model(30, tmp_path / "m.mlmodel")
    model = windfall.load(tmp_path / "m.mlmodel", threads=1)
    y = model.predict({"x": np.ones((1, 4, 8, 8), np.float32)})["y"]
    np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-5)
    assert len({kind for kind, _ in block()}) >= 9
