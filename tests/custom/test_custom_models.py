"""Custom models, alone and in pipelines, and all that their classes may get wrong."""

import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import windfall
from tests.classical import array, image, optional, pipeline_spec
from tests.custom.layers import Doubled, network
from tests.custom.support import classifier, means, scaled, vision
from windfall.description import Dependency
from windfall.errors import FeatureError, FormatError, UnsupportedError
from windfall.runtime.engine import EngineOptions

RED = Image.new("RGB", (8, 6), (255, 51, 0))


def predicting(function: Any, **methods: Any) -> type[windfall.CustomModel]:
    """A class whose ``predict`` is a function of its inputs."""
    methods["predict"] = lambda self, inputs, options: function(inputs)
    return type("Mine", (windfall.CustomModel,), methods)


def mine(inputs: Any, outputs: Any, class_name: str = "Mine", **parameters: Any) -> Any:
    return windfall.custom.make_model(
        class_name, inputs=inputs, outputs=outputs, parameters=parameters, description="what it is for"
    )


def loaded(spec: Any, function: Any, **methods: Any) -> windfall.Model:
    return windfall.load(spec, custom_models={"Mine": predicting(function, **methods)})


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (str, "hi"),
        (int, 2**40),
        (float, 0.5),
        (dict[str, float], {"a": 1.0}),
        (dict[int, float], {7: 0.5}),
        (list[str], ["a", "b"]),
        (list[int], [1, 2]),
    ],
)
def test_values_of_all_types(kind: Any, value: Any) -> None:
    seen: list[Any] = []
    model = loaded(mine({"x": kind}, {"y": kind}), lambda inputs: seen.append(inputs["x"]) or {"y": inputs["x"]})
    assert model.predict({"x": value}) == {"y": value}
    assert seen == [value]


def test_arrays_and_pictures() -> None:
    spec = mine({"x": windfall.description.ImageType(8, 6, "RGB")}, {"y": (3,)})
    model = loaded(spec, lambda inputs: {"y": means(inputs["x"])})
    result = model.predict({"x": RED})["y"]
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, [1, 0.2, 0], rtol=1e-6)


def test_what_is_missing_is_none_and_numbers_need_not_be_finite() -> None:
    spec = mine({"x": float}, {"y": float})
    spec.description.input[0].type.isOptional = True
    assert np.isnan(loaded(spec, lambda inputs: {"y": np.nan if inputs["x"] is None else 0}).predict({})["y"])


class Remembers(windfall.CustomModel):
    def __init__(self, description: Any, parameters: Any) -> None:
        super().__init__(description, parameters)
        made.append(self)

    def predict(self, inputs: Any, options: Any) -> Any:
        self.options = options
        return {"y": inputs["x"]}


made: list[Any] = []


def test_the_constructor_gets_the_description_and_parameters_of_every_type() -> None:
    given = {"double": 0.5, "text": "ä", "int": -7, "long": 2**40, "bool": False, "bytes": b"\0\xff"}
    model = windfall.load(mine({"x": float}, {"y": float}, **given), custom_models={"Mine": Remembers}, threads=1)
    model.predict({"x": 1})
    model.predict({"x": 1})
    (one,) = made
    made.clear()
    assert one.parameters == given
    assert [type(one.parameters[name]) for name in given] == [float, str, int, int, bool, bytes]
    assert [feature.name for feature in one.description.inputs] == ["x"]
    assert one.description.metadata.description == "what it is for"
    assert one.options == EngineOptions(threads=1)


def test_a_parameter_without_a_value_is_named() -> None:
    spec = mine({"x": float}, {"y": float})
    spec.customModel.parameters["size"].SetInParent()
    with pytest.raises(FormatError) as error:
        windfall.load(spec, custom_models={"Mine": Remembers}).predict({"x": 1})
    assert str(error.value) == (
        "customModel of the model, className 'Mine': the parameter 'size' has no value, must have one"
    )


def pipeline() -> Any:
    """An array times 2, what a class makes of it, times 10."""
    return pipeline_spec(
        [scaled("a", 2.0, "x"), mine({"a": (3,)}, {"b": (3,)}), scaled("c", 10.0, "b")],
        {"x": array(3)}, {"c": array(3), "a": array(3)},
    )  # fmt: skip


