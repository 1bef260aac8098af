"""Generalized linear models.

Source: ``GLMRegressor`` in GLMRegressor.proto, ``GLMClassifier`` in GLMClassifier.proto, LinearModelValidator.cpp.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from windfall.lowering.classical.context import ModelContext, Value
from windfall.lowering.classical.forms import Forms, Labels
from windfall.lowering.classical.normal import normal_cdf
from windfall.spec.pipelines import declared_labels
from windfall.spec.proto import GLMClassifier_pb2, GLMRegressor_pb2

_Classifier = GLMClassifier_pb2.GLMClassifier


def lower_glm_regressor(ctx: ModelContext) -> Forms:
    """Compute a linear function of the features, and the inverse of the link function.

    Source: ``GLMRegressor``. All inputs side by side are the features, double [rows, features].

    Returns:
        double [rows, M], a number for each row of weights.

    Raises:
        LoweringError: The rows of weights differ in length or from the number of features, or there is not one offset
            for each of them.
    """
    features = ctx.matrix()
    weights, offset = _parameters(ctx, ctx.count(features))
    transform = _TRANSFORMS.get(ctx.params.postEvaluationTransform)
    if transform is None:
        raise ctx.error("postEvaluationTransform", "must be 0, 1 or 2", value=ctx.params.postEvaluationTransform)
    return ctx.regression(transform(ctx, _sums(ctx, features, weights, offset)))


def lower_glm_classifier(ctx: ModelContext) -> Forms:
    """Compute a linear function of the features for each label, and the probabilities that belong to them.

    With one row of weights for two labels, and with ReferenceClass, the first label has none: its sum is 0. Then Logit
    gives exp(sum) of each label, divided by their total; for two labels the second has 1 / (1 + exp(-sum)). OneVsRest
    of more labels gives 1 / (1 + exp(-sum)) of each, divided by their total, as in scikit-learn, whose converter writes
    such models. Probit, of two labels, gives the distribution function of the standard normal distribution.

    The label is the one with the highest sum, which tells labels apart that have the same probability in doubles.

    Source: ``GLMClassifier``. All inputs side by side are the features, double [rows, features].

    Returns:
        The label, and double [rows, labels].

    Raises:
        LoweringError: As for a regressor; or the rows of weights do not fit the labels.
    """
    features = ctx.matrix()
    weights, offset = _parameters(ctx, ctx.count(features))
    labels = _labels(ctx, len(weights))
    spread = _spread(ctx, len(labels))
    if len(weights) < len(labels):
        weights, offset = np.vstack([0 * weights[:1], weights]), np.append(0.0, offset)
    sums = _sums(ctx, features, weights, offset)
    chosen = ctx.op("ArgMax", sums, axis=1, keepdims=0)
    return ctx.classification(spread(ctx, sums), labels, chosen)


def _parameters(ctx: ModelContext, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the weights [M, count] and the offsets [M]."""
    rows = [row.value for row in ctx.params.weights]
    if not rows or any(len(row) != count for row in rows):
        lengths = ", ".join(map(str, sorted({len(row) for row in rows}))) or "0"
        raise ctx.error(
            "weights", f"must be {count}, as the inputs have that many values", value=f"of length {lengths}"
        )
    if len(ctx.params.offset) != len(rows):
        rule = f"must be {len(rows)}, one for each row of weights"
        raise ctx.error("offset", rule, value=f"of length {len(ctx.params.offset)}")
    return np.array(rows, np.float64), np.array(ctx.params.offset, np.float64)


def _labels(ctx: ModelContext, rows: int) -> Labels:
    """Return the labels of a classifier, checked against the number of rows of weights."""
    labels: Labels = declared_labels(ctx.params)
    encoding = ctx.params.classEncoding
    if encoding not in (_Classifier.ReferenceClass, _Classifier.OneVsRest):
        raise ctx.error("classEncoding", "must be 0 or 1", value=encoding)
    if not labels:
        raise ctx.error("ClassLabels", "there are none, must be at least one")
    has_reference = encoding == _Classifier.ReferenceClass or len(labels) == 2
    expected = len(labels) - has_reference
    if rows != expected:
        name = _Classifier.ClassEncoding.Name(encoding)
        rule = f"must be {expected} for {len(labels)} labels with {name}"
        raise ctx.error("weights", rule, value=f"{rows} rows")
    return labels


def _spread(ctx: ModelContext, count: int) -> Callable[[ModelContext, Value], Value]:
    """Return what turns the sums of all labels into probabilities."""
    transform = ctx.params.postEvaluationTransform
    if transform not in (_Classifier.Logit, _Classifier.Probit):
        raise ctx.error("postEvaluationTransform", "must be 0 or 1", value=transform)
    if transform == _Classifier.Probit and count != 2:
        rule = f"must be Logit for {count} labels, as Probit is for two"
        raise ctx.error("postEvaluationTransform", rule, value="Probit")
    one_by_one = ctx.params.classEncoding == _Classifier.OneVsRest and count != 2
    return _logistic_shares if one_by_one else _SPREADS[transform]


def _sums(ctx: ModelContext, features: Value, weights: NDArray[np.float64], offset: NDArray[np.float64]) -> Value:
    """Return the linear functions, double [rows, M]."""
    products = ctx.op("MatMul", features, ctx.doubles(weights.T, "weights"))
    return ctx.op("Add", products, ctx.doubles(offset, "offset"))


def _identity(_ctx: ModelContext, x: Value) -> Value:
    return x


def logistic(ctx: ModelContext, x: Value) -> Value:
    """Return 1 / (1 + exp(-x)). ONNX Runtime's Sigmoid of doubles gives 0 from -37 down."""
    return ctx.op("Reciprocal", ctx.op("Add", ctx.op("Exp", ctx.op("Neg", x)), ctx.doubles(1.0)))


def _shares(ctx: ModelContext, sums: Value) -> Value:
    """Return exp(sum), divided by the total."""
    return ctx.op("Softmax", sums, axis=1)


def _logistic_shares(ctx: ModelContext, sums: Value) -> Value:
    """Return 1 / (1 + exp(-sum)), divided by the total, by logarithms: far away all of them would be 0.

    log(1 / (1 + exp(-x))) = min(x, 0) - log(1 + exp(-abs(x))).
    """
    decay = ctx.op("Exp", ctx.op("Neg", ctx.op("Abs", sums)))
    rest = ctx.op("Log", ctx.op("Add", decay, ctx.doubles(1.0)))
    return ctx.op("Softmax", ctx.op("Sub", ctx.op("Min", sums, ctx.doubles(0.0)), rest), axis=1)


def _probit_shares(ctx: ModelContext, sums: Value) -> Value:
    """Return both labels' probabilities of sums of which the first is 0."""
    # [0, s] -> [-s, s]
    return normal_cdf(ctx, ctx.op("MatMul", sums, ctx.doubles([[1.0, -1.0], [-1.0, 1.0]])))


_TRANSFORMS: Mapping[int, Callable[[ModelContext, Value], Value]] = {
    GLMRegressor_pb2.GLMRegressor.NoTransform: _identity,
    GLMRegressor_pb2.GLMRegressor.Logit: logistic,
    GLMRegressor_pb2.GLMRegressor.Probit: normal_cdf,
}

_SPREADS: Mapping[int, Callable[[ModelContext, Value], Value]] = {
    _Classifier.Logit: _shares,
    _Classifier.Probit: _probit_shares,
}

LOWERINGS: Mapping[str, Callable[[ModelContext], Forms]] = {
    "glmRegressor": lower_glm_regressor,
    "glmClassifier": lower_glm_classifier,
}
