"""Values in the place of those that are missing.

Source: Imputer.proto; what is valid, ImputerValidator.cpp.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx_ir as ir
from numpy.typing import ArrayLike

from windfall.lowering.classical.context import ModelContext, Value
from windfall.lowering.classical.dictionaries import KEY_TYPES, dictionary_output, row_numbers
from windfall.lowering.classical.forms import Entries, Forms


class _Kind(NamedTuple):
    """What goes with a member of the oneof ``ImputedValue``.

    Attributes:
        lower: Lowers the model.
        inputs: The types that the input may have.
        replace: The member of the oneof ``ReplaceValue`` that may be set, empty for none.
    """

    lower: Callable[[ModelContext, str], Forms]
    inputs: Sequence[str]
    replace: str


def lower_imputer(ctx: ModelContext) -> Forms:
    """Put a value, or an array's or a dictionary's values, in the place of those that are missing.

    What is missing: what equals ``ReplaceValue``, NaN too. If that is not set, NaN in numbers and arrays. Always what
    an optional input is not given; an optional array that is not given is what its description says, or zeros.
    A dictionary that is missing becomes ``ImputedValue`` as a whole. In one that is there, NaN becomes the value of its
    key; keys are not added. So does Turi Create's imputer, from which the format has these dictionaries.

    Source: ``Imputer``. The input is a number, a text, an array or a dictionary.

    Returns:
        The same, in the declared type.

    Raises:
        LoweringError: ``ImputedValue``, ``ReplaceValue``, the input and the output do not fit each other.
    """
    field = ctx.params.WhichOneof("ImputedValue")
    if field is None:
        raise ctx.error("ImputedValue", "is not set, must be")
    kind = _KINDS[field]
    replaced = ctx.params.WhichOneof("ReplaceValue")
    if replaced not in (None, kind.replace):
        rule = f"must be {kind.replace or 'not set'}, as the ImputedValue is {field}"
        raise ctx.error("ReplaceValue", rule, value=replaced)
    ctx.input_name(*kind.inputs)
    return kind.lower(ctx, field)


def _impute_numbers(ctx: ModelContext, field: str) -> Forms:
    return ctx.output(_numbers(ctx, getattr(ctx.params, field)))


def _impute_array(ctx: ModelContext, field: str) -> Forms:
    values = list(getattr(ctx.params, field).vector)
    name = ctx.input_name()
    shape = ctx.shape(ctx.tensor(name))[1:]
    if shape != (len(values),):
        rule = f"must be as many as the input has, whose shape is {list(shape)}"
        raise ctx.error(field, rule, value=f"{len(values)} values")
    return ctx.output(_numbers(ctx, values))


def _numbers(ctx: ModelContext, values: ArrayLike) -> Value:
    """Return doubles, with others in the place of those that are missing."""
    name = ctx.input_name()
    x = ctx.numbers(name)
    replaced = ctx.params.WhichOneof("ReplaceValue")
    old = math.nan if replaced is None else float(getattr(ctx.params, replaced))
    wrong = ctx.op("IsNaN", x) if math.isnan(old) else ctx.op("Equal", x, ctx.doubles(old))
    # An optional number that is not given is NaN.
    if not math.isnan(old) and ctx.input_type(name) == "doubleType" and _is_optional(ctx):
        wrong = ctx.op("Or", wrong, ctx.op("IsNaN", x))
    return ctx.op("Where", wrong, ctx.doubles(values), x)


def _impute_one(ctx: ModelContext, field: str) -> Forms:
    """Impute an integer or a text, in its own type."""
    name = ctx.input_name()
    x, given = ctx.tensor(name), ctx.given(name)
    if (x.dtype == ir.DataType.STRING) != (field == "imputedStringValue"):
        raise ctx.error("input", f"must have the type of {field}", value=repr(name))
    x = x if x.dtype in KEY_TYPES else ctx.op("Cast", x, to=ir.DataType.INT64)
    new = ctx.labels([getattr(ctx.params, field)])
    replaced = ctx.params.WhichOneof("ReplaceValue")
    if replaced is not None:
        x = ctx.op("Where", ctx.op("Equal", x, ctx.labels([getattr(ctx.params, replaced)])), new, x)
    return ctx.output(x if given is None else ctx.op("Where", given, x, new))


def _impute_dictionary(ctx: ModelContext, field: str) -> Forms:
    name = ctx.input_name()
    entries, known = ctx.entries(name), dict(getattr(ctx.params, field).map)
    expected = ir.DataType.STRING if field == "imputedStringDictionary" else ir.DataType.INT64
    if entries.keys.dtype != expected:
        raise ctx.error("input", f"must have keys of the type {KEY_TYPES[expected]}, as {field}", value=repr(name))
    keys = sorted(known)
    numbers = [known[key] for key in keys]
    imputed = ctx.lookup(entries.keys, keys, np.array(numbers, np.float64), math.nan)
    values = ctx.op("Where", ctx.op("IsNaN", entries.values), imputed, entries.values)
    entries = Entries(entries.index, entries.keys, values, entries.counts)
    return dictionary_output(ctx, _filled(ctx, entries, keys, numbers) if _is_optional(ctx) else entries)


def _filled(ctx: ModelContext, entries: Entries, keys: Sequence[Any], numbers: Sequence[float]) -> Entries:
    """Return dictionaries with all entries of one in the place of those that are missing."""
    missing = ctx.op("Less", entries.counts, ctx.integers(0))
    counts = ctx.op("Where", missing, ctx.integers(len(keys)), entries.counts)
    if not keys:
        return Entries(entries.index, entries.keys, entries.values, counts)
    rows = ctx.op("Compress", row_numbers(ctx, ctx.sizes(entries.counts)), missing, axis=0)
    # [missing] -> [missing, 1] -> [missing, keys] -> [missing * keys]
    lead = ctx.op("Unsqueeze", rows, ctx.integers([1]))
    dims = ctx.op("Concat", ctx.op("Shape", rows), ctx.integers([len(keys)]), axis=0)
    added = [ctx.reshape(ctx.op("Expand", value, dims), -1) for value in (lead, ctx.labels(keys), ctx.doubles(numbers))]
    index, new_keys, values = (
        ctx.op("Concat", old, new, axis=0)
        for old, new in zip((entries.index, entries.keys, entries.values), added, strict=True)
    )
    # Rows stand in order.
    order = ctx.ops("TopK", index, ctx.op("Shape", index), axis=0, largest=0, sorted=1, outputs=2)[1]
    index, new_keys, values = (ctx.op("Gather", value, order) for value in (index, new_keys, values))
    return Entries(index, new_keys, values, counts)


def _is_optional(ctx: ModelContext) -> bool:
    return bool(ctx.description.input[0].type.isOptional)


_NUMBER, _INTEGER, _TEXT = ("doubleType",), ("int64Type",), ("stringType",)
_ARRAY, _DICTIONARY = ("multiArrayType",), ("dictionaryType",)

_KINDS: Mapping[str, _Kind] = {
    "imputedDoubleValue": _Kind(_impute_numbers, _NUMBER + _ARRAY, "replaceDoubleValue"),
    "imputedInt64Value": _Kind(_impute_one, _INTEGER, "replaceInt64Value"),
    "imputedStringValue": _Kind(_impute_one, _TEXT, "replaceStringValue"),
    "imputedDoubleArray": _Kind(_impute_array, _ARRAY, "replaceDoubleValue"),
    "imputedInt64Array": _Kind(_impute_array, _ARRAY, "replaceInt64Value"),
    "imputedStringDictionary": _Kind(_impute_dictionary, _DICTIONARY, ""),
    "imputedInt64Dictionary": _Kind(_impute_dictionary, _DICTIONARY, ""),
}

LOWERINGS: Mapping[str, Callable[[ModelContext], Forms]] = {"imputer": lower_imputer}
