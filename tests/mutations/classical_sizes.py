"""Classical models and pipelines that are small files and ask for much: sizes, counts, depth."""

from collections.abc import Callable
from typing import Any

from tests.classical import Kind, array, model_spec, optional, pipeline_spec
from tests.lowering.classical import svm_support as svm
from tests.lowering.classical import tree_support as trees
from windfall.spec.proto import Model_pb2

LABELS = {"label": "int64", "scores": "int64 dictionary"}
MOST = 2**18


def many_dimensions() -> Any:
    """Leaves with two values each of many dimensions, all of which a row would have."""
    nodes = [node for tree in range(400) for node in (
        trees.branch(tree, 0, 0, 3, 0.5, 1, 2), trees.leaf(tree, 1, d0=1.0, d1=1.0),
        trees.leaf(tree, 2, d0=1.0, d2=1.0))]  # fmt: skip
    return trees.classifier(nodes, MOST, {})


def single_dimensions() -> Any:
    """Leaves with one value each of many dimensions."""
    nodes = [trees.branch(0, 0, 0, 3, 0.5, 1, 2), trees.leaf(0, 1, d0=1.0), trees.leaf(0, 2, d1=1.0)]
    return trees.classifier(nodes, MOST, {}, 1)


def lone_leaves() -> Any:
    """A tree of one leaf, of many dimensions."""
    return trees.regressor([trees.leaf(0, 0, 1.0)], MOST)


def deep_tree(depth: int) -> Any:
    """A tree whose every branch has a leaf on one side."""
    nodes = [trees.branch(0, 2 * level, 0, 0, float(level), 2 * level + 1, 2 * level + 2) for level in range(depth)]
    nodes += [trees.leaf(0, 2 * level + 1, float(level)) for level in range(depth)] + [trees.leaf(0, 2 * depth, 1.0)]
    return trees.regressor(nodes)


def many_trees() -> Any:
    """As many trees as nodes."""
    return trees.regressor([trees.leaf(tree, 0, 1.0) for tree in range(10_000)])


def numbered_items(number: int) -> Any:
    """A recommender of as many items as a number says."""
    names = {"itemInputFeatureName": "items", "recommendedItemListOutputFeatureName": "best"}
    similar = [{"itemId": 0, "similarItemList": [{"itemId": number, "similarityScore": 1.0}]}]
    fields = {"itemItemSimilarities": similar, **names}
    return model_spec("itemSimilarityRecommender", {"items": "int64 dictionary"}, {"best": "int64 sequence"}, fields)


def counted_features(count: int) -> Any:
    """A probit model of as many features as a number says, each of them a value of the input."""
    weights = [{"featureId": 0, "weights": [{"featureValue": 1, "featureWeight": {"mean": 1.0, "precision": 1.0}}]}]
    fields = {"numberOfFeatures": count, "features": weights, "regressionInputFeatureName": "x"}
    return model_spec("bayesianProbitRegressor", {"x": array(count, dtype="INT32")}, {"p": "double"}, fields, "p")


def wide_vector(columns: int, members: int) -> Any:
    """Dictionaries as vectors of as many columns as a number says, several of them side by side."""
    inputs: dict[str, Kind] = {f"d{number}": "int64 dictionary" for number in range(members)}
    listed = [{"inputColumn": name, "inputDimensions": columns} for name in inputs]
    return model_spec("featureVectorizer", inputs, {"y": array()}, {"inputList": listed})


def repeated_vector(times: int) -> Any:
    """One array again and again."""
    listed = [{"inputColumn": "x", "inputDimensions": 3}] * times
    return model_spec("featureVectorizer", {"x": array(3)}, {"y": array()}, {"inputList": listed})


def doubling(times: int) -> Any:
    """Members each of which gives an array twice as long as the one before."""
    members = [
        model_spec("featureVectorizer", {f"x{n}": array(2**n)}, {f"x{n + 1}": array(2 ** (n + 1))},
                   {"inputList": [{"inputColumn": f"x{n}", "inputDimensions": 2**n}] * 2})
        for n in range(times)
    ]  # fmt: skip
    return pipeline_spec(members, {"x0": array(1)}, {f"x{times}": array(2**times)})


def large_array(kind: str, size: int, **fields: Any) -> Any:
    """A model of an array that may be left out."""
    return model_spec(kind, {"x": optional(array(size))}, {"y": array()}, fields)


def many_classes(count: int, prob: bool) -> Any:
    """A machine with a vector for each class."""
    pairs = count * (count - 1) // 2
    sure = ([-1.0] * pairs, [0.0] * pairs) if prob else ((), ())
    alpha = [[1.0] * count for _ in range(count - 1)]
    machine = svm.machine({"rbfKernel": {"gamma": 1.0}}, [[float(n)] for n in range(count)], [1] * count, alpha,
                          [0.0] * pairs, sure)  # fmt: skip
    return svm.classifier(machine, 1)


