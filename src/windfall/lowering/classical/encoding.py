"""Texts and integers as numbers of categories, and dictionaries as vectors.

Source: OneHotEncoder.proto, DictVectorizer.proto, CategoricalMapping.proto, and their validators.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx_ir as ir

from windfall.graph.checks import require
from windfall.lowering.classical.context import ModelContext, Value
from windfall.lowering.classical.dictionaries import (
    KEY_TYPES,
    MOST_COLUMNS,
    dense,
    dictionary_output,
    only_output,
    row_numbers,
    select,
)
from windfall.lowering.classical.forms import Entries, Form, Forms, Items, Labels
from windfall.spec.proto import OneHotEncoder_pb2

_TEXT, _INTEGER = ir.DataType.STRING, ir.DataType.INT64


def lower_one_hot_encoder(ctx: ModelContext) -> Forms:
    """Return a one in the place of the category that a row has.

    Source: ``OneHotEncoder``. The input is a text or an integer; one that is missing is no category.

    Returns:
        The declared type [rows, categories]; with ``outputSparse`` a dictionary from the number of the category to 1,
        without entries where ``IgnoreUnknown`` makes all numbers zero.

    Raises:
        LoweringError: A category stands twice, or the categories have another type than the input, or the output is
            no dictionary with ``outputSparse``, no array without.
    """
    categories, dtype = _categories(ctx, "CategoryType", _CATEGORIES)
    name = ctx.input_name(*_INPUT_TYPES[dtype])
    position = _position(ctx, _keys(ctx, ctx.tensor(name), dtype), categories)
    found = _found(ctx, position, ctx.given(name))
    if ctx.params.handleUnknown == OneHotEncoder_pb2.OneHotEncoder.ErrorOnUnknown:
        position = require(ctx.graph, position, found, "category")
    if ctx.params.outputSparse:
        return dictionary_output(ctx, _one_entry(ctx, position, found, len(categories)))
    output = only_output(ctx)
    if output.type.WhichOneof("Type") != "multiArrayType":
        kind = output.type.WhichOneof("Type")
        raise ctx.error("output", f"has the type {kind}, must have multiArrayType", value=repr(output.name))
    # [rows] -> [rows, 1] -> [rows, categories]
    numbers = ctx.integers(np.arange(len(categories)), "categories")
    ones = ctx.op("Equal", ctx.op("Unsqueeze", position, ctx.integers([1])), numbers)
    if ctx.given(name) is not None:
        ones = ctx.op("And", ones, ctx.op("Unsqueeze", found, ctx.integers([1])))
    return ctx.output(ctx.op("Cast", ones, to=ir.DataType.DOUBLE))


def _one_entry(ctx: ModelContext, position: Value, found: Value, columns: int) -> Entries:
    rows = ctx.sizes(position, 0, 1)
    ones = ctx.op("Expand", ctx.doubles([1.0]), rows)
    counts = ctx.op("Expand", ctx.integers([1]), rows)
    entries = Entries(row_numbers(ctx, rows), position, ones, counts, columns)
    if ctx.params.handleUnknown == OneHotEncoder_pb2.OneHotEncoder.ErrorOnUnknown:
        return entries
    return select(ctx, entries, found, columns)


def lower_dict_vectorizer(ctx: ModelContext) -> Forms:
    """Put the values of a dictionary in the places of their keys.

    The comment on the message says that all keys must be known. Applications pass texts with any words to published
    models, and scikit-learn's ``DictVectorizer``, of which most are made, leaves out what it does not know: so do we.
    A dictionary that is missing counts as one without entries.

    Source: ``DictVectorizer``. The input is a dictionary, or the scores of a classifier.

    Returns:
        The declared type [rows, keys], zero where a key is not in the dictionary; where a dictionary is declared, one
        from the key's place to the value.

    Raises:
        LoweringError: A key stands twice, or the keys have another type than the input's, or the output's are texts.
    """
    words, dtype = _categories(ctx, "Map", _WORDS)
    name = ctx.input_name("dictionaryType")
    entries = ctx.entries(name)
    if entries.keys.dtype == _TEXT and dtype == _INTEGER:
        # coremltools declares dictionaries of integers as ones of texts.
        words, dtype = [str(word) for word in words], _TEXT
    if entries.keys.dtype != dtype:
        rule = f"must have keys of the type {KEY_TYPES[dtype]}, as the model's"
        raise ctx.error("input", rule, value=repr(name))
    position = _position(ctx, entries.keys, words)
    places = Entries(entries.index, position, entries.values, entries.counts)
    places = select(ctx, places, _found(ctx, position, None), len(words))
    if only_output(ctx).type.WhichOneof("Type") == "dictionaryType":
        return dictionary_output(ctx, places)
    return ctx.output(dense(ctx, places, len(words)))


_CATEGORIES = {"stringCategories": _TEXT, "int64Categories": _INTEGER}
_WORDS = {"stringToIndex": _TEXT, "int64ToIndex": _INTEGER}
_INPUT_TYPES = {_TEXT: ("stringType",), _INTEGER: ("int64Type",)}


def _categories(ctx: ModelContext, oneof: str, types: Mapping[str, ir.DataType]) -> tuple[Labels, ir.DataType]:
    """Return all keys in their order, and their type."""
    field = ctx.params.WhichOneof(oneof)
    if field is None:
        raise ctx.error(oneof, f"is not set, must be {' or '.join(types)}")
    keys: Labels = list(getattr(ctx.params, field).vector)
    if not 1 <= len(keys) <= MOST_COLUMNS:
        raise ctx.error(field, f"must be 1 to {MOST_COLUMNS:,}", value=f"{len(keys)} keys")
    seen: set[Any] = set()
    for key in keys:
        if key in seen:
            raise ctx.error(field, "stands twice, each key must have one place", value=repr(key))
        seen.add(key)
    return keys, types[field]


def _keys(ctx: ModelContext, value: Value, dtype: ir.DataType) -> Value:
    """Return a text or an integer for each row, [rows]; another model may give it as a number of another type."""
    if (value.dtype == _TEXT) != (dtype == _TEXT):
        raise ctx.error("input", f"must be {'text' if dtype == _TEXT else 'an integer'}", value=next(iter(ctx.inputs)))
    value = value if value.dtype == dtype else ctx.op("Cast", value, to=dtype)
    return value if ctx.rank(value) == 1 else ctx.reshape(value, -1)


def _position(ctx: ModelContext, keys: Value, known: Sequence[Any]) -> Value:
    """Return the place of each key, int64; -1 for those that have none."""
    return ctx.lookup(keys, known, range(len(known)), -1)


def _found(ctx: ModelContext, position: Value, given: Value | None) -> Value:
    found = ctx.op("GreaterOrEqual", position, ctx.integers(0))
    return found if given is None else ctx.op("And", found, given)


class _Map(NamedTuple):
    """The types of a map of ``CategoricalMapping``.

    Attributes:
        dtype: The type of what it takes.
        input: The type of features, or of the items of sequences, that it takes.
        output: The same of what it gives.
        default: The field for what it gives for others.
        nothing: A value of the type that it gives.
    """

    dtype: ir.DataType
    input: str
    output: str
    default: str
    nothing: str | int


_MAPS: Mapping[str, _Map] = {
    "stringToInt64Map": _Map(_TEXT, "stringType", "int64Type", "int64Value", 0),
    "int64ToStringMap": _Map(_INTEGER, "int64Type", "stringType", "strValue", ""),
}


def lower_categorical_mapping(ctx: ModelContext) -> Forms:
    """Turn texts into integers, or integers into texts.

    Source: ``CategoricalMapping``. The input is a text or an integer, or a sequence of them; one that is missing is
    not in the map.

    Returns:
        int64 or text [rows], or a sequence for each row.

    Raises:
        LoweringError: The map, its default, the input and the output have types that do not fit each other.
    """
    field = ctx.params.WhichOneof("MappingType")
    if field is None:
        raise ctx.error("MappingType", f"is not set, must be {' or '.join(_MAPS)}")
    kind = _MAPS[field]
    default = ctx.params.WhichOneof("ValueOnUnknown")
    if default not in (None, kind.default):
        raise ctx.error("ValueOnUnknown", f"must be {kind.default}, as the map is {field}", value=default)
    name = ctx.input_name(kind.input, "sequenceType")
    entries = dict(getattr(ctx.params, field).map)
    if ctx.input_type(name) != "sequenceType":
        return ctx.output(_mapped(ctx, _keys(ctx, ctx.tensor(name), kind.dtype), entries, kind, ctx.given(name)))
    items = ctx.items(name)
    if items.items.dtype != kind.dtype:
        raise ctx.error("input", f"must be a sequence of {kind.input}, as the map takes", value=repr(name))
    mapped = _mapped(ctx, items.items, entries, kind, None)
    return _sequence_output(ctx, Items(items.index, mapped, items.counts), kind.output)


def _mapped(ctx: ModelContext, keys: Value, entries: Mapping[Any, Any], kind: _Map, given: Value | None) -> Value:
    known = sorted(entries)
    values = [entries[key] for key in known]
    if ctx.params.WhichOneof("ValueOnUnknown") is None:
        position = _position(ctx, keys, known)
        position = require(ctx.graph, position, _found(ctx, position, given), "mapping")
        return ctx.op("Gather", ctx.labels(values or [kind.nothing]), position)
    default = getattr(ctx.params, kind.default)
    found = ctx.lookup(keys, known, values, default)
    return found if given is None else ctx.op("Where", given, found, ctx.labels([default]))


def _sequence_output(ctx: ModelContext, items: Items, item: str) -> Forms:
    feature = only_output(ctx)
    found = feature.type.sequenceType.WhichOneof("Type") if feature.type.HasField("sequenceType") else None
    if found != item:
        raise ctx.error("output", f"must be a sequence of {item}, as the input is one", value=repr(feature.name))
    form: Form = items
    return {feature.name: form}


LOWERINGS: Mapping[str, Callable[[ModelContext], Forms]] = {
    "oneHotEncoder": lower_one_hot_encoder,
    "dictVectorizer": lower_dict_vectorizer,
    "categoricalMapping": lower_categorical_mapping,
}
