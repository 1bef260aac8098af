"""The values inside a network for some inputs."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windfall.errors import FeatureError
from windfall.features.networks import NetworkBinder
from windfall.model import Model
from windfall.runtime.engine import EngineOptions, Program
from windfall.spec.modelfile import ModelFile
from windfall.spec.networks import network_of
from windfall.spec.proto import Model_pb2
from windfall.text import brief

Inputs = Mapping[str, Any]
LARGEST = 1e15
_ENGINE = "onnxruntime"
"""Always the same one, so that the same samples lead to the same weights."""


class Probe:
    """Computes inner values of a network as it is now, from its first layers alone.

    Args:
        file: The model that has its weights.
        spec: The ``Model`` message of the network.
        values: The names of the values.
        options: How it is to be compiled.
    """

    def __init__(self, file: ModelFile, spec: Any, values: Sequence[str], options: EngineOptions) -> None:
        self._file = file.with_spec(_first_layers(spec, set(values)), {})
        self._binder = NetworkBinder(self._file)
        self._values = list(values)
        self._options = options
        self._programs: dict[tuple[object, ...], Program] = {}

    def __call__(self, inputs: Inputs, sample: str) -> dict[str, NDArray[np.float32]]:
        """Return the values.

        Raises:
            FeatureError: One has numbers that are not finite, or too large to be squared and added up.
        """
        feeds = self._binder.feeds(inputs)
        shapes = self._binder.graph_shapes(feeds)
        key = tuple(shapes.items())
        if key not in self._programs:
            self._programs = {key: self._compiled(shapes)}
        found = dict(zip(self._values, self._programs[key].run(feeds), strict=True))
        for name, value in found.items():
            if not (np.abs(value) <= LARGEST).all():
                raise FeatureError(
                    f"{sample} makes the value {brief(name)} of {self._file.name} larger than {LARGEST:g}, infinite or "
                    "not a number; leave that sample out"
                )
        return found

    def _compiled(self, shapes: dict[str, tuple[int | str, ...]]) -> Program:
        # Not by way of ``Model``, which would keep every step on disk, in its cache of compiled graphs.
        from windfall.lowering import lower
        from windfall.runtime.engine import engine_named
        from windfall.runtime.serialize import serialize

        return engine_named(_ENGINE).compile(serialize(lower(self._file, shapes, self._values)), self._options)


def _first_layers(spec: Any, values: set[str]) -> Any:
    """Return a model of a network's layers up to the last that makes one of some values, without outputs."""
    network = network_of(spec)
    last = max((i for i, layer in enumerate(network.layers) if values.intersection(layer.output)), default=-1)
    model = Model_pb2.Model(specificationVersion=spec.specificationVersion)
    model.description.input.extend(spec.description.input)
    model.neuralNetwork.layers.extend(network.layers[: last + 1])
    model.neuralNetwork.preprocessing.extend(network.preprocessing)
    model.neuralNetwork.arrayInputShapeMapping = network.arrayInputShapeMapping
    model.neuralNetwork.imageInputShapeMapping = network.imageInputShapeMapping
    return model


def inputs_of_member(model: Model, models: Sequence[Any], name: str, inputs: Inputs) -> Inputs:
    """Return what a pipeline gives to a network in it for some inputs; for a network itself, these.

    Args:
        model: The whole model.
        models: The messages of the models that the network lies in, the outermost first, then its own.
        name: The network's name.
        inputs: The inputs of the whole model.
    """
    for outer, inner in pairwise(models):
        given = {feature.name for feature in outer.description.input}
        wanted = [feature.name for feature in inner.description.input]
        made = [feature for feature in wanted if feature not in given]
        values = model.predict(inputs, outputs=made) if made else {}
        inputs = {feature: inputs[feature] for feature in wanted if feature in inputs} | values
        model = Model(model._file.member(name, inner), model._options, _ENGINE)
    return inputs