def test_a_custom_model_between_others() -> None:
    model = loaded(pipeline(), lambda inputs: {"b": -inputs["a"]})
    np.testing.assert_array_equal(model.predict({"x": [1, 2, 3]})["c"], [-20, -40, -60])
    np.testing.assert_array_equal(model.predict({"x": [1, 2, 3]}, outputs=["b"])["b"], [-2, -4, -6])
    assert [type(stage).__name__ for stage in model._program.stages] == ["GraphStage", "PythonStage", "GraphStage"]  # type: ignore[attr-defined]
    assert model.description.dependencies == (
        Dependency("custom model", "Mine", "model1", "what it is for", registered=True),
    )
    assert model.description.runnable


def test_together_with_a_custom_layer_and_a_feature_extractor() -> None:
    layers = network(("Mine", ["print"], ["p"]), shape=(3,), inputs=["print"], outputs=["p"])
    spec = pipeline_spec(
        [vision(), layers, mine({"p": (3,)}, {"q": (3,)}), classifier("q")],
        {"image": image(8, 6)}, {"label": "string", "q": array(3), "p": array(3)},
    )  # fmt: skip
    with pytest.raises(UnsupportedError) as error:
        windfall.load(spec).predict({"image": RED})
    start = "the model needs classes of yours: custom layer 'Mine' ('model1/mine0'), custom model 'Mine' ('model2'); "
    assert str(error.value).startswith(
        f"{start}register them with @windfall.custom_layer(NAME) and @windfall.custom_model(NAME), or give them to "
        "load(..., custom_layers={NAME: CLASS}, custom_models={NAME: CLASS}); besides, it cannot run model 'model0': "
        "type visionFeaturePrint: needs a model that is part of Apple's operating systems"
    )
    model = windfall.load(
        spec,
        feature_extractor=means,
        custom_layers={"Mine": Doubled},
        custom_models={"Mine": predicting(lambda inputs: {"q": inputs["p"] - 1})},
    )
    result = model.predict({"image": RED})
    np.testing.assert_allclose(result["p"], [2, 0.4, 0], rtol=1e-6)
    np.testing.assert_allclose(result["q"], [1, -0.6, -1], rtol=1e-6)
    assert result["label"] == "b"


def test_a_batch_goes_through_a_model_at_once() -> None:
    sizes: list[int] = []

    def many(self: Any, batch: Any, options: Any) -> Any:
        sizes.append(len(batch))
        return [{"b": row} for row in -np.stack([inputs["a"] for inputs in batch])]

    model = loaded(pipeline(), None, predict_batch=many)
    xs = np.arange(120.0).reshape(40, 3)
    table = model.predict_batch({"x": xs})
    np.testing.assert_array_equal(table["c"], xs * -20)
    np.testing.assert_array_equal(table["a"], xs * 2)
    rows = model.predict_batch([{"x": x} for x in xs[:2]])
    np.testing.assert_array_equal([row["c"] for row in rows], xs[:2] * -20)
    assert sizes == [32, 8, 2]


def test_without_a_method_for_batches_rows_go_one_by_one() -> None:
    model = loaded(pipeline(), lambda inputs: {"b": -inputs["a"]})
    np.testing.assert_array_equal(model.predict_batch({"x": np.eye(3)})["c"], np.eye(3) * -20)