def far_indices() -> Any:
    """Sparse vectors of a wide input."""
    vectors = {"sparseSupportVectors": {"vectors": [{"nodes": [{"index": 2**26, "value": 1.0}]} for _ in range(1000)]}}
    fields = {"kernel": {"rbfKernel": {"gamma": 1.0}}, "coefficients": {"alpha": [1.0] * 1000}, **vectors}
    return svm.regressor(fields, 2**26)


def no_samples(dimensions: int) -> Any:
    """A model of neighbours without any samples, of wide points."""
    index = {"numberOfDimensions": dimensions, "linearIndex": {}, "squaredEuclideanDistance": {}}
    fields = {"nearestNeighborsIndex": index, "numberOfNeighbors": {"defaultValue": 2**62}, "uniformWeighting": {},
              "defaultInt64Label": 1, "int64ClassLabels": {}}  # fmt: skip
    return model_spec("kNearestNeighborsClassifier", {"x": array(dimensions)}, LABELS, fields, "label", "scores")


def many_boxes(count: int) -> Any:
    """Boxes of which there are many, all of the same confidence."""
    names = {"confidenceInputFeatureName": "c", "coordinatesInputFeatureName": "b",
             "confidenceOutputFeatureName": "confidence", "coordinatesOutputFeatureName": "coordinates"}  # fmt: skip
    inputs = {"c": array(count, 1), "b": array(count, 4)}
    outputs = {"confidence": array(count, 1), "coordinates": array(count, 4)}
    return model_spec("nonMaximumSuppression", inputs, outputs, {"pickTop": {}, "iouThreshold": 0.5, **names})


def declared_boxes(count: int) -> Any:
    """Outputs that declare more boxes than there can be."""
    spec = many_boxes(2)
    for feature in spec.description.output:
        feature.type.multiArrayType.shape[0] = count
    return spec


def _identity() -> Any:
    return model_spec("identity", {"x": array(1)}, {"x": array(1)}, {})


def nested(depth: int) -> Any:
    """Pipelines in pipelines."""
    spec = _identity()
    for _ in range(depth):
        spec = pipeline_spec([spec], {"x": array(1)}, {"x": array(1)})
    return spec


def packed(depth: int) -> Any:
    """Models packed in models."""
    spec = _identity()
    for _ in range(depth):
        around = Model_pb2.Model(specificationVersion=5)
        around.description.CopyFrom(spec.description)
        around.serializedModel.identifier, around.serializedModel.model = "Model", spec.SerializeToString()
        spec = around
    return spec


def long_pipeline(count: int) -> Any:
    """Many members."""
    return pipeline_spec([_identity()] * count, {"x": array(1)}, {"x": array(1)})


def wide_model(count: int) -> Any:
    """Many numbers one by one."""
    inputs: dict[str, Kind] = {f"x{number}": "double" for number in range(count)}
    fields = {"weights": [{"value": [1.0] * count}], "offset": [0.0]}
    return model_spec("glmRegressor", inputs, {"y": "double"}, fields, "y")


def many_categories(count: int) -> Any:
    """A category for each of many numbers, of the largest vector that they can make."""
    fields = {"int64Categories": {"vector": list(range(count))}}
    return model_spec("oneHotEncoder", {"x": "int64"}, {"y": array(count)}, fields)


def many_steps() -> Any:
    """Arrays of as many axes as a shape can have."""
    return model_spec("normalizer", {"x": array(*[1] * 200)}, {"y": array(*[1] * 200)}, {})


SIZES: tuple[Callable[[], Any], ...] = (
    many_dimensions, single_dimensions, lone_leaves, lambda: deep_tree(500), lambda: deep_tree(20_000), many_trees,
    lambda: numbered_items(2**63), lambda: numbered_items(2**22 - 1), lambda: numbered_items(2**22),
    lambda: counted_features(2**22), lambda: counted_features(2**23), lambda: counted_features(2**31),
    lambda: wide_vector(2**24, 1), lambda: wide_vector(2**24, 50), lambda: wide_vector(2**62, 2),
    lambda: wide_vector(2**24 - 1, 2),
    lambda: repeated_vector(10_000), lambda: doubling(20), lambda: doubling(40),
    lambda: large_array("scaler", 2**24, scaleValue=[2.0]), lambda: large_array("scaler", 2**29, scaleValue=[2.0]),
    lambda: large_array("imputer", 2**24, imputedDoubleValue=1.0), lambda: large_array("normalizer", 2**24),
    lambda: large_array("arrayFeatureExtractor", 2**28, extractIndex=[0] * 1000),
    lambda: large_array("classConfidenceThresholding", 2**24), lambda: large_array("identity", 2**62),
    lambda: many_classes(60, False), lambda: many_classes(60, True), far_indices,
    lambda: no_samples(2**24), lambda: no_samples(3), lambda: many_boxes(2000), lambda: many_boxes(2**24),
    lambda: declared_boxes(2**16), lambda: declared_boxes(2**40), lambda: nested(30), lambda: nested(40),
    lambda: packed(30), lambda: packed(200), lambda: long_pipeline(300), lambda: wide_model(2000),
    lambda: many_categories(50_000), many_steps,
)  # fmt: skip
"""Each of them made."""
