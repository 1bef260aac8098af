"""Recommendations by the similarity of items.

Source: ``ItemSimilarityRecommender`` in ItemSimilarityRecommender.proto, ItemSimilarityRecommenderCommon.cpp.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from windfall.graph.checks import require
from windfall.lowering.classical.context import ModelContext, Value
from windfall.lowering.classical.forms import Entries, Form, Forms, Items, Labels

_MOST_ITEMS = 2**22
_INPUTS = ("dictionaryType", "sequenceType", "multiArrayType")
_LISTS = ("sequenceType", "multiArrayType")


@dataclass(frozen=True)
class _Table:
    """The similarities, those of each item one after another.

    Attributes:
        count: How many items there are.
        labels: Their identifiers; None where these are their numbers.
        starts: int64 [items], where each item's similarities start.
        lengths: int64 [items], how many it has.
        targets: int64 [similarities], the number of the item that it is similar to.
        similarities: double [similarities].
        shifts: double [items], what is taken off the scores that an item is given for.
    """

    count: int
    labels: Labels | None
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    targets: NDArray[np.int64]
    similarities: NDArray[np.float64]
    shifts: NDArray[np.float64]


@dataclass(frozen=True)
class _Pairs:
    """Items of rows.

    Attributes:
        rows: int64 [pairs].
        items: int64 [pairs], the items' numbers.
        values: double [pairs], their scores.
        counts: int64 [rows], -1 where a row has no list at all; None if each has.
    """

    rows: Value
    items: Value
    values: Value
    counts: Value | None


def lower_item_similarity_recommender(ctx: ModelContext) -> Forms:
    """Score all items by those that are given, and recommend the best.

    The score of an item k is the sum over the given items i of similarity(k, i) * (score of i - shift of k). A
    sequence or an array gives items with a score of 1 each, an item that is there twice counts twice. Items that the
    model does not know are passed over. Of equal scores the item with the lower number comes first, and items without
    any similar one are recommended last, with a score of 0.

    What is recommended: items in the list of restrictions, all where there is none; without those in the list of
    exclusions, or without the given ones where there is none; as many as are asked for, all by default.

    Source: ``ItemSimilarityRecommender``.

    Returns:
        The items, from the best on; and their scores.

    Raises:
        LoweringError: Items are numbered beyond the identifiers or named twice; an input or output is missing or of
            another type.
    """
    table = _read(ctx)
    given = _pairs(ctx, _input_name(ctx), table, _INPUTS)
    scores = _scores(ctx, table, given)
    allowed = _allowed(ctx, table, given)
    return _outputs(ctx, table, scores, allowed, _wanted(ctx, allowed))


# The parameters


def _read(ctx: ModelContext) -> _Table:
    params = ctx.params
    lists = [(base.itemId, base.similarItemList) for base in params.itemItemSimilarities]
    bases = np.array([base for base, listed in lists for _ in listed], np.uint64)
    targets = np.array([one.itemId for _, listed in lists for one in listed], np.uint64)
    similarities = np.array([one.similarityScore for _, listed in lists for one in listed], np.float64)
    largest = max([0, *(base for base, _ in lists), *targets.tolist()])
    count, labels = _identifiers(ctx, largest)
    # An item may have several lists.
    order = np.argsort(bases, kind="stable")
    lengths = np.bincount(bases.astype(np.int64), minlength=count).astype(np.int64)
    shifts = np.zeros(count)
    for base in params.itemItemSimilarities:
        if base.itemScoreAdjustment:
            shifts[base.itemId] = base.itemScoreAdjustment
    starts = np.cumsum(lengths) - lengths
    return _Table(count, labels, starts, lengths, targets[order].astype(np.int64), similarities[order], shifts)


def _identifiers(ctx: ModelContext, largest: int) -> tuple[int, Labels | None]:
    texts, numbers = list(ctx.params.itemStringIds.vector), list(ctx.params.itemInt64Ids.vector)
    if texts and numbers:
        raise ctx.error("itemStringIds", "and itemInt64Ids are both given, must be one of them")
    field, labels = ("itemStringIds", texts) if texts else ("itemInt64Ids", numbers)
    if not labels:
        if largest >= _MOST_ITEMS:
            raise ctx.error("itemId", f"must be below {_MOST_ITEMS:,}", value=largest)
        return largest + 1, None
    if len(labels) <= largest:
        rule = f"must be at least {largest + 1}, as there is an item of number {largest}"
        raise ctx.error(field, rule, value=f"{len(labels)} identifiers")
    twice = len(labels) - len(set(labels))
    if twice:
        raise ctx.error(field, f"must differ, but {twice} of them are there before", value=f"{len(labels)} identifiers")
    return len(labels), labels


# The inputs


def _input_name(ctx: ModelContext) -> str:
    name = str(ctx.params.itemInputFeatureName)
    if name or len(ctx.inputs) != 1:
        return name
    return next(iter(ctx.inputs))


def _pairs(ctx: ModelContext, name: str, table: _Table, kinds: tuple[str, ...]) -> _Pairs:
    """Return the items of an input that the model knows."""
    kind = ctx.input_type(name, *kinds)
    rows, keys, values, counts = _READERS[kind](ctx, name)
    numbers = _numbers(ctx, name, keys, table)
    known = ctx.op("GreaterOrEqual", numbers, ctx.integers(0))
    rows, numbers, values = (ctx.op("Compress", part, known, axis=0) for part in (rows, numbers, values))
    return _Pairs(rows, numbers, values, counts)


def _numbers(ctx: ModelContext, name: str, keys: Value, table: _Table) -> Value:
    """Return the number of the item that each key names, -1 where the model has none."""
    is_text = table.labels is not None and isinstance(table.labels[0], str)
    if (keys.dtype == ir.DataType.STRING) != is_text:
        kind = "texts" if is_text else "integers"
        raise ctx.error("input", f"must have {kind}, as the model's items have", value=repr(name))
    if table.labels is not None:
        return ctx.lookup(keys, table.labels, np.arange(table.count), -1)
    below = ctx.op("Less", keys, ctx.integers(table.count))
    inside = ctx.op("And", ctx.op("GreaterOrEqual", keys, ctx.integers(0)), below)
    return ctx.op("Where", inside, keys, ctx.integers(-1))


_Read = tuple[Value, Value, Value, Value | None]


def _read_dictionary(ctx: ModelContext, name: str) -> _Read:
    entries = ctx.entries(name)
    return entries.index, entries.keys, entries.values, entries.counts


def _read_sequence(ctx: ModelContext, name: str) -> _Read:
    items = ctx.items(name)
    return items.index, items.items, _ones(ctx, items.index), items.counts


def _read_array(ctx: ModelContext, name: str) -> _Read:
    keys = ctx.op("Cast", ctx.tensor(name), to=ir.DataType.INT64)
    keys = ctx.op("Flatten", keys, axis=1)  # [rows, *dims] -> [rows, items]
    rows = ctx.op("Expand", ctx.op("Unsqueeze", _counted(ctx, ctx.sizes(keys, 0, 1)), ctx.integers([1])),
                  ctx.op("Shape", keys))  # fmt: skip
    keys, rows = ctx.reshape(keys, -1), ctx.reshape(rows, -1)
    return rows, keys, _ones(ctx, rows), None


_READERS: Mapping[str, Callable[[ModelContext, str], _Read]] = {
    "dictionaryType": _read_dictionary,
    "sequenceType": _read_sequence,
    "multiArrayType": _read_array,
}


def _ones(ctx: ModelContext, like: Value) -> Value:
    return ctx.op("Expand", ctx.doubles(1.0), ctx.op("Shape", like))


def _counted(ctx: ModelContext, count: Value) -> Value:
    """Return 0 to count - 1, for an int64 [1]."""
    return ctx.op("Range", ctx.integers(0), ctx.reshape(count, ()), ctx.integers(1))


# The scores


def _scores(ctx: ModelContext, table: _Table, given: _Pairs) -> Value:
    """Return the score of each item, double [rows, items]."""
    pair, place = _spread(ctx, table, given)
    # A table without any similarities has none to gather either.
    target = ctx.op("Gather", ctx.integers(np.append(table.targets, 0), "targets"), place)
    similarity = ctx.op("Gather", ctx.doubles(np.append(table.similarities, 0), "similarities"), place)
    value = ctx.op("Gather", given.values, pair)
    if table.shifts.any():
        value = ctx.op("Sub", value, ctx.op("Gather", ctx.doubles(table.shifts, "shifts"), target))
    cells = _cells(ctx, table, ctx.op("Gather", given.rows, pair), target)
    zeros = _filled(ctx, table, 0.0)
    sums = ctx.op("ScatterElements", zeros, cells, ctx.op("Mul", similarity, value), reduction="add")
    return ctx.reshape(sums, ctx.rows, [table.count])


def _spread(ctx: ModelContext, table: _Table, given: _Pairs) -> tuple[Value, Value]:
    """Return each similarity of each given item: the number of the pair that gives it, and its place in the table."""
    lengths = ctx.op("Gather", ctx.integers(table.lengths, "lengths"), given.items)
    starts = ctx.op("CumSum", lengths, ctx.integers(0), exclusive=1)
    total = ctx.op("ReduceSum", lengths, keepdims=0)
    # A mark where each pair starts, one behind all others too: pairs without similarities start where the next does.
    marks = ctx.op("Expand", ctx.integers(0), ctx.op("Add", ctx.reshape(total, 1), ctx.integers([1])))
    ones = ctx.op("Expand", ctx.integers(1), ctx.op("Shape", starts))
    marks = ctx.op("ScatterElements", marks, starts, ones, reduction="add")
    numbers = ctx.op("Sub", ctx.op("CumSum", marks, ctx.integers(0)), ctx.integers(1))
    pair = ctx.op("Slice", numbers, ctx.integers([0]), ctx.reshape(total, 1), ctx.integers([0]))
    first = ctx.op("Sub", ctx.op("Gather", ctx.integers(table.starts, "starts"), given.items), starts)
    return pair, ctx.op("Add", _counted(ctx, total), ctx.op("Gather", first, pair))


def _cells(ctx: ModelContext, table: _Table, rows: Value, items: Value) -> Value:
    """Return the places of items in the rows of a flat [rows, items]."""
    return ctx.op("Add", ctx.op("Mul", rows, ctx.integers(table.count)), items)


def _filled(ctx: ModelContext, table: _Table, value: float) -> Value:
    return ctx.op("Expand", ctx.doubles(value), ctx.op("Mul", ctx.rows, ctx.integers([table.count])))


# What is recommended


def _allowed(ctx: ModelContext, table: _Table, given: _Pairs) -> Value:
    """Return whether each item may be recommended, bool [rows, items]."""
    restriction = str(ctx.params.itemRestrictionInputFeatureName)
    exclusion = str(ctx.params.itemExclusionInputFeatureName)
    excluded = _listed(ctx, table, given)
    if exclusion:
        pairs = _pairs(ctx, exclusion, table, _LISTS)
        excluded = _unless_missing(ctx, _listed(ctx, table, pairs), pairs, excluded)
    allowed = ctx.op("Not", excluded)
    if restriction:
        pairs = _pairs(ctx, restriction, table, _LISTS)
        inside = _unless_missing(ctx, _listed(ctx, table, pairs), pairs, ctx.constant(np.array([[True]])))
        allowed = ctx.op("And", allowed, inside)
    return allowed


def _listed(ctx: ModelContext, table: _Table, pairs: _Pairs) -> Value:
    """Return whether each item is in a list, bool [rows, items]."""
    cells = _cells(ctx, table, pairs.rows, pairs.items)
    marks = ctx.op("ScatterElements", _filled(ctx, table, 0.0), cells, _ones(ctx, cells))
    return ctx.reshape(ctx.op("Cast", marks, to=ir.DataType.BOOL), ctx.rows, [table.count])


def _unless_missing(ctx: ModelContext, listed: Value, pairs: _Pairs, default: Value) -> Value:
    if pairs.counts is None:
        return listed
    missing = ctx.op("Less", ctx.op("Unsqueeze", pairs.counts, ctx.integers([1])), ctx.integers(0))
    # Nothing is listed where the list is missing.
    return ctx.op("Or", listed, ctx.op("And", missing, default))


def _wanted(ctx: ModelContext, allowed: Value) -> Value:
    """Return how many items to recommend, int64 [rows]."""
    found = ctx.op("ReduceSum", ctx.op("Cast", allowed, to=ir.DataType.INT64), ctx.integers([1]), keepdims=0)
    name = str(ctx.params.numRecommendationsInputFeatureName)
    if not name:
        return found
    ctx.input_type(name, "int64Type")
    asked, given = ctx.tensor(name), ctx.given(name)
    if given is not None:
        asked = ctx.op("Where", given, asked, found)
    asked = require(ctx.graph, asked, ctx.op("GreaterOrEqual", asked, ctx.integers(0)), "recommendations")
    return ctx.op("Min", asked, found)


# The outputs


def _outputs(ctx: ModelContext, table: _Table, scores: Value, allowed: Value, wanted: Value) -> Forms:
    most = ctx.op("ReduceMax", ctx.op("Concat", wanted, ctx.integers([0]), axis=0), keepdims=1)
    ranked = ctx.op("Where", allowed, scores, ctx.doubles(-np.inf))
    items = ctx.ops("TopK", ranked, most, outputs=2, axis=1)[1]  # [rows, most]
    values = ctx.op("GatherElements", scores, items, axis=1)
    places = _counted(ctx, most)
    valid = ctx.op("Less", places, ctx.op("Unsqueeze", wanted, ctx.integers([1])))
    rows = ctx.op("Expand", ctx.op("Unsqueeze", _counted(ctx, ctx.rows), ctx.integers([1])), ctx.op("Shape", items))
    chosen = ctx.reshape(valid, -1)
    rows, items, values = (ctx.op("Compress", ctx.reshape(x, -1), chosen, axis=0) for x in (rows, items, values))
    keys = items if table.labels is None else ctx.op("Gather", ctx.labels(table.labels), items)
    found: dict[str, Form] = {
        str(ctx.params.recommendedItemListOutputFeatureName): Items(rows, keys, wanted),
        str(ctx.params.recommendedItemScoreOutputFeatureName): Entries(rows, keys, values, wanted),
    }
    _check_outputs(ctx, table, found)
    return found


def _check_outputs(ctx: ModelContext, table: _Table, found: Forms) -> None:
    key = "stringKeyType" if table.labels and isinstance(table.labels[0], str) else "int64KeyType"
    item = key.replace("Key", "")
    for feature in ctx.description.output:
        if feature.name not in found:
            names = [name for name in found if name]
            raise ctx.error("output", f"is none of those that the model gives: {names}", value=repr(feature.name))
        is_list = isinstance(found[feature.name], Items)
        kind = feature.type.WhichOneof("Type")
        of = (
            feature.type.sequenceType.WhichOneof("Type")
            if is_list
            else feature.type.dictionaryType.WhichOneof("KeyType")
        )
        if (kind, of) != (("sequenceType", item) if is_list else ("dictionaryType", key)):
            wanted = f"a sequence with {item}" if is_list else f"a dictionary with {key}"
            raise ctx.error("output", f"must be {wanted}", value=repr(feature.name))


LOWERINGS: Mapping[str, Callable[[ModelContext], Forms]] = {
    "itemSimilarityRecommender": lower_item_similarity_recommender,
}