@pytest.mark.parametrize(("result", "what"), [([{}], "a list of 1"), (None, "NoneType")])
def test_what_predict_batch_returns_is_checked(result: Any, what: str) -> None:
    model = loaded(pipeline(), None, predict_batch=lambda self, batch, options: result)
    with pytest.raises(FeatureError) as error:
        model.predict_batch({"x": np.eye(3)})
    assert str(error.value) == (
        f"model 'model1' (customModel) of the model, className 'Mine': predict_batch returned {what}, must return a "
        "list of 3 dictionaries"
    )


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (None, "NoneType, must return a dictionary with a value for each of ['b']"),
        ({}, "a dictionary of [], must return a dictionary with a value for each of ['b']"),
        (
            {"b": [1, 2, 3], "c": 1},
            "a dictionary of ['b', 'c'], must return a dictionary with a value for each of ['b']",
        ),
        ({"b": None}, "None, must return the value of the output 'b'"),
        ({"b": [1, 2]}, "what does not fit: output 'b' has shape [2], must be [3]; reshape it"),
        ({"b": "abc"}, "what does not fit: output 'b' is str of <U3, must be an array of numbers; convert it first"),
    ],
)
def test_what_predict_returns_is_checked(result: Any, text: str) -> None:
    with pytest.raises(FeatureError) as error:
        loaded(pipeline(), lambda _: result).predict({"x": [1, 2, 3]})
    assert str(error.value) == f"model 'model1' (customModel) of the model, className 'Mine' returned {text}"


@pytest.mark.parametrize("method", ["__init__", "predict"])
def test_errors_of_the_users_code_stay_and_name_the_model(method: str) -> None:
    def failing(*_: Any) -> Any:
        raise KeyError("mine")

    found = type("Failing", (Remembers,), {method: failing})
    with pytest.raises(KeyError, match="mine") as error:
        windfall.load(pipeline(), custom_models={"Mine": found}).predict({"x": [1, 2, 3]})
    made.clear()
    assert error.value.__notes__ == ["raised by model 'model1' (customModel) of the model, className 'Mine'"]
    assert traceback.extract_tb(error.value.__traceback__)[-1].name == "failing"


def test_a_model_cannot_predict_before_it_is_ready() -> None:
    models: list[Any] = []
    spec = mine({"x": float}, {"y": float})
    early = type("Early", (Remembers,), {"__init__": lambda self, *_: models[0].predict({"x": 1})})
    models.append(windfall.load(spec, custom_models={"Mine": early}))
    with pytest.raises(UnsupportedError, match="the model is asked to predict by the constructor") as error:
        models[0].predict({"x": 1})
    assert error.value.__notes__ == ["raised by customModel of the model, className 'Mine'"]


def test_a_model_may_predict_with_itself() -> None:
    models: list[Any] = []
    spec = mine({"x": float}, {"y": float})
    models.append(loaded(spec, lambda x: {"y": 0 if x["x"] < 1 else 1 + models[0].predict({"x": x["x"] - 1})["y"]}))
    assert models[0].predict({"x": 5}) == {"y": 5}


def test_two_members_of_one_name_need_a_class_each() -> None:
    members = [mine({"x": float}, {"a": float}, "One"), mine({"a": float}, {"y": float}, "Two")]
    spec = pipeline_spec(members, {"x": "double"}, {"y": "double"})
    spec.pipeline.names.extend(["same", "same"])
    half = {"One": predicting(lambda inputs: {"a": inputs["x"] + 1})}
    model = windfall.load(spec, custom_models=half)
    assert not model.description.runnable
    with pytest.raises(UnsupportedError, match=r"needs classes of yours: custom model 'Two' \('same'\); register"):
        model.predict({"x": 1})
    model = windfall.load(spec, custom_models={**half, "Two": predicting(lambda inputs: {"y": inputs["a"] * 10})})
    assert model.predict({"x": 1}) == {"y": 20}


def test_such_a_model_is_saved_and_has_no_single_graph(tmp_path: Path) -> None:
    model = loaded(pipeline(), lambda inputs: {"b": -inputs["a"]})
    path = model.save(tmp_path / "mine.mlmodel")
    assert windfall.load(path).spec == pipeline()
    with pytest.raises(
        UnsupportedError, match="the model is not one graph, since code of yours stands for parts of it"
    ):
        _ = model.compiled


def test_optional_values_reach_the_model() -> None:
    spec = mine({"x": float, "z": str}, {"y": str})
    spec.description.input[1].type.isOptional = True
    model = loaded(spec, lambda inputs: {"y": f"{inputs['x']:g} {inputs['z']}"})
    assert model.predict_batch([{"x": 1, "z": "a"}, {"x": 2}]) == [{"y": "1 a"}, {"y": "2 None"}]
    assert optional("string")["isOptional"]
