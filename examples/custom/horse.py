"""A custom layer in a dozen lines: the one layer that finding horses needs, and that Core ML does not have.

It pools a map of features with attention: a place that looks like the layer's weights counts for more.

    score[h, w] = sum over c of query[c] * x[c, h, w] / temperature
    y[c] = sum over h, w of softmax(score)[h, w] * x[c, h, w]

Run it: python examples/custom/horse.py
"""

from typing import Any

import numpy as np

import windfall

CHANNELS = 8


@windfall.custom_layer("AAPLCustomHorseLayer")
class HorseLayer(windfall.CustomLayer):
    """Attention pooling, [..., C, H, W] to [..., C, 1, 1], with NumPy."""

    def __init__(self, parameters: Any, weights: Any) -> None:
        super().__init__(parameters, weights)
        self.query = weights[0] / np.float32(parameters["temperature"])

    def output_shapes(self, input_shapes: Any) -> Any:
        """Return [..., C, 1, 1]."""
        return [[*input_shapes[0][:-2], 1, 1]]

    def evaluate(self, inputs: Any) -> Any:
        """Pool."""
        (x,) = inputs
        score = np.einsum("c,...chw->...hw", self.query, x)
        score = np.exp(score - score.max(axis=(-2, -1), keepdims=True))
        attention = score / score.sum(axis=(-2, -1), keepdims=True)
        return [np.einsum("...chw,...hw->...c", x, attention)[..., None, None]]


class EncodedHorseLayer(HorseLayer):
    """The same as ONNX operators: the network stays one graph."""

    def encode(self, graph: Any, inputs: Any) -> Any:
        """Pool."""
        x = graph.planes(inputs[0])  # [N, C, H, W]
        query = graph.constant(self.query.reshape(1, -1, 1, 1))
        score = graph.reshape(graph.op("Conv", x, query), graph.sizes(x, 0, 1), [1, -1])  # [N, 1, H*W]
        pixels = graph.reshape(x, graph.sizes(x, 0, 2), [-1])  # [N, C, H*W]
        weighted = graph.op("Mul", pixels, graph.op("Softmax", score, axis=-1))
        pooled = graph.op("ReduceSum", weighted, graph.constant(np.array([-1])), keepdims=1)
        return graph.restore(graph.reshape(pooled, graph.sizes(pooled, 0, 2), [1, 1]), like=inputs[0])


def horse_model(size: int = 16, seed: int = 0) -> Any:
    """Return a network with the layer in the middle, as a ``Model`` message: an array in, how much of a horse out."""
    random = np.random.default_rng(seed)
    spec = windfall.custom.make_network({"features": (CHANNELS, size, size)}, {"horse": (1,)})
    layers = spec.neuralNetwork.layers
    layers.add(name="relu", input=["features"], output=["positive"]).activation.ReLU.SetInParent()
    windfall.custom.add_layer(
        spec,
        "AAPLCustomHorseLayer",
        inputs=["positive"],
        outputs=["pooled"],
        name="find_horse",
        parameters={"temperature": 0.5},
        weights=[random.normal(size=CHANNELS)],
        description="Pools features where they look like a horse",
    )
    product = layers.add(name="judge", input=["pooled"], output=["score"]).innerProduct
    product.inputChannels, product.outputChannels = CHANNELS, 1
    product.weights.floatValue.extend(random.normal(size=CHANNELS))
    layers.add(name="sure", input=["score"], output=["horse"]).activation.sigmoid.SetInParent()
    return spec


def main() -> None:
    """Show what it does."""
    spec = horse_model()
    print(windfall.load(spec).description)
    features = np.random.default_rng(1).normal(size=(CHANNELS, 16, 16))
    for found in (HorseLayer, EncodedHorseLayer):
        model = windfall.load(spec, custom_layers={"AAPLCustomHorseLayer": found})
        print(found.__name__, model.predict({"features": features}))


if __name__ == "__main__":
    main()
