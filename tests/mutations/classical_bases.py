"""Classical models of every type and pipelines of them, before they are damaged."""

from collections.abc import Callable, Mapping
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from tests.classical import array, model_spec, optional
from tests.lowering.classical import svm_support as svm
from tests.lowering.classical import tree_support as trees

NAN = float("nan")
CATEGORIES = {"stringCategories": {"vector": ["red", "green", "blue"]}}


class Base(NamedTuple):
    """A model before it is damaged.

    Attributes:
        spec: Its message.
        feeds: Values that it can be given.
    """

    spec: Any
    feeds: Mapping[str, Any]


def tree_ensembles() -> list[Base]:
    """One and several dimensions, all behaviours, labels of both types, numbers one by one."""
    single = [trees.branch(0, 0, 0, 3, 0.5, 1, 2), trees.leaf(0, 1, 1.5), trees.branch(0, 2, 1, 0, -1.0, 3, 4),
              trees.leaf(0, 3, -2.0), trees.leaf(0, 4, 0.25), trees.leaf(1, 0, 3.0)]  # fmt: skip
    several = [trees.branch(0, 7, 1, 1, 0.5, 8, 9, missing=True), trees.leaf(0, 8, 1.0, 2.0), trees.leaf(0, 9, d2=-1.0),
               trees.branch(3, 0, 0, 4, 2.0, 1, 2), trees.leaf(3, 1, d0=0.5),
               trees.leaf(3, 2, 1.0, 1.0, 1.0)]  # fmt: skip
    texts, numbers = ({f"{kind}ClassLabels": {"vector": labels}} for kind, labels in (
        ("string", ["a", "b", "c"]), ("int64", [7, -1])))  # fmt: skip
    columns = {"treeEnsemble": {"nodes": single, "numPredictionDimensions": 1}}
    kinds = {"a": "double", "b": optional("int64"), "c": optional("double")}
    x = {"x": [0.5, NAN]}
    return [
        Base(trees.regressor(single, base=(0.5,)), x),
        Base(trees.regressor(several, 3, transform=1), x),
        Base(trees.classifier(several, 3, texts, 3, base=(0.0, 0.5, 1.0)), x),
        Base(trees.classifier(single, 1, numbers, 2), x),
        Base(model_spec("treeEnsembleRegressor", kinds, {"y": "double"}, columns, "y"), {"a": 1.5, "b": 2}),
    ]


def linear_models() -> list[Base]:
    """Regressors and classifiers of all transforms and encodings."""
    rows = [{"value": [1.0, -2.0]}, {"value": [0.5, 0.25]}]
    x, kinds, labels = {"x": [0.5, -1.0]}, {"x": (2,)}, {"label": "string", "scores": "string dictionary"}
    two, three = svm.labelled(["a", "b"]), svm.labelled(["a", "b", "c"])
    found = [
        Base(model_spec("glmClassifier", kinds, labels, {
            "weights": rows[: len(offset)], "offset": offset, "classEncoding": encoding,
            "postEvaluationTransform": transform, **names,
        }, "label", "scores"), x)
        for offset, names, encoding, transform in (
            ([0.5], two, "ReferenceClass", "Logit"), ([0.5], two, "OneVsRest", "Probit"),
            ([0.5, 1.0], three, "ReferenceClass", "Logit"),
        )
    ]  # fmt: skip
    for transform in ("NoTransform", "Logit", "Probit"):
        fields = {"weights": rows, "offset": [0.5, 1.0], "postEvaluationTransform": transform}
        found.append(Base(model_spec("glmRegressor", {"a": "double", "b": "int64"}, {"y": (2,)}, fields, "y"),
                          {"a": 1.5, "b": -3}))  # fmt: skip
    return found


KERNELS = {
    "linearKernel": {}, "rbfKernel": {"gamma": 0.5}, "sigmoidKernel": {"gamma": 0.5, "c": 1.0},
    "polyKernel": {"gamma": 0.5, "c": 1.0, "degree": 3},
}  # fmt: skip


