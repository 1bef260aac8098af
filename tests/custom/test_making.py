"""Models with custom parts that are written here: they load in coremltools, and say which version they need."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import windfall
from tests.classical import array, model_spec
from tests.custom.layers import Doubled
from windfall.custom import add_layer, make_model, make_network, make_pipeline
from windfall.description import ArrayType, DictionaryType, FeatureDescription, ImageType, SequenceType, SizeRange
from windfall.errors import UnsupportedError

IMAGE = ImageType(8, 6, "RGB")


def layered(**options: Any) -> Any:
    spec = make_network({"x": (2,)}, {"y": (2,)}, **options)
    add_layer(spec, "Mine", inputs=["x"], outputs=["y"], weights=[[1, 2]], description="adds")
    return spec


@pytest.mark.parametrize(
    ("spec", "version"),
    [
        (layered(), 2),  # iOS 11.2
        (layered(exact=True), 4),
        (make_model("Mine", inputs={"x": str}, outputs={"y": float}), 3),  # iOS 12
        (make_model("Mine", inputs={"x": list[str]}, outputs={"y": IMAGE}), 3),
        (make_model("Mine", inputs={"x": ArrayType("FLOAT16", (2,))}, outputs={"y": int}), 7),
        (make_model("Mine", inputs={"x": ImageType(4, 4, "GRAYSCALE_FLOAT16")}, outputs={"y": int}), 7),
        (make_model("Mine", inputs={"x": ArrayType("INT8", (2,))}, outputs={"y": int}), 10),
        (make_pipeline({"a": layered(), "b": make_model("Mine", inputs={"y": (2,)}, outputs={"z": (2,)})}), 3),
    ],
)
def test_a_model_asks_for_the_version_that_it_needs(spec: Any, version: int) -> None:
    assert spec.specificationVersion == version
    assert windfall.load(spec).spec == spec


def test_coremltools_loads_them(tmp_path: Path) -> None:
    """With its own checks, those of Core ML, where it has its native part."""
    pipeline = make_pipeline({"a": layered(), "b": make_model("Mine", inputs={"y": (2,)}, outputs={"z": (2,)})})
    specs = [layered(), make_model("Mine", inputs={"x": str}, outputs={"y": float}, parameters={"a": b"x"}), pipeline]
    paths = [windfall.load(spec).save(tmp_path / f"{number}.mlmodel") for number, spec in enumerate(specs)]
    code = (
        "import sys, warnings; warnings.simplefilter('ignore')\n"
        "import coremltools as ct\n"
        "for path in sys.argv[1:]:\n"
        "    spec = ct.utils.load_spec(path)\n"
        "    model = ct.models.MLModel(spec, skip_model_load=True)\n"
        "    print(spec.WhichOneof('Type'), spec.specificationVersion, len(model.get_spec().SerializeToString()))\n"
    )
    command = [sys.executable, "-c", code, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603  # our own code
    expected = [
        f"{spec.WhichOneof('Type')} {spec.specificationVersion} {len(spec.SerializeToString())}" for spec in specs
    ]
    assert done.stdout.splitlines() == expected


def test_inputs_and_outputs_of_all_types() -> None:
    kinds = {
        "image": ImageType(8, 6, "BGR", width_range=SizeRange(4, 8), height_range=SizeRange(3, None)),
        "sizes": ImageType(8, 6, "GRAYSCALE", sizes=((4, 3),)),
        "array": ArrayType("INT32", (2, 3), shapes=((2, 3), (4, 3))),
        "range": ArrayType("DOUBLE", (2,), ranges=(SizeRange(1, 5),)),
        "keys": DictionaryType("int64"),
        "list": SequenceType("int64", SizeRange(2, 4)),
        "maybe": FeatureDescription("", DictionaryType("string"), optional=True, description="what it is"),
    }
    inputs = windfall.load(make_model("Mine", inputs=kinds, outputs={"y": str})).description.inputs
    for feature, (name, kind) in zip(inputs, kinds.items(), strict=True):
        assert feature.name == name
        assert feature.type == getattr(kind, "type", kind)
    assert (inputs[-1].optional, inputs[-1].description) == (True, "what it is")


def test_a_layer_may_take_the_place_of_another() -> None:
    spec = make_network({"x": (2,)}, {"y": (2,)}, exact=True)
    for number, (takes, gives) in enumerate((("x", "a"), ("a", "b"), ("b", "y"))):
        layer = spec.neuralNetwork.layers.add(name=f"relu{number}", input=[takes], output=[gives])
        layer.activation.ReLU.SetInParent()
    added = add_layer(spec, "Mine", replaces="relu1")
    assert (added.name, list(added.input), list(added.output)) == ("relu1", ["a"], ["b"])
    assert [layer.WhichOneof("layer") for layer in spec.neuralNetwork.layers] == ["activation", "custom", "activation"]
    result = windfall.load(spec, custom_layers={"Mine": Doubled}).predict({"x": np.array([-1.0, 3.0])})["y"]
    np.testing.assert_array_equal(result, [0, 6])


def test_layers_get_names_of_their_own() -> None:
    spec = layered()
    assert add_layer(spec, "Mine", inputs=["y"], outputs=["z"]).name == "Mine1"
    assert [layer.name for layer in spec.neuralNetwork.layers] == ["Mine", "Mine1"]


def test_a_pipeline_takes_models_and_messages() -> None:
    scaler = model_spec("scaler", {"y": array(2)}, {"z": array(2)}, {"scaleValue": [3.0, 3.0]})
    spec = make_pipeline({"layer": windfall.load(layered()), "scaler": scaler}, outputs=["z", "y"])
    model = windfall.load(spec, custom_layers={"Mine": Doubled})
    result = model.predict({"x": [1, 2]})
    np.testing.assert_array_equal(result["z"], [6, 12])
    np.testing.assert_array_equal(result["y"], [2, 4])
    assert [member.name for member in model.description.members] == ["layer", "scaler"]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: add_layer(make_model("Mine", inputs={}, outputs={}), "Mine", inputs=["x"], outputs=["y"]),
            "add_layer is given a customModel, must be the Model message of a neural network",
        ),
        (
            lambda: add_layer("spec", "Mine", inputs=["x"], outputs=["y"]),
            "add_layer is given a str, must be the Model message of a neural network",
        ),
        (
            lambda: add_layer(layered(), "Mine", outputs=["y"]),
            "inputs is (), must be a list of at least one name",
        ),
        (
            lambda: add_layer(layered(), "Mine", inputs="x", outputs=["y"]),
            "inputs is 'x', must be a list of at least one name",
        ),
        (
            lambda: add_layer(layered(), "", inputs=["x"], outputs=["y"]),
            "the class name is '', must be a text that is not empty",
        ),
        (
            lambda: add_layer(layered(), "Mine", replaces="other"),
            "replaces is 'other', must be the name of a layer of the network",
        ),
        (
            lambda: add_layer(layered(), "Mine", replaces="Mine", parameters={"size": [1]}),
            "the custom layer 'Mine': the parameter 'size' is [1], must be one of: bool, int, float, str",
        ),
        (
            lambda: add_layer(layered(), "Mine", replaces="Mine", parameters={"size": b"x"}),
            "the custom layer 'Mine': the parameter 'size' is b'x', must be one of: bool, int, float, str",
        ),
        (
            lambda: make_model("Mine", inputs={}, outputs={}, parameters={"size": 2**63}),
            ("the custom model 'Mine': the parameter 'size' is 9223372036854775808, must be one of: bool, int, float, "
            "str, bytes"),
        ),
        (
            lambda: make_model("Mine", inputs={}, outputs={}, parameters={"": 1}),
            "the custom model 'Mine' has a parameter named '', must be a text that is not empty",
        ),
        (
            lambda: make_model("Mine", inputs={"x": bytes}, outputs={}),
            ("the type of 'x' is <class 'bytes'>, must be a shape, one of str, int, float, dict[str, float], "
            "dict[int, float], list[str], list[int], or a type of windfall.description"),
        ),
        (
            lambda: make_model("Mine", inputs={"x": (0, 2)}, outputs={}),
            ("the type of 'x' is (0, 2), must be a shape, one of str, int, float, dict[str, float], dict[int, float], "
            "list[str], list[int], or a type of windfall.description"),
        ),
        (lambda: make_pipeline({}), "make_pipeline is given no members, must have at least one"),
        (
            lambda: make_pipeline({"a": layered()}, outputs=["q"]),
            "make_pipeline is asked for the output 'q', must be one of: x, y",
        ),
        (lambda: make_pipeline({"a": 3}), "the member 'a' is 3, must be a model without weight files"),
    ],
)  # fmt: skip
def test_what_cannot_be_made_is_refused(make: Any, text: str) -> None:
    with pytest.raises(UnsupportedError) as error:
        make()
    assert str(error.value) == text
