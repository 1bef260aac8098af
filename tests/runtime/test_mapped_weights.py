"""Weights are read from the model file where they lie, and never after the model is compiled."""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import windfall
from tests.support import layer_spec

RNG = np.random.default_rng(0)


def convolution(out: int, inputs: int, kernel: int, groups: int = 1, *, transposed: bool = False) -> dict[str, Any]:
    dims = (inputs, out // groups) if transposed else (out, inputs // groups)
    return {
        "layer_type": "convolution",
        "x": RNG.random((1, inputs, 12, 12)).astype(np.float32),
        "outputChannels": out,
        "kernelChannels": dims[0] if transposed else dims[1],
        "nGroups": groups,
        "kernelSize": [kernel, kernel],
        "isDeconvolution": transposed,
        "valid": {},
        "weights": RNG.random((*dims, kernel, kernel)).astype(np.float32),
    }


def inner_product(out: int, inputs: int, rows: tuple[int, ...]) -> dict[str, Any]:
    return {
        "layer_type": "innerProduct",
        "x": RNG.random((*rows, inputs)).astype(np.float32),
        "inputChannels": inputs,
        "outputChannels": out,
        "weights": RNG.random((out, inputs)).astype(np.float32),
    }


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells what is mapped")
@pytest.mark.parametrize(
    "layer",
    [
        convolution(12, 3, 7),
        convolution(5, 3, 9),
        convolution(64, 64, 3),
        convolution(33, 33, 7, 33),
        convolution(8, 8, 9, 2),
        convolution(64, 64, 5, 64),
        convolution(12, 3, 7, transposed=True),
        convolution(64, 64, 3, 2, transposed=True),
        convolution(300, 1, 1),
        inner_product(30, 40, (1,)),
        inner_product(1, 400, (7,)),
        inner_product(400, 1, (3,)),
        inner_product(31, 33, ()),
        inner_product(64, 64, (2, 3)),
    ],
    ids=lambda layer: f"{layer['layer_type']}-{'x'.join(map(str, layer['weights'].shape))}",
)
def test_a_file_cut_short_does_not_reach_a_compiled_model(layer: dict[str, Any], tmp_path: Path) -> None:
    x = layer["x"]
    fields = {name: value for name, value in layer.items() if name not in ("layer_type", "x")}
    path = windfall.load(layer_spec(layer["layer_type"], x, **fields)).save(tmp_path / "mapped.mlmodel")
    model = windfall.load(path, threads=1)
    before = model.predict({"x0": x})["y0"]
    assert str(path) not in Path("/proc/self/maps").read_text()
    with path.open("r+b") as file:
        file.truncate(10)
    np.testing.assert_array_equal(model.predict({"x0": x})["y0"], before)


def test_a_file_written_over_before_it_is_compiled_is_noticed(tmp_path: Path) -> None:
    layer = inner_product(30, 40, (1,))
    fields = {name: value for name, value in layer.items() if name not in ("layer_type", "x")}
    path = windfall.load(layer_spec("innerProduct", layer["x"], **fields)).save(tmp_path / "mapped.mlmodel")
    model = windfall.load(path, threads=1)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"\0")  # as long as before, in the same file
    os.utime(path, ns=(1, 1))
    with pytest.raises(
        windfall.FormatError, match=r"mapped\.mlmodel changed on disk after it was loaded; load it again"
    ):
        model.predict({"x0": layer["x"]})
