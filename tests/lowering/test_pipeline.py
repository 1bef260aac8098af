import numpy as np
import pytest
from PIL import Image

import windfall
from tests.classical import array, image, model_spec, pipeline_spec, predict
from tests.lowering.classical.tree_support import branch, leaf
from tests.programs import Input, Output, operator_spec
from tests.support import fill, layer_spec
from windfall.errors import FormatError, UnsupportedError
from windfall.spec.proto import Model_pb2


def linear(weights, source="x", target="y", offset=0.0):
    count = len(weights)
    fields = {"weights": [{"value": weights}], "offset": [offset]}
    return model_spec("glmRegressor", {source: (count,)}, {target: (1,)}, fields, predicted=target)


def tree(source, labels=("small", "large"), threshold=0.0):
    """A classifier by the sign of its only number."""
    nodes = [branch(0, 0, 0, 0, threshold, 1, 2), leaf(0, 1, 0.25), leaf(0, 2, 1.0)]
    fields = {"treeEnsemble": {"nodes": nodes, "numPredictionDimensions": 1}, "stringClassLabels": {"vector": labels}}
    outputs = {"label": "string", "scores": "string dictionary"}
    return model_spec("treeEnsembleClassifier", {source: (1,)}, outputs, fields, "label", "scores")


def network(layer_type, inputs, output, **fields):
    """A network of one layer from arrays named as given to one named as given."""
    spec = layer_spec(layer_type, *inputs.values(), **fields)
    for feature, name in zip(spec.description.input, inputs, strict=True):
        feature.name = name
    layer = spec.neuralNetwork.layers[0]
    layer.input[:], layer.output[:] = list(inputs), [output]
    spec.description.output[0].name = output
    return spec


def test_numbers_go_from_model_to_model_in_one_graph():
    members = [linear([1.0, 2.0], target="a"), linear([10.0], "a", "b", 0.5), tree("b", threshold=100.0)]
    outputs = {"label": "string", "scores": "string dictionary"}
    spec = pipeline_spec(members, {"x": (2,)}, outputs, "pipelineClassifier", predicted="label", probabilities="scores")
    model = windfall.load(spec)
    assert model.predict({"x": [1, 2]}) == {"label": "small", "scores": {"small": 0.75, "large": 0.25}}
    got = model.predict_batch({"x": np.array([[1.0, 2], [10, 2]])})
    assert got["label"].tolist() == ["small", "large"]
    np.testing.assert_array_equal(got["scores"]["large"], [0.25, 1.0])
    kinds = [node.op_type for node in model.compiled.onnx.graph.node]
    assert kinds.count("MatMul") == 2
    assert kinds.count("TreeEnsemble") == 1


def test_inner_values_may_be_asked_for():
    spec = pipeline_spec([linear([1.0, 2.0], target="a"), linear([10.0], "a", "y")], {"x": (2,)}, {"y": (1,)})
    got = windfall.load(spec).predict({"x": [1, 2]}, outputs=["a", "y"])
    assert {name: value.tolist() for name, value in got.items()} == {"a": [5], "y": [50]}


def test_a_pipeline_in_a_pipeline_and_values_that_pass_through():
    inner = pipeline_spec([linear([1.0, 1.0], target="a"), linear([3.0], "a", "b")], {"x": (2,)}, {"b": (1,)})
    spec = pipeline_spec([inner, tree("b")], {"x": (2,), "s": "string"}, {"label": "string", "b": (1,), "s": "string"})
    assert predict(spec, x=[1, 2], s="é") == {"label": "large", "b": [9], "s": "é"}


def test_what_a_nested_pipeline_does_not_declare_stays_inside():
    inner = pipeline_spec([linear([1.0], target="a"), linear([3.0], "a", "b")], {"x": (1,)}, {"b": (1,)})
    spec = pipeline_spec([inner, linear([1.0], "a", "y")], {"x": (1,)}, {"y": (1,)})
    with pytest.raises(FormatError) as error:
        predict(spec, x=[1])
    assert str(error.value) == (
        "'model1' of the model takes 'a', which is no input of the pipeline and no output of a model before it"
    )


