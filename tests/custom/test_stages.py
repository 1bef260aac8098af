"""Pipelines in stages give what they give as one graph."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import windfall
from tests.classical import array, image, model_spec, pipeline_spec
from tests.custom.support import built_in
from windfall.errors import FormatError

SHAPE = array(2)
NAMES = ("a", "b", "c")

Step = tuple[str, str, Any]
"""What a member takes, what it gives, and a factor, None for the user's function, or the steps of a nested pipeline."""


def steps(depth: int) -> st.SearchStrategy[Any]:
    name = st.sampled_from(NAMES)
    kinds = st.none() | st.sampled_from([2.0, -3.0, 0.5])
    return st.lists(st.tuples(name, name, kinds | steps(depth - 1) if depth else kinds), min_size=1, max_size=5)


def pipeline(members: Sequence[Step], given_: str, gives: str, by_function: bool) -> Any:
    """A pipeline that takes one value by all names, and gives one."""
    inputs = dict.fromkeys(NAMES, SHAPE) if not given_ else {given_: SHAPE}
    known, models = list(inputs), []
    for takes, name, kind in members:
        models.append(member(takes if takes in known else known[-1], name, kind, by_function))
        known.append(name)
    if gives not in known:
        models.append(member(known[-1], gives, 1.0, by_function))
    return pipeline_spec(models, inputs, {gives: SHAPE})


def member(takes: str, gives: str, kind: Any, by_function: bool) -> Any:
    if isinstance(kind, list):
        return pipeline(kind, takes, gives, by_function)
    ends: tuple[Mapping[str, Any], Mapping[str, Any]] = ({takes: SHAPE}, {gives: SHAPE})
    if kind is None and by_function:
        return built_in("audioFeaturePrint", *ends)
    fields = {"shiftValue": [1.0, 1.0]} if kind is None else {"scaleValue": [kind, kind]}
    return model_spec("scaler", *ends, fields)


def has_function(members: Sequence[Step]) -> bool:
    return any(kind is None or (isinstance(kind, list) and has_function(kind)) for _, _, kind in members)


@given(steps(2).filter(has_function), st.sampled_from(NAMES))
@settings(max_examples=40, deadline=None)
def test_names_mean_the_same_values_in_stages_and_in_one_graph(members: list[Step], gives: str) -> None:
    inputs = {"a": [1, 2], "b": [30, 40], "c": [500, 600]}
    whole = windfall.load(pipeline(members, "", gives, by_function=False)).predict(inputs)
    cut = windfall.load(pipeline(members, "", gives, by_function=True), feature_extractor=lambda x: x + 1)
    np.testing.assert_array_equal(cut.predict(inputs)[gives], whole[gives])


@given(steps(1).filter(has_function))
@settings(max_examples=20, deadline=None)
def test_neighbouring_stages_are_of_different_sorts(members: list[Step]) -> None:
    model: Any = windfall.load(pipeline(members, "", "a", by_function=True), feature_extractor=lambda x: x + 1)
    kinds = [type(stage).__name__ for stage in model._program.stages]
    assert ("GraphStage", "GraphStage") not in itertools.pairwise(kinds)
    assert kinds.count("GraphStage") <= kinds.count("PythonStage") + 1


@pytest.mark.parametrize("kind", ["string", "string dictionary", image(8, 8)])
def test_an_output_in_a_type_that_it_cannot_have(kind: Any) -> None:
    spec = pipeline_spec([built_in("audioFeaturePrint", {"a": SHAPE}, {"b": SHAPE})], {"a": SHAPE}, {"b": kind})
    with pytest.raises(FormatError) as error:
        windfall.load(spec, feature_extractor=lambda x: x).predict({"a": [1, 2]})
    assert str(error.value) == "the model: the output 'b' is declared in a type that it cannot have"


def test_a_number_that_is_declared_as_an_array() -> None:
    number = model_spec("glmRegressor", {"b": SHAPE}, {"y": "double"},
                        {"weights": [{"value": [1.0, 2.0]}], "offset": [0.5]}, "y")  # fmt: skip
    members = [built_in("audioFeaturePrint", {"a": SHAPE}, {"b": SHAPE}), number]
    model = windfall.load(pipeline_spec(members, {"a": SHAPE}, {"y": array(1)}), feature_extractor=lambda x: x)
    np.testing.assert_array_equal(model.predict({"a": [1, 2]})["y"], 5.5)
