import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import windfall
from tests.support import fill, layer_spec
from windfall.description import (
    ClassLabels,
    Dependency,
    ModelDescription,
    WeightPrecision,
)
from windfall.description.report import as_text, layers_report
from windfall.lowering.classical.models import LOWERINGS as CLASSICAL
from windfall.spec.pipelines import PIPELINES
from windfall.spec.proto import NEURAL_NETWORK_TYPES, Model_pb2

MODELS = Path(__file__).parents[2] / "shared" / "models"
REAL = sorted(MODELS.glob("*.mlmodel"))
TYPES = [field.name for field in Model_pb2.Model.DESCRIPTOR.oneofs_by_name["Type"].fields]
RUNNABLE = {*NEURAL_NETWORK_TYPES, "mlProgram", *PIPELINES, *CLASSICAL}


def described(**fields: Any) -> ModelDescription:
    spec = Model_pb2.Model(specificationVersion=1)
    fill(spec, fields)
    return windfall.load(spec).description


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_of_model_is_described(kind: str) -> None:
    description = described(**{kind: {}})
    assert description.type == kind
    assert description.runnable == (kind in RUNNABLE)
    assert json.loads(json.dumps(description.to_dict(layers=True)))["type"] == kind
    assert kind in str(description) or description.runnable


@pytest.mark.parametrize(
    ("version", "systems"),
    [(1, "iOS 11+, macOS 10.13+"), (3, "iOS 12+, macOS 10.14+"), (5, "iOS 14+, macOS 11+"), (10, "iOS 26+, macOS 26+")],
)
def test_the_specification_version_tells_the_systems(version: int, systems: str) -> None:
    description = described(specificationVersion=version, identity={})
    assert systems in ", ".join(f"{name} {first}+" for name, first in description.runs_on.items())
    assert systems in str(description)


def test_metadata() -> None:
    metadata = {"author": "A. Author", "license": "MIT", "shortDescription": "Does it.", "versionString": "1.2"}
    spec = Model_pb2.Model(specificationVersion=1, isUpdatable=True)
    spec.identity.SetInParent()
    fill(spec, {"description": {"metadata": metadata}})
    spec.description.metadata.userDefined["com.example.source"] = "torch==2.0"
    description = windfall.load(spec).description
    assert description.metadata == windfall.description.Metadata(
        "A. Author", "MIT", "Does it.", "1.2", {"com.example.source": "torch==2.0"}
    )
    assert description.updatable
    text = str(description)
    for shown in ("A. Author", "MIT", "Does it.", "1.2", "com.example.source", "torch==2.0", "on the device"):
        assert shown in text


def test_the_functions_of_a_program_with_several() -> None:
    feature = {"name": "x", "type": {"doubleType": {}}}
    functions = [{"name": "prompt"}, {"name": "extend", "input": [feature], "predictedFeatureName": "p"}]
    description = described(mlProgram={}, description={"functions": functions, "defaultFunctionName": "extend"})
    assert [(f.name, f.default) for f in description.functions] == [("prompt", False), ("extend", True)]
    assert "extend (default)" in str(description)
    assert [f.name for f in description.inputs] == ["x"]
    assert description.predicted_feature == "p"


def network_with_weights() -> Any:
    """A network whose weights are stored in every way that there is, one of them inside a loop."""
    spec = Model_pb2.Model(specificationVersion=4)
    layers = [
        {"name": "float32", "innerProduct": {"weights": np.zeros(10)}},
        {"name": "float16", "innerProduct": {"weights": {"float16Value": bytes(2000)}}},
        {
            "name": "linear",
            "innerProduct": {
                "weights": {
                    "rawValue": bytes(3000),
                    "quantization": {"numberOfBits": 8, "linearQuantization": {"scale": [1.0], "bias": [0.0]}},
                }
            },
        },
        {
            "name": "loop",
            "loop": {
                "bodyNetwork": {
                    "layers": [
                        {
                            "name": "table",
                            "innerProduct": {
                                "weights": {
                                    "rawValue": bytes(50),
                                    "quantization": {
                                        "numberOfBits": 4,
                                        "lookupTableQuantization": {"floatValue": [0.0] * 16},
                                    },
                                }
                            },
                        },
                    ]
                }
            },
        },
        {
            "name": "dynamic",
            "innerProduct": {
                "weights": {"int8RawValue": bytes(7), "quantization": {"linearQuantization": {"scale": [1.0]}}}
            },
        },
    ]
    fill(spec, {"neuralNetwork": {"layers": layers}})
    return spec


