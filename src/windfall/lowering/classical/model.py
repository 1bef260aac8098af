"""Lower a whole classical model: its inputs, the model, its output.

Source: ``Model``, ``ModelDescription`` in Model.proto.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import onnx_ir as ir

from windfall.errors import FormatError
from windfall.graph.builder import GraphBuilder, ShapeError, build_model
from windfall.lowering.classical import linear
from windfall.lowering.classical.context import ModelContext, Value
from windfall.lowering.shapes import InputShapes
from windfall.spec.modelfile import ModelFile

LOWERINGS: Mapping[str, Callable[..., Any]] = {**linear.LOWERINGS}
"""How each type of classical model is lowered, by its name in the oneof ``Type``."""

_INPUT_TYPES = {"doubleType": ir.DataType.DOUBLE, "int64Type": ir.DataType.INT64, "multiArrayType": ir.DataType.DOUBLE}


def lower_classical(
    file: ModelFile,
    input_shapes: InputShapes,
    outputs: Sequence[str],
    function: str = "",  # noqa: ARG001  # only ML programs have any
) -> ir.Model:
    """Lower a classical model.

    Args:
        file: The model.
        input_shapes: The shape of each graph input, by feature name.
        outputs: Names of the outputs.
        function: Empty: such a model has no functions.

    Raises:
        LoweringError: The model breaks a rule of the specification.
        FormatError: It has no inputs, or not one output.
    """
    description = file.spec.description
    graph = GraphBuilder(file.path.stem if file.path else "model", [feature.name for feature in description.input])
    ctx = ModelContext(file.spec, file.name, graph)
    names = [feature.name for feature in description.output]
    if not description.input or len(names) != 1 or list(outputs) != names:
        raise FormatError(f"{file.name} has the outputs {names}, must have inputs and one output; convert it again")
    values = [_input(ctx, feature, input_shapes[feature.name]) for feature in description.input]
    graph.prefix = ctx.kind
    try:
        features = ctx.op("Concat", *values, axis=0) if len(values) > 1 else values[0]
        result = LOWERINGS[ctx.kind](ctx, features)
    except ShapeError as error:
        raise ctx.error("input", f"does not fit the model: {error}") from error
    graph.graph.outputs.append(graph.rename(result, names[0]))
    return build_model(graph.graph)


def _input(ctx: ModelContext, feature: Any, dims: tuple[int | str, ...]) -> Value:
    """Add a feature as a graph input, and return it as a vector of doubles."""
    kind = _INPUT_TYPES[feature.type.WhichOneof("Type")]
    value = ctx.graph.input(feature.name, kind, dims)
    flat = ctx.reshape(value, -1)
    return flat if kind == ir.DataType.DOUBLE else ctx.op("Cast", flat, to=ir.DataType.DOUBLE)
