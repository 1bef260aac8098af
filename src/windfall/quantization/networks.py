"""Walk through a model to its layers with weights."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from windfall.errors import UnsupportedError
from windfall.quantization.fields import Weight, layer_weights
from windfall.spec.modelfile import ModelFile
from windfall.spec.networks import all_layers, network_of
from windfall.spec.pipelines import PIPELINES, pipeline_members
from windfall.spec.proto import NEURAL_NETWORK_TYPES

_REFUSED = {
    "mlProgram": "is an ML program, whose weights windfall cannot quantize yet; use coremltools.optimize.coreml",
    "linkedModel": "lies in a file of its own; quantize that file",
    "serializedModel": "is packed into the model as bytes; quantize the model that it was made of, and pack that",
}


class Layer(NamedTuple):
    """A layer that has weights, and the models that it lies in, the innermost last."""

    path: str
    message: Any
    models: tuple[Any, ...]
    weights: list[Weight]

    @property
    def is_updatable(self) -> bool:
        """Whether the phone may train it on."""
        return bool(self.message.isUpdatable)


def networks(file: ModelFile, spec: Any) -> list[tuple[str, Any, tuple[Any, ...]]]:
    """Return the networks of a model: a path in front of layers' names, the message, and the models it lies in.

    Raises:
        UnsupportedError: There are none, or a member is of a type whose weights cannot be quantized.
    """
    found = list(_networks(file, spec, "", ()))
    if not found:
        raise UnsupportedError(
            f"{file.name} is of type {spec.WhichOneof('Type')} and has no neural network; only these are quantized"
        )
    return found


def _networks(
    file: ModelFile, spec: Any, path: str, outer: tuple[Any, ...]
) -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    kind = spec.WhichOneof("Type")
    models = (*outer, spec)
    if kind in _REFUSED:
        who = f"{path[:-1]!r} of {file.name}" if path else file.name
        raise UnsupportedError(f"{who} {_REFUSED[kind]}")
    if kind in NEURAL_NETWORK_TYPES:
        yield path, network_of(spec), models
    if kind in PIPELINES:
        for name, member in pipeline_members(spec):
            yield from _networks(file, member, f"{path}{name}/", models)


def layers(file: ModelFile, spec: Any) -> Iterator[Layer]:
    """Yield the layers that have weights, those inside of branches and loops among them.

    Raises:
        UnsupportedError: As for ``networks``.
        FormatError: A weight does not have the size that its layer asks for.
    """
    for prefix, network, models in networks(file, spec):
        for path, message in all_layers(network.layers, prefix):
            weights = layer_weights(file, message, path)
            if weights:
                yield Layer(path, message, models, weights)


Step = Callable[[], None]
