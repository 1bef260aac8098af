"""Write models with custom parts: files that load in Core ML too, where an app has classes of the same names.

Source: ``CustomLayerParams`` in NeuralNetwork.proto, CustomModel.proto; versions: ``hasIOS11_2Features`` and
``hasIOS12Features`` in coremltools' Utils.cpp.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from windfall.custom.making_types import Kind, add_features
from windfall.custom.parameters import write_parameters
from windfall.errors import UnsupportedError
from windfall.spec.networks import network_of
from windfall.spec.proto import NEURAL_NETWORK_TYPES, Model_pb2, NeuralNetwork_pb2
from windfall.text import brief

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from windfall.model import Model

LAYER_VERSION, MODEL_VERSION = 2, 3
"""The first ``specificationVersion`` with custom layers (iOS 11.2), and with custom models (iOS 12)."""
_EXACT_VERSION = 4
"""The first with arrays of any rank (iOS 13)."""


def make_network(inputs: Mapping[str, Kind], outputs: Mapping[str, Kind], *, exact: bool = False) -> Any:
    """Return a neural network without layers, as a ``Model`` message for ``add_layer``.

    Args:
        inputs: The type of each input, see ``make_model``: pictures, and arrays of shape [C] or [C, H, W].
        outputs: The type of each output.
        exact: Whether tensors have the shapes that arrays are declared with, of any rank, which takes iOS 13; else they
            are [Seq, Batch, C, H, W], as in Core ML 2.

    Raises:
        UnsupportedError: A type is none that there is.
    """
    spec = Model_pb2.Model(specificationVersion=1)
    spec.neuralNetwork.SetInParent()
    add_features(spec, inputs, outputs)
    if exact:
        spec.neuralNetwork.arrayInputShapeMapping = NeuralNetwork_pb2.EXACT_ARRAY_MAPPING
        _need(spec, _EXACT_VERSION)
    return spec


def add_layer(  # noqa: PLR0913  # what a layer consists of
    spec: Any,
    class_name: str,
    *,
    inputs: Sequence[str] = (),
    outputs: Sequence[str] = (),
    name: str = "",
    replaces: str = "",
    parameters: Mapping[str, Any] | None = None,
    weights: "Sequence[ArrayLike]" = (),
    description: str = "",
) -> Any:
    """Add a custom layer to a neural network, and return its ``NeuralNetworkLayer`` message.

    Args:
        spec: The ``Model`` message; it is changed.
        class_name: The name that classes register for.
        inputs: The names of the values that it takes.
        outputs: The names of the values that it gives.
        name: Its name; the class name, with a number where that is taken, by default.
        replaces: A layer whose place it takes, with its name, inputs and outputs where none are given; else it comes
            last.
        parameters: Numbers, texts and truth values.
        weights: Arrays, stored flat as float32.
        description: What inspecting the model shows.

    Raises:
        UnsupportedError: The message is no network, or an argument is not what the format takes.
    """
    kind = getattr(spec, "WhichOneof", lambda _: type(spec).__name__)("Type")
    if kind not in NEURAL_NETWORK_TYPES:
        raise UnsupportedError(f"add_layer is given a {kind}, must be the Model message of a neural network")
    layers = network_of(spec).layers
    index = _index(layers, replaces) if replaces else len(layers)
    old = layers[index] if replaces else None
    layer = NeuralNetwork_pb2.NeuralNetworkLayer(
        name=name or (replaces or _free_name(layers, class_name)),
        input=_names(inputs or (old.input if old else ()), "inputs"),
        output=_names(outputs or (old.output if old else ()), "outputs"),
    )
    _fill(layer.custom, class_name, parameters, description, f"the custom layer {layer.name!r}")
    for array in weights:
        layer.custom.weights.add().floatValue.extend(np.asarray(array, np.float32).ravel())
    if old is None:
        layers.add().CopyFrom(layer)
    else:
        old.CopyFrom(layer)
    _need(spec, LAYER_VERSION)
    return layers[index]


def make_model(
    class_name: str,
    *,
    inputs: Mapping[str, Kind],
    outputs: Mapping[str, Kind],
    parameters: Mapping[str, Any] | None = None,
    description: str = "",
) -> Any:
    """Return a custom model as a ``Model`` message, for ``windfall.load`` and its ``save``.

    Args:
        class_name: The name that classes register for.
        inputs: The type of each input: ``str``, ``int``, ``float``, ``dict[str, float]``, ``dict[int, float]``,
            ``list[str]``, ``list[int]``; a shape for an array of float32; or one of the types of
            ``windfall.description``, such as ``ImageType(640, 480, "RGB")``.
        outputs: The type of each output.
        parameters: Numbers, texts, truth values and bytes.
        description: What inspecting the model shows.

    Raises:
        UnsupportedError: A type is none that there is, or an argument is not what the format takes.
    """
    spec = Model_pb2.Model(specificationVersion=MODEL_VERSION)
    _fill(spec.customModel, class_name, parameters, description, f"the custom model {class_name!r}")
    spec.description.metadata.shortDescription = description
    add_features(spec, inputs, outputs)
    return spec


def make_pipeline(members: "Mapping[str, Any | Model]", outputs: Sequence[str] = ()) -> Any:
    """Return a pipeline of models as a ``Model`` message.

    Its inputs are those of its members that no member before gives.

    Args:
        members: The models, or their ``Model`` messages, by their names, in the order that they run in.
        outputs: The values that it gives; those of the last member by default.

    Raises:
        UnsupportedError: There are no members, one keeps weights in other files, or an output is given by none.
    """
    specs = {name: _message(name, member) for name, member in members.items()}
    if not specs:
        raise UnsupportedError("make_pipeline is given no members, must have at least one")
    spec = Model_pb2.Model(specificationVersion=max(member.specificationVersion for member in specs.values()))
    known: dict[str, Any] = {}
    for name, member in specs.items():
        for feature in member.description.input:
            if feature.name not in known:
                known[feature.name] = feature
                spec.description.input.add().CopyFrom(feature)
        known |= {feature.name: feature for feature in member.description.output}
        spec.pipeline.names.append(name)
        spec.pipeline.models.add().CopyFrom(member)
    for name in outputs or [feature.name for feature in specs[next(reversed(specs))].description.output]:
        if name not in known:
            raise UnsupportedError(
                f"make_pipeline is asked for the output {name!r}, must be one of: {', '.join(known)}"
            )
        spec.description.output.add().CopyFrom(known[name])
    return spec


def _message(name: str, member: Any) -> Any:
    if isinstance(member, Model_pb2.Model):
        return member
    if getattr(member, "suffix", "") != ".mlmodel":
        raise UnsupportedError(f"the member {name!r} is {brief(member)}, must be a model without weight files")
    return member.spec


def _fill(message: Any, class_name: str, parameters: Mapping[str, Any] | None, description: str, who: str) -> None:
    if not isinstance(class_name, str) or not class_name:
        raise UnsupportedError(f"the class name is {brief(class_name)}, must be a text that is not empty")
    message.className, message.description = class_name, description
    write_parameters(message, parameters or {}, who)


def _need(spec: Any, version: int) -> None:
    spec.specificationVersion = max(spec.specificationVersion, version)


def _index(layers: Sequence[Any], name: str) -> int:
    found = next((index for index, layer in enumerate(layers) if layer.name == name), None)
    if found is None:
        raise UnsupportedError(f"replaces is {name!r}, must be the name of a layer of the network")
    return found


def _free_name(layers: Sequence[Any], class_name: str) -> str:
    taken = {layer.name for layer in layers}
    numbered = (f"{class_name}{number}" for number in range(1, len(taken) + 2))
    return next(name for name in (class_name, *numbered) if name not in taken)


def _names(names: Sequence[str], what: str) -> list[str]:
    if isinstance(names, str) or not names or not all(isinstance(name, str) and name for name in names):
        raise UnsupportedError(f"{what} is {brief(names)}, must be a list of at least one name")
    return list(names)
