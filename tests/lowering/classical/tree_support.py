"""Trees made in memory, and walked in plain Python."""

import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tests.classical import model_spec

LEAF = 6
COMPARISONS = {0: operator.le, 1: operator.lt, 2: operator.ge, 3: operator.gt, 4: operator.eq, 5: operator.ne}


def branch(
    tree: int, node: int, feature: int, mode: int, value: float, true: int, false: int, *, missing: bool = False
) -> Any:
    return {"treeId": tree, "nodeId": node, "nodeBehavior": mode, "branchFeatureIndex": feature,
            "branchFeatureValue": value, "trueChildNodeId": true, "falseChildNodeId": false,
            "missingValueTracksTrueChild": missing}  # fmt: skip


def leaf(tree: int, node: int, *values: float, **sparse: float) -> Any:
    """A leaf with a value for each of the first dimensions, or for those given as d<number>."""
    pairs = [*enumerate(values), *((int(name[1:]), value) for name, value in sparse.items())]
    infos = [{"evaluationIndex": index, "evaluationValue": value} for index, value in pairs]
    return {"treeId": tree, "nodeId": node, "nodeBehavior": LEAF, "evaluationInfo": infos}


def walk(nodes: Sequence[Mapping[str, Any]], x: Sequence[float], dimensions: int, base: Sequence[float] = ()) -> Any:
    """Sum the values of the leaves that all trees lead to."""
    sums = np.array(base if len(base) else [0.0] * dimensions)
    for tree in sorted({node["treeId"] for node in nodes}):
        own = {node["nodeId"]: node for node in nodes if node["treeId"] == tree}
        children = {
            node[key] for node in own.values() for key in ("trueChildNodeId", "falseChildNodeId") if key in node
        }
        (root,) = own.keys() - children
        node = own[root]
        while node["nodeBehavior"] != LEAF:
            value = x[node["branchFeatureIndex"]]
            if math.isnan(value):
                holds = node["missingValueTracksTrueChild"]
            else:
                holds = COMPARISONS[node["nodeBehavior"]](value, node["branchFeatureValue"])
            node = own[node["trueChildNodeId" if holds else "falseChildNodeId"]]
        for info in node["evaluationInfo"]:
            sums[info["evaluationIndex"]] += info["evaluationValue"]
    return sums


def regressor(
    nodes: Sequence[Any], dimensions: int = 1, base: Sequence[float] = (), features: int = 2, transform: int = 0
) -> Any:
    ensemble = {"nodes": nodes, "numPredictionDimensions": dimensions, "basePredictionValue": list(base)}
    fields = {"treeEnsemble": ensemble, "postEvaluationTransform": transform}
    return model_spec("treeEnsembleRegressor", {"x": (features,)}, {"y": (dimensions,)}, fields, predicted="y")


def classifier(
    nodes: Sequence[Any], dimensions: int, labels: Mapping[str, Any], transform: int = 0, base: Sequence[float] = ()
) -> Any:
    ensemble = {"nodes": nodes, "numPredictionDimensions": dimensions, "basePredictionValue": list(base)}
    fields = {"treeEnsemble": ensemble, "postEvaluationTransform": transform, **labels}
    word = "string" if "stringClassLabels" in labels else "int64"
    outputs = {"label": word, "scores": f"{word} dictionary"}
    return model_spec("treeEnsembleClassifier", {"x": (2,)}, outputs, fields, predicted="label", probabilities="scores")
