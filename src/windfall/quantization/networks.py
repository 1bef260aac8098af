"""Walk through a model to its layers with weights."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from windfall.errors import UnsupportedError
from windfall.quantization.fields import layer_weights
from windfall.quantization.programs.weights import ProgramWeight, program_weights
from windfall.quantization.weight import Weight
from windfall.spec.modelfile import ModelFile
from windfall.spec.networks import all_layers, network_of
from windfall.spec.pipelines import PIPELINES, pipeline_members
from windfall.spec.proto import NEURAL_NETWORK_TYPES

_PROGRAM = "mlProgram"
_REFUSED = {
    "linkedModel": "lies in a file of its own; quantize that file",
    "serializedModel": "is packed into the model as bytes; quantize the model that it was made of, and pack that",
}


class Layer(NamedTuple):
    """A layer, or an operation of a program, that has weights, and the models that it lies in, the innermost last."""

    path: str
    message: Any
    models: tuple[Any, ...]
    weights: Sequence[Weight]

    @property
    def type(self) -> str:
        """A member of the specification's ``oneof layer``, or a program's operator."""
        return self.weights[0].layer_type

    @property
    def is_program(self) -> bool:
        """Whether it is an operation of a program."""
        return isinstance(self.weights[0], ProgramWeight)

    @property
    def is_updatable(self) -> bool:
        """Whether the phone may train it on."""
        return not self.is_program and bool(self.message.isUpdatable)


class Part(NamedTuple):
    """A neural network or an ML program in a model.

    Attributes:
        prefix: Goes before the names of its layers.
        message: The ``NeuralNetwork`` message or alike, or the ``Program``.
        models: The models that it lies in, the innermost last.
    """

    prefix: str
    message: Any
    models: tuple[Any, ...]

    @property
    def is_program(self) -> bool:
        """Whether it is a program."""
        return bool(self.models[-1].WhichOneof("Type") == _PROGRAM)


def parts(file: ModelFile, spec: Any) -> list[Part]:
    """Return the networks and programs of a model.

    Raises:
        UnsupportedError: There are none, or a member is of a type whose weights cannot be quantized.
    """
    found = list(_parts(file, spec, "", ()))
    if not found:
        raise UnsupportedError(
            f"{file.name} is of type {spec.WhichOneof('Type')} and has no neural network and no ML program; only "
            "these are quantized"
        )
    return found


def networks(file: ModelFile, spec: Any) -> list[Part]:
    """Return the neural networks of a model; see ``parts``."""
    return [part for part in parts(file, spec) if not part.is_program]


def _parts(file: ModelFile, spec: Any, path: str, outer: tuple[Any, ...]) -> Iterator[Part]:
    kind = spec.WhichOneof("Type")
    models = (*outer, spec)
    if kind in _REFUSED:
        who = f"{path[:-1]!r} of {file.name}" if path else file.name
        raise UnsupportedError(f"{who} {_REFUSED[kind]}")
    if kind in NEURAL_NETWORK_TYPES:
        yield Part(path, network_of(spec), models)
    if kind == _PROGRAM:
        yield Part(path, spec.mlProgram, models)
    if kind in PIPELINES:
        for name, member in pipeline_members(spec):
            yield from _parts(file, member, f"{path}{name}/", models)


def layers(file: ModelFile, spec: Any) -> Iterator[Layer]:
    """Yield the layers that have weights, those inside of branches and loops among them.

    Raises:
        UnsupportedError: As for ``parts``.
        FormatError: A weight does not have the size that its layer asks for.
    """
    for part in parts(file, spec):
        if part.is_program:
            for path, operation, taken in program_weights(part.message, part.prefix):
                yield Layer(path, operation, part.models, taken)
            continue
        for path, message in all_layers(part.message.layers, part.prefix):
            weights = layer_weights(file, message, path)
            if weights:
                yield Layer(path, message, part.models, weights)


Step = Callable[[], None]
