"""Functions of the user's in the place of models whose weights are not in the file."""

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import windfall
from tests.classical import array, image, model_spec, optional, pipeline_spec
from tests.custom.support import built_in, classifier, linear, means, photo_pipeline, scaled, vision
from windfall.description import Dependency
from windfall.errors import FeatureError, UnsupportedError
from windfall.lowering.gaps import BUILT_IN

LOVOO = Path(__file__).parents[3] / "shared/models/nsfw-lovoo.mlmodel"
APPLE = (
    "needs a model that is part of Apple's operating systems, whose weights are not in the file; in Python, "
    "load(..., feature_extractor=FUNCTION) takes a function of yours in its place"
)
RED = Image.new("RGB", (8, 6), (255, 51, 0))
BLUE = Image.new("RGB", (8, 6), (0, 51, 255))


def stages(model: Any) -> list[str]:
    return [type(stage).__name__ for stage in model._program.stages]


@pytest.mark.parametrize("kind", BUILT_IN)
def test_without_a_function_a_model_says_what_it_needs(kind: str) -> None:
    spec = built_in(kind, {"x": "string"}, {"y": "string"})
    model = windfall.load(spec)
    assert model.description.unsupported == (f"type {kind}: {APPLE}",)
    assert model.description.dependencies == (Dependency("built-in model", kind),)
    with pytest.raises(UnsupportedError) as error:
        model.predict({"x": "hello"})
    assert str(error.value) == f"the model cannot be run: type {kind}: {APPLE}; see all with: windfall inspect MODEL"


def test_without_a_function_a_pipeline_says_which_member_needs_it() -> None:
    model = windfall.load(photo_pipeline())
    with pytest.raises(UnsupportedError) as error:
        model.predict({"image": RED})
    assert str(error.value) == (
        f"the model cannot be run: model 'model0': type visionFeaturePrint: {APPLE}; "
        "see all with: windfall inspect MODEL"
    )


def test_a_function_stands_for_a_model_by_itself() -> None:
    model = windfall.load(vision(), feature_extractor=means)
    np.testing.assert_allclose(model.predict({"image": RED})["print"], [1, 0.2, 0])
    assert model.description.runnable
    assert model.description.dependencies == (Dependency("built-in model", "visionFeaturePrint"),)


@pytest.mark.parametrize(
    "given", [means, {"visionFeaturePrint": means}, {"model0": means}, {"model0": means, "visionFeaturePrint": len}]
)
def test_a_function_stands_for_a_member(given: Any) -> None:
    model = windfall.load(photo_pipeline(), feature_extractor=given)
    # The tree has no transform: its scores are the probabilities.
    assert model.predict({"image": RED}) == {"label": "b", "probabilities": {"a": 0.0, "b": 1.0}}
    assert model.predict({"image": BLUE})["label"] == "a"
    assert model.description.unsupported == ()
    assert stages(model) == ["PythonStage", "GraphStage"]


def test_inner_values_can_be_asked_for() -> None:
    model = windfall.load(photo_pipeline(), feature_extractor=means)
    result = model.predict({"image": RED}, outputs=["print", "image"])
    np.testing.assert_allclose(result["print"], [1, 0.2, 0])
    assert result["image"].getpixel((0, 0)) == (255, 51, 0)
    with pytest.raises(FeatureError, match="the model has no value 'other'"):
        model.predict({"image": RED}, outputs=["other"])


def test_only_what_is_asked_for_is_computed() -> None:
    calls: list[Any] = []
    members = [vision(), scaled("own", 2.0, "x"), linear([1.0, 1.0, 1.0])]
    spec = pipeline_spec(members, {"image": image(8, 6), "x": array(3)}, {"y": "double", "own": array(3)})
    model = windfall.load(spec, feature_extractor=lambda picture: calls.append(picture) or means(picture))
    result = model.predict({"image": RED, "x": [1, 2, 3]}, outputs=["own"])
    np.testing.assert_array_equal(result["own"], [2, 4, 6])
    # It lies in the same graph as what the function gives to, which is why that is called.
    assert len(calls) == 1
    model.predict({"image": RED, "x": [1, 2, 3]}, outputs=["x"])
    assert len(calls) == 1


def test_many_predictions_go_one_by_one() -> None:
    model = windfall.load(photo_pipeline(), feature_extractor=means)
    rows = model.predict_batch([{"image": RED}, {"image": BLUE}])
    assert [row["label"] for row in rows] == ["b", "a"]
    table = model.predict_batch({"image": [RED, BLUE, RED]})
    assert list(table["label"]) == ["b", "a", "b"]
    np.testing.assert_array_equal(table["probabilities"]["b"], [1, 0, 1])


