"""Classes of custom layers, and networks that have some."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

import windfall
from windfall.custom.registry import LAYERS, MODELS, Registry


class Doubled(windfall.CustomLayer):
    """Each element times two, with NumPy."""

    def output_shapes(self, input_shapes: Any) -> Any:
        return input_shapes

    def evaluate(self, inputs: Any) -> Any:
        return [inputs[0] * np.float32(2)]


class EncodedDoubled(windfall.CustomLayer):
    """The same as an operator."""

    def encode(self, graph: Any, inputs: Any) -> Any:
        return graph.op("Mul", inputs[0], graph.constant(np.float32(2)))


def returning(result: Any, shapes: Any = None, **attributes: Any) -> type[windfall.CustomLayer]:
    """A class whose ``evaluate`` returns what it is told, or what a function makes of its inputs."""

    class Returning(windfall.CustomLayer):
        def output_shapes(self, input_shapes: Any) -> Any:
            return input_shapes if shapes is None else shapes

        def evaluate(self, inputs: Any) -> Any:
            return result(inputs) if callable(result) else result

    for name, value in attributes.items():
        setattr(Returning, name, value)
    return Returning


def network(
    *layers: tuple[str, Sequence[str], Sequence[str]],
    shape: tuple[int, ...] = (2, 3),
    inputs: Sequence[str] = ("x",),
    outputs: Sequence[str] = ("y",),
) -> Any:
    """A network of layers without parameters: their types, inputs and outputs; a class name is that of a custom one."""
    spec = windfall.custom.make_network(dict.fromkeys(inputs, shape), dict.fromkeys(outputs, shape), exact=True)
    for number, (kind, takes, gives) in enumerate(layers):
        if kind[0].isupper():
            windfall.custom.add_layer(spec, kind, inputs=takes, outputs=gives, name=f"{kind.lower()}{number}")
            continue
        layer = spec.neuralNetwork.layers.add(name=f"{kind}{number}", input=takes, output=gives)
        getattr(layer, "unary" if kind == "abs" else kind).SetInParent()
        if kind == "abs":
            layer.unary.type, layer.unary.scale = layer.unary.ABS, 1
    return spec


def loaded(spec: Any, **classes: type[windfall.CustomLayer]) -> windfall.Model:
    """Load a network with classes by their names."""
    return windfall.load(spec, custom_layers=classes)


@contextmanager
def only_these(registry: Registry, classes: Mapping[str, type]) -> Iterator[None]:
    """Have nothing else registered."""
    before, registry.classes = registry.classes, dict(classes)
    try:
        yield
    finally:
        registry.classes = before


__all__ = ["LAYERS", "MODELS", "Doubled", "EncodedDoubled", "loaded", "network", "only_these", "returning"]
