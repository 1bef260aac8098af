"""Every kind of wrong input gives one line that names the thing, the value, the rule and the way out."""

import sys
from typing import Any

import numpy as np
import pytest

import windfall
from tests.mutations.networks import classifier, picture_to_picture, planes, sequence
from tests.support import fill, layer_spec
from windfall.errors import FeatureError, FormatError, LoweringError, UnsupportedError

GOOD = layer_spec("activation", np.zeros(3), ReLU={}).SerializeToString()
NEWER = bytes([0x08, 0x63]) + GOOD[2:]


def load_error(source: Any, kind: type[Exception] = FormatError, **options: Any) -> str:
    with pytest.raises(kind) as error:
        windfall.load(source, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def run_error(spec: Any, inputs: Any, kind: type[Exception] = LoweringError) -> str:
    with pytest.raises(kind) as error:
        windfall.load(spec, threads=1).predict(inputs)
    assert type(error.value) is kind
    assert "\n" not in str(error.value)
    return str(error.value)


def network(*layers: tuple[str, list[str], list[str]], inputs: int = 1, outputs: tuple[str, ...] = ("y",)) -> Any:
    """Return a model of ReLU layers, each (name, inputs, outputs)."""
    spec = layer_spec("activation", *[np.zeros(3)] * inputs, ReLU={})
    del spec.neuralNetwork.layers[:]
    del spec.description.output[:]
    for name, sources, targets in layers:
        layer = spec.neuralNetwork.layers.add(name=name, input=sources, output=targets)
        layer.activation.ReLU.SetInParent()
    for name in outputs:
        fill(spec.description.output.add(name=name), {"type": {"multiArrayType": {"dataType": "FLOAT32"}}})
    return spec


AGAIN = "download or convert it again"
NO_MODEL = f"m.mlmodel cannot be read as a Core ML model: it is not one, or is cut off; {AGAIN}"
NO_TYPE = f"must be at least 1, and its type is not set; {AGAIN}"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "m.mlmodel is empty, must be a Core ML model; download or convert it again"),
        (GOOD[:-7], NO_MODEL),
        (b"\x89PNG\r\n\x1a\n\0\0\0", NO_MODEL),
        (b"version https://git-lfs", f"m.mlmodel cannot be read as a Core ML model: it is text, not a model; {AGAIN}"),
        (
            b"\x12\x00",
            f"m.mlmodel is not a Core ML model: specificationVersion is 0, {NO_TYPE}",
        ),
        (
            b"\x08\x04",
            f"m.mlmodel is not a Core ML model: specificationVersion is 4, {NO_TYPE}",
        ),
        (
            NEWER,
            (
                "m.mlmodel has specificationVersion 99, this windfall knows up to 10; upgrade with: "
                "pip install -U windfall"
            ),
        ),
    ],
)
def test_files_that_are_no_models(tmp_path, content, text):
    path = tmp_path / "m.mlmodel"
    path.write_bytes(content)
    assert load_error(path) == text


def test_paths_that_are_no_files(tmp_path):
    missing = tmp_path / "missing.mlmodel"
    assert load_error(missing) == f"cannot open {missing}: No such file or directory; check the path"
    folder = tmp_path / "m.mlpackage"
    folder.mkdir()
    assert load_error(folder) == (
        "m.mlpackage has no Manifest.json, which every package must have; download or convert it again"
    )
    assert load_error("a\0b") == ("cannot open 'a\\x00b': it has a character that no path may have; check the path")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows gives another reason")
def test_a_name_that_is_too_long():
    assert load_error("x" * 5000) == f"cannot open {'x' * 5000}: File name too long; check the path"


@pytest.mark.parametrize("source", [None, 7, b"m.mlmodel", GOOD, ["m.mlmodel"], object(), layer_spec])
def test_what_is_neither_a_path_nor_a_model(source):
    assert load_error(source) == (
        f"the model is of type {type(source).__name__}, must be the path of a file or a Model message; "
        "of a coremltools MLModel, give get_spec()"
    )