def support_vector_machines() -> list[Base]:
    """All kernels, dense and sparse vectors, with probabilities and without; many classes."""
    vectors = np.array([[1.0, 0.0, 2.0], [0.0, -1.0, 0.5], [2.0, 2.0, 0.0], [0.0, 0.0, 1.0]])
    x = {"x": [1.0, -0.5, 0.25]}
    found = []
    for (name, fields), store, sure in product(KERNELS.items(), (svm.dense, svm.sparse), (False, True)):
        kernel, prob = {name: fields}, ([-1.0] * 3, [0.5] * 3) if sure else ((), ())
        labels = ["a", "b", "c"] if sure else [3, -3, 0]
        alpha = np.linspace(-1, 1, 8).reshape(2, 4)
        machine = svm.machine(kernel, vectors, [1, 2, 1], alpha, [0.1, 0.2, 0.3], prob, labels=labels, store=store)
        found.append(Base(svm.classifier(machine, 3), x))
        if not sure:
            parts = {"kernel": kernel, "coefficients": {"alpha": alpha[0].tolist()}, "rho": 0.5, **store(vectors)}
            found.append(Base(svm.regressor(parts, 3), x))
    many, one = np.arange(30.0).reshape(10, 3), [[0.5] * 10] * 9
    machine = svm.machine({"rbfKernel": {"gamma": 0.1}}, many, [1] * 10, one, [0.0] * 45, ([-1.0] * 45, [0.0] * 45))
    two = svm.machine({"linearKernel": {}}, vectors, [2, 2], [[1.0] * 4], [0.0], ([1.0], [0.0]))
    return [*found, Base(svm.classifier(machine, 3), x), Base(svm.classifier(two, 3), x)]


