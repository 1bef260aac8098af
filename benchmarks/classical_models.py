"""The models and the data that ``classical.py`` compares contestants on."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from windfall.spec.proto import FeatureTypes_pb2, Model_pb2

ArrayType = FeatureTypes_pb2.ArrayFeatureType
FEATURES, ROWS, TREES, DEPTH = 32, 100_000, 1000, 8
VECTORS, SVM_ROWS, SVM_FEATURES = 5000, 10_000, 64
POINTS, DIMENSIONS, QUERIES, NEIGHBOURS = 100_000, 128, 1000, 5


def table(rows: int, columns: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=(rows, columns)).astype(np.float32)


def described(columns: int, data_type: int, labels: bool = False) -> Any:
    """Return a ``Model`` message from an array x to a number y, or to a label."""
    spec = Model_pb2.Model(specificationVersion=4)
    x = spec.description.input.add(name="x").type.multiArrayType
    x.shape.append(columns)
    x.dataType = data_type
    y = spec.description.output.add(name="y").type
    (y.int64Type if labels else y.doubleType).SetInParent()
    spec.description.predictedFeatureName = "y"
    return spec


def trees(folder: Path) -> None:
    """Train XGBoost and scikit-learn on the same data; convert the former's trees to Core ML and to ONNX."""
    import xgboost
    from sklearn.ensemble import HistGradientBoostingRegressor

    x = table(20_000, FEATURES, 1)
    y = x @ np.random.default_rng(2).normal(size=FEATURES) + np.sin(3 * x[:, 0])
    y += np.random.default_rng(3).normal(size=len(x))
    model = xgboost.XGBRegressor(n_estimators=TREES, max_depth=DEPTH, learning_rate=0.05, tree_method="hist")
    model.fit(x, y)
    model.save_model(folder / "trees.json")
    _tree_spec(json.loads((folder / "trees.json").read_text()), folder / "trees.mlmodel")
    hist = HistGradientBoostingRegressor(
        max_iter=TREES, max_depth=DEPTH, max_leaf_nodes=2**DEPTH, min_samples_leaf=5, early_stopping=False
    )
    (folder / "hist.pickle").write_bytes(pickle.dumps(hist.fit(x, y)))
    try:
        import onnxmltools
        from onnxmltools.convert.common.data_types import FloatTensorType

        exported = onnxmltools.convert_xgboost(model, initial_types=[("x", FloatTensorType([None, FEATURES]))])
        (folder / "trees.onnx").write_bytes(exported.SerializeToString())
    except Exception as error:  # noqa: BLE001  # whatever it is, the table says so
        (folder / "trees.onnx.error").write_text(f"{type(error).__name__}: {error}")


def _tree_spec(dump: Any, path: Path) -> None:
    spec = described(FEATURES, ArrayType.FLOAT32)
    ensemble = spec.treeEnsembleRegressor.treeEnsemble
    ensemble.numPredictionDimensions = 1
    ensemble.basePredictionValue.append(float(dump["learner"]["learner_model_param"]["base_score"].strip("[]")))
    for number, tree in enumerate(dump["learner"]["gradient_booster"]["model"]["trees"]):
        for node, left in enumerate(tree["left_children"]):
            added = ensemble.nodes.add(treeId=number, nodeId=node)
            value = float(np.float32(tree["split_conditions"][node]))
            if left == -1:
                added.nodeBehavior = added.LeafNode
                added.evaluationInfo.add(evaluationIndex=0, evaluationValue=value)
                continue
            added.nodeBehavior = added.BranchOnValueLessThan
            added.branchFeatureIndex, added.branchFeatureValue = tree["split_indices"][node], value
            added.trueChildNodeId, added.falseChildNodeId = left, tree["right_children"][node]
            added.missingValueTracksTrueChild = bool(tree["default_left"][node])
    path.write_bytes(spec.SerializeToString())


def vectors(folder: Path) -> None:
    """A support vector machine with random labels: nearly every point becomes a support vector."""
    from sklearn.svm import SVC

    x = table(VECTORS, SVM_FEATURES, 1)
    labels = np.random.default_rng(2).integers(0, 2, VECTORS)
    svm = SVC(kernel="rbf", gamma=0.05, C=10.0).fit(x, labels)
    (folder / "svm.pickle").write_bytes(pickle.dumps(svm))
    spec = described(SVM_FEATURES, ArrayType.DOUBLE, labels=True)
    target = spec.supportVectorClassifier
    target.kernel.rbfKernel.gamma = 0.05
    target.numberOfSupportVectorsPerClass.extend(svm.n_support_.tolist())
    for vector in svm.support_vectors_:
        target.denseSupportVectors.vectors.add(values=vector.tolist())
    target.coefficients.add(alpha=svm._dual_coef_[0].tolist())
    target.rho.append(float(-svm._intercept_[0]))
    target.int64ClassLabels.vector.extend([0, 1])
    (folder / "svm.mlmodel").write_bytes(spec.SerializeToString())


def neighbours(folder: Path) -> None:
    """Random points with 10 labels."""
    points, labels = table(POINTS, DIMENSIONS, 1), np.random.default_rng(2).integers(0, 10, POINTS)
    np.savez(folder / "points.npz", points=points, labels=labels)
    spec = described(DIMENSIONS, ArrayType.FLOAT32, labels=True)
    target = spec.kNearestNeighborsClassifier
    index = target.nearestNeighborsIndex
    index.numberOfDimensions = DIMENSIONS
    index.linearIndex.SetInParent()
    index.squaredEuclideanDistance.SetInParent()
    for point in points:
        index.floatSamples.add(vector=point.tolist())
    target.numberOfNeighbors.defaultValue = NEIGHBOURS
    target.numberOfNeighbors.range.minValue, target.numberOfNeighbors.range.maxValue = 1, 100
    target.uniformWeighting.SetInParent()
    target.int64ClassLabels.vector.extend(labels.tolist())
    (folder / "knn.mlmodel").write_bytes(spec.SerializeToString())


MAKERS = {"trees": trees, "svm": vectors, "neighbours": neighbours}
