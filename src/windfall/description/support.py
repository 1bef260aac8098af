"""What a model needs that does not lie in its file, and what of it cannot be run here."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from windfall.custom.customs import at_work
from windfall.description.weights import NEURAL_NETWORK
from windfall.errors import FormatError
from windfall.lowering.gaps import BUILT_IN, Provided, unsupported
from windfall.spec.modelfile import ModelFile
from windfall.spec.pipelines import pipeline_members
from windfall.spec.proto import NEURAL_NETWORK_TYPES

__all__ = ["Dependency", "dependencies", "needs_and_gaps", "unsupported"]


@dataclass(frozen=True)
class Dependency:
    """Something a model needs that is not in its file.

    Attributes:
        kind: ``custom layer``, ``custom model``, ``linked model`` or ``built-in model``.
        name: A class name, a file name, or a model type.
        used_by: The layer, or the pipeline's member, that needs it; empty for the model itself.
        description: What its maker says about it.
        registered: Whether a class stands for a custom layer or model; None for what needs none.
    """

    kind: str
    name: str
    used_by: str = ""
    description: str = ""
    registered: bool | None = None


def dependencies(spec: Any, path: str = "") -> Iterator[Dependency]:
    """Yield what a model needs that is not in its file, members and nested networks included."""
    kind = spec.WhichOneof("Type")
    if kind in NEURAL_NETWORK_TYPES:
        yield from _custom_layers(getattr(spec, kind), path)
    elif kind in _DEPENDENCIES:
        yield _DEPENDENCIES[kind](getattr(spec, kind), path)
    elif kind in BUILT_IN:
        yield Dependency("built-in model", kind, path)
    for name, model in pipeline_members(spec):
        yield from dependencies(model, _joined(path, name))


def _custom_layers(network: Any, path: str) -> Iterator[Dependency]:
    for layer in network.layers:
        name = _joined(path, layer.name)
        kind = layer.WhichOneof("layer")
        if kind == "custom":
            registered = at_work().classes.layer(layer.custom.className) is not None
            yield Dependency("custom layer", layer.custom.className, name, layer.custom.description, registered)
        for field, value in getattr(layer, kind).ListFields() if kind else ():
            if field.message_type is not None and field.message_type.full_name == NEURAL_NETWORK:
                yield from _custom_layers(value, _joined(name, field.name))


def _linked(model: Any, path: str) -> Dependency:
    return Dependency("linked model", model.linkedModelFile.linkedModelFileName.defaultValue, path)


def _custom(model: Any, path: str) -> Dependency:
    registered = at_work().classes.model(model.className) is not None
    return Dependency("custom model", model.className, path, model.description, registered)


def needs_and_gaps(
    spec: Any, opened: Callable[[], ModelFile], provided: Provided
) -> tuple[tuple[Dependency, ...], tuple[str, ...]]:
    """Return what a model needs that is not in its file, and what of it cannot be run.

    Args:
        spec: The ``Model`` message.
        opened: Returns the model with those that it links to, and that are packed into it, in their places.
        provided: The members that functions of the user's stand for.
    """
    try:
        whole = opened().spec
    except FormatError as error:
        return tuple(dependencies(spec)), (str(error),)
    needs = dict.fromkeys([*dependencies(spec), *dependencies(whole)])
    return tuple(needs), tuple(unsupported(whole, provided=provided))


_DEPENDENCIES: Mapping[str, Callable[[Any, str], Dependency]] = {"linkedModel": _linked, "customModel": _custom}


def _joined(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name
