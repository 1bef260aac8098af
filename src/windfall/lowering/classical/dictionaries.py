"""Dictionaries of all rows in a graph: what models that take or give them share."""

from typing import Any

import numpy as np
import onnx_ir as ir

from windfall.lowering.classical.context import ModelContext, Value
from windfall.lowering.classical.forms import Entries, Forms

MOST_COLUMNS = 2**24
"""A row of a matrix that is made of a dictionary may not have more columns; more is a damaged or hostile file."""
KEY_TYPES = {ir.DataType.INT64: "int64KeyType", ir.DataType.STRING: "stringKeyType"}
"""The member of the oneof ``KeyType`` of ``DictionaryFeatureType`` for the type of keys."""


def row_numbers(ctx: ModelContext, rows: Value) -> Value:
    """Return the numbers of all rows, int64 [rows].

    Args:
        ctx: The model.
        rows: int64 [1], how many there are.
    """
    count = ctx.op("Squeeze", rows, ctx.integers([0]))
    return ctx.op("Range", ctx.integers(0), count, ctx.integers(1))


def select(ctx: ModelContext, entries: Entries, keep: Value, columns: int | None = None) -> Entries:
    """Return some of the entries; a dictionary that is missing becomes one without entries.

    Args:
        ctx: The model.
        entries: The dictionaries.
        keep: bool [entries].
        columns: What is known of the keys that are kept, see ``Entries``.
    """
    index, keys, values = (
        ctx.op("Compress", value, keep, axis=0) for value in (entries.index, entries.keys, entries.values)
    )
    zeros = ctx.op("Mul", entries.counts, ctx.integers(0))
    ones = ctx.op("Cast", ctx.op("Compress", keep, keep, axis=0), to=ir.DataType.INT64)
    counts = ctx.op("ScatterElements", zeros, index, ones, axis=0, reduction="add")
    return Entries(index, keys, values, counts, columns)


def dense(ctx: ModelContext, entries: Entries, columns: int) -> Value:
    """Return dictionaries as a matrix, double [rows, columns]; zero where a row has no entry.

    Args:
        ctx: The model.
        entries: Dictionaries whose keys are the numbers of columns, all of them from 0 to the last.
        columns: How many there are, at most ``MOST_COLUMNS``.
    """
    dims = ctx.op("Concat", ctx.sizes(entries.counts, 0, 1), ctx.integers([columns]), axis=0)
    zeros = ctx.op("ConstantOfShape", dims, value=ir.tensor(np.zeros(1)))
    # Inference cannot follow it.
    zeros.shape = ir.Shape([*(entries.counts.shape or [None]), columns])
    places = [ctx.op("Unsqueeze", value, ctx.integers([1])) for value in (entries.index, entries.keys)]
    return ctx.op("ScatterND", zeros, ctx.op("Concat", *places, axis=1), entries.values)


def dictionary_output(ctx: ModelContext, entries: Entries) -> Forms:
    """Return dictionaries as the model's only output.

    Raises:
        LoweringError: The model has not one output, or it is no dictionary with keys of that type.
    """
    feature = only_output(ctx)
    expected = KEY_TYPES[entries.keys.dtype or ir.DataType.INT64]
    if feature.type.WhichOneof("Type") != "dictionaryType":
        kind = feature.type.WhichOneof("Type")
        raise ctx.error("output", f"has the type {kind}, must have dictionaryType", value=repr(feature.name))
    found = feature.type.dictionaryType.WhichOneof("KeyType")
    if found != expected:
        raise ctx.error("output", f"has keys of the type {found}, must have {expected}", value=repr(feature.name))
    return {feature.name: entries}


def only_output(ctx: ModelContext) -> Any:
    """Return the ``FeatureDescription`` message of the model's only output.

    Raises:
        LoweringError: There is not one.
    """
    outputs = list(ctx.description.output)
    if len(outputs) != 1:
        raise ctx.error("output", "must be one", value=[feature.name for feature in outputs])
    return outputs[0]
