"""The values inside a network or a program for some inputs."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windfall.errors import FeatureError
from windfall.features.binding import Binder
from windfall.features.networks import NetworkBinder
from windfall.features.programs import ProgramBinder
from windfall.model import Model
from windfall.runtime.engine import EngineOptions, Program
from windfall.spec.modelfile import ModelFile
from windfall.spec.networks import network_of
from windfall.spec.programs import block_of, interface
from windfall.spec.proto import NEURAL_NETWORK_TYPES, Model_pb2
from windfall.state import State
from windfall.text import brief

Inputs = Mapping[str, Any]
LARGEST = 1e15
_LABELS = "classify"
_ENGINE = "onnxruntime"
"""Always the same one, so that the same samples lead to the same weights."""


class Probe:
    """Computes inner values of a network or a program as it is now, from its first layers alone.

    States start with zeros, and are kept from one call to the next.

    Args:
        file: The model that has its weights.
        spec: The ``Model`` message of the network or program.
        values: The names of the values.
        options: How it is to be compiled.
        function: The function of a program.
    """

    def __init__(
        self, file: ModelFile, spec: Any, values: Sequence[str], options: EngineOptions, function: str = ""
    ) -> None:
        cut, bind = _KINDS[spec.WhichOneof("Type")]
        self._file = file.with_spec(cut(file.with_spec(spec, {}), set(values), function), {})
        self._binder = bind(self._file, function)
        self._values = list(values)
        self._options = options
        self._function = function
        self._programs: dict[tuple[object, ...], Program] = {}
        states = self._binder.states.items()
        self._state = State({name: d for name, (d, _) in states}, {name: t for name, (_, t) in states})

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
        tensors = self._programs[key].run(feeds, self._state if self._binder.states else None)
        found = {
            name: tensor.astype(np.float32, copy=False) for name, tensor in zip(self._values, tensors, strict=False)
        }
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

        graph = lower(self._file, shapes, self._values, self._function)
        return engine_named(_ENGINE).compile(serialize(graph), self._options)


def _first_layers(file: ModelFile, values: set[str], _function: str) -> Any:
    """Return a model of a network's layers up to the last that makes one of some values, without outputs."""
    spec = file.spec
    network = network_of(spec)
    last = max((i for i, layer in enumerate(network.layers) if values.intersection(layer.output)), default=-1)
    model = Model_pb2.Model(specificationVersion=spec.specificationVersion)
    model.description.input.extend(spec.description.input)
    model.neuralNetwork.layers.extend(network.layers[: last + 1])
    model.neuralNetwork.preprocessing.extend(network.preprocessing)
    model.neuralNetwork.arrayInputShapeMapping = network.arrayInputShapeMapping
    model.neuralNetwork.imageInputShapeMapping = network.imageInputShapeMapping
    return model


def _first_operations(file: ModelFile, values: set[str], function: str) -> Any:
    """Return a model of a function's operations up to the last that makes one of some values, without outputs.

    A function that keeps states has all its operations: what comes later may write what the next call reads.
    """
    spec = file.spec
    block, opset = block_of(file, function)
    name = interface(file, function).function
    last = max((i for i, o in enumerate(block.operations) if any(out.name in values for out in o.outputs)), default=-1)
    model = Model_pb2.Model(specificationVersion=spec.specificationVersion)
    model.description.CopyFrom(spec.description)
    for description in (model.description, *model.description.functions):
        last = len(block.operations) if description.state else last
        description.ClearField("output")
    model.mlProgram.version = spec.mlProgram.version
    target = model.mlProgram.functions[name]
    target.opset = opset
    target.inputs.extend(spec.mlProgram.functions[name].inputs)
    cut = target.block_specializations[opset]
    cut.inputs.extend(block.inputs)
    # Without outputs there are no labels to choose from.
    cut.operations.extend(operation for operation in block.operations[: last + 1] if operation.type != _LABELS)
    return model


_Kind = tuple[Callable[[ModelFile, set[str], str], Any], Callable[[ModelFile, str], Binder]]
_KINDS: Mapping[str | None, _Kind] = {
    **dict.fromkeys(NEURAL_NETWORK_TYPES, (_first_layers, NetworkBinder)),
    "mlProgram": (_first_operations, ProgramBinder),
}


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
