"""Features joined to one array, and elements taken from an array."""

from typing import Any

import numpy as np
import pytest

import windfall
from tests.classical import array, model_spec, optional, pipeline_spec, predict
from windfall.graph.rules import CHECKS


def vectorizer(inputs: Any, columns: Any, output: Any) -> Any:
    fields = {"inputList": [{"inputColumn": name, "inputDimensions": size} for name, size in columns]}
    return model_spec("featureVectorizer", inputs, {"y": output}, fields)


MIXED = {"a": "double", "b": "int64", "c": (2,), "d": "int64 dictionary", "e": "double", "f": "double"}
ORDER = [("d", 4), ("f", 1), ("a", 1), ("b", 1), ("c", 2), ("e", 1), ("a", 1)]


def test_the_order_is_that_of_the_list() -> None:
    values = {"a": 1.5, "b": 2, "c": [3, 4], "d": {0: 5, 3: 6}, "e": 7, "f": 8}
    model = windfall.load(vectorizer(MIXED, ORDER, (11,)))
    first = [5, 0, 0, 6, 8, 1.5, 2, 3, 4, 7, 1.5]
    np.testing.assert_array_equal(model.predict(values)["y"], first)
    rows = {name: [value, value] for name, value in values.items()} | {"d": [{1: -1}, {0: 5, 3: 6}], "b": [9, 2]}
    found = model.predict_batch(rows)["y"]
    np.testing.assert_array_equal(found, [[0, -1, 0, 0, 8, 1.5, 9, 3, 4, 7, 1.5], first])
    assert found.dtype == np.float64


@pytest.mark.parametrize("order", [["a", "b", "c"], ["c", "a"], ["b"], ["b", "c"]])
def test_numbers_alone(order: list[str]) -> None:
    kinds = dict.fromkeys("abc", "double")
    spec = vectorizer(kinds, [(name, 1) for name in order], (len(order),))
    values = {"a": 1.0, "b": 2.0, "c": 3.0}
    np.testing.assert_array_equal(predict(spec, **values)["y"], [values[name] for name in order])
    integers = vectorizer(dict.fromkeys("abc", "int64"), [(name, 1) for name in order], (len(order),))
    np.testing.assert_array_equal(predict(integers, a=1, b=2, c=3)["y"], [values[name] for name in order])


def test_no_rows() -> None:
    model = windfall.load(vectorizer({"a": "double", "d": "int64 dictionary"}, [("d", 3), ("a", 1)], (4,)))
    assert model.predict_batch({"a": [], "d": []})["y"].shape == (0, 4)
    np.testing.assert_array_equal(model.predict({"a": 1, "d": {}})["y"], [0, 0, 0, 1])


def test_what_is_missing() -> None:
    kinds = {"a": optional("double"), "b": optional("int64"), "d": optional("int64 dictionary")}
    model = windfall.load(vectorizer(kinds, [("b", 1), ("d", 2), ("a", 1)], (4,)))
    np.testing.assert_array_equal(model.predict({})["y"], [np.nan, 0, 0, np.nan])
    rows = {"a": [1, None], "b": [None, 2], "d": [{1: 3}, None]}
    np.testing.assert_array_equal(model.predict_batch(rows)["y"], [[np.nan, 0, 3, 1], [2, 0, 0, np.nan]])


def test_arrays_of_several_axes_and_the_declared_type() -> None:
    kinds = {"a": array(2, 2, dtype="INT32"), "b": array(1, dtype="FLOAT32")}
    spec = vectorizer(kinds, [("b", 1), ("a", 4)], array(5, dtype="FLOAT32"))
    found = predict(spec, a=[[1, 2], [3, 4]], b=np.array([0.1], np.float32))["y"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.array([0.1, 1, 2, 3, 4], np.float32))