def neighbors() -> list[Base]:
    """Both weightings, indices and types of labels; none of the samples."""
    found = []
    points = [{"vector": row} for row in ([0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [5.0, 5.0])]
    for weighting, index, (kind, labels) in product(
        ("uniformWeighting", "inverseDistanceWeighting"), ({"linearIndex": {}}, {"singleKdTreeIndex": {"leafSize": 3}}),
        (("string", ["a", "b", "a", "c"]), ("int64", [1, 2, -1, 1])),
    ):  # fmt: skip
        fields = {
            "numberOfNeighbors": {"defaultValue": 2, "range": {"minValue": 1, "maxValue": 3}}, weighting: {},
            f"{kind}ClassLabels": {"vector": labels}, f"default{kind.title()}Label": labels[0],
            "nearestNeighborsIndex": {
                "numberOfDimensions": 2, "floatSamples": points, "squaredEuclideanDistance": {}, **index},
        }  # fmt: skip
        outputs = {"label": kind, "scores": f"{kind} dictionary"}
        model = model_spec("kNearestNeighborsClassifier", {"x": (2,)}, outputs, fields, "label", "scores")
        found.append(Base(model, {"x": [0.5, 0.0]}))
    return found


def recommenders() -> list[Base]:
    """Items by text, by integer and by number; dictionaries, sequences and arrays of them."""
    found = []
    names = {"itemInputFeatureName": "items", "numRecommendationsInputFeatureName": "k",
             "itemRestrictionInputFeatureName": "only", "itemExclusionInputFeatureName": "without",
             "recommendedItemListOutputFeatureName": "best",
             "recommendedItemScoreOutputFeatureName": "scores"}  # fmt: skip
    similar = [{"itemId": 0, "itemScoreAdjustment": 0.5, "similarItemList": [{"itemId": 1, "similarityScore": 0.5}]},
               {"itemId": 2, "similarItemList": [{"itemId": 0, "similarityScore": 1.0}, {"itemId": 1}]}]  # fmt: skip
    texts, numbers = ["ant", "bee", "cat"], [5, -5, 9]
    for ids, known, form in (
        ({"itemStringIds": {"vector": texts}}, texts, "dictionary"),
        ({"itemStringIds": {"vector": texts}}, texts, "sequence"),
        ({"itemInt64Ids": {"vector": numbers}}, numbers, "dictionary"), ({}, [0, 1, 2], "sequence"),
        ({}, [0, 1, 2], "array"),
    ):  # fmt: skip
        key = "string" if known is texts else "int64"
        kind = array(2, dtype="INT32") if form == "array" else f"{key} {form}"
        value = {known[0]: 2.0, known[2]: 1.0} if form == "dictionary" else [known[0], known[2]]
        lists = optional(f"{key} sequence")
        inputs = {"items": kind, "k": optional("int64"), "only": lists, "without": lists}
        outputs = {"best": f"{key} sequence", "scores": f"{key} dictionary"}
        model = model_spec(
            "itemSimilarityRecommender", inputs, outputs, {"itemItemSimilarities": similar, **names, **ids}
        )
        found.append(Base(model, {"items": value, "k": 2, "without": known[:1]}))
    return found


def probit_models() -> list[Base]:
    """All optional inputs or none; a value for each feature, or pairs."""
    options = {"optimismInputFeatureName": "optimism", "samplingScaleInputFeatureName": "scale",
               "samplingTruncationInputFeatureName": "truncation"}  # fmt: skip
    outputs = dict.fromkeys(("p", "mean", "variance", "pessimistic", "sampled"), "double")
    weights = [{"featureId": number, "weights": [{"featureValue": value, "featureWeight": {"mean": 0.5,
    "precision": 2.0}}
                for value in (0, 3)]} for number in range(3)]  # fmt: skip
    fields = {
        "numberOfFeatures": 3, "bias": {"mean": 0.5, "precision": 4.0}, "features": weights,
        "regressionInputFeatureName": "x", **{f"{name}OutputFeatureName": name for name in ("mean", "variance")},
        "pessimisticProbabilityOutputFeatureName": "pessimistic", "sampledProbabilityOutputFeatureName": "sampled",
    }  # fmt: skip
    given = {name: optional("double") for name in options.values()}
    return [
        Base(model_spec("bayesianProbitRegressor", {"x": array(3, dtype="INT32"), **given}, outputs,
                        {**fields, **options}, "p"), {"x": [0, 3, 1], "optimism": 0.5, "scale": 2.0}),
        Base(model_spec("bayesianProbitRegressor", {"x": array(2, 2, dtype="INT32")}, outputs, fields, "p"),
             {"x": [[0, 3], [2, 0]]}),
    ]  # fmt: skip


def suppressions() -> list[Base]:
    """With thresholds as inputs and without, per class and not, of any number of boxes."""
    names = {
        f"{what}{way}FeatureName": f"{what}{way}"
        for what in ("confidence", "coordinates")
        for way in ("Input", "Output")
    }
    boxes = [[0.0, 0.0, 2.0, 2.0], [1.0, 0.0, 2.0, 2.0], [9.0, 9.0, 1.0, 1.0]]
    feeds = {"confidenceInput": [[0.5, 0.1], [0.1, 0.75], [0.3, 0.1]], "coordinatesInput": boxes}
    found = []
    for per_class, dtype in product((False, True), ("DOUBLE", "FLOAT32")):
        inputs = {"confidenceInput": array(3, 2, dtype=dtype), "coordinatesInput": array(3, 4, dtype=dtype)}
        fields = {"pickTop": {"perClass": per_class}, "iouThreshold": 0.5, "confidenceThreshold": 0.2, **names}
        if per_class:
            inputs |= {"iou": optional("double"), "least": optional("double")}
            fields |= {"iouThresholdInputFeatureName": "iou", "confidenceThresholdInputFeatureName": "least"}
            fields |= {"stringClassLabels": {"vector": ["a", "b"]}}
        outputs = {"confidenceOutput": array(dtype=dtype), "coordinatesOutput": array(3, 4, dtype=dtype)}
        model = model_spec("nonMaximumSuppression", inputs, outputs, fields)
        found.append(Base(model, feeds | ({"iou": 0.3} if per_class else {})))
    return found


def sounds() -> list[Base]:
    """The only preprocessing that there is."""
    model = model_spec("soundAnalysisPreprocessing", {"x": array(15600, dtype="FLOAT32")},
                       {"y": array(1, 96, 64, dtype="FLOAT32")}, {"vggish": {}})  # fmt: skip
    return [Base(model, {"x": np.zeros(15600, np.float32)})]


def imputers() -> list[Base]:
    """Every kind of value."""
    found = []
    for kind, fields, value in (
        ("double", {"imputedDoubleValue": 2.5}, NAN), (optional("double"), {"imputedDoubleValue": 2.5}, None),
        ("double", {"imputedDoubleValue": 2.5, "replaceDoubleValue": -1.0}, -1.0),
        ((3,), {"imputedDoubleArray": {"vector": [1.0, 2.0, 3.0]}}, [NAN, 1.0, 2.0]),
        (array(2, dtype="INT32"), {"imputedInt64Array": {"vector": [1, 2]}, "replaceInt64Value": -1}, [-1, 5]),
        (optional("int64"), {"imputedInt64Value": 7, "replaceInt64Value": 0}, None),
        (optional("string"), {"imputedStringValue": "?", "replaceStringValue": "n/a"}, "n/a"),
    ):  # fmt: skip
        plain = {key: inner for key, inner in kind.items() if key != "isOptional"} if isinstance(kind, dict) else kind
        found.append(Base(model_spec("imputer", {"x": kind}, {"y": plain}, fields), {"x": value}))
    for key, field, known in (
        ("string", "imputedStringDictionary", {"a": 1.0}),
        ("int64", "imputedInt64Dictionary", {3: 1.0}),
    ):
        model = model_spec("imputer", {"x": optional(f"{key} dictionary")}, {"y": f"{key} dictionary"}, {})
        getattr(model.imputer, field).map.update(known)
        found.append(Base(model, {"x": dict.fromkeys(known, NAN)}))
    return found


def encoders() -> list[Base]:
    """One-hot vectors dense and sparse, dictionaries, categories, alone and in sequences."""
    numbers = {"int64Categories": {"vector": [7, -2, 2**62]}}
    found = []
    for sparse, unknown, (kind, fields, value) in product(
        (False, True), ("ErrorOnUnknown", "IgnoreUnknown"),
        (("string", CATEGORIES, "red"), (optional("int64"), numbers, 7)),
    ):  # fmt: skip
        output = "int64 dictionary" if sparse else (3,)
        options = {**fields, "outputSparse": sparse, "handleUnknown": unknown}
        found.append(Base(model_spec("oneHotEncoder", {"x": kind}, {"y": output}, options), {"x": value}))
    for words, kind, value in (
        ({"stringToIndex": {"vector": ["a", "b"]}}, "string", {"a": 1.0, "z": 2.0}),
        ({"int64ToIndex": {"vector": [5, -5]}}, "int64", {5: 1.0}),
    ):  # fmt: skip
        inputs = {"x": optional(f"{kind} dictionary")}
        found.append(Base(model_spec("dictVectorizer", inputs, {"y": (2,)}, words), {"x": value}))
        found.append(Base(model_spec("dictVectorizer", inputs, {"y": "int64 dictionary"}, words), {"x": value}))
    for field, kind, other, known, default in (
        ("stringToInt64Map", "string", "int64", {"a": 1, "b": -1}, {"int64Value": 9}),
        ("int64ToStringMap", "int64", "string", {1: "a", -1: "b"}, {}),
    ):  # fmt: skip
        for form in ("", " sequence"):
            model = model_spec("categoricalMapping", {"x": f"{kind}{form}"}, {"y": f"{other}{form}"}, default)
            getattr(model.categoricalMapping, field).map.update(known)
            found.append(Base(model, {"x": list(known) if form else next(iter(known))}))
    return found


def shapers() -> list[Base]:
    """Scaler, normalizer, vectorizer, extractor, thresholds and identity."""
    kinds = {"a": "double", "b": optional("int64"), "c": (2,), "d": "int64 dictionary", "e": "string"}
    columns = [
        {"inputColumn": name, "inputDimensions": size} for name, size in (("d", 4), ("a", 1), ("b", 1), ("c", 2))
    ]
    values = {"a": 1.5, "b": 2, "c": [3.0, 4.0], "d": {0: 5.0, 3: 6.0}, "e": "e"}
    x = {"x": [1.0, -2.0, 0.0]}
    curve = {field: {"vector": [0.5, 0.25]} for field in (
        "precisionValues", "precisionConfidenceThresholds", "recallValues", "recallConfidenceThresholds")}  # fmt: skip
    scaled = {"shiftValue": [1.0, 2.0, 3.0], "scaleValue": [0.5]}
    norms = [
        Base(model_spec("normalizer", {"x": (3,)}, {"y": (3,)}, {"normType": kind}), x) for kind in ("LMax", "L1", "L2")
    ]
    return [
        *norms,
        Base(model_spec("scaler", {"x": (3,)}, {"y": (3,)}, scaled), x),
        Base(model_spec("scaler", {"x": "int64"}, {"y": "int64"}, {"scaleValue": [2.0]}), {"x": 3}),
        Base(model_spec("featureVectorizer", kinds, {"y": (8,)}, {"inputList": columns}), values),
        Base(model_spec("arrayFeatureExtractor", {"x": (3,)}, {"y": (2,)}, {"extractIndex": [0, 2]}), x),
        Base(model_spec("classConfidenceThresholding", {"x": (3,)}, {"y": (2, 3)},
        {"precisionRecallCurves": [curve] * 3}), x),
        Base(model_spec("identity", kinds, kinds, {}), values),
    ]  # fmt: skip


FAMILIES: Mapping[str, Callable[[], list[Base]]] = {
    "trees": tree_ensembles,
    "linear": linear_models,
    "vectors": support_vector_machines,
    "neighbors": neighbors,
    "recommenders": recommenders,
    "probit": probit_models,
    "suppression": suppressions,
    "sound": sounds,
    "imputers": imputers,
    "encoders": encoders,
    "shapers": shapers,
}
"""Models of all classical types, by a word for those that are alike."""
