"""Neural networks and ML programs as members of pipelines: lowered by themselves, then put into the pipeline's graph.

They compute one row: what they are given has one, and what they give gets one.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import onnx_ir as ir

from windfall.errors import FormatError, UnsupportedError
from windfall.graph.splicing import splice
from windfall.lowering.classical.context import ModelContext, Value
from windfall.lowering.classical.forms import Form, Forms, Tensor
from windfall.lowering.classical.outputs import as_declared
from windfall.lowering.ml_program.program import lower_program
from windfall.lowering.neural_network.network import lower_network
from windfall.spec.modelfile import ModelFile
from windfall.spec.networks import default_outputs, network_of, probabilities_name
from windfall.spec.pipelines import declared_labels
from windfall.spec.programs import block_of, class_labels, classify_operation, interface
from windfall.spec.proto import NEURAL_NETWORK_TYPES, NeuralNetwork_pb2

Dims = tuple[int, ...]


def lower_network_member(ctx: ModelContext, file: ModelFile) -> Forms:
    """Lower a neural network, classifier or regressor that takes images and arrays of other models.

    Raises:
        LoweringError: An input is neither, or its size is known only at run time.
    """
    rank5 = network_of(file.spec).arrayInputShapeMapping == NeuralNetwork_pb2.RANK5_ARRAY_MAPPING
    shapes = {name: _network_shape(ctx, name, rank5) for name in ctx.inputs}
    source = probabilities_name(file.spec)
    names = default_outputs(file.spec)
    values = _spliced(ctx, lower_network(file, shapes, names))
    labels = [] if source is None else declared_labels(file.spec.neuralNetworkClassifier)
    return _outputs(ctx, values, source, labels)


def _network_shape(ctx: ModelContext, name: str, rank5: bool) -> Dims:
    dims = _dims(ctx, name)
    if ctx.input_type(name) == "imageType":
        return (1, *dims)
    if not rank5:
        return dims
    if len(dims) not in (1, 3):
        raise ctx.error("input", "must have the shape [C] or [C, H, W]", value=f"{name!r} of shape {list(dims)}")
    return (1, 1, *dims, *(1,) * (3 - len(dims)))


def lower_program_member(ctx: ModelContext, file: ModelFile) -> Forms:
    """Lower an ML program, its default function, that takes images and arrays of other models.

    Raises:
        UnsupportedError: It keeps states, which predictions of a pipeline do not carry.
    """
    described = interface(file).description
    if described.state:
        raise UnsupportedError(f"{file.name} keeps states, which a model in a pipeline cannot; load it by itself")
    shapes = {name: _dims(ctx, name) for name in ctx.inputs}
    shapes = {name: (1, *dims) if ctx.input_type(name) == "imageType" else dims for name, dims in shapes.items()}
    block, _ = block_of(file)
    classify = classify_operation(block)
    source, labels = (None, []) if classify is None else class_labels(file, block, classify)
    chosen = {described.predictedFeatureName, described.predictedProbabilitiesName}
    names = [f.name for f in described.output if source is None or f.name not in chosen]
    names += [] if source is None else [source]
    values = _spliced(ctx, lower_program(file, shapes, list(dict.fromkeys(names))))
    return _outputs(ctx, values, source, labels)


def _dims(ctx: ModelContext, name: str) -> Dims:
    """Return the sizes of one row of an input."""
    ctx.input_type(name, "imageType", "multiArrayType")
    dims = ctx.shape(ctx.tensor(name))[1:]
    if None in dims:
        raise ctx.error("input", "must have an array of known size", value=repr(name))
    return tuple(dim for dim in dims if dim is not None)


def _spliced(ctx: ModelContext, model: ir.Model) -> dict[str, Value]:
    inputs = {str(value.name): _fed(ctx, str(value.name), value) for value in model.graph.inputs}
    return splice(ctx.graph, model.graph, inputs)


def _fed(ctx: ModelContext, name: str, wanted: Value) -> Value:
    """Return an input in the type and shape that a member's graph takes."""
    value = ctx.tensor(name)
    if wanted.dtype is not None and value.dtype != wanted.dtype:
        value = ctx.op("Cast", value, to=wanted.dtype)
    dims = ctx.shape(wanted)
    if None not in dims and dims != ctx.shape(value):
        return ctx.reshape(value, [dim for dim in dims if dim is not None])
    if len(dims) == ctx.rank(value) - 1:
        return ctx.op("Squeeze", value, ctx.integers([0]))
    return value


def _outputs(ctx: ModelContext, values: Mapping[str, Value], source: str | None, labels: Sequence[Any]) -> Forms:
    """Return a member's outputs: its values with the axis of rows in front, a classifier's label and scores."""
    ours = {ctx.description.predictedFeatureName, ctx.description.predictedProbabilitiesName}
    found: dict[str, Form] = {}
    if source is not None:
        scores = ctx.reshape(values[source], 1, -1)
        if ctx.count(scores) != len(labels):
            raise ctx.error(
                "ClassLabels", f"must be {ctx.count(scores)}, one for each score", value=f"{len(labels)} labels"
            )
        classes = [feature for feature in ctx.description.output if feature.name in ours]
        found |= ctx.classification(scores, list(labels), features=classes)
    for feature in ctx.description.output:
        if feature.name not in found:
            if feature.name not in values:
                raise FormatError(f"{feature.name!r} is declared as an output, but is no value of the model")
            found[feature.name] = Tensor(_with_row(ctx, values[feature.name], feature))
    return found


def _with_row(ctx: ModelContext, value: Value, feature: Any) -> Value:
    """Return a value of a member as one row, in its declared shape where it has as many elements."""
    if feature.type.HasField("imageType"):
        return value
    return as_declared(ctx, ctx.op("Unsqueeze", value, ctx.integers([0])), feature)


MEMBERS: Mapping[str, Callable[[ModelContext, ModelFile], Forms]] = {
    **dict.fromkeys(NEURAL_NETWORK_TYPES, lower_network_member),
    "mlProgram": lower_program_member,
}
"""How the types of models that are lowered by themselves become parts of a pipeline."""
