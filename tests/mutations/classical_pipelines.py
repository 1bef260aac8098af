"""Pipelines of several members, before they are damaged: linked and packed ones and functions of the user's too."""

from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from tests.classical import array, image, model_spec, optional, pipeline_spec
from tests.lowering.classical import tree_support as trees
from tests.mutations import networks, programs
from tests.mutations.classical_bases import Base
from tests.support import layer_spec
from windfall.spec.proto import Model_pb2

LINKED = "linked.mlmodel"
SCORES = {"label": "string", "scores": "string dictionary"}
CLASSES = {"predicted": "label", "probabilities": "scores"}


def vectorizing_pipeline() -> Base:
    """A dictionary and a number to a vector, and a tree to labels."""
    words = model_spec("dictVectorizer", {"words": "string dictionary"}, {"counts": "int64 dictionary"},
                       {"stringToIndex": {"vector": ["a", "b"]}})  # fmt: skip
    columns = [{"inputColumn": "counts", "inputDimensions": 2}, {"inputColumn": "n", "inputDimensions": 1}]
    vector = model_spec(
        "featureVectorizer", {"counts": "int64 dictionary", "n": "double"}, {"x": (3,)}, {"inputList": columns}
    )
    nodes = [trees.branch(0, 0, 2, 3, 0.5, 1, 2), trees.leaf(0, 1, 1.0, 0.0), trees.leaf(0, 2, 0.0, 2.0)]
    tree = trees.classifier(nodes, 2, {"stringClassLabels": {"vector": ["no", "yes"]}}, 1)
    tree.description.input[0].type.multiArrayType.shape[0] = 3
    inputs = {"words": optional("string dictionary"), "n": "double"}
    spec = pipeline_spec([words, vector, tree], inputs, SCORES, "pipelineClassifier", **CLASSES)
    spec.pipelineClassifier.pipeline.names.extend(["words", "vector", "tree"])
    return Base(spec, {"words": {"a": 1.0, "z": 3.0}, "n": 0.25})


def _network(given: str, gives: str, size: int) -> Any:
    weights = {"floatValue": np.eye(size, dtype=np.float32) / 2}
    spec = layer_spec("innerProduct", np.zeros(size), inputChannels=size, outputChannels=size, weights=weights)
    layer = spec.neuralNetwork.layers[0]
    layer.input[0], layer.output[0] = given, gives
    spec.description.input[0].name, spec.description.output[0].name = given, gives
    spec.description.output[0].type.multiArrayType.shape.append(size)
    return spec


def _scaler(given: str, gives: str, size: int) -> Any:
    return model_spec("scaler", {given: (size,)}, {gives: (size,)}, {"scaleValue": [0.5], "shiftValue": [1.0] * size})


def network_pipeline() -> Base:
    """A scaler, a network and trees."""
    tree = trees.regressor([trees.branch(0, 0, 0, 3, 0.5, 1, 2), trees.leaf(0, 1, 1.0), trees.leaf(0, 2, 2.0)])
    tree.description.input[0].name = "hidden"
    members = [_scaler("x", "scaled", 2), _network("scaled", "hidden", 2), tree]
    return Base(pipeline_spec(members, {"x": (2,)}, {"y": (1,)}, "pipelineRegressor", predicted="y"), {"x": [1.0, 2.0]})


def nested_pipeline() -> Base:
    """Pipelines in pipelines, whose names mean other values inside."""
    inner = pipeline_spec([_scaler("x", "y", 3), _scaler("y", "x", 3)], {"x": (3,)}, {"x": (3,)})
    middle = pipeline_spec([inner, _scaler("x", "x", 3)], {"x": (3,)}, {"x": (3,)})
    norm = model_spec("normalizer", {"x": (3,)}, {"y": (3,)}, {"normType": "L2"})
    return Base(pipeline_spec([middle, inner, norm], {"x": (3,)}, {"y": (3,), "x": (3,)}), {"x": [1.0, 2.0, 3.0]})