@pytest.mark.parametrize("rank5", [False, True])
def test_a_network_between_classical_models(rank5):
    x = np.array([1.0, -2.0])
    scale = linear([1.0, 0.0], target="a"), linear([0.0, 1.0], target="b")
    squash = network("activation", {"a": np.zeros(1)}, "c", rank5=rank5, tanh={})
    spec = pipeline_spec(
        [*scale, squash, linear([4.0], "c", "y", 1.0), tree("b")], {"x": (2,)}, {"y": (1,), "label": "string"}
    )
    model = windfall.load(spec)
    got = model.predict({"x": x})
    np.testing.assert_allclose(got["y"], [4 * np.tanh(1.0) + 1], rtol=1e-6)
    assert got["label"] == "small"
    table = model.predict_batch({"x": np.stack([x, -x])})
    np.testing.assert_allclose(table["y"][:, 0], 4 * np.tanh([1.0, -1.0]) + 1, rtol=1e-6)
    assert table["label"].tolist() == ["small", "large"]


def test_an_ml_program_between_classical_models():
    program, _ = operator_spec("mul", [Output(np.float32, (1,))], 8, x=Input(np.float32([0])), y=np.float32([2.5]))
    name, made = program.description.input[0].name, program.description.output[0].name
    spec = pipeline_spec([linear([1.0, 1.0], target=name), program, linear([2.0], made, "y")], {"x": (2,)}, {"y": (1,)})
    spec.specificationVersion = 9
    assert predict(spec, x=[1, 2])["y"] == [15]


def test_pictures_go_from_network_to_network():
    def painter(source, target, alpha):
        spec = Model_pb2.Model(specificationVersion=1)
        for features, name in ((spec.description.input, source), (spec.description.output, target)):
            fill(features.add(name=name), {"type": image(4, 3)})
        layer = spec.neuralNetwork.layers.add(name="layer", input=[source], output=[target])
        fill(layer, {"activation": {"linear": {"alpha": alpha, "beta": 1.0}}})
        return spec

    spec = pipeline_spec([painter("photo", "middle", 2.0), painter("middle", "final", 1.0)], {"photo": image(4, 3)},
                         {"final": image(4, 3)})  # fmt: skip
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 3)).astype(np.uint8)
    got = np.asarray(predict(spec, photo=Image.fromarray(pixels))["final"])
    expected = np.clip(np.clip(pixels.astype(int) * 2 + 1, 0, 255) + 1, 0, 255)
    np.testing.assert_array_equal(got, expected)


def test_a_network_classifier_gives_its_label_to_a_pipeline():
    classifier = network("softmaxND", {"x": np.zeros(3)}, "p", axis=-1)
    layers = classifier.neuralNetwork.SerializeToString()
    classifier.neuralNetworkClassifier.MergeFromString(layers)
    classifier.neuralNetworkClassifier.stringClassLabels.vector.extend(["a", "b", "c"])
    del classifier.description.output[:]
    fill(classifier.description.output.add(name="label"), {"type": {"stringType": {}}})
    fill(classifier.description.output.add(name="scores"), {"type": {"dictionaryType": {"stringKeyType": {}}}})
    classifier.description.predictedFeatureName, classifier.description.predictedProbabilitiesName = "label", "scores"
    spec = pipeline_spec([linear([1.0, 2.0, 3.0], target="y"), classifier], {"x": (3,)},
                         {"label": "string", "scores": "string dictionary", "y": (1,)})  # fmt: skip
    spec.pipeline.models[1].description.input[0].type.multiArrayType.dataType = 65600
    got = predict(spec, x=[0, 2, 1])
    expected = np.exp([0, 2, 1]) / np.exp([0, 2, 1]).sum()
    assert got["label"] == "b"
    assert list(got["scores"]) == ["a", "b", "c"]
    np.testing.assert_allclose(list(got["scores"].values()), expected, rtol=1e-6)
    assert got["y"] == [7]


def test_features_of_every_type_pass_through_the_identity():
    kinds = {
        "d": "double", "i": "int64", "s": "string", "f": array(2, dtype="FLOAT32"), "n": array(2, 1, dtype="INT32"),
        "h": array(1, dtype="FLOAT16"), "m": "string dictionary", "k": "int64 dictionary", "w": "string sequence",
        "z": "int64 sequence", "p": image(3, 2),
    }  # fmt: skip
    picture = Image.fromarray(np.arange(18, dtype=np.uint8).reshape(2, 3, 3))
    values = {
        "d": 0.1, "i": -(2**62) - 1, "s": "grüße\n", "f": np.float32([1.5, np.nan]), "n": np.int32([[-1], [2]]),
        "h": np.float16([0.1]), "m": {"a": 1.0, "": -0.5}, "k": {-3: 2.0}, "w": ["x", "x", ""], "z": [], "p": picture,
    }  # fmt: skip
    spec = pipeline_spec([model_spec("identity", kinds, kinds, {})], kinds, kinds)
    got = predict(spec, **values)
    assert got.keys() == values.keys()
    for name in "fnh":
        np.testing.assert_array_equal(got.pop(name), values[name])
    assert got.pop("p").tobytes() == picture.tobytes()
    assert got == {name: values[name] for name in got}


