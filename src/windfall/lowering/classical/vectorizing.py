"""Features joined to one array, and elements taken from an array.

Source: FeatureVectorizer.proto, ArrayFeatureExtractor.proto, and their validators.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import onnx_ir as ir

from windfall.graph.checks import require
from windfall.lowering.classical.context import ModelContext, Value
from windfall.lowering.classical.dictionaries import MOST_COLUMNS, dense
from windfall.lowering.classical.forms import Column, Forms

_NUMERIC = ("doubleType", "int64Type", "multiArrayType")


def lower_feature_vectorizer(ctx: ModelContext) -> Forms:
    """Put features side by side, in the order of ``inputList``.

    A dictionary is a sparse vector: its keys are places in a vector of ``inputDimensions`` elements, which are zero
    elsewhere. One that is missing has no entries; a number that is missing is NaN.

    Source: ``FeatureVectorizer``. The inputs are numbers, arrays and dictionaries with integers as keys.

    Returns:
        The declared type [rows, sum of all inputDimensions].

    Raises:
        LoweringError: A column is no input, or does not have as many elements as its ``inputDimensions``.
    """
    columns = list(ctx.params.inputList)
    if not columns:
        raise ctx.error("inputList", "is empty, must name at least one input")
    for column in columns:
        if not 1 <= column.inputDimensions <= MOST_COLUMNS:
            rule = f"of {column.inputColumn!r} must be 1 to {MOST_COLUMNS:,}"
            raise ctx.error("inputDimensions", rule, value=column.inputDimensions)
    if sum(column.inputDimensions for column in columns) > MOST_COLUMNS:
        raise ctx.error("inputDimensions", f"must be at most {MOST_COLUMNS:,} together")
    blocks: list[Value] = []
    while columns:
        run = _side_by_side(ctx, columns)
        blocks.append(_gathered(ctx, run) if run else _block(ctx, columns[0]))
        del columns[: max(len(run), 1)]
    return ctx.output(blocks[0] if len(blocks) == 1 else ctx.op("Concat", *blocks, axis=1))


def _side_by_side(ctx: ModelContext, columns: Sequence[Any]) -> list[Column]:
    """Return the inputs at the start of a list that are columns of one tensor and never missing."""
    run: list[Column] = []
    for column in columns:
        form = ctx.inputs.get(column.inputColumn)
        if not isinstance(form, Column) or form.given is not None or column.inputDimensions != 1:
            break
        if run and form.pack is not run[0].pack:
            break
        run.append(form)
    return run


def _gathered(ctx: ModelContext, run: Sequence[Column]) -> Value:
    pack, numbers = run[0].pack, [column.index for column in run]
    if numbers != list(range(ctx.shape(pack)[1] or 0)):
        pack = ctx.op("Gather", pack, ctx.integers(numbers, "columns"), axis=1)
    return pack if pack.dtype == ir.DataType.DOUBLE else ctx.op("Cast", pack, to=ir.DataType.DOUBLE)


def _block(ctx: ModelContext, column: Any) -> Value:
    """Return an input as doubles [rows, inputDimensions]."""
    name, dimensions = column.inputColumn, int(column.inputDimensions)
    if ctx.input_type(name, *_NUMERIC, "dictionaryType") == "dictionaryType":
        return _sparse(ctx, name, dimensions)
    block = ctx.vector(name)
    if ctx.count(block) != dimensions:
        rule = f"must be {ctx.count(block)}, as many as {name!r} has elements"
        raise ctx.error("inputDimensions", rule, value=dimensions)
    return block


def _sparse(ctx: ModelContext, name: str, dimensions: int) -> Value:
    entries = ctx.entries(name)
    if entries.keys.dtype != ir.DataType.INT64:
        raise ctx.error("input", "must have keys of the type int64KeyType, which are places", value=repr(name))
    if entries.columns is None or entries.columns > dimensions:
        above = ctx.op("GreaterOrEqual", entries.keys, ctx.integers(0))
        below = ctx.op("Less", entries.keys, ctx.integers(dimensions))
        keys = require(ctx.graph, entries.keys, ctx.op("And", above, below), "index")
        entries = replace(entries, keys=keys)
    return dense(ctx, entries, dimensions)


def lower_array_feature_extractor(ctx: ModelContext) -> Forms:
    """Return some elements of an array.

    Source: ``ArrayFeatureExtractor``. The input is an array; indices count its elements in row-major order.

    Returns:
        The declared type [rows, indices], or one number.

    Raises:
        LoweringError: An index is beyond the last element, or there is none, or not one for one number.
    """
    x = ctx.vector(ctx.input_name("multiArrayType"))
    indices = list(ctx.params.extractIndex)
    if not indices:
        raise ctx.error("extractIndex", "is empty, must have at least one index")
    if max(indices) >= ctx.count(x):
        raise ctx.error("extractIndex", f"must be below {ctx.count(x)}, the input's size", value=max(indices))
    return ctx.output(ctx.op("Gather", x, ctx.integers(indices), axis=1))


LOWERINGS: Mapping[str, Callable[[ModelContext], Forms]] = {
    "featureVectorizer": lower_feature_vectorizer,
    "arrayFeatureExtractor": lower_array_feature_extractor,
}