def test_a_message_of_another_type():
    spec = layer_spec("activation", np.zeros(3), ReLU={})
    assert load_error(spec.neuralNetwork) == (
        "the model is of type NeuralNetwork, must be the path of a file or a Model message; "
        "of a coremltools MLModel, give get_spec()"
    )


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"engine": "abacus"}, "engine is 'abacus', must be one of: auto, onnxruntime, openvino"),
        (
            {"compute_units": "tpu"},
            "compute_units is 'tpu', must be one of: all, cpu_only, cpu_and_gpu, cpu_and_ne",
        ),
        ({"threads": 0}, "threads is 0, must be 1 to 1024, or None for all cores"),
    ],
)
def test_unknown_options(options, text):
    spec = layer_spec("activation", np.zeros(3), ReLU={})
    assert load_error(spec, UnsupportedError, **options) == text


def test_all_layers_that_cannot_be_run_are_named_at_once():
    spec = network(("a", ["x0"], ["u"]), ("b", ["u"], ["v"]), ("c", ["v"], ["y"]))
    spec.neuralNetwork.layers[0].custom.className = "Swish"
    spec.neuralNetwork.layers[2].ClearField("activation")
    assert run_error(spec, {"x0": np.zeros(3)}, UnsupportedError) == (
        "the model needs classes of yours: custom layer 'Swish' ('a'); register them with "
        "@windfall.custom_layer(NAME), or give them to load(..., custom_layers={NAME: CLASS}); besides, it cannot run "
        "layer 'c' (type not set): its type is unknown to this version; see all with: windfall inspect MODEL"
    )


@pytest.mark.parametrize(
    ("layers", "text"),
    [
        (
            [("a", ["v"], ["u"]), ("b", ["u"], ["v"]), ("c", ["v"], ["y"])],
            (
                "cannot lower layer 'a' (activation) of the model: input is v, is made by the later layer 'b': "
                "layers must stand in order and without cycles"
            ),
        ),
        (
            [("a", ["a"], ["a"])],
            (
                "cannot lower layer 'a' (activation) of the model: input is a, is made by the later layer 'a': "
                "layers must stand in order and without cycles"
            ),
        ),
        (
            [("a", ["nothing"], ["y"])],
            (
                "cannot lower layer 'a' (activation) of the model: input is nothing, is made by no layer and is "
                "no input of the model"
            ),
        ),
        (
            [("a", ["x0"], ["y"]), ("b", ["x0"], ["y"])],
            (
                "cannot lower layer 'b' (activation) of the model: output is y, another layer or input has that name; "
                "names must differ"
            ),
        ),
        (
            [("a", ["x0"], ["x0"])],
            (
                "cannot lower layer 'a' (activation) of the model: output is x0, another layer or input has that name; "
                "names must differ"
            ),
        ),
        (
            [("a", ["x0"], [""])],
            "cannot lower layer 'a' (activation) of the model: output is '', every output must have a name",
        ),
        (
            [("a", ["x0"], ["y", "z"])],
            "cannot lower layer 'a' (activation) of the model: output is ['y', 'z'], must be 1 names",
        ),
        ([("a", ["x0"], [])], "cannot lower layer 'a' (activation) of the model: output is [], must be 1 names"),
        ([("a", [], ["y"])], "cannot lower layer 'a' (activation) of the model: input is [], must be 1 names"),
        (
            [("a", ["x0", "x0"], ["y"])],
            "cannot lower layer 'a' (activation) of the model: input is ['x0', 'x0'], must be 1 names",
        ),
    ],
)
def test_layers_that_form_no_graph(layers, text):
    assert run_error(network(*layers), {"x0": np.zeros(3)}) == text


def test_an_output_that_nobody_makes():
    spec = network(("a", ["x0"], ["y"]), outputs=("y", "z"))
    assert run_error(spec, {"x0": np.zeros(3)}, FormatError) == (
        "the model has no value 'z', which is asked for as an output; values are 'x0', 'y'"
    )


def test_a_model_without_outputs():
    assert run_error(network(("a", ["x0"], ["y"]), outputs=()), {"x0": np.zeros(3)}, FormatError) == (
        "the model declares no outputs, must declare at least one; ask for inner values by name"
    )


