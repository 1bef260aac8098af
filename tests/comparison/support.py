"""Models to compare, made in memory."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

import windfall
from tests.classical import described
from tests.support import fill, layer_spec
from windfall.model import Model


def times(factor: float, offset: float = 0.0, shape: tuple[int, ...] = (2, 3)) -> Model:
    """A network that gives its array times a number, plus another one."""
    return windfall.load(layer_spec("activation", np.zeros(shape), linear={"alpha": factor, "beta": offset}))


def brighter(offset: float, color: str = "RGB", size: tuple[int, int] = (16, 12)) -> Model:
    """A network that adds a number to each pixel of its picture."""
    image = {"imageType": {"width": size[0], "height": size[1], "colorSpace": color}}
    spec = described({"photo": image}, {"styled": image})
    spec.specificationVersion = 7
    layer = {
        "name": "add",
        "input": ["photo"],
        "output": ["styled"],
        "activation": {"linear": {"alpha": 1.0, "beta": offset}},
    }
    fill(spec, {"neuralNetwork": {"layers": [layer]}})
    return windfall.load(spec)


def classifier(matrix: NDArray[Any], labels: list[Any], label: str = "label", scores: str = "scores") -> Model:
    """A classifier whose probabilities are a matrix times its input x0.

    Args:
        matrix: [classes, inputs].
        labels: Texts or integers.
        label: The name of the output that is the label; empty for none.
        scores: The name of the output of probabilities; empty for none.
    """
    classes, inputs = matrix.shape
    product = {"inputChannels": inputs, "outputChannels": classes, "weights": matrix.astype(np.float32)}
    spec = layer_spec("innerProduct", np.zeros(inputs), **product)
    spec.neuralNetworkClassifier.layers.extend(spec.neuralNetwork.layers)
    spec.neuralNetworkClassifier.arrayInputShapeMapping = 1
    kind = "string" if isinstance(labels[0], str) else "int64"
    getattr(spec.neuralNetworkClassifier, f"{kind}ClassLabels").vector.extend(labels)
    del spec.description.output[:]
    outputs = [
        {"name": label, "type": {f"{kind}Type": {}}},
        {"name": scores, "type": {"dictionaryType": {f"{kind}KeyType": {}}}},
    ]
    names = {"predictedFeatureName": label, "predictedProbabilitiesName": scores}
    fill(spec, {"description": {"output": [o for o in outputs if o["name"]], **names}})
    return windfall.load(spec)


def rows(*arrays: Any) -> list[dict[str, Any]]:
    """Samples for models of one array input x0."""
    return [{"x0": np.asarray(array, np.float32)} for array in arrays]