def test_members_before_and_after_are_one_graph_each() -> None:
    """before, before | print | after, other, after: what does not need the function joins either graph."""
    shape = array(3)
    sound = built_in("audioFeaturePrint", {"b": shape}, {"c": shape})
    members = [scaled("a", 2.0, "x"), scaled("b", 3.0, "a"), sound, scaled("d", 10.0, "c"), scaled("e", 100.0, "x"),
               scaled("f", 2.0, "d")]  # fmt: skip
    spec = pipeline_spec(members, {"x": shape}, {"f": shape, "e": shape, "b": shape})
    model = windfall.load(spec, feature_extractor=lambda x: x + 1)
    result = model.predict({"x": [1, 2, 3]})
    np.testing.assert_array_equal(result["b"], [6, 12, 18])
    np.testing.assert_array_equal(result["f"], [140, 260, 380])
    np.testing.assert_array_equal(result["e"], [100, 200, 300])
    assert stages(model) == ["GraphStage", "PythonStage", "GraphStage"]


def test_a_network_may_stand_beside_what_a_function_gives() -> None:
    """Neither of the two needs the other: one function, one graph."""
    members = [scaled("n", 2.0, "x"), vision(), linear([1.0, 2.0, 3.0])]
    spec = pipeline_spec(members, {"image": image(8, 6), "x": array(3)}, {"y": "double", "n": array(3)})
    model = windfall.load(spec, feature_extractor=means)
    assert model.predict({"image": RED, "x": [0, 0, 1]})["y"] == pytest.approx(1.9)
    assert stages(model) == ["PythonStage", "GraphStage"]


def test_a_function_in_nested_pipelines_whose_names_mean_other_values() -> None:
    """x -> [x * 2 as x -> [x + 1 as x, * 3 as y]] -> y, + x * 1000 of the outer x."""
    shape = array(3)
    inner = pipeline_spec(
        [built_in("audioFeaturePrint", {"x": shape}, {"x": shape}), scaled("y", 3.0, "x")], {"x": shape}, {"y": shape}
    )
    middle = pipeline_spec([scaled("x", 2.0), inner], {"x": shape}, {"y": shape})
    spec = pipeline_spec([middle, scaled("z", 1000.0, "x")], {"x": shape}, {"y": shape, "z": shape})
    model = windfall.load(spec, feature_extractor={"model0/model1/model0": lambda x: x + 1})
    result = model.predict({"x": [1, 2, 3]})
    np.testing.assert_array_equal(result["y"], [9, 15, 21])
    np.testing.assert_array_equal(result["z"], [1000, 2000, 3000])
    assert model.description.dependencies[0].used_by == "model0/model1/model0"


def test_two_names_change_places_in_a_nested_pipeline() -> None:
    shape = array(2)
    swap = pipeline_spec([scaled("t", 1.0, "a", 2), scaled("a", 1.0, "b", 2), scaled("b", 1.0, "t", 2)],
                         {"a": shape, "b": shape}, {"a": shape, "b": shape})  # fmt: skip
    sound = built_in("audioFeaturePrint", {"a": shape}, {"c": shape})
    last = model_spec("featureVectorizer", {"a": shape, "b": shape, "c": shape}, {"all": array(6)},
                      {"inputList": [{"inputColumn": n, "inputDimensions": 2} for n in "abc"]})  # fmt: skip
    spec = pipeline_spec([swap, sound, swap, last], {"a": shape, "b": shape}, {"all": array(6)})
    model = windfall.load(spec, feature_extractor=lambda x: -x)
    result = model.predict({"a": [1, 2], "b": [3, 4]})
    np.testing.assert_array_equal(result["all"], [1, 2, 3, 4, -3, -4])


@pytest.mark.parametrize(
    ("kind", "value", "gives", "result"),
    [
        ("string", "hi", "string", "label"),
        ("string", "hi", "double", 3),
        ("string", "hi", "int64", np.int32(3)),
        ("string", "hi", "string dictionary", {"a": 1}),
        ("string", "hi", "int64 dictionary", {7: 0.5}),
        ("string", "hi", "string sequence", ["a", "b"]),
        ("string", "hi", "int64 sequence", [1, 2]),
        ("double", 2, "double", 0.5),
        ("int64", 2, "double", 0.5),
        ("string dictionary", {"a": 2}, "double", 0.5),
        ("int64 sequence", [1, 2], "double", 0.5),
    ],
)
def test_values_of_all_types(kind: str, value: Any, gives: str, result: Any) -> None:
    seen: list[Any] = []
    model = windfall.load(
        built_in("gazetteer", {"x": kind}, {"y": gives}), feature_extractor=lambda x: seen.append(x) or result
    )
    assert model.predict({"x": value})["y"] == result
    assert seen == [value]


