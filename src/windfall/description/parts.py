"""What a model consists of: layers, operations, the members of a pipeline.

Source: ``NeuralNetworkLayer`` in NeuralNetwork.proto, ``Program`` in MIL.proto, ``Pipeline`` in Model.proto.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from windfall.description.weights import NEURAL_NETWORK, Stored, children, stored_weights, summarize
from windfall.spec.detach import WEIGHT_PARAMS
from windfall.spec.modelfile import ModelFile
from windfall.spec.pipelines import pipeline_members
from windfall.spec.proto import NEURAL_NETWORK_TYPES

_LONGEST_LIST = 8
_LONGEST_STRING = 60


@dataclass(frozen=True)
class LayerDescription:
    """A layer of a neural network, or an operation of an ML program.

    Attributes:
        name: Its name, behind those of the parts it lies in: ``loop/bodyNetwork/add``.
        type: A member of the specification's ``oneof layer``, or an operation's type.
        inputs: The values it takes.
        outputs: The values it gives.
        parameters: The numbers and names among its parameters, those in nested messages as ``outer.inner``.
        weight_values: How many weights it has.
        weight_bytes: What they take as they are stored.
        precision: How they are stored.
    """

    name: str
    type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    weight_values: int = 0
    weight_bytes: int = 0
    precision: str = ""


@dataclass(frozen=True)
class MemberDescription:
    """A model inside a pipeline.

    Attributes:
        name: Its name in the pipeline.
        type: A member of the specification's ``oneof Type``.
        inputs: The names of its inputs.
        outputs: The names of its outputs.
        contents: What it holds, e.g. ``{"trees": 100, "nodes": 1900}``.
        members: Its own members, where it is a pipeline.
    """

    name: str
    type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    contents: Mapping[str, int]
    members: tuple["MemberDescription", ...] = ()


def describe_members(spec: Any) -> tuple[MemberDescription, ...]:
    """Describe the members of a pipeline, none for other types."""
    return tuple(
        MemberDescription(
            name,
            model.WhichOneof("Type") or "type not set",
            tuple(feature.name for feature in model.description.input),
            tuple(feature.name for feature in model.description.output),
            contents(model),
            describe_members(model),
        )
        for name, model in pipeline_members(spec)
    )


def contents(spec: Any) -> dict[str, int]:
    """Count what a model without layers holds: trees, coefficients, support vectors, words."""
    kind = spec.WhichOneof("Type")
    return _CONTENTS[kind](getattr(spec, kind)) if kind in _CONTENTS else {}


def _trees(model: Any) -> dict[str, int]:
    nodes = model.treeEnsemble.nodes
    return {"trees": len({node.treeId for node in nodes}), "nodes": len(nodes)}


def _coefficients(model: Any) -> dict[str, int]:
    return {"coefficients": sum(len(row.value) for row in model.weights) + len(model.offset)}


def _support_vectors(model: Any) -> dict[str, int]:
    kind = model.WhichOneof("supportVectors")
    return {"support vectors": len(getattr(model, kind).vectors) if kind else 0}


def _oneof_vector(oneof: str, what: str) -> Callable[[Any], dict[str, int]]:
    def count(model: Any) -> dict[str, int]:
        kind = model.WhichOneof(oneof)
        return {what: len(getattr(model, kind).vector) if kind else 0}

    return count


_CONTENTS: Mapping[str, Callable[[Any], dict[str, int]]] = {
    "treeEnsembleClassifier": _trees,
    "treeEnsembleRegressor": _trees,
    "glmClassifier": _coefficients,
    "glmRegressor": _coefficients,
    "supportVectorClassifier": _support_vectors,
    "supportVectorRegressor": _support_vectors,
    "dictVectorizer": _oneof_vector("Map", "entries"),
    "oneHotEncoder": _oneof_vector("CategoryType", "categories"),
    "featureVectorizer": lambda model: {"columns": len(model.inputList)},
}


def describe_layers(file: ModelFile, spec: Any, path: tuple[str, ...] = ()) -> Iterator[LayerDescription]:
    """Yield the layers of a model, those of a pipeline's members and of nested networks among them."""
    kind = spec.WhichOneof("Type")
    if kind in NEURAL_NETWORK_TYPES:
        yield from _network_layers(file, getattr(spec, kind), path)
    elif kind == "mlProgram":
        yield from _program_operations(file, spec.mlProgram)
    for name, member in pipeline_members(spec):
        yield from describe_layers(file, member, (*path, name))