def test_rows_of_dictionaries_and_sequences():
    kinds = {"m": "string dictionary", "z": "int64 sequence", "s": "string"}
    model = windfall.load(model_spec("identity", kinds, kinds, {}))
    rows = [
        {"m": {"a": 1.0}, "z": [1, 2], "s": "x"},
        {"m": {}, "z": [], "s": ""},
        {"m": {"b": 2.0, "a": 3.0}, "z": [9], "s": "y"},
    ]
    assert model.predict_batch(rows) == rows
    table = model.predict_batch({name: [row[name] for row in rows] for name in kinds})
    assert table["m"] == [row["m"] for row in rows]
    assert table["z"] == [row["z"] for row in rows]
    assert table["s"].tolist() == ["x", "", "y"]


TAGGER = model_spec("wordTagger", {"x": "string"}, {"y": "string sequence"}, {})


@pytest.mark.parametrize(
    ("members", "output", "text"),
    [
        ([], {"y": (1,)}, "the model is a pipeline without models, must have at least one"),
        (
            [linear([1.0], "z")],
            {"y": (1,)},
            "'model0' of the model takes 'z', which is no input of the pipeline and no output of a model before it",
        ),
        ([linear([1.0])], {"z": (1,)}, "the model has an output 'z', which is no input and no output of a model in it"),
        (
            [linear([1.0])],
            {"y": "string dictionary"},
            "the model: the output 'y' is declared in a type that it cannot have",
        ),
        *(
            ([linear([1.0])], {"y": kind}, "the model: the output 'y' is declared in a type that it cannot have")
            for kind in ("string", image(8, 8))
        ),
        (
            [model_spec("scaler", {"x": (1,)}, {"y": (1,)}, {})],
            {"y": "double"},
            "the model: the output 'y' is declared in a type that it cannot have",
        ),
    ],
)
def test_members_that_do_not_fit(members, output, text):
    with pytest.raises(FormatError) as error:
        _ = windfall.load(pipeline_spec(members, {"x": (1,)}, output)).compiled
    assert str(error.value) == text


def test_a_member_that_needs_apple_s_own_weights():
    with pytest.raises(UnsupportedError) as error:
        _ = windfall.load(pipeline_spec([TAGGER], {"x": "string"}, {})).compiled
    assert str(error.value).startswith(
        "the model cannot be run: model 'model0': type wordTagger: needs a model that is part of Apple's operating "
        "systems, whose weights are not in the file"
    )


def test_pipelines_too_deep_in_each_other():
    spec = linear([1.0])
    for _ in range(34):
        spec = pipeline_spec([spec], {"x": (1,)}, {"y": (1,)})
    with pytest.raises(FormatError, match=r"pipelines lie in more than 32 others, the most there may be$"):
        _ = windfall.load(spec).compiled


@pytest.mark.parametrize("members", [[], [linear([1.0])]])
def test_an_input_of_a_type_that_no_such_model_takes(members):
    spec = pipeline_spec(members, {"x": (1,), "s": {}}, {"y": (1,)})
    with pytest.raises(FormatError, match=r"^input 's' is of type not set, which no such model takes$"):
        windfall.load(spec).predict({"x": [1]})


def test_an_input_may_be_asked_for():
    assert windfall.load(linear([1.0])).predict({"x": [2.5]}, outputs=["x"])["x"].tolist() == [2.5]
    kinds = {"m": "string dictionary", "z": "int64 sequence", "s": "string", "a": "double"}
    values = {"m": {"a": 1.0}, "z": [1, 2], "s": "x", "a": 0.5}
    fields = {"inputList": [{"inputColumn": "a", "inputDimensions": 1}]}
    model = windfall.load(model_spec("featureVectorizer", kinds, {"y": (1,)}, fields))
    assert model.predict(values, outputs=list(kinds)) == values
