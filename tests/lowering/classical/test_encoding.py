"""One-hot vectors, vectors of dictionaries, and categories as integers and texts."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import windfall
from tests.classical import array, model_spec, optional, pipeline_spec, predict
from windfall.graph.rules import CHECKS

COLOURS = {"stringCategories": {"vector": ["red", "green", "blue"]}}
NUMBERS = {"int64Categories": {"vector": [7, -2, 2**62]}}
SPARSE = {"outputSparse": True}
IGNORE = {"handleUnknown": "IgnoreUnknown"}


def one_hot(fields: Any, kind: Any = "string", output: Any = (3,)) -> Any:
    return model_spec("oneHotEncoder", {"x": kind}, {"y": output}, fields)


@pytest.mark.parametrize(
    ("kind", "fields", "values"), [("string", COLOURS, ["red", "green", "blue"]), ("int64", NUMBERS, [7, -2, 2**62])]
)
@pytest.mark.parametrize("unknown", [{}, IGNORE])
def test_each_category_has_its_place(kind: str, fields: Any, values: list[Any], unknown: Any) -> None:
    model = windfall.load(one_hot({**fields, **unknown}, kind))
    for index, value in enumerate(values):
        y = model.predict({"x": value})["y"]
        assert y.dtype == np.float64
        np.testing.assert_array_equal(y, np.eye(3)[index])
    np.testing.assert_array_equal(model.predict_batch({"x": values[::-1]})["y"], np.eye(3)[::-1])


def test_the_declared_type_of_a_one_hot_vector() -> None:
    y = predict(one_hot(COLOURS, output=array(3, dtype="INT32")), x="green")["y"]
    assert y.dtype == np.int32
    np.testing.assert_array_equal(y, [0, 1, 0])


@pytest.mark.parametrize(("kind", "fields", "value"), [("string", COLOURS, "pink"), ("int64", NUMBERS, 0)])
@pytest.mark.parametrize("sparse", [{}, SPARSE])
def test_what_is_no_category(kind: str, fields: Any, value: Any, sparse: Any) -> None:
    output = "int64 dictionary" if sparse else (3,)
    found = predict(one_hot({**fields, **sparse, **IGNORE}, kind, output), x=value)["y"]
    if sparse:
        assert found == {}
    else:
        np.testing.assert_array_equal(found, np.zeros(3))
    with pytest.raises(windfall.EngineError) as error:
        predict(one_hot({**fields, **sparse}, kind, output), x=value)
    assert str(error.value) == f"'oneHotEncoder' {CHECKS['category']}"


@pytest.mark.parametrize(
    ("kind", "fields", "first"), [("string", COLOURS, "red"), ("int64", {"int64Categories": {"vector": [0, 1, 2]}}, 0)]
)
def test_a_category_that_is_missing_is_none(kind: str, fields: Any, first: Any) -> None:
    model = windfall.load(one_hot({**fields, **IGNORE}, optional(kind)))
    np.testing.assert_array_equal(model.predict({})["y"], np.zeros(3))
    np.testing.assert_array_equal(model.predict_batch({"x": [first, None]})["y"], [[1, 0, 0], [0, 0, 0]])
    with pytest.raises(windfall.EngineError, match="none of its categories"):
        predict(one_hot(fields, optional(kind)))


def test_sparse_one_hot_vectors_of_many_rows() -> None:
    model = windfall.load(one_hot({**COLOURS, **SPARSE, **IGNORE}, output="int64 dictionary"))
    assert model.predict({"x": "green"})["y"] == {1: 1.0}
    assert model.predict_batch({"x": ["blue", "pink", "red", "red"]})["y"] == [{2: 1.0}, {}, {0: 1.0}, {0: 1.0}]
    strict = windfall.load(one_hot({**COLOURS, **SPARSE}, output="int64 dictionary"))
    assert strict.predict_batch({"x": ["blue", "red"]})["y"] == [{2: 1.0}, {0: 1.0}]


@pytest.mark.parametrize(
    ("fields", "kind", "output", "text"),
    [
        ({}, "string", (3,), "CategoryType is not set, must be stringCategories or int64Categories"),
        ({"stringCategories": {}}, "string", (3,), "stringCategories is 0 keys, must be 1 to 16,777,216"),
        (
            {"stringCategories": {"vector": ["a", "b", "a"]}},
            "string",
            (3,),
            "stringCategories is 'a', stands twice, each key must have one place",
        ),
        (COLOURS, "int64", (3,), "input is 'x', has the type int64Type, must have stringType"),
        (NUMBERS, "string", (3,), "input is 'x', has the type stringType, must have int64Type"),
        (COLOURS, "string", "int64 dictionary", "output is 'y', has the type dictionaryType, must have multiArrayType"),
        ({**COLOURS, **SPARSE}, "string", (3,), "output is 'y', has the type multiArrayType, must have dictionaryType"),
        (
            {**COLOURS, **SPARSE},
            "string",
            "string dictionary",
            "output is 'y', has keys of the type stringKeyType, must have int64KeyType",
        ),
    ],
)
def test_damaged_one_hot_encoders(fields: Any, kind: str, output: Any, text: str) -> None:
    with pytest.raises(windfall.FormatError) as error:
        _ = windfall.load(one_hot(fields, kind, output)).compiled
    assert str(error.value) == f"cannot lower the model (oneHotEncoder): {text}"


# Dictionaries


def vectorizer(words: Any, kind: Any = "string dictionary", output: Any = (4,)) -> Any:
    return model_spec("dictVectorizer", {"x": kind}, {"y": output}, words)


ABC = {"stringToIndex": {"vector": ["a", "c", "b", "z"]}}


def test_the_example_of_the_specification() -> None:
    np.testing.assert_array_equal(predict(vectorizer(ABC), x={"a": 4, "c": 8})["y"], [4, 8, 0, 0])
    assert predict(vectorizer(ABC, output="int64 dictionary"), x={"a": 4, "c": 8})["y"] == {0: 4.0, 1: 8.0}


KEYS = st.sampled_from(["a", "c", "b", "z", "x", "", "ä"])
VALUES = st.floats(-100, 100)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.dictionaries(KEYS, VALUES, max_size=5), min_size=0, max_size=5))
def test_many_dictionaries_with_any_words(rows: list[dict[str, float]]) -> None:
    words = ABC["stringToIndex"]["vector"]
    expected = np.array([[row.get(word, 0) for word in words] for row in rows]).reshape(len(rows), 4)
    np.testing.assert_array_equal(DENSE.predict_batch({"x": rows})["y"], expected)
    sparse = [{words.index(word): value for word, value in row.items() if word in words} for row in rows]
    assert SPARSE_MODEL.predict_batch({"x": rows})["y"] == sparse


DENSE = windfall.load(vectorizer(ABC))
SPARSE_MODEL = windfall.load(vectorizer(ABC, output="int64 dictionary"))


def test_integers_as_keys() -> None:
    spec = vectorizer({"int64ToIndex": {"vector": [30, -10, 20]}}, "int64 dictionary", (3,))
    np.testing.assert_array_equal(predict(spec, x={20: 1.5, 30: 2, 5: 9})["y"], [2, 0, 1.5])


def test_integers_as_keys_of_a_dictionary_declared_with_texts() -> None:
    spec = vectorizer({"int64ToIndex": {"vector": [30, -10, 20]}}, "string dictionary", (3,))
    np.testing.assert_array_equal(predict(spec, x={20: 1.5, "30": 2, 5: 9})["y"], [2, 0, 1.5])


def test_a_dictionary_that_is_missing_has_no_entries() -> None:
    model = windfall.load(vectorizer(ABC, optional("string dictionary"), "int64 dictionary"))
    assert model.predict({})["y"] == {}
    assert model.predict_batch({"x": [{"b": 1}, None, {}]})["y"] == [{2: 1.0}, {}, {}]


def test_the_scores_of_a_classifier_as_a_dictionary() -> None:
    nodes = [{"nodeBehavior": "LeafNode", "evaluationInfo": [{"evaluationIndex": 0, "evaluationValue": 0.25}]}]
    trees = {"numPredictionDimensions": 1, "nodes": nodes}
    classifier = model_spec(
        "treeEnsembleClassifier",
        {"x": "double"},
        {"label": "string", "scores": "string dictionary"},
        {"treeEnsemble": trees, "stringClassLabels": {"vector": ["no", "z"]}},
        predicted="label",
        probabilities="scores",
    )
    second = model_spec("dictVectorizer", {"scores": "string dictionary"}, {"y": (4,)}, ABC)
    model = windfall.load(pipeline_spec([classifier, second], {"x": "double"}, {"y": (4,)}))
    np.testing.assert_array_equal(model.predict_batch({"x": [1.0, 2.0]})["y"], [[0, 0, 0, 0.25]] * 2)


@pytest.mark.parametrize(
    ("words", "kind", "output", "text"),
    [
        ({}, "string dictionary", (4,), "Map is not set, must be stringToIndex or int64ToIndex"),
        (
            {"int64ToIndex": {"vector": [1, 1]}},
            "int64 dictionary",
            (2,),
            "int64ToIndex is 1, stands twice, each key must have one place",
        ),
        (ABC, "int64 dictionary", (4,), "input is 'x', must have keys of the type stringKeyType, as the model's"),
        (ABC, "string", (4,), "input is 'x', has the type stringType, must have dictionaryType"),
        (
            ABC,
            "string dictionary",
            "string dictionary",
            "output is 'y', has keys of the type stringKeyType, must have int64KeyType",
        ),
    ],
)
def test_damaged_dict_vectorizers(words: Any, kind: str, output: Any, text: str) -> None:
    with pytest.raises(windfall.FormatError) as error:
        _ = windfall.load(vectorizer(words, kind, output)).compiled
    assert str(error.value) == f"cannot lower the model (dictVectorizer): {text}"


def test_a_model_without_one_output() -> None:
    spec = vectorizer(ABC)
    spec.description.output.add(name="z", type=spec.description.output[0].type)
    with pytest.raises(windfall.FormatError, match=r"output is \['y', 'z'\], must be one$"):
        _ = windfall.load(spec).compiled


# Categories


def mapping(kind: str, entries: dict[Any, Any], inputs: Any, outputs: Any, **default: Any) -> Any:
    spec = model_spec("categoricalMapping", {"x": inputs}, {"y": outputs}, default)
    getattr(spec.categoricalMapping, kind).SetInParent()
    getattr(spec.categoricalMapping, kind).map.update(entries)
    return spec


def texts_to_integers(inputs: Any = "string", outputs: Any = "int64", **default: Any) -> Any:
    return mapping("stringToInt64Map", {"b": 2**60 + 1, "a": -1, "": 0}, inputs, outputs, **default)


def integers_to_texts(inputs: Any = "int64", outputs: Any = "string", **default: Any) -> Any:
    return mapping("int64ToStringMap", {5: "five", -(2**62): "ä", 0: ""}, inputs, outputs, **default)


def test_texts_to_integers() -> None:
    model = windfall.load(texts_to_integers(int64Value=-7))
    assert [model.predict({"x": x})["y"] for x in ("a", "b", "", "c")] == [-1, 2**60 + 1, 0, -7]
    np.testing.assert_array_equal(model.predict_batch({"x": ["c", "b"]})["y"], [-7, 2**60 + 1])
    assert predict(texts_to_integers(), x="b")["y"] == 2**60 + 1


def test_integers_to_texts() -> None:
    model = windfall.load(integers_to_texts(strValue="?"))
    assert [model.predict({"x": x})["y"] for x in (5, -(2**62), 0, 1)] == ["five", "ä", "", "?"]
    assert predict(integers_to_texts(), x=5)["y"] == "five"


@pytest.mark.parametrize(
    ("spec", "sequences", "expected"),
    [
        (
            texts_to_integers("string sequence", "int64 sequence", int64Value=9),
            [["a", "c"], [], ["b"]],
            [[-1, 9], [], [2**60 + 1]],
        ),
        (
            integers_to_texts("int64 sequence", "string sequence"),
            [[], [5, 5, 0], [-(2**62)]],
            [[], ["five", "five", ""], ["ä"]],
        ),
    ],
)
def test_sequences(spec: Any, sequences: list[Any], expected: list[Any]) -> None:
    model = windfall.load(spec)
    assert [model.predict({"x": sequence})["y"] for sequence in sequences] == expected
    assert model.predict_batch({"x": sequences})["y"] == expected


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        (texts_to_integers(), "c"),
        (integers_to_texts(), 6),
        (texts_to_integers("string sequence", "int64 sequence"), ["a", "c"]),
        (texts_to_integers(optional("string")), None),
        (integers_to_texts(optional("int64")), None),
        (mapping("stringToInt64Map", {}, "string", "int64"), "a"),
        (mapping("int64ToStringMap", {}, "int64", "string"), 0),
    ],
)
def test_what_is_not_in_the_map(spec: Any, value: Any) -> None:
    with pytest.raises(windfall.EngineError) as error:
        predict(spec, x=value)
    assert str(error.value) == f"'categoricalMapping' {CHECKS['mapping']}"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (texts_to_integers(optional("string"), int64Value=3), 3),
        (integers_to_texts(optional("int64"), strValue="none"), "none"),
        (mapping("int64ToStringMap", {}, optional("int64"), "string", strValue="none"), "none"),
    ],
)
def test_what_is_missing_is_not_in_the_map(spec: Any, expected: Any) -> None:
    assert predict(spec)["y"] == expected


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (
            model_spec("categoricalMapping", {"x": "string"}, {"y": "int64"}, {}),
            "MappingType is not set, must be stringToInt64Map or int64ToStringMap",
        ),
        (
            texts_to_integers(strValue="a"),
            "ValueOnUnknown is strValue, must be int64Value, as the map is stringToInt64Map",
        ),
        (
            integers_to_texts(int64Value=1),
            "ValueOnUnknown is int64Value, must be strValue, as the map is int64ToStringMap",
        ),
        (texts_to_integers("int64"), "input is 'x', has the type int64Type, must have stringType or sequenceType"),
        (
            texts_to_integers("int64 sequence", "int64 sequence"),
            "input is 'x', must be a sequence of stringType, as the map takes",
        ),
        (
            texts_to_integers("string sequence", "string sequence"),
            "output is 'y', must be a sequence of int64Type, as the input is one",
        ),
        (
            texts_to_integers("string sequence", "int64"),
            "output is 'y', must be a sequence of int64Type, as the input is one",
        ),
        (
            texts_to_integers(outputs="string"),
            "output is 'y', has the type stringType, which the numbers that the model gives cannot have",
        ),
    ],
)
def test_damaged_mappings(spec: Any, text: str) -> None:
    with pytest.raises(windfall.FormatError) as error:
        _ = windfall.load(spec).compiled
    assert str(error.value) == f"cannot lower the model (categoricalMapping): {text}"


def test_the_model_is_named_where_it_is_one_of_several() -> None:
    first = mapping("stringToInt64Map", {"a": 7}, "string", "int64")
    first.description.output[0].name = "m"
    second = one_hot(NUMBERS, "int64")
    second.description.input[0].name = "m"
    spec = pipeline_spec([first, second], {"x": "string"}, {"y": (3,)})
    np.testing.assert_array_equal(predict(spec, x="a")["y"], [1, 0, 0])
    with pytest.raises(windfall.EngineError, match=r"^'model0/categoricalMapping' has an input that its map"):
        predict(spec, x="b")


def test_another_model_gives_a_text_where_an_integer_is_declared() -> None:
    first = integers_to_texts()
    first.description.output[0].name = "m"
    second = model_spec("oneHotEncoder", {"m": "int64"}, {"y": (3,)}, NUMBERS)
    with pytest.raises(windfall.FormatError, match=r"\(oneHotEncoder\): input is m, must be an integer$"):
        _ = windfall.load(pipeline_spec([first, second], {"x": "int64"}, {"y": (3,)})).compiled