def test_weights_are_added_up_by_precision(tmp_path: Path) -> None:
    path = windfall.load(network_with_weights()).save(tmp_path / "weights.mlmodel")
    expected = {
        "8-bit linear": (3000, 3008),
        "Float16": (1000, 2000),
        "4-bit lookup table": (100, 114),
        "Float32": (10, 40),
        "8-bit linear, signed": (7, 11),
    }
    total = sum(size for _, size in expected.values())
    weights = tuple(WeightPrecision(name, count, size, size / total) for name, (count, size) in expected.items())
    for model in (network_with_weights(), path):  # from a file, large weights are not in the message
        description = windfall.load(model).description
        assert description.weights == weights
        assert description.parameters == 4117
        assert description.size == path.stat().st_size
        assert description.layer_counts == {"innerProduct": 5, "loop": 1}
    assert [layer.weight_bytes for layer in description.layers] == [40, 2000, 3008, 0, 114, 11]
    assert description.layers[4].name == "loop/bodyNetwork/table"


def test_damaged_weights_do_not_hide_the_rest() -> None:
    spec = layer_spec("innerProduct", np.zeros(2), weights={"floatValue": [1.0], "float16Value": b"00"})
    (weights,) = windfall.load(spec).description.weights
    assert weights.precision == "damaged: stored as floatValue and float16Value at once, must be one of them"


def test_the_weights_of_a_program_lie_in_a_file() -> None:
    spec = Model_pb2.Model(specificationVersion=6)
    block = spec.mlProgram.functions["main"].block_specializations["CoreML5"]
    spec.mlProgram.functions["main"].opset = "CoreML5"
    const = block.operations.add(type="const")
    const.outputs.add(name="w")
    value = const.attributes["val"]
    value.type.tensorType.dataType = 10  # FLOAT16
    for size in (3, 4):
        value.type.tensorType.dimensions.add().constant.size = size
    value.blobFileValue.fileName = "weights.bin"
    add = block.operations.add(type="add")
    add.inputs["x"].arguments.add(name="w")
    add.outputs.add(name="y")
    description = windfall.load(spec).description
    assert description.weights == (WeightPrecision("Float16", 12, 24, 1.0),)
    assert description.layer_counts == {"add": 1}
    assert [(layer.name, layer.inputs, layer.outputs) for layer in description.layers] == [
        ("w", (), ("w",)),
        ("y", ("w",), ("y",)),
    ]


def test_layers_list_their_key_parameters() -> None:
    spec = layer_spec(
        "convolution",
        np.zeros((3, 8, 8)),
        outputChannels=4,
        kernelSize=[3, 3],
        weights=np.zeros(108),
        valid={"paddingAmounts": {"borderAmounts": [{"startEdgeSize": 1, "endEdgeSize": 2}, {}]}},
    )
    (layer,) = windfall.load(spec).description.layers
    assert layer.parameters == {
        "outputChannels": 4,
        "kernelSize": [3, 3],
        "ConvolutionPaddingType": "valid",
        "valid.paddingAmounts.borderAmounts": [[1, 2], [0, 0]],
    }
    assert (layer.weight_values, layer.weight_bytes, layer.precision) == (108, 432, "Float32")
    text = as_text(layers_report([layer]))
    assert "1 layer convolution  108 weights, 432 bytes (Float32)" in text
    assert "x0 → y0" in text
    assert "kernelSize=[3, 3]" in text


def test_an_enumeration_is_listed_even_at_its_first_member() -> None:
    (layer,) = windfall.load(layer_spec("pooling", np.zeros((1, 4, 4)), kernelSize=[2, 2])).description.layers
    assert layer.parameters["type"] == "MAX"


def test_parameters_that_are_long_are_shortened() -> None:
    spec = layer_spec("custom", np.zeros(2), className="C" * 99)
    spec.neuralNetwork.layers[0].custom.parameters["scale"].doubleValue = 1.5
    (layer,) = windfall.load(spec).description.layers
    assert layer.parameters == {"className": "C" * 57 + "...", "parameters.scale": 1.5}
    (layer,) = windfall.load(layer_spec("permute", np.zeros(2), axis=list(range(9)))).description.layers
    assert layer.parameters == {"axis": "9 values"}