@pytest.mark.parametrize("key", [-1, 3, 2**62])
def test_a_dictionary_with_a_place_that_is_not_there(key: int) -> None:
    model = windfall.load(vectorizer({"d": "int64 dictionary"}, [("d", 3)], (3,)))
    with pytest.raises(windfall.EngineError) as error:
        model.predict({"d": {0: 1, key: 1}})
    assert str(error.value) == f"'featureVectorizer' {CHECKS['index']}"
    np.testing.assert_array_equal(model.predict({"d": {2: 1}})["y"], [0, 0, 1])


D = {"d": "int64 dictionary"}
TYPES = ("doubleType", "int64Type", "multiArrayType", "dictionaryType")


@pytest.mark.parametrize(
    ("inputs", "columns", "text"),
    [
        (D, [], "inputList is empty, must name at least one input"),
        (D, [("d", 0)], "inputDimensions is 0, of 'd' must be 1 to 16,777,216"),
        (D, [("d", 2**63)], "inputDimensions is 9223372036854775808, of 'd' must be 1 to 16,777,216"),
        (D, [("d", 2**24), ("d", 1)], "inputDimensions must be at most 16,777,216 together"),
        (D, [("e", 1)], "input is 'e', must be one of ['d']"),
        ({"d": (3,)}, [("d", 2)], "inputDimensions is 2, must be 3, as many as 'd' has elements"),
        ({"d": "double"}, [("d", 2)], "inputDimensions is 2, must be 1, as many as 'd' has elements"),
        (
            {"d": "string"},
            [("d", 1)],
            f"input is 'd', has the type stringType, must have {' or '.join(TYPES)}",
        ),
        (
            {"d": "string dictionary"},
            [("d", 1)],
            "input is 'd', must have keys of the type int64KeyType, which are places",
        ),
    ],
)
def test_damaged_vectorizers(inputs: Any, columns: Any, text: str) -> None:
    with pytest.raises(windfall.FormatError) as error:
        _ = windfall.load(vectorizer(inputs, columns, (1,))).compiled
    assert str(error.value) == f"cannot lower the model (featureVectorizer): {text}"


def extractor(indices: Any, output: Any, inputs: Any = (4,)) -> Any:
    return model_spec("arrayFeatureExtractor", {"x": inputs}, {"y": output}, {"extractIndex": indices})


def test_elements_of_an_array() -> None:
    x = [0.5, 1.5, 2.5, 3.5]
    assert predict(extractor([2], "double"), x=x)["y"] == 2.5
    assert predict(extractor([2], "int64"), x=[0, 0, 7, 0])["y"] == 7
    np.testing.assert_array_equal(predict(extractor([3, 0, 3], (3,)), x=x)["y"], [3.5, 0.5, 3.5])
    np.testing.assert_array_equal(predict(extractor([2, 1], (2,), (2, 2)), x=[[1, 2], [3, 4]])["y"], [3, 2])
    model = windfall.load(extractor([1], "double"))
    np.testing.assert_array_equal(model.predict_batch({"x": np.arange(8.0).reshape(2, 4)})["y"], [1, 5])


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (extractor([], (1,)), "extractIndex is empty, must have at least one index"),
        (extractor([0, 4], (2,)), "extractIndex is 4, must be below 4, the input's size"),
        (
            extractor([2**64 - 1], "double"),
            "extractIndex is 18446744073709551615, must be below 4, the input's size",
        ),
        (
            extractor([0, 1], "double"),
            "output is 'y', is declared as one number, but the model gives 2 of them",
        ),
        (extractor([0], "double", "double"), "input is 'x', has the type doubleType, must have multiArrayType"),
    ],
)
def test_damaged_extractors(spec: Any, text: str) -> None:
    with pytest.raises(windfall.FormatError) as error:
        _ = windfall.load(spec).compiled
    assert str(error.value) == f"cannot lower the model (arrayFeatureExtractor): {text}"


