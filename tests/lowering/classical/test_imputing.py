"""Values in the place of those that are missing."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import windfall
from tests.classical import array, model_spec, optional, predict

NAN = float("nan")


def imputer(kind: Any, output: Any = None, imputed: Any = None, **fields: Any) -> Any:
    spec = model_spec("imputer", {"x": kind}, {"y": output or kind}, fields)
    for field, entries in (imputed or {}).items():
        getattr(spec.imputer, field).SetInParent()
        getattr(spec.imputer, field).map.update(entries)
    return spec


@pytest.mark.parametrize("replaced", [{}, {"replaceDoubleValue": NAN}])
def test_nan_is_missing(replaced: Any) -> None:
    model = windfall.load(imputer("double", imputedDoubleValue=2.5, **replaced))
    assert [model.predict({"x": x})["y"] for x in (1.0, NAN, np.inf)] == [1.0, 2.5, np.inf]
    np.testing.assert_array_equal(model.predict_batch({"x": [NAN, 3]})["y"], [2.5, 3])
    optional_one = windfall.load(imputer(optional("double"), "double", imputedDoubleValue=2.5, **replaced))
    np.testing.assert_array_equal(optional_one.predict_batch({"x": [None, NAN, 1]})["y"], [2.5, 2.5, 1])


def test_a_value_that_stands_for_nothing() -> None:
    model = windfall.load(imputer("double", imputedDoubleValue=2.5, replaceDoubleValue=-1))
    np.testing.assert_array_equal(model.predict_batch({"x": [-1, NAN, 1]})["y"], [2.5, NAN, 1])
    model = windfall.load(imputer(optional("double"), "double", imputedDoubleValue=2.5, replaceDoubleValue=-1))
    np.testing.assert_array_equal(model.predict_batch({"x": [-1, None, 1]})["y"], [2.5, 2.5, 1])


def test_arrays_of_doubles() -> None:
    x = np.array([[NAN, 1, NAN], [2, -9, 3]])
    each = {"imputedDoubleArray": {"vector": [10.0, 20.0, 30.0]}}
    found = windfall.load(imputer((3,), **each)).predict_batch({"x": x})["y"]
    np.testing.assert_array_equal(found, [[10, 1, 30], [2, -9, 3]])
    np.testing.assert_array_equal(predict(imputer((3,), **each, replaceDoubleValue=NAN), x=x[0])["y"], [10, 1, 30])
    found = windfall.load(imputer((3,), **each, replaceDoubleValue=-9)).predict_batch({"x": x})["y"]
    np.testing.assert_array_equal(found, [[NAN, 1, NAN], [2, 20, 3]])
    np.testing.assert_array_equal(predict(imputer((3,), imputedDoubleValue=7), x=x[0])["y"], [7, 1, 7])


def test_arrays_of_integers() -> None:
    kind = array(3, dtype="INT32")
    found = predict(imputer(kind, imputedInt64Array={"vector": [10, 20, 30]}, replaceInt64Value=-1), x=[-1, 5, -1])["y"]
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, [10, 5, 30])
    found = predict(imputer((2,), imputedInt64Array={"vector": [10, 20]}), x=[NAN, 0.5])["y"]
    np.testing.assert_array_equal(found, [10, 0.5])


ONES = [
    ("int64", "imputedInt64Value", "replaceInt64Value", 2**60 + 1, 0, -5),
    ("string", "imputedStringValue", "replaceStringValue", "unknown", "n/a", "ä"),
]


@pytest.mark.parametrize(("kind", "imputed", "replace", "new", "old", "other"), ONES)
def test_integers_and_texts(kind: str, imputed: str, replace: str, new: Any, old: Any, other: Any) -> None:
    fields = {imputed: new, replace: old}
    model = windfall.load(imputer(kind, **fields))
    assert [model.predict({"x": x})["y"] for x in (old, other)] == [new, other]
    assert list(model.predict_batch({"x": [other, old, old]})["y"]) == [other, new, new]
    assert predict(imputer(kind, **{imputed: new}), x=old)["y"] == old
    model = windfall.load(imputer(optional(kind), kind, **fields))
    assert list(model.predict_batch({"x": [other, old, None]})["y"]) == [other, new, new]
    model = windfall.load(imputer(optional(kind), kind, **{imputed: new}))
    assert list(model.predict_batch({"x": [other, old, None]})["y"]) == [other, old, new]


def test_nothing_in_the_place_of_a_text() -> None:
    assert predict(imputer("string", imputedStringValue="", replaceStringValue="n/a"), x="n/a")["y"] == ""
    assert predict(imputer("string", imputedStringValue="none", replaceStringValue=""), x="")["y"] == "none"


# Dictionaries

KNOWN = {"a": 1.5, "b": -2.0}
STRICT = windfall.load(imputer("string dictionary", imputed={"imputedStringDictionary": KNOWN}))
FREE = windfall.load(imputer(optional("string dictionary"), "string dictionary", {"imputedStringDictionary": KNOWN}))
VALUES = st.one_of(st.floats(-10, 10), st.just(NAN))
DICTIONARIES = st.dictionaries(st.sampled_from(["a", "b", "c", ""]), VALUES)


def expected(row: dict[str, float] | None) -> dict[str, float]:
    if row is None:
        return dict(KNOWN)
    return {key: KNOWN.get(key, value) if np.isnan(value) else value for key, value in row.items()}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(st.none(), DICTIONARIES), max_size=5))
def test_many_dictionaries(rows: list[dict[str, float] | None]) -> None:
    found = FREE.predict_batch({"x": rows})["y"]
    assert len(found) == len(rows)
    for one, row in zip(found, rows, strict=True):
        assert one.keys() == expected(row).keys()
        for key, value in expected(row).items():
            np.testing.assert_array_equal(one[key], value)


def test_one_dictionary() -> None:
    assert STRICT.predict({"x": {"a": NAN, "z": 3}})["y"] == {"a": 1.5, "z": 3.0}
    assert STRICT.predict({"x": {}})["y"] == {}
    assert FREE.predict({})["y"] == KNOWN
    with pytest.raises(windfall.FeatureError, match="input 'x' is missing"):
        STRICT.predict({})


def test_integers_as_keys() -> None:
    known = {"imputedInt64Dictionary": {7: 1.5, -3: 2.0}}
    model = windfall.load(imputer(optional("int64 dictionary"), "int64 dictionary", known))
    rows = [{7: NAN, 1: 4}, None, {}, {-3: 9}]
    assert model.predict_batch({"x": rows})["y"] == [{7: 1.5, 1: 4}, {7: 1.5, -3: 2.0}, {}, {-3: 9}]


def test_a_dictionary_of_nothing() -> None:
    model = windfall.load(imputer(optional("string dictionary"), "string dictionary", {"imputedStringDictionary": {}}))
    found = model.predict_batch({"x": [None, {"a": NAN}]})["y"]
    assert found[0] == {}
    assert np.isnan(found[1]["a"])


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (imputer("double"), "ImputedValue is not set, must be"),
        (
            imputer("int64", imputedDoubleValue=1),
            "input is 'x', has the type int64Type, must have doubleType or multiArrayType",
        ),
        (imputer("double", imputedInt64Value=1), "input is 'x', has the type doubleType, must have int64Type"),
        (
            imputer("double", imputedDoubleValue=1, replaceInt64Value=1),
            "ReplaceValue is replaceInt64Value, must be replaceDoubleValue, as the ImputedValue is imputedDoubleValue",
        ),
        (
            imputer("string dictionary", imputed={"imputedStringDictionary": KNOWN}, replaceStringValue="a"),
            "ReplaceValue is replaceStringValue, must be not set, as the ImputedValue is imputedStringDictionary",
        ),
        (
            imputer((3,), imputedDoubleArray={"vector": [1, 2]}),
            "imputedDoubleArray is 2 values, must be as many as the input has, whose shape is [3]",
        ),
        (
            imputer((2, 1), imputedInt64Array={"vector": [1, 2]}),
            "imputedInt64Array is 2 values, must be as many as the input has, whose shape is [2, 1]",
        ),
        (
            imputer("int64 dictionary", imputed={"imputedStringDictionary": KNOWN}),
            "input is 'x', must have keys of the type stringKeyType, as imputedStringDictionary",
        ),
        (
            imputer("int64 dictionary", "string dictionary", {"imputedInt64Dictionary": {1: 1.0}}),
            "output is 'y', has keys of the type stringKeyType, must have int64KeyType",
        ),
        (
            imputer("string", "double", imputedStringValue="a"),
            "output is 'y', has the type doubleType, which the text that the model gives cannot have",
        ),
    ],
)
def test_damaged_imputers(spec: Any, text: str) -> None:
    with pytest.raises(windfall.FormatError) as error:
        _ = windfall.load(spec).compiled
    assert str(error.value) == f"cannot lower the model (imputer): {text}"
