"""Lower a classical model or a whole pipeline, nested ones and the networks and programs in them too, into one graph.

Source: ``Pipeline`` in Model.proto, PipelineValidator.cpp.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from windfall.errors import FormatError
from windfall.graph.builder import GraphBuilder, build_model
from windfall.lowering.classical.context import ModelContext
from windfall.lowering.classical.forms import Column, Entries, Form, Forms, Items, Scores, Tensor
from windfall.lowering.classical.models import LOWERINGS, lower_model
from windfall.lowering.gaps import refuse, unsupported
from windfall.lowering.members import MEMBERS
from windfall.lowering.shapes import InputShapes
from windfall.spec.modelfile import ModelFile
from windfall.spec.pipelines import PIPELINES, check_depth, inputs_from, some_members
from windfall.spec.rowforms import COLUMNS, COUNTS, GIVEN, INDEX, ITEMS, KEYS, SCORES, VALUES, columns_of, parts_of


def lower_pipeline(
    file: ModelFile,
    input_shapes: InputShapes,
    outputs: Sequence[str],
    function: str = "",  # noqa: ARG001  # only ML programs have any
) -> ir.Model:
    """Lower a classical model or a pipeline.

    Args:
        file: The model.
        input_shapes: The shape of each graph input, by its name; see ``spec/rowforms.py``.
        outputs: Names of the tensors to compute.
        function: Empty: such a model has no functions.

    Raises:
        UnsupportedError: Some members cannot be run; the error names them.
        LoweringError: A model breaks a rule of the specification.
        FormatError: The members do not fit each other.
    """
    refuse(file.name, list(unsupported(file.spec)))
    graph = GraphBuilder(file.path.stem if file.path else "model", input_shapes)
    inputs = _inputs(graph, file.spec.description, input_shapes)
    values = {**inputs, **lower_member(file, graph, inputs)}
    graph.prefix = ""
    for name in outputs:
        graph.graph.outputs.append(graph.rename(_tensor_of(graph, file, values, name), name))
    return build_model(graph.graph)


def _inputs(graph: GraphBuilder, description: Any, shapes: InputShapes) -> Forms:
    """Add all features as graph inputs."""
    columns = columns_of(description)
    packs = {
        name: graph.input(name, ir.DataType.from_numpy(dtype), shapes[name])
        for name, dtype in COLUMNS.values()
        if name in columns
    }
    forms: dict[str, Form] = {}
    for feature in description.input:
        tensors = {
            part.suffix: graph.input(
                f"{feature.name}{part.suffix}", _data_type(part.dtype), shapes[f"{feature.name}{part.suffix}"]
            )
            for part in parts_of(feature)
        }
        column = COLUMNS.get(feature.type.WhichOneof("Type"))
        if column is not None:
            pack = packs[column[0]]
            forms[feature.name] = Column(pack, columns[column[0]].index(feature.name), tensors.get(GIVEN))
        else:
            forms[feature.name] = _form(tensors)
    return forms


def _data_type(dtype: np.dtype[Any]) -> ir.DataType:
    return ir.DataType.STRING if dtype.kind == "O" else ir.DataType.from_numpy(dtype)


def _form(tensors: Mapping[str, ir.Value]) -> Form:
    if KEYS in tensors:
        return Entries(tensors[INDEX], tensors[KEYS], tensors[VALUES], tensors[COUNTS])
    if ITEMS in tensors:
        return Items(tensors[INDEX], tensors[ITEMS], tensors[COUNTS])
    return Tensor(tensors[""], tensors.get(GIVEN))


def lower_member(file: ModelFile, graph: GraphBuilder, inputs: Forms, depth: int = 0) -> Forms:
    """Lower one model; its nodes are named after ``graph.prefix``.

    Args:
        file: The model.
        graph: The graph being built.
        inputs: The values of its inputs, and maybe others.
        depth: How many pipelines lie around it.

    Returns:
        The values of its outputs; of a pipeline, all values of its members.

    Raises:
        FormatError: An input is not there, or pipelines lie too deep in each other.
    """
    check_depth(file.name, depth)
    given = inputs_from(file.name, file.spec, inputs)
    kind = file.spec.WhichOneof("Type")
    if kind in PIPELINES:
        return _lower_members(file, graph, given, depth)
    if kind in LOWERINGS:
        return lower_model(ModelContext(file.spec, file.name, graph, given))
    return MEMBERS[kind](ModelContext(file.spec, file.name, graph, given), file)


def _lower_members(file: ModelFile, graph: GraphBuilder, inputs: Forms, depth: int) -> Forms:
    values = dict(inputs)
    prefix = graph.prefix
    for index, (name, spec) in enumerate(some_members(file.name, file.spec)):
        graph.prefix = f"{prefix}/{name}" if prefix else name
        found = lower_member(file.member(name, spec, index), graph, values, depth + 1)
        values |= {f.name: found[f.name] for f in spec.description.output if f.name in found}
    graph.prefix = prefix
    return values


def _tensor_of(graph: GraphBuilder, file: ModelFile, values: Forms, name: str) -> ir.Value:
    """Return the tensor with a name, which is that of a feature and what part of it is meant."""
    feature, part = next(
        ((name.removesuffix(suffix), suffix) for suffix in _PARTS if name.endswith(suffix) and name not in values),
        (name, ""),
    )
    if feature not in values:
        raise FormatError(f"{file.name} has an output {feature!r}, which is no input and no output of a model in it")
    ctx = ModelContext(file.spec, file.name, graph, values)
    found = _PARTS[part](ctx, values[feature])
    kind = next((f.type.WhichOneof("Type") for f in file.spec.description.output if f.name == feature), None)
    if found is None or (kind in _FITS and not _FITS[kind](ctx, found)):
        raise FormatError(f"{file.name}: the output {feature!r} is declared in a type that it cannot have")
    return found


def _scores(ctx: ModelContext, form: Form) -> ir.Value | None:
    if not isinstance(form, Scores):
        return None
    return ctx.op("Cast", form.values, to=ir.DataType.DOUBLE)


def _entries(field: str) -> Callable[[ModelContext, Form], ir.Value | None]:
    def part(ctx: ModelContext, form: Form) -> ir.Value | None:
        form = ctx.as_entries(form) if isinstance(form, Scores) else form
        return getattr(form, field, None)

    return part


def _whole(ctx: ModelContext, form: Form) -> ir.Value | None:
    return ctx.whole(form)


_PARTS: Mapping[str, Callable[[ModelContext, Form], ir.Value | None]] = {
    SCORES: _scores,
    INDEX: _entries("index"),
    KEYS: _entries("keys"),
    VALUES: _entries("values"),
    ITEMS: _entries("items"),
    COUNTS: _entries("counts"),
    "": _whole,
}
"""How the tensors of an output are found in its form."""


def _is_number(ctx: ModelContext, value: ir.Value) -> bool:
    return _is_array(ctx, value) and ctx.rank(value) == 1


def _is_array(_ctx: ModelContext, value: ir.Value) -> bool:
    return value.dtype != ir.DataType.STRING


def _is_picture(ctx: ModelContext, value: ir.Value) -> bool:
    return value.dtype in (ir.DataType.UINT8, ir.DataType.FLOAT16) and ctx.rank(value) == 4


_FITS: Mapping[str | None, Callable[[ModelContext, ir.Value], bool]] = {
    "doubleType": _is_number,
    "int64Type": _is_number,
    "stringType": lambda _ctx, value: value.dtype == ir.DataType.STRING,
    "multiArrayType": _is_array,
    "imageType": _is_picture,
}
"""Whether a tensor can be an output of a type; a pipeline may declare another one than the model that gives it."""