def test_what_converters_make_of_a_one_hot_encoder() -> None:
    """A column is taken out as an integer, encoded to a sparse dictionary, and joined to the others."""
    members, features = [], []
    for column, categories in enumerate([[1, 3], [0, 2, 4]]):
        members.append(
            model_spec("arrayFeatureExtractor", {"x": (2,)}, {f"c{column}": "int64"}, {"extractIndex": [column]})
        )
        fields = {"int64Categories": {"vector": categories}, "outputSparse": True, "handleUnknown": "IgnoreUnknown"}
        members.append(model_spec("oneHotEncoder", {f"c{column}": "int64"}, {f"c{column}": "int64 dictionary"}, fields))
        features.append((f"c{column}", len(categories)))
    members.append(vectorizer({name: "int64 dictionary" for name, _ in features}, features, (5,)))
    model = windfall.load(pipeline_spec(members, {"x": (2,)}, {"y": (5,)}))
    np.testing.assert_array_equal(model.predict({"x": [3, 2]})["y"], [0, 1, 0, 1, 0])
    found = model.predict_batch({"x": [[1, 4], [2, 0], [3, 9]]})["y"]
    np.testing.assert_array_equal(found, [[1, 0, 0, 0, 1], [0, 0, 1, 0, 0], [0, 1, 0, 0, 0]])


def test_a_vector_that_is_longer_than_its_place() -> None:
    first = model_spec(
        "dictVectorizer",
        {"x": "string dictionary"},
        {"s": "int64 dictionary"},
        {"stringToIndex": {"vector": ["a", "b", "c"]}},
    )
    second = vectorizer({"s": "int64 dictionary"}, [("s", 2)], (2,))
    model = windfall.load(pipeline_spec([first, second], {"x": "string dictionary"}, {"y": (2,)}))
    np.testing.assert_array_equal(model.predict({"x": {"b": 3, "d": 4}})["y"], [0, 3])
    with pytest.raises(windfall.EngineError) as error:
        model.predict({"x": {"c": 3}})
    assert str(error.value) == f"'model1/featureVectorizer' {CHECKS['index']}"


def test_one_row_at_a_time_where_a_network_follows() -> None:
    words = {"stringToIndex": {"vector": ["a", "b"]}}
    colours = {"stringCategories": {"vector": ["r", "g"]}, "outputSparse": True, "handleUnknown": "IgnoreUnknown"}
    layer = {"name": "double", "input": ["v"], "output": ["y"], "activation": {"linear": {"alpha": 2.0}}}
    imputer = model_spec("imputer", {"x": optional("string dictionary")}, {"i": "string dictionary"}, {})
    imputer.imputer.imputedStringDictionary.map["b"] = 5.0
    members = [
        imputer,
        model_spec("dictVectorizer", {"i": "string dictionary"}, {"s": "int64 dictionary"}, words),
        model_spec("oneHotEncoder", {"c": "string"}, {"o": "int64 dictionary"}, colours),
        vectorizer({**dict.fromkeys("so", "int64 dictionary"), "n": "double"}, [("s", 2), ("o", 2), ("n", 1)], (5,)),
        model_spec("neuralNetwork", {"v": (5,)}, {"y": (5,)}, {"layers": [layer]}),
    ]
    members[3].description.output[0].name = "v"
    outputs = {"y": (5,), "i": "string dictionary", "o": "int64 dictionary"}
    kinds = {"x": optional("string dictionary"), "c": "string", "n": "double"}
    model = windfall.load(pipeline_spec(members, kinds, outputs))
    for inputs, y, imputed, one in (
        ({"x": {"a": 3}, "c": "g"}, [6, 0, 0, 2, 8], {"a": 3}, {1: 1}),
        ({"c": "?"}, [0, 10, 0, 0, 8], {"b": 5}, {}),
        ({"x": {"z": 3}, "c": "r"}, [0, 0, 2, 0, 8], {"z": 3}, {0: 1}),
    ):
        found = model.predict({"n": 4, **inputs})
        np.testing.assert_array_equal(found["y"], y)
        assert (found["i"], found["o"]) == (imputed, one)
