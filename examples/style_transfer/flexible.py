"""Make of a style model, which takes 256 by 256 pixels, one that takes a picture of any size.

    python examples/style_transfer/flexible.py models/city.mlmodel city-any.mlmodel

All but one of its layers take any size. That one, ``grain``, adds a fixed pattern of 256 by 256. Laid side by side the
pattern has no seam, so other layers, that lay it out and cut it to the picture's size, take its place. At 256 by 256
they compute the same numbers.
"""

import argparse
from pathlib import Path
from typing import Any

import windfall

IMAGE, OUTPUT, GRAIN = "image", "stylized", "grain"
LEAST, MOST = 64, 2048
"""The sides that a picture may have."""


def flexible(model: windfall.Model) -> windfall.Model:
    """Return the model for pictures of ``LEAST`` to ``MOST`` pixels along each side; it gives one of the same size."""
    spec = model.spec
    network = spec.neuralNetwork
    layers = list(network.layers)
    del network.layers[:]
    for layer in layers:
        if layer.name == GRAIN:
            _lay_out_grain(network, layer)
        else:
            network.layers.append(layer)
    _cut_to_picture(network)
    for feature in (*spec.description.input, *spec.description.output):
        feature.shortDescription = feature.shortDescription.replace(
            "256 by 256", f"{LEAST} to {MOST} by {LEAST} to {MOST}"
        )
    bounds = LEAST, MOST
    return windfall.shapes.set_range(windfall.load(spec), IMAGE, width=bounds, height=bounds)


def _lay_out_grain(network: Any, bias: Any) -> None:
    """Add the layers that do what ``bias`` did, at any size.

    Copies are stacked as channels: read as one channel, they lie below each other. Turned and done again, they lie
    side by side. All layers are of the first version of the format.
    """
    _, height, width = bias.bias.shape
    rows, columns = (-(-MOST // size) for size in (height, width))
    tile = network.layers.add(name="grain_tile", output=["grain_tile"])
    tile.loadConstant.shape[:] = bias.bias.shape
    tile.loadConstant.data.CopyFrom(bias.bias.bias)
    # [1, h, w] -> [1, rows*h, w] -> [1, w, rows*h] -> [1, columns*w, rows*h] -> [1, rows*h, columns*w]
    below = _stack(network, "grain_below", "grain_tile", rows, (rows * height, width))
    turned = _turn(network, "grain_turned", below)
    beside = _stack(network, "grain_beside", turned, columns, (columns * width, rows * height))
    laid_out = _turn(network, "grain_laid_out", beside)
    _crop(network, "grain_cut", laid_out, bias.input[0], "grain_cut")
    network.layers.add(name=bias.name, input=[bias.input[0], "grain_cut"], output=list(bias.output)).add.SetInParent()


def _stack(network: Any, name: str, blob: str, copies: int, size: tuple[int, int]) -> str:
    """Lay copies of a blob of one channel below each other: to (height, width)."""
    network.layers.add(name=f"{name}_copies", input=[blob] * copies, output=[f"{name}_copies"]).concat.SetInParent()
    stacked = network.layers.add(name=name, input=[f"{name}_copies"], output=[name])
    stacked.reshape.targetShape[:] = (1, *size)
    return name


def _turn(network: Any, name: str, blob: str) -> str:
    """Swap height and width."""
    network.layers.add(name=name, input=[blob], output=[name]).permute.axis[:] = (0, 1, 3, 2)
    return name


def _crop(network: Any, name: str, blob: str, like: str, output: str) -> None:
    """Cut a blob to the height and width of another, from its upper left corner on."""
    network.layers.add(name=name, input=[blob, like], output=[output]).crop.offset[:] = (0, 0)


def _cut_to_picture(network: Any) -> None:
    """Cut the output to the picture's size: two halvings and two doublings make of it the next multiple of four."""
    last = network.layers[-1]
    assert list(last.output) == [OUTPUT], last.name
    last.output[:] = [last.name]
    _crop(network, "cut", last.name, IMAGE, OUTPUT)


def main() -> None:
    """Read a model and write the flexible one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    model = flexible(windfall.load(options.model))
    print(f"{model.save(options.output)}: {model.description.inputs[0]}")


if __name__ == "__main__":
    main()
