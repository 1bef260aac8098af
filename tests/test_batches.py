import numpy as np
import pytest
from PIL import Image

import windfall
from tests.classical import array, model_spec, optional
from tests.lowering.classical.tree_support import branch, classifier, leaf
from tests.support import fill, layer_spec
from windfall.batches import MANY_ROWS
from windfall.errors import FeatureError
from windfall.spec.proto import Model_pb2


def linear(inputs, count):
    weights = np.arange(1.0, count + 1)
    return model_spec(
        "glmRegressor", inputs, {"y": "double"}, {"weights": [{"value": weights}], "offset": [0.5]}, predicted="y"
    )


MIXED = {"a": "double", "b": "int64", "c": array(2, dtype="FLOAT32")}
TREE = [branch(0, 0, 0, 0, 0.0, 1, 2), leaf(0, 1, 0.25), leaf(0, 2, 1.0)]


@pytest.mark.parametrize("rows", [0, 1, 3, MANY_ROWS - 1, MANY_ROWS, 1000])
def test_a_table_a_list_and_predictions_one_by_one_agree(rows):
    model = windfall.load(linear(MIXED, 4), threads=2)
    rng = np.random.default_rng(rows)
    table = {"a": rng.normal(size=rows), "b": rng.integers(-9, 9, rows), "c": rng.normal(size=(rows, 2)).astype("f4")}
    expected = table["a"] + 2 * table["b"] + table["c"].astype(float) @ [3, 4] + 0.5
    got = model.predict_batch(table)["y"]
    assert got.shape == (rows,)
    np.testing.assert_allclose(got, expected, rtol=1e-13, atol=1e-13)
    lists = [{name: column[row] for name, column in table.items()} for row in range(rows)]
    one_by_one = model.predict_batch(iter(lists))
    np.testing.assert_allclose([one["y"] for one in one_by_one], expected, rtol=1e-13, atol=1e-13)
    assert all(isinstance(one["y"], float) for one in one_by_one)
    np.testing.assert_allclose([model.predict(one)["y"] for one in lists[:3]], expected[:3], rtol=1e-13)


def test_many_rows_of_a_classifier_keep_their_order():
    model = windfall.load(classifier(TREE, 1, {"stringClassLabels": {"vector": ["no", "yes"]}}))
    x = np.random.default_rng(0).normal(size=(2000, 2))
    got = model.predict_batch({"x": x})
    np.testing.assert_array_equal(got["label"] == "yes", x[:, 0] > 0)
    np.testing.assert_array_equal(got["scores"]["yes"], np.where(x[:, 0] > 0, 1, 0.25))
    rows = model.predict_batch([{"x": row} for row in x])
    assert rows[0] == model.predict({"x": x[0]})
    assert [row["label"] for row in rows] == got["label"].tolist()


def test_optional_columns_may_be_left_out_and_may_have_gaps():
    model = windfall.load(
        model_spec(
            "treeEnsembleRegressor",
            {"a": optional("double"), "b": "double"},
            {"y": "double"},
            {"treeEnsemble": {"nodes": TREE, "numPredictionDimensions": 1}},
            predicted="y",
        )
    )
    np.testing.assert_array_equal(model.predict_batch({"a": [-1.0, None, 1.0], "b": [0, 0, 0]})["y"], [0.25, 1, 1])
    np.testing.assert_array_equal(model.predict_batch({"b": [0, 0]})["y"], [1, 1])


class Series(list):
    def to_numpy(self):
        return np.array(self)


class Frame:
    """What data frames of several libraries have in common."""

    columns = ("a", "b")

    def __getitem__(self, name):
        return Series({"a": [1.0, 2.0], "b": [3, 4]}[name])


def test_a_data_frame_is_a_table():
    model = windfall.load(linear({"a": "double", "b": "int64"}, 2))
    np.testing.assert_array_equal(model.predict_batch(Frame())["y"], [7.5, 10.5])


def network():
    spec = layer_spec("activation", np.zeros(2), linear={"alpha": 2.0, "beta": 1.0})
    return windfall.load(spec)


def test_a_network_computes_row_by_row():
    x = np.float32([[1, 2], [3, 4], [5, 6]])
    np.testing.assert_array_equal(network().predict_batch({"x0": x})["y0"], 2 * x + 1)
    rows = network().predict_batch([{"x0": row} for row in x])
    np.testing.assert_array_equal([row["y0"] for row in rows], 2 * x + 1)


def test_pictures_come_as_a_list():
    spec = Model_pb2.Model(specificationVersion=1)
    for features, name in ((spec.description.input, "x"), (spec.description.output, "y")):
        fill(features.add(name=name), {"type": {"imageType": {"width": 3, "height": 2, "colorSpace": "RGB"}}})
    layer = spec.neuralNetwork.layers.add(name="layer", input=["x"], output=["y"])
    fill(layer, {"activation": {"linear": {"alpha": 1.0, "beta": 1.0}}})
    pictures = [Image.new("RGB", (3, 2), (i, i, i)) for i in range(3)]
    got = windfall.load(spec).predict_batch({"x": pictures})["y"]
    assert [picture.getpixel((0, 0)) for picture in got] == [(1, 1, 1), (2, 2, 2), (3, 3, 3)]


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        (5, "the inputs are of type int, must be a dictionary of columns or a list of dictionaries"),
        ("abc", "the inputs are of type str, must be a dictionary of columns or a list of dictionaries"),
        ({"a": [1.0], "z": [2.0]}, "the model has no input 'z'; its inputs are 'a', 'b', 'c'"),
        ({"a": 1.0}, "input 'a' is float, must be a list or an array with a value for each row"),
        (np.array(3), "the inputs are of type ndarray, must be a dictionary of columns or a list of dictionaries"),
        ({"a": {1, 2}}, "input 'a' is set, must be a list or an array with a value for each row"),
        ({"a": {1: 2}}, "input 'a' is dict, must be a list or an array with a value for each row"),
        ({"a": np.float64(1)}, "input 'a' is float64, must be a list or an array with a value for each row"),
        (
            {"a": [1.0], "b": [1, 2]},
            "the inputs have different numbers of rows, {'a': 1, 'b': 2}; each must have as many",
        ),
        ({"a": [1.0, 2.0]}, "input 'b' is missing in row 0; give a value for each of ['a', 'b', 'c']"),
        (
            {"a": [1.0, None], "b": [1, 2], "c": np.zeros((2, 2))},
            "input 'a' is missing in row 1; give a value for each of ['a', 'b', 'c']",
        ),
        (
            {"a": [1.0], "b": [0.5], "c": np.zeros((1, 2))},
            "input 'b' has numbers that int64 cannot hold; round or clip them first",
        ),
        ({"a": [1.0], "b": [1], "c": np.zeros((1, 3))}, "input 'c' has shape [3], must be [2]; reshape it"),
        (
            [{"a": 1.0, "b": 1, "c": [0, 0]}, {"q": 1}],
            "the model has no input 'q'; its inputs are 'a', 'b', 'c'",
        ),
        (
            [1],
            ("the inputs are of type int, must be a dictionary with a value for each of ['a', 'b', 'c']"),
        ),
    ],
)
def test_inputs_that_do_not_fit(inputs, text):
    with pytest.raises(FeatureError) as error:
        windfall.load(linear(MIXED, 4)).predict_batch(inputs)
    assert str(error.value) == text
