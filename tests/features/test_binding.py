import numpy as np
import pytest
from tests.support import layer_spec

import windfall
from windfall.errors import FeatureError, FormatError, UnsupportedError
from windfall.features.networks import NetworkBinder
from windfall.spec.modelfile import from_spec


def two_inputs():
    return layer_spec("add", np.zeros((1, 2, 2)), np.zeros((1, 2, 2)), rank5=True)


def error_of(inputs, kind=FeatureError, spec=None, **options):
    with pytest.raises(kind) as error:
        windfall.load(spec or two_inputs()).predict(inputs, **options)
    return str(error.value)


X = np.ones((1, 2, 2), np.float32)


def test_inputs_go_where_their_names_say():
    spec = layer_spec("activation", X, rank5=True, linear={"alpha": 1})
    feature = spec.description.input.add()
    feature.CopyFrom(spec.description.input[0])
    feature.name = "unused"
    got = windfall.load(spec).predict({"unused": X * 9, "x0": X})
    np.testing.assert_array_equal(got["y0"], X)


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ({"x0": X}, "input 'x1' is missing; give a value for each of ['x0', 'x1']"),
        ({}, "input 'x0' is missing; give a value for each of ['x0', 'x1']"),
        ({"x0": X, "x1": X, "x2": X}, "the model has no input 'x2'; its inputs are 'x0', 'x1'"),
        ({"x0": X, "x1": X, 7: X}, "the model has no input 7; its inputs are 'x0', 'x1'"),
        (X, "the inputs are of type ndarray, must be a dictionary with a value for each of ['x0', 'x1']"),
        ([X, X], "the inputs are of type list, must be a dictionary with a value for each of ['x0', 'x1']"),
        (None, "the inputs are of type NoneType, must be a dictionary with a value for each of ['x0', 'x1']"),
    ],
)
def test_inputs_that_are_not_the_models(inputs, text):
    assert error_of(inputs) == text


def test_a_model_without_inputs_says_so():
    spec = layer_spec("loadConstant", rank5=True, shape=[1, 1, 1], data=np.ones(1))
    assert error_of({"x": 1}, spec=spec) == "the model has no input 'x'; its inputs are none"
    assert windfall.load(spec).predict({})["y0"] == 1


@pytest.mark.parametrize(
    ("outputs", "text"),
    [
        ("y0", "outputs is 'y0', must be a list of names, e.g. ['y0']"),
        ([1], "outputs is [1], must be a list of names, e.g. ['y0']"),
        ([], "outputs is empty, must name at least one value, e.g. ['y0']"),
        (len, "outputs is <built-in function len>, must be a list of names, e.g. ['y0']"),
        (5, "outputs is 5, must be a list of names, e.g. ['y0']"),
        (
            ["y0", "z"],
            (
                "the model has no value 'z', which is asked for as an output; its outputs are ['y0'], and the "
                "output of any layer may be asked for"
            ),
        ),
    ],
)
def test_outputs_that_are_not_the_models(outputs, text):
    assert error_of({"x0": X, "x1": X}, outputs=outputs) == text


def test_an_output_asked_for_twice_is_given_once():
    got = windfall.load(two_inputs()).predict({"x0": X, "x1": X}, outputs=["y0", "y0"])
    assert list(got) == ["y0"]


def test_an_input_may_be_asked_for():
    got = windfall.load(two_inputs()).predict({"x0": X, "x1": X * 2}, outputs=["x1", "y0"])
    np.testing.assert_array_equal(got["x1"].ravel(), [2] * 4)
    np.testing.assert_array_equal(got["y0"].ravel(), [3] * 4)


@pytest.mark.parametrize("kind", ["stringType", "dictionaryType", "int64Type", "doubleType", "sequenceType"])
@pytest.mark.parametrize("optional", [False, True])
def test_features_of_other_types_are_refused_by_name(kind, optional):
    spec = two_inputs()
    spec.description.input[1].ClearField("type")
    getattr(spec.description.input[1].type, kind).SetInParent()
    spec.description.input[1].type.isOptional = optional
    text = f"input 'x1' is of type {kind}; neural networks take images and arrays"
    assert error_of({"x0": X, "x1": 1}, UnsupportedError, spec) == text