def test_an_input_declared_twice():
    spec = network(("a", ["x0"], ["y"]), inputs=2)
    spec.description.input[1].name = "x0"
    assert run_error(spec, {"x0": np.zeros(3)}, FormatError) == (
        "the model declares the input 'x0' 2 times; names must differ"
    )


def test_a_newline_in_a_name_stays_in_its_line():
    spec = network(("a\nb", ["x0"], ["y"]))
    spec.neuralNetwork.layers[0].activation.ClearField("ReLU")
    assert run_error(spec, {"x0": np.zeros(3)}) == (
        "cannot lower layer 'a\\nb' (activation) of the model: NonlinearityType is not set, must be set"
    )


def test_weights_of_a_wrong_length():
    spec = classifier()
    del spec.neuralNetworkClassifier.layers[0].convolution.weights.floatValue[3:]
    text = run_error(spec, {"image": np.zeros((8, 8, 3), np.uint8)})
    assert text == (
        "cannot lower layer 'convolution_0' (convolution) of the model: weights has 3 values in 12 bytes, "
        "must have 108 (4 x 3 x 3 x 3) in 432 bytes"
    )


def test_a_classifier_with_too_few_labels():
    spec = classifier()
    del spec.neuralNetworkClassifier.stringClassLabels.vector[2:]
    assert run_error(spec, {"image": np.zeros((8, 8, 3), np.uint8)}, FormatError) == (
        "the classifier gives 3 probabilities ('s'), must give one for each of its 2 labels"
    )


HUGE = 2**40


@pytest.mark.parametrize(
    ("layer_type", "fields"),
    [
        ("upsample", {"scalingFactor": [HUGE, HUGE], "mode": "NN"}),
        ("upsample", {"scalingFactor": [2**20, 2**20], "mode": "BILINEAR"}),
        ("resizeBilinear", {"targetSize": [2**20, 2**20]}),
        ("cropResize", {"targetSize": [2**20, 2**20]}),
        (
            "padding",
            {
                "constant": {},
                "paddingAmounts": {
                    "borderAmounts": [{"startEdgeSize": 2**20, "endEdgeSize": 2**20}] * 2,
                },
            },
        ),
        (
            "padding",
            {
                "constant": {},
                "paddingAmounts": {"borderAmounts": [{"startEdgeSize": 2**63, "endEdgeSize": 2**64 - 1}] * 2},
            },
        ),
        ("sequenceRepeat", {"nRepetitions": HUGE}),
        ("reshape", {"targetShape": [HUGE, HUGE, HUGE]}),
        ("reshapeStatic", {"targetShape": [HUGE, HUGE]}),
        ("tile", {"reps": [HUGE] * 5}),
        ("broadcastToStatic", {"targetShape": [HUGE, HUGE, 1, 2, 2]}),
        ("fillStatic", {"targetShape": [HUGE, HUGE]}),
        ("loadConstantND", {"shape": [HUGE, HUGE]}),
        ("loadConstant", {"shape": [HUGE, HUGE, HUGE]}),
        ("embedding", {"inputDim": HUGE, "outputChannels": HUGE}),
        ("innerProduct", {"inputChannels": HUGE, "outputChannels": HUGE}),
        ("convolution", {"outputChannels": HUGE, "kernelChannels": HUGE, "kernelSize": [HUGE, HUGE]}),
        ("randomUniformStatic", {"outputShape": [HUGE, HUGE]}),
        ("oneHot", {"oneHotVectorSize": HUGE}),
        ("constantPad", {"padAmounts": [HUGE] * 10}),
        ("uniDirectionalLSTM", {"inputVectorSize": HUGE, "outputVectorSize": HUGE}),
        ("gru", {"inputVectorSize": HUGE, "outputVectorSize": HUGE}),
        ("slidingWindows", {"windowSize": HUGE, "step": HUGE}),
        ("reorganizeData", {"blockSize": 2**64 - 1}),
        ("pooling", {"kernelSize": [HUGE, HUGE], "stride": [1, 1], "same": {}}),
    ],
)
def test_parameters_that_ask_for_terabytes(layer_type, fields):
    x = np.zeros((1, 1, 1, 2, 2), np.float32)
    inputs = [] if layer_type.startswith(("load", "fillStatic", "random")) else [x]
    spec = layer_spec(layer_type, *inputs, **fields)
    with pytest.raises((LoweringError, UnsupportedError)) as error:
        windfall.load(spec, threads=1).predict({f"x{i}": value for i, value in enumerate(inputs)})
    text = str(error.value)
    assert "\n" not in text
    assert f"'layer' ({layer_type}" in text