def _network_layers(file: ModelFile, network: Any, path: tuple[str, ...]) -> Iterator[LayerDescription]:
    for layer in network.layers:
        kind = layer.WhichOneof("layer")
        params = getattr(layer, kind) if kind else None
        inner = (*path, layer.name)
        yield LayerDescription(
            "/".join(inner),
            kind or "type not set",
            tuple(layer.input),
            tuple(layer.output),
            {} if params is None else dict(_parameters(params)),
            **_weights([] if params is None else list(stored_weights(file, params, nested=False))),
        )
        for field_, value in params.ListFields() if params is not None else ():
            if field_.message_type is not None and field_.message_type.full_name == NEURAL_NETWORK:
                yield from _network_layers(file, value, (*inner, field_.name))


def _weights(weights: list[Stored]) -> dict[str, Any]:
    summary = summarize(weights)
    return {
        "weight_values": sum(w.values for w in summary),
        "weight_bytes": sum(w.bytes for w in summary),
        "precision": ", ".join(w.precision for w in summary),
    }


def _parameters(message: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the set fields of a message; enumerations always, since their first member has a meaning."""
    present = {f.name: value for f, value in message.ListFields()}
    for descriptor in message.DESCRIPTOR.fields:
        name = descriptor.name
        if descriptor.message_type is not None:
            yield from _nested(descriptor, present.get(name), f"{prefix}{name}")
        elif descriptor.enum_type is not None and descriptor.containing_oneof is None:
            number = getattr(message, name)
            value = descriptor.enum_type.values_by_number.get(number) if isinstance(number, int) else None
            yield f"{prefix}{name}", number if value is None else value.name
        elif name in present:
            yield f"{prefix}{name}", _brief(present[name])


def _nested(descriptor: Any, value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if value is None or descriptor.message_type.full_name == WEIGHT_PARAMS:
        return
    if descriptor.message_type.full_name == NEURAL_NETWORK:
        yield name, f"{len(value.layers)} layers"
    elif not hasattr(value, "DESCRIPTOR"):
        yield from _several(descriptor, value, name)
    else:
        if descriptor.containing_oneof is not None:  # the choice itself says something, e.g. an activation's ReLU
            yield f"{name.removesuffix(descriptor.name)}{descriptor.containing_oneof.name}", descriptor.name
        yield from _parameters(value, f"{name}.")


def _several(descriptor: Any, value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if descriptor.message_type.GetOptions().map_entry:
        for key, entry in sorted(value.items()):
            if hasattr(entry, "DESCRIPTOR"):
                yield f"{name}.{key}", next((_brief(item) for _, item in entry.ListFields()), None)
            else:
                yield f"{name}.{key}", _brief(entry)
    elif all(field_.message_type is None for field_ in descriptor.message_type.fields):
        rows = [[_brief(getattr(item, field_.name)) for field_ in item.DESCRIPTOR.fields] for item in value]
        yield name, _brief(rows)
    elif len(value) <= _LONGEST_LIST:
        for index, item in enumerate(value):
            yield from _nested(descriptor, item, f"{name}[{index}]")
    else:
        yield name, f"{len(value)} entries"


def _brief(value: Any) -> Any:
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, str):
        return value if len(value) <= _LONGEST_STRING else value[: _LONGEST_STRING - 3] + "..."
    if isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return float(f"{value:.7g}")  # what a float32 holds
    return [_brief(item) for item in value] if len(value) <= _LONGEST_LIST else f"{len(value)} values"


def _program_operations(file: ModelFile, program: Any) -> Iterator[LayerDescription]:
    several = len(program.functions) > 1
    for name, function in sorted(program.functions.items()):
        block = function.block_specializations.get(function.opset)
        if block is not None:
            yield from _block_operations(file, block, (name,) if several else ())


def _block_operations(file: ModelFile, block: Any, path: tuple[str, ...]) -> Iterator[LayerDescription]:
    """Yield a block's operations and those of blocks inside; ``const`` only where it holds weights."""
    for operation in block.operations:
        outputs = tuple(output.name for output in operation.outputs)
        weights = [w for key, value in operation.attributes.items() for w in stored_weights(file, value)]
        inner = (*path, outputs[0] if outputs else operation.type)
        if operation.type != "const" or weights:
            arguments = [binding for key in sorted(operation.inputs) for binding in operation.inputs[key].arguments]
            inputs = tuple(b.name for b in arguments if b.WhichOneof("binding") == "name")
            yield LayerDescription("/".join(inner), operation.type, inputs, outputs, **_weights(weights))
        for number, nested in enumerate(children(operation.blocks)):
            yield from _block_operations(file, nested, (*inner, f"block{number}"))
