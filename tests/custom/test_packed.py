"""Models that lie in another model as bytes."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

import windfall
from tests.classical import array, described, image, pipeline_spec
from tests.custom.support import linear, means, photo_pipeline, scaled, vision
from windfall.custom.packed import packed_type
from windfall.description import Dependency
from windfall.errors import FormatError, UnsupportedError
from windfall.spec.pipelines import DEEPEST
from windfall.spec.proto import Model_pb2

MODEL = "CoreML.Specification.Model"
PREFIX = "CoreML.Specification."
DOUBLE = scaled("x", 2.0)


def packed(spec: Any, identifier: str = MODEL, content: bytes | None = None) -> Any:
    """A serializedModel with another model in it, and its description."""
    around = Model_pb2.Model(specificationVersion=5)
    around.description.CopyFrom(spec.description)
    around.serializedModel.identifier = identifier
    around.serializedModel.model = spec.SerializeToString() if content is None else content
    return around


def value_of(spec: Any) -> Any:
    (value,) = windfall.load(spec).predict({"x": [1, 2, 3]}).values()
    return value


@pytest.mark.parametrize("identifier", [MODEL, "Model"])
def test_a_whole_model_is_run(identifier: str) -> None:
    spec = packed(DOUBLE, identifier)
    np.testing.assert_array_equal(value_of(spec), [2, 4, 6])
    description = windfall.load(spec).description
    assert (description.type, description.runnable, description.dependencies) == ("serializedModel", True, ())


@pytest.mark.parametrize(
    ("spec", "identifier", "content", "value"),
    [
        (DOUBLE, "Scaler", DOUBLE.scaler, [2, 4, 6]),
        (linear([1.0, 1.0, 1.0], "x"), "GLMRegressor", linear([1.0, 1.0, 1.0], "x").glmRegressor, 6.5),
        (pipeline_spec([DOUBLE, DOUBLE], {"x": array(3)}, {"x": array(3)}), "Pipeline",
         pipeline_spec([DOUBLE, DOUBLE], {}, {}).pipeline, [4, 8, 12]),
        (scaled("x", 1.0), "Identity", None, [1, 2, 3]),
    ],
)  # fmt: skip
def test_a_type_by_its_full_name_is_run(spec: Any, identifier: str, content: Any, value: Any) -> None:
    data = b"" if content is None else content.SerializeToString()
    np.testing.assert_array_equal(value_of(packed(spec, PREFIX + identifier, data)), value)


def test_every_type_has_a_name() -> None:
    for field in Model_pb2.Model.DESCRIPTOR.oneofs_by_name["Type"].fields:
        assert packed_type(field.message_type.full_name) == field.name
    assert packed_type(f"{PREFIX}ModelDescription") is None


def test_the_description_is_that_of_the_model_around() -> None:
    inner = scaled("x", 2.0)
    del inner.description.output[:]
    inner.description.input[0].name = "other"
    around = packed(DOUBLE, content=inner.SerializeToString())
    np.testing.assert_array_equal(value_of(around), [2, 4, 6])


def test_a_member_of_a_pipeline_is_unpacked_into_the_one_graph() -> None:
    spec = pipeline_spec([packed(packed(DOUBLE)), scaled("x", 10.0)], {"x": array(3)}, {"x": array(3)})
    np.testing.assert_array_equal(value_of(spec), [20, 40, 60])
    assert windfall.load(spec).predict_batch({"x": np.ones((4, 3))})["x"].shape == (4, 3)


def test_the_cache_keeps_models_with_packed_members(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINDFALL_CACHE", str(tmp_path / "cache"))
    spec = pipeline_spec([packed(DOUBLE), scaled("x", 10.0)], {"x": array(3)}, {"x": array(3)})
    path = windfall.load(spec).save(tmp_path / "m.mlmodel")
    for _ in range(2):
        np.testing.assert_array_equal(value_of(path), [20, 40, 60])
    assert len(list((tmp_path / "cache").glob("*.onnx"))) == 1


def test_a_feature_print_in_bytes_takes_a_function() -> None:
    red = Image.new("RGB", (8, 6), (255, 0, 0))
    spec = pipeline_spec([packed(vision())], {"image": image(8, 6)}, {"print": array(3)})
    assert windfall.load(spec).description.dependencies == (
        Dependency("built-in model", "visionFeaturePrint", "model0"),
    )
    with pytest.raises(UnsupportedError, match="'model0': type visionFeaturePrint: needs a model that is part of"):
        windfall.load(spec).predict({"image": red})
    model = windfall.load(packed(photo_pipeline()), feature_extractor=means)
    assert model.predict({"image": red})["label"] == "b"


def test_what_is_private_is_refused_by_its_name() -> None:
    model = windfall.load(packed(DOUBLE, "Apple.Secret", b"\xff"))
    needs = "type serializedModel: is a 'Apple.Secret', private to Apple's tools"
    assert model.description.unsupported == (needs,)
    with pytest.raises(UnsupportedError) as error:
        model.predict({"x": [1, 2, 3]})
    assert str(error.value) == f"the model cannot be run: {needs}; see all with: windfall inspect MODEL"


@pytest.mark.parametrize(
    ("identifier", "content", "what"),
    [
        (MODEL, b"\xff\xff", "which cannot be read"),
        ("CoreML.Specification.Scaler", b"\x0a\x7f", "which cannot be read"),
        (MODEL, b"", "which has no type"),
        (MODEL, Model_pb2.Model(specificationVersion=99, identity={}).SerializeToString(),
         "of specificationVersion 99, must be up to 10"),
    ],
)  # fmt: skip
def test_damaged_bytes(identifier: str, content: bytes, what: str) -> None:
    model = windfall.load(packed(DOUBLE, identifier, content))
    text = f"the model is a serializedModel of a '{identifier}', {what}; download or convert it again"
    with pytest.raises(FormatError) as error:
        model.predict({"x": [1, 2, 3]})
    assert str(error.value) == text
    assert model.description.unsupported == (text,)


def test_a_forged_mark_of_a_weight_elsewhere_is_none() -> None:
    """What stands for a weight cut out of a file means nothing inside of packed bytes."""
    mark = bytes([0x88, 0xB4, 0xE0, 0xFF, 0x0F, 0x00])  # field 536800001, number 0
    spec = described({"x": array(3, dtype="FLOAT32")}, {"x": array(3, dtype="FLOAT32")})
    spec.specificationVersion = 4
    layer = spec.neuralNetwork.layers.add(name="l", input=["x"], output=["x"])
    layer.bias.shape.append(1)
    layer.bias.bias.MergeFromString(mark)
    with pytest.raises(FormatError, match="layer 'l'"):
        windfall.load(packed(spec)).predict({"x": [1, 2, 3]})


def test_models_packed_too_deep() -> None:
    spec = DOUBLE
    for _ in range(DEEPEST):
        spec = packed(spec)
    np.testing.assert_array_equal(value_of(spec), [2, 4, 6])
    for _ in range(2):
        spec = packed(spec)
    with pytest.raises(FormatError) as error:
        value_of(spec)
    assert str(error.value) == (
        f"the model: models lie in, or are linked from, more than {DEEPEST} others; download or convert it again"
    )


def test_pipelines_and_packed_models_too_deep_in_each_other() -> None:
    spec = DOUBLE
    for _ in range(3):
        for _ in range(20):
            spec = pipeline_spec([spec], {"x": array(3)}, {"x": array(3)})
        spec = packed(spec)
    with pytest.raises(FormatError, match="more than 32 others"):
        value_of(spec)