def test_the_text_of_a_tensor_that_is_too_large():
    spec = layer_spec("upsample", np.zeros((1, 2, 2)), rank5=True, scalingFactor=[2**20, 2**20], mode="NN")
    text = run_error(spec, {"x0": np.zeros((1, 2, 2))})
    assert text.startswith("cannot lower layer 'layer' (upsample) of the model: ")
    assert "bytes, must be at most 4,294,967,296" in text


def test_an_input_declared_for_terabytes():
    spec = picture_to_picture()
    spec.description.input[0].type.imageType.width = 2**40
    assert run_error(spec, {"image": None}, FormatError) == (
        f"input 'image' declares the sizes [{2**40}, 8], which need {2**43 * 12:,} bytes, must be at most "
        "4,294,967,296; convert the model again"
    )


@pytest.mark.parametrize("size", [0, -1, -(2**63)])
def test_sizes_below_one(size):
    spec = sequence()
    spec.description.input[0].type.multiArrayType.shape[0] = size
    assert run_error(spec, {"x": [1, 2]}, FormatError) == (
        f"input 'x' declares the sizes [{size}], each must be at least 1; convert the model again"
    )


def test_an_unknown_colour_space():
    spec = picture_to_picture()
    spec.description.input[0].type.imageType.colorSpace = 99
    assert run_error(spec, {"image": None}, FormatError) == (
        "image 'image' has colorSpace 99, must be one of: GRAYSCALE, RGB, BGR, GRAYSCALE_FLOAT16; "
        "convert the model again"
    )
    spec = picture_to_picture()
    spec.description.output[0].type.imageType.colorSpace = 99
    assert run_error(spec, {"image": np.zeros((8, 8, 3), np.uint8)}, FormatError) == (
        "image 'stylized' has colorSpace 99, must be GRAYSCALE, RGB or BGR"
    )


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ({}, "input 'x' is missing; give a value for each of ['x']"),
        ({"x": None}, "input 'x' is missing; give a value for each of ['x']"),
        ({"x": np.zeros((2, 3, 4)), "z": 1}, "the model has no input 'z'; its inputs are 'x'"),
        ({"x": np.zeros((2, 3, 5))}, "input 'x' has shape [2, 3, 5], must be [2, 3, 4]; reshape it"),
        ({"x": np.zeros((2, 3))}, "input 'x' has shape [2, 3], must be [2, 3, 4]; reshape it"),
        ({"x": "cat.jpg"}, "input 'x' is str of <U7, must be an array of numbers; convert it first"),
        ({"x": object()}, "input 'x' is object, must be an array of numbers; convert it first"),
    ],
)
def test_inputs_that_do_not_fit(inputs, text):
    assert run_error(planes(), inputs, FeatureError) == text


@pytest.mark.parametrize(
    ("image", "text"),
    [
        (
            np.full((8, 8, 3), np.nan),
            (
                "image 'image' is an array of float64, shape [8, 8, 3], must be a Pillow image or a uint8 "
                "array [H, W, 3]; try PIL.Image.open(path)"
            ),
        ),
        (
            np.zeros((4, 6, 3), np.uint8),
            "image 'image' is 6x4, must be 8x8; resize it first, or use the command line, which does",
        ),
    ],
)
def test_pictures_that_do_not_fit(image, text):
    assert run_error(classifier(), {"image": image}, FeatureError) == text


@pytest.mark.parametrize("make", [classifier, picture_to_picture, sequence, planes])
def test_the_models_that_are_damaged_here_are_good(make):
    spec = make()
    inputs = {
        feature.name: np.zeros((8, 8, 3), np.uint8)
        if feature.type.HasField("imageType")
        else np.zeros(list(feature.type.multiArrayType.shape))
        for feature in spec.description.input
    }
    assert set(windfall.load(spec).predict(inputs)) == {feature.name for feature in spec.description.output}
