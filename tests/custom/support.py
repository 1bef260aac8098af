"""Models with parts that are not in their files."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tests.classical import Kind, array, image, model_spec, pipeline_spec

PRINT = 3


def scaled(name: str, factor: float, given: str = "", size: int = PRINT) -> Any:
    """A scaler: each element times a factor."""
    shape = array(size)
    return model_spec("scaler", {given or name: shape}, {name: shape}, {"scaleValue": [factor] * size})


def linear(weights: list[float], given: str = "print", gives: str = "y") -> Any:
    """The sum of the elements, weighed."""
    fields = {"weights": [{"value": weights}], "offset": [0.5]}
    return model_spec("glmRegressor", {given: array(len(weights))}, {gives: "double"}, fields, predicted=gives)


def vision(size: int = PRINT, given: str = "image", gives: str = "print", **input_size: int) -> Any:
    """A visionFeaturePrint."""
    kind = image(input_size.get("width", 8), input_size.get("height", 6))
    return model_spec("visionFeaturePrint", {given: kind}, {gives: array(size)}, {"scene": {"version": 1}})


def built_in(kind: str, inputs: Mapping[str, Kind], outputs: Mapping[str, Kind]) -> Any:
    """Another model whose weights are not in the file."""
    return model_spec(kind, inputs, outputs, {})


def classifier(given: str = "print", size: int = PRINT) -> Any:
    """Which of two labels: b where the first element is above 0.5."""
    nodes = [
        {"treeId": 0, "nodeId": 0, "nodeBehavior": "BranchOnValueGreaterThan", "branchFeatureIndex": 0,
         "branchFeatureValue": 0.5, "trueChildNodeId": 1, "falseChildNodeId": 2},
        *({"treeId": 0, "nodeId": node, "nodeBehavior": "LeafNode",
           "evaluationInfo": [{"evaluationIndex": index, "evaluationValue": 1.0}]} for node, index in ((1, 1), (2, 0))),
    ]  # fmt: skip
    fields = {
        "treeEnsemble": {"nodes": nodes, "numPredictionDimensions": 2, "basePredictionValue": [0.0, 0.0]},
        "stringClassLabels": {"vector": ["a", "b"]},
    }
    outputs: dict[str, Kind] = {"label": "string", "probabilities": "string dictionary"}
    return model_spec("treeEnsembleClassifier", {given: array(size)}, outputs, fields, "label", "probabilities")


def photo_pipeline() -> Any:
    """A picture to a label, as an app's trainer makes it."""
    return pipeline_spec(
        [vision(), classifier()],
        {"image": image(8, 6)},
        {"label": "string", "probabilities": "string dictionary"},
        "pipelineClassifier",
        predicted="label",
        probabilities="probabilities",
    )


def means(picture: Any) -> Any:
    """Each colour's mean, from 0 to 1."""
    return np.asarray(picture).reshape(-1, 3).mean(0) / 255
