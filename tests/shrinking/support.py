"""Small networks to shrink."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

import windfall
from tests.classical import described
from tests.support import fill, layer_spec
from windfall.model import Model

SIDE = 40


def matrix(seed: int, outputs: int = SIDE, inputs: int = SIDE) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(outputs, inputs)).astype(np.float32)


def product(name: str, source: str, target: str, weights: NDArray[np.float32]) -> dict[str, Any]:
    sizes = {"outputChannels": weights.shape[0], "inputChannels": weights.shape[1]}
    return {"name": name, "input": [source], "output": [target], "innerProduct": {**sizes, "weights": weights}}


def sum_spec(share: float = 0.01) -> Any:
    """A network that gives ``loud`` x + share * ``quiet`` x: the second product hardly matters."""
    spec = layer_spec("activation", np.zeros(SIDE), linear={"alpha": 1.0})
    del spec.neuralNetwork.layers[:]
    scaled = {"name": "scale", "input": ["b"], "output": ["c"], "activation": {"linear": {"alpha": share}}}
    added = {"name": "add", "input": ["a", "c"], "output": ["y0"], "add": {}}
    layers = [product("loud", "x0", "a", matrix(1)), product("quiet", "x0", "b", matrix(2)), scaled, added]
    fill(spec, {"neuralNetwork": {"layers": layers}})
    return spec


def sum_model(share: float = 0.01) -> Model:
    return windfall.load(sum_spec(share), threads=1)


def samples(count: int = 8) -> list[dict[str, Any]]:
    rng = np.random.default_rng(7)
    return [{"x0": rng.normal(size=SIDE).astype(np.float32)} for _ in range(count)]


def picture_spec(size: tuple[int, int] = (16, 12)) -> Any:
    """A network of two convolutions from a picture to a picture, near to the identity."""
    image = {"imageType": {"width": size[0], "height": size[1], "colorSpace": "RGB"}}
    spec = described({"photo": image}, {"styled": image})
    spec.specificationVersion = 4
    rng = np.random.default_rng(3)
    first = rng.normal(0, 0.05, (12, 3, 3, 3)).astype(np.float32)
    second = rng.normal(0, 0.05, (3, 12, 3, 3)).astype(np.float32)
    for channel in range(3):
        first[channel, channel, 1, 1] = second[channel, channel, 1, 1] = 1
    layers = [_convolution("first", "photo", "v", first), _convolution("second", "v", "styled", second)]
    fill(spec, {"neuralNetwork": {"layers": layers}})
    return spec


def _convolution(name: str, source: str, target: str, weights: NDArray[np.float32]) -> dict[str, Any]:
    outputs, inputs = weights.shape[:2]
    params = {"outputChannels": outputs, "kernelChannels": inputs, "kernelSize": [3, 3], "nGroups": 1, "same": {}}
    return {"name": name, "input": [source], "output": [target], "convolution": {**params, "weights": weights}}