def test_a_layer_of_a_later_version_is_described() -> None:
    spec = Model_pb2.Model(specificationVersion=4)
    spec.neuralNetwork.layers.add(name="new")
    description = windfall.load(spec).description
    assert description.layer_counts == {"type not set": 1}
    assert description.unsupported == ("layer 'new' (type not set): its type is unknown to this version",)


def test_no_layers_are_said_to_be_none() -> None:
    assert as_text(layers_report(())) == "The model has no layers."


def test_class_labels_are_counted() -> None:
    labels = {"stringClassLabels": {"vector": [f"c{n}" for n in range(9)]}}
    description = described(neuralNetworkClassifier=labels)
    assert description.class_labels == ClassLabels(9, ("c0", "c1", "c2", "c3", "c4"))
    assert "9: c0, c1, c2, c3, c4, ..." in str(description)
    assert described(glmClassifier={"int64ClassLabels": {"vector": [3, 4]}}).class_labels == ClassLabels(2, (3, 4))
    assert described(glmClassifier={}).class_labels is None


def pipeline() -> dict[str, Any]:
    tree = {"treeEnsemble": {"nodes": [{"treeId": 0}, {"treeId": 0}, {"treeId": 1}]}}
    classes = {"stringClassLabels": {"vector": ["a", "b"]}}
    inner = {"pipeline": {"models": [{"customModel": {"className": "Mine", "description": "does"}}], "names": ["own"]}}
    models = [
        {"visionFeaturePrint": {}, "description": {"input": [{"name": "image"}], "output": [{"name": "print"}]}},
        inner,
        {"linkedModel": {"linkedModelFile": {"linkedModelFileName": {"defaultValue": "other.mlmodelc"}}}},
        {"treeEnsembleClassifier": tree | classes},
    ]
    return {"pipeline": {"models": models, "names": ["vision"]}}


def test_a_pipeline_lists_its_members() -> None:
    description = described(pipelineClassifier=pipeline())
    assert [(m.name, m.type) for m in description.members] == [
        ("vision", "visionFeaturePrint"),
        ("model1", "pipeline"),
        ("model2", "linkedModel"),
        ("model3", "treeEnsembleClassifier"),
    ]
    assert description.members[0].inputs == ("image",)
    assert description.members[0].outputs == ("print",)
    assert description.members[1].members[0].name == "own"
    assert description.members[3].contents == {"trees": 2, "nodes": 3}
    assert description.class_labels == ClassLabels(2, ("a", "b"))
    text = str(description)
    for shown in ("image → print", "· own", "trees 2, nodes 3", "2: a, b"):
        assert shown in text


def test_dependencies_and_unsupported_parts_are_named() -> None:
    description = described(pipelineClassifier=pipeline())
    assert description.dependencies == (
        Dependency("built-in model", "visionFeaturePrint", "vision"),
        Dependency("custom model", "Mine", "model1/own", "does", registered=False),
        Dependency("linked model", "other.mlmodelc", "model2"),
    )
    # How to run them all the same follows.
    starts = (
        "model 'vision': type visionFeaturePrint: needs a model that is part of Apple's operating systems",
        "model 'model1/own': type customModel: needs a class of yours: @windfall.custom_model(CLASS_NAME)",
        (
            "model 'model2': type linkedModel: needs the model file 'other.mlmodelc'; "
            "allow its folder: load(..., linked_models=FOLDER) or --linked-models FOLDER"
        ),
    )
    assert [text[: len(start)] for text, start in zip(description.unsupported, starts, strict=True)] == list(starts)
    assert not description.runnable


def test_custom_layers_are_dependencies() -> None:
    spec = layer_spec("custom", np.zeros(2), className="Mine", description="adds")
    description = windfall.load(spec).description
    assert description.dependencies == (Dependency("custom layer", "Mine", "layer", "adds", registered=False),)
    assert "'layer' (custom, className 'Mine')" in description.unsupported[0]
    assert "Mine" in str(description)