def test_a_feature_without_a_type_is_refused():
    spec = two_inputs()
    spec.description.input[1].ClearField("type")
    text = "input 'x1' is of type None; neural networks take images and arrays"
    assert error_of({"x0": X, "x1": 1}, UnsupportedError, spec) == text


def test_a_number_declared_as_an_output_is_a_number():
    spec = layer_spec("activation", np.zeros(1), linear={"alpha": 1})
    spec.description.output[0].ClearField("type")
    spec.description.output[0].type.doubleType.SetInParent()
    got = windfall.load(spec).predict({"x0": 2.5})["y0"]
    assert isinstance(got, float)
    assert got == 2.5


def test_an_output_declared_twice_is_given_once():
    spec = two_inputs()
    spec.description.output.add().CopyFrom(spec.description.output[0])
    assert list(windfall.load(spec).predict({"x0": X, "x1": X})) == ["y0"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            lambda d: d.input[1].ClearField("name"),
            "an input of the model has no name, must have one; convert the model again",
        ),
        (lambda d: setattr(d.input[1], "name", "x0"), "the model declares the input 'x0' 2 times; names must differ"),
        (
            lambda d: d.input[0].type.multiArrayType.shape.__setitem__(0, 0),
            "input 'x0' declares the sizes [0, 2, 2], each must be at least 1; convert the model again",
        ),
        (
            lambda d: d.input[0].type.multiArrayType.shape.__setitem__(0, 2**40),
            (f"input 'x0' declares the sizes [{2**40}, 2, 2], which need {2**44:,} bytes, must be at most {2**32:,}; "
            "convert the model again"),
        ),
        (
            lambda d: d.input[0].type.imageType.SetInParent(),
            ("image 'x0' has colorSpace 0, must be one of: GRAYSCALE, RGB, BGR, GRAYSCALE_FLOAT16; "
            "convert the model again"),
        ),
        (
            lambda d: setattr(d.input[0].type.imageType, "colorSpace", 20),
            "input 'x0' declares the sizes [0, 0], each must be at least 1; convert the model again",
        ),
    ],
)  # fmt: skip
def test_declarations_that_no_value_could_fit(change, text):
    spec = two_inputs()
    change(spec.description)
    with pytest.raises(FormatError) as error:
        NetworkBinder(from_spec(spec))
    assert str(error.value) == text
    assert error_of({"x0": X, "x1": X}, FormatError, spec) == text


def test_symbolic_axes_let_all_sequences_share_a_program():
    binder = NetworkBinder(from_spec(layer_spec("activation", X, rank5=True, ReLU={})))
    shapes = binder.graph_shapes(binder.feeds({"x0": np.zeros((7, 3, 1, 2, 2))}))
    assert shapes == {"x0": ("Seq1", "Batch1", 1, 2, 2)}
    assert binder.graph_shapes(binder.feeds({"x0": X})) == {"x0": (1, 1, 1, 2, 2)}


def test_inputs_of_different_lengths_get_different_symbols():
    x, y = np.ones((5, 1, 4, 1, 1), np.float32), np.ones((2, 1, 4, 1, 1), np.float32)
    spec = layer_spec("concat", x, y, rank5=True, sequenceConcat=True)
    model = windfall.load(spec, threads=1)
    for lengths in ((5, 2), (500, 2), (2, 500), (3, 3), (1, 4)):
        feeds = {f"x{i}": np.full((n, 1, 4, 1, 1), i, np.float32) for i, n in enumerate(lengths)}
        expected = np.concatenate(list(feeds.values()))
        np.testing.assert_array_equal(model.predict(feeds)["y0"], expected)


def test_an_array_of_names_is_a_list_of_names():
    assert list(windfall.load(two_inputs()).predict({"x0": X, "x1": X}, outputs=np.array(["y0"]))) == ["y0"]


def test_a_name_that_python_does_not_write_is_no_input():
    assert error_of({10**5000: X}) == "the model has no input <int>; its inputs are 'x0', 'x1'"