def test_arrays_and_pictures_come_as_they_are_declared() -> None:
    seen: list[Any] = []
    spec = built_in("audioFeaturePrint", {"x": array(2, dtype="INT32")}, {"y": image(4, 2, "GRAYSCALE")})
    model = windfall.load(spec, feature_extractor=lambda x: seen.append(x) or np.full((2, 4), 7, np.uint8))
    picture = model.predict({"x": [1.0, 2.0]})["y"]
    assert seen[0].dtype == np.int32
    assert (picture.mode, picture.size, picture.getpixel((0, 0))) == ("L", (4, 2), 7)


def test_an_array_without_a_declared_shape_has_the_one_it_is_given() -> None:
    spec = pipeline_spec(
        [built_in("audioFeaturePrint", {"x": array(2)}, {"p": {"multiArrayType": {"dataType": "DOUBLE"}}}),
         scaled("y", 2.0, "p")],
        {"x": array(2)}, {"y": array(3)},
    )  # fmt: skip
    model = windfall.load(spec, feature_extractor=lambda x: [*x, 9])
    np.testing.assert_array_equal(model.predict({"x": [1, 2]})["y"], [2, 4, 18])


def test_what_is_missing_is_none() -> None:
    spec = built_in("wordEmbedding", {"x": optional("string")}, {"y": "string"})
    model = windfall.load(spec, feature_extractor=str)
    assert model.predict({}) == {"y": "None"}


def test_several_inputs_and_outputs_are_dictionaries() -> None:
    spec = built_in("wordTagger", {"a": "double", "b": "double"}, {"sum": "double", "names": "string sequence"})
    model = windfall.load(
        spec, feature_extractor=lambda given: {"sum": given["a"] + given["b"], "names": sorted(given)}
    )
    assert model.predict({"a": 1, "b": 2}) == {"sum": 3.0, "names": ["a", "b"]}


WHO = "the feature extractor for model 'model0' (visionFeaturePrint) of the model returned "


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ([1, 2], "what does not fit: output 'print' has shape [2], must be [3]; reshape it"),
        (None, "None, must return the value of the output 'print'"),
        ("abc", "what does not fit: output 'print' is str of <U3, must be an array of numbers; convert it first"),
        (
            {"print": [1, 2, 3]},
            "what does not fit: output 'print' is dict, must be an array of numbers; convert it first",
        ),
    ],
)
def test_what_a_function_returns_is_checked(result: Any, text: str) -> None:
    model = windfall.load(photo_pipeline(), feature_extractor=lambda _: result)
    with pytest.raises(FeatureError) as error:
        model.predict({"image": RED})
    assert str(error.value) == WHO + text


@pytest.mark.parametrize(
    ("result", "what"), [([1, 2], "list"), ({"sum": 1}, "a dictionary of ['sum']"), ({"sum": 1, "n": 2, "m": 3}, None)]
)
def test_several_outputs_must_be_those_declared(result: Any, what: str | None) -> None:
    spec = built_in("wordTagger", {"a": "double"}, {"sum": "double", "n": "double"})
    with pytest.raises(FeatureError) as error:
        windfall.load(spec, feature_extractor=lambda _: result).predict({"a": 1})
    assert str(error.value) == (
        f"the feature extractor for wordTagger of the model returned {what or f'a dictionary of {list(result)}'}, "
        "must return a dictionary with a value for each of ['sum', 'n']"
    )


def test_numbers_need_not_be_finite() -> None:
    model = windfall.load(vision(), feature_extractor=lambda _: [np.nan, np.inf, 1])
    np.testing.assert_array_equal(model.predict({"image": RED})["print"], [np.nan, np.inf, 1])


def test_an_exception_of_the_users_stays_and_names_the_member() -> None:
    def failing(picture: Any) -> Any:
        raise KeyError("mine")

    model = windfall.load(photo_pipeline(), feature_extractor=failing)
    with pytest.raises(KeyError, match="mine") as error:
        model.predict({"image": RED})
    assert error.value.__notes__ == [
        "raised by the feature extractor for model 'model0' (visionFeaturePrint) of the model"
    ]
    assert "failing" in [frame.name for frame in traceback.extract_tb(error.tb)]