@pytest.mark.parametrize(
    ("kind", "fields", "contents"),
    [
        ("glmRegressor", {"weights": [{"value": [1.0, 2.0]}], "offset": [0.5]}, {"coefficients": 3}),
        ("supportVectorRegressor", {"denseSupportVectors": {"vectors": [{}, {}]}}, {"support vectors": 2}),
        ("supportVectorRegressor", {}, {"support vectors": 0}),
        ("dictVectorizer", {"stringToIndex": {"vector": ["a", "b", "c"]}}, {"entries": 3}),
        ("oneHotEncoder", {"int64Categories": {"vector": [1]}}, {"categories": 1}),
        ("featureVectorizer", {"inputList": [{}, {}]}, {"columns": 2}),
        ("scaler", {}, {}),
    ],
)
def test_what_models_without_layers_hold(kind: str, fields: dict[str, Any], contents: dict[str, int]) -> None:
    assert described(**{kind: fields}).contents == contents


def test_texts_of_strangers_do_not_control_the_terminal() -> None:
    hostile = "\x1b[31mred \x9b2J [bold]not bold[/] \u202ereversed"
    feature = {"name": hostile, "type": {"doubleType": {}}, "shortDescription": hostile}
    metadata = {"author": hostile, "license": "line one\r\nline two"}
    text = str(described(identity={}, description={"input": [feature], "metadata": metadata}))
    assert not {"\x1b", "\x9b", "\u202e", "\r"} & set(text)
    assert "[bold]not bold[/]" in text


def test_long_tables_and_texts_are_cut_in_print_but_not_in_json() -> None:
    inputs = [{"name": f"input{n}", "type": {"doubleType": {}}} for n in range(30)]
    description = described(identity={}, description={"input": inputs, "metadata": {"license": "x" * 5000}})
    text = str(description)
    assert "... and 10 more" in text
    assert "input29" not in text
    assert text.count("x") < 400
    assert "…" in text
    assert len(description.to_dict()["inputs"]) == 30
    assert len(description.to_dict()["metadata"]["license"]) == 5000


def test_many_gaps_are_cut_in_print() -> None:
    layers = [{"name": f"new{n}"} for n in range(12)]
    text = str(described(neuralNetwork={"layers": layers}))
    assert "... and 4 more; --layers names all" in text
    assert "new11" not in text


def test_to_dict_has_layers_only_when_asked() -> None:
    description = windfall.load(layer_spec("activation", np.zeros(2), ReLU={})).description
    assert "layers" not in description.to_dict()
    (layer,) = description.to_dict(layers=True)["layers"]
    assert layer["parameters"] == {"NonlinearityType": "ReLU"}
    assert description.to_dict()["inputs"][0]["type"]["kind"] == "array"
    assert description.to_dict()["runnable"]


def test_rich_prints_the_tables_in_colour() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    console.print(described(identity={}))
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().startswith("\x1b[1mthe model\x1b[0m")


def test_the_tables_stay_within_80_columns() -> None:
    names = {"name": "a_very_long_name/" * 10, "type": {"doubleType": {}}, "shortDescription": "word " * 40}
    text = str(described(pipelineClassifier=pipeline(), description={"input": [names]}))
    assert max(map(len, text.splitlines())) <= 80


EXPECTED = {
    "blazeface-scaled": ("neuralNetwork", 4, 128_270, 218),
    "image2image-hollance": ("neuralNetwork", 1, 0, 1),
    "improveai-dummy-v6": ("treeEnsembleClassifier", 1, 0, 0),
    "mnist-cnn-philippgabriel": ("neuralNetwork", 1, 600_810, 10),
    "names-gender-decision-tree": ("pipelineClassifier", 1, 0, 0),
    "nsfw-lovoo": ("pipelineClassifier", 1, 0, 0),
    "pose-cpm-mobilenetv2": ("neuralNetwork", 1, 577_212, 757),
    "sentiment-polarity-linearsvc": ("pipelineClassifier", 1, 0, 0),
    "style-starry-night-packt": ("neuralNetwork", 2, 552_003, 56),
    "waifu2x-anime-noise1": ("neuralNetwork", 1, 290_467, 13),
}


@pytest.mark.skipif(not REAL, reason="the folder of real models is not there")
@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_real_models(path: Path) -> None:
    description = windfall.load(path).description
    kind, version, parameters, layers = EXPECTED[path.stem]
    assert (description.type, description.specification_version) == (kind, version)
    assert (description.parameters, len(description.layers)) == (parameters, layers)
    assert description.size == path.stat().st_size
    assert description.inputs
    assert description.outputs
    assert max(map(len, str(description).splitlines())) <= 80
    assert json.dumps(description.to_dict(layers=True))