def program_pipeline() -> Base:
    """A program that classifies a picture, and the number of its label."""
    member = programs.classifier().spec
    number = model_spec("categoricalMapping", {"label": "string"}, {"number": "int64"}, {"int64Value": -1})
    number.categoricalMapping.stringToInt64Map.map.update({"a": 1, "b": 2})
    outputs = {**SCORES, "number": "int64"}
    spec = pipeline_spec([member, number], {"image": image(8, 8)}, outputs, "pipelineClassifier", **CLASSES)
    return Base(spec, {"image": Image.new("RGB", (8, 8))})


def picture_pipeline() -> Base:
    """A network that classifies a picture, and a vector of its scores."""
    vector = model_spec(
        "dictVectorizer", {"scores": "string dictionary"}, {"y": (2,)}, {"stringToIndex": {"vector": ["c", "a"]}}
    )
    spec = pipeline_spec([networks.classifier(), vector], {"image": image(8, 8)}, {"label": "string", "y": (2,)})
    return Base(spec, {"image": Image.new("RGB", (8, 8))})


def linked_member() -> Any:
    """What another model links to."""
    return _scaler("x", "y", 3)


def linking_pipeline() -> Base:
    """A link to a file, twice, and a scaler."""
    link = Model_pb2.Model(specificationVersion=5)
    link.description.CopyFrom(linked_member().description)
    link.linkedModel.linkedModelFile.linkedModelFileName.defaultValue = LINKED
    spec = pipeline_spec([link, _scaler("y", "x", 3), link], {"x": (3,)}, {"y": (3,)})
    return Base(spec, {"x": [1.0, 2.0, 3.0]})


def packed_pipeline() -> Base:
    """A whole model packed into another, and the parameters of one."""
    whole, part = _scaler("x", "y", 3), _scaler("y", "x", 3)
    members = []
    for spec, identifier, data in (
        (whole, "Model", whole.SerializeToString()),
        (part, "CoreML.Specification.Scaler", part.scaler.SerializeToString()),
    ):
        packed = Model_pb2.Model(specificationVersion=5)
        packed.description.CopyFrom(spec.description)
        packed.serializedModel.identifier, packed.serializedModel.model = identifier, data
        members.append(packed)
    return Base(pipeline_spec(members, {"x": (3,)}, {"x": (3,)}), {"x": [1.0, 2.0, 3.0]})


def printing_pipeline() -> Base:
    """A function of the user's between a scaler and trees."""
    vision = model_spec("visionFeaturePrint", {"image": image(8, 6)}, {"print": (3,)}, {"scene": {"version": 1}})
    nodes = [trees.branch(0, 0, 0, 3, 0.5, 1, 2), trees.leaf(0, 1, 1.0, 0.0), trees.leaf(0, 2, 0.0, 2.0)]
    tree = trees.classifier(nodes, 2, {"stringClassLabels": {"vector": ["no", "yes"]}}, 1)
    tree.description.input[0].type.multiArrayType.shape[0] = 3
    members = [vision, _scaler("print", "x", 3), tree]
    spec = pipeline_spec(members, {"image": image(8, 6)}, SCORES, "pipelineClassifier", **CLASSES)
    return Base(spec, {"image": Image.new("RGB", (8, 6))})


def imputing_pipeline() -> Base:
    """Optional numbers, imputed, as categories and as a vector."""
    number = model_spec("imputer", {"n": optional("int64")}, {"n": "int64"}, {"imputedInt64Value": 7})
    place = {"int64Categories": {"vector": [7, 8]}, "handleUnknown": "IgnoreUnknown", "outputSparse": True}
    encoder = model_spec("oneHotEncoder", {"n": "int64"}, {"place": "int64 dictionary"}, place)
    columns = [{"inputColumn": "place", "inputDimensions": 2}, {"inputColumn": "z", "inputDimensions": 2}]
    vector = model_spec(
        "featureVectorizer", {"place": "int64 dictionary", "z": array(2)}, {"x": (4,)}, {"inputList": columns}
    )
    spec = pipeline_spec([number, encoder, vector], {"n": optional("int64"), "z": array(2)}, {"x": (4,)})
    return Base(spec, {"z": [0.5, 1.5]})


PIPELINES: tuple[Callable[[], Base], ...] = (
    vectorizing_pipeline, nested_pipeline, imputing_pipeline, network_pipeline, program_pipeline, picture_pipeline,
    packed_pipeline, linking_pipeline, printing_pipeline,
)  # fmt: skip