def test_inputs_are_checked_before_a_function_is_called() -> None:
    model = windfall.load(photo_pipeline(), feature_extractor=lambda _: pytest.fail("called"))
    for inputs, text in (
        ({"image": Image.new("RGB", (3, 3))}, "image 'image' is 3x3, must be 8x6"),
        ({}, "input 'image' is missing"),
        ({"image": RED, "other": 1}, "the model has no input 'other'"),
    ):
        with pytest.raises(FeatureError, match=text):
            model.predict(inputs)


def text_and_photo() -> Any:
    members = [vision(), built_in("textClassifier", {"text": "string"}, {"label": "string"})]
    return pipeline_spec(members, {"image": image(8, 6), "text": "string"}, {"label": "string"})


@pytest.mark.parametrize(
    ("spec", "given", "text"),
    [
        (linear, means, ("the model has no part that a feature_extractor could stand for: those of the types "
         "visionFeaturePrint, audioFeaturePrint, textClassifier, wordTagger, gazetteer, wordEmbedding are such; "
         "load it without")),
        (photo_pipeline, {"model1": means}, ("feature_extractor has 'model1', which is no part of the model that needs "
         "one; such are 'model0', 'visionFeaturePrint'")),
        (photo_pipeline, {"model0": 3}, ("feature_extractor is 3, must be a function, or a mapping from types or names "
         "to such")),
        (photo_pipeline, "print", ("feature_extractor is 'print', must be a function, or a mapping from types or names "
         "to such")),
        (text_and_photo, means, ("the model has parts of the types visionFeaturePrint, textClassifier, so "
         "feature_extractor must be a mapping from each to a function")),
    ],
)  # fmt: skip
def test_functions_for_nothing_are_refused(spec: Callable[..., Any], given: Any, text: str) -> None:
    with pytest.raises(UnsupportedError) as error:
        windfall.load(spec([1.0]) if spec is linear else spec(), feature_extractor=given)
    assert str(error.value) == text


def test_members_without_a_function_are_still_gaps() -> None:
    model = windfall.load(text_and_photo(), feature_extractor={"visionFeaturePrint": means})
    assert model.description.unsupported == (f"model 'model1': type textClassifier: {APPLE}",)
    with pytest.raises(UnsupportedError, match="model 'model1': type textClassifier"):
        model.predict({"image": RED, "text": ""})


def test_what_one_graph_has_such_a_model_has_not() -> None:
    model = windfall.load(photo_pipeline(), feature_extractor=means)
    with pytest.raises(UnsupportedError) as error:
        _ = model.compiled
    assert str(error.value) == (
        "the model is not one graph, since code of yours stands for parts of it; compiled is for models without"
    )
    assert model.state_names == []
    with pytest.raises(FeatureError, match="keeps no states"):
        model.make_state()
    assert model.spec == photo_pipeline()


def test_a_function_of_a_program_is_no_function_of_such_a_model() -> None:
    with pytest.raises(UnsupportedError, match="has no function 'f'"):
        windfall.load(photo_pipeline(), feature_extractor=means, function="f")


def test_damaged_pipelines_are_refused() -> None:
    spec = pipeline_spec([vision(), classifier("other")], {"image": image(8, 6)}, {"label": "string"})
    with pytest.raises(windfall.FormatError, match="'model1' of the model takes 'other', which is no input"):
        windfall.load(spec, feature_extractor=means).predict({"image": RED})
    spec = pipeline_spec([vision()], {"image": image(8, 6)}, {"label": "string"})
    with pytest.raises(windfall.FormatError, match="the model has an output 'label', which is no input and no output"):
        windfall.load(spec, feature_extractor=means).predict({"image": RED})


@pytest.mark.skipif(not LOVOO.exists(), reason="the published models are not beside the project")
def test_a_published_model() -> None:
    photo = Image.new("RGB", (299, 299), "orange")
    with pytest.raises(UnsupportedError, match=r"'model0': type visionFeaturePrint: .* weights are not in the file"):
        windfall.load(LOVOO).predict({"image": photo})
    features = np.linspace(-1, 1, 2048)
    model = windfall.load(LOVOO, feature_extractor=lambda _: features)
    result = model.predict({"image": photo})
    glm = model.message.pipelineClassifier.pipeline.models[1].glmClassifier
    score = 1 / (1 + np.exp(-(np.dot(glm.weights[0].value, features) + glm.offset[0])))
    first, second = glm.stringClassLabels.vector
    assert result["classLabelProbs"] == pytest.approx({first: 1 - score, second: score})
    assert result["classLabel"] == (second if score > 0.5 else first)
