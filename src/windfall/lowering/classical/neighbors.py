"""Classification by the nearest neighbours.

Source: ``KNearestNeighborsClassifier`` in NearestNeighbors.proto, KNearestNeighborsClassifierValidator.cpp.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windfall.lowering.classical.context import ModelContext, Value
from windfall.lowering.classical.forms import Forms, Labels
from windfall.lowering.classical.nearest import nearest
from windfall.spec.pipelines import declared_labels

_MOST_DIMENSIONS = 2**20


def lower_k_nearest_neighbors_classifier(ctx: ModelContext) -> Forms:
    """Let the samples that lie nearest to the input vote for their labels.

    - Neighbours are the ``numberOfNeighbors`` samples with the least squared Euclidean distances, which are computed
      in doubles; all samples if these are fewer. Of equally far samples the first counts. A kd-tree finds the same.
    - Votes are equal or 1 / distance, where the distance is that which the index defines, the squared one. As in
      scikit-learn, neighbours at distance 0 outvote all others, equally.
    - Each label has one probability, its share of all votes; labels are in the order of their first samples. Of equal
      ones the first label wins.
    - Without samples it is the default label, with probability 1.

    Source: ``KNearestNeighborsClassifier``. All inputs side by side are the point, double [rows, dimensions].

    Returns:
        The label, and double [rows, labels].

    Raises:
        LoweringError: Samples, labels and dimensions do not fit each other; a kind of index, distance or weights is
            not set; or the number of neighbours is not allowed.
    """
    labels = _labels(ctx)
    samples = _samples(ctx, labels)
    k = _number_of_neighbors(ctx)
    weighting = _WEIGHTINGS.get(ctx.params.WhichOneof("WeightingScheme"))
    if weighting is None:
        raise ctx.error("WeightingScheme", "is not set, must be uniformWeighting or inverseDistanceWeighting")
    points = ctx.matrix()
    if ctx.count(points) != samples.shape[1]:
        rule = f"must be {samples.shape[1]}, the numberOfDimensions"
        raise ctx.error("input", rule, value=f"{ctx.count(points)} values")
    if not labels:
        return _default(ctx)
    numbers, distances = nearest(ctx, points, samples, min(k, len(samples)))
    return _vote(ctx, labels, numbers, weighting(ctx, distances))


def _vote(ctx: ModelContext, labels: Labels, numbers: Value, weights: Value) -> Forms:
    distinct: Any = list(dict.fromkeys(labels))
    places = {label: place for place, label in enumerate(distinct)}
    classes = ctx.op("Gather", ctx.integers([places[label] for label in labels], "classes"), numbers)
    dims = ctx.op("Concat", ctx.rows, ctx.integers([len(distinct)]), axis=0)
    zeros = ctx.op("Expand", ctx.doubles(0.0), dims)
    votes = ctx.op("ScatterElements", zeros, classes, weights, axis=1, reduction="add")
    return ctx.classification(ctx.op("Div", votes, ctx.op("ReduceSum", weights, ctx.integers([1]))), distinct)


def _default(ctx: ModelContext) -> Forms:
    kind = ctx.params.WhichOneof("DefaultClassLabel")
    if kind is None:
        raise ctx.error("floatSamples", "there are none, must be at least one where there is no default label")
    sure = ctx.op("Expand", ctx.doubles([[1.0]]), ctx.op("Concat", ctx.rows, ctx.integers([1]), axis=0))
    return ctx.classification(sure, [getattr(ctx.params, kind)])


# The parameters


def _labels(ctx: ModelContext) -> Labels:
    kind, default = ctx.params.WhichOneof("ClassLabels"), ctx.params.WhichOneof("DefaultClassLabel")
    if kind and default and default != _DEFAULTS[kind]:
        raise ctx.error("DefaultClassLabel", f"must be {_DEFAULTS[kind]} where labels are {kind}", value=default)
    return declared_labels(ctx.params)


_DEFAULTS = {"stringClassLabels": "defaultStringLabel", "int64ClassLabels": "defaultInt64Label"}


def _samples(ctx: ModelContext, labels: Labels) -> NDArray[np.float32]:
    """Return the samples, [samples, dimensions]."""
    index = ctx.params.nearestNeighborsIndex
    _check_index(ctx, index)
    dimensions = index.numberOfDimensions
    if not 1 <= dimensions <= _MOST_DIMENSIONS:
        raise ctx.error("numberOfDimensions", f"must be 1 to {_MOST_DIMENSIONS:,}", value=dimensions)
    if len(index.floatSamples) != len(labels):
        rule = f"must be {len(labels)}, one for each label"
        raise ctx.error("floatSamples", rule, value=f"{len(index.floatSamples)} samples")
    for number, sample in enumerate(index.floatSamples):
        if len(sample.vector) != dimensions:
            rule = f"must be {dimensions}, the numberOfDimensions"
            raise ctx.error(f"floatSamples[{number}]", rule, value=f"{len(sample.vector)} numbers")
    samples = np.empty((len(labels), dimensions), np.float32)
    for number, sample in enumerate(index.floatSamples):
        samples[number] = np.array(sample.vector, np.float32)
    wrong = np.flatnonzero(~np.isfinite(samples).all(axis=1))
    if len(wrong):
        raise ctx.error(f"floatSamples[{wrong[0]}]", "has a number that is not finite, must have finite ones")
    return samples


def _check_index(ctx: ModelContext, index: Any) -> None:
    kind = index.WhichOneof("IndexType")
    if kind is None:
        raise ctx.error("IndexType", "is not set, must be linearIndex or singleKdTreeIndex")
    if kind == "singleKdTreeIndex" and index.singleKdTreeIndex.leafSize < 1:
        raise ctx.error("leafSize", "must be at least 1", value=index.singleKdTreeIndex.leafSize)
    if index.WhichOneof("DistanceFunction") is None:
        raise ctx.error("DistanceFunction", "is not set, must be squaredEuclideanDistance")


def _number_of_neighbors(ctx: ModelContext) -> int:
    parameter = ctx.params.numberOfNeighbors
    k = int(parameter.defaultValue)
    if k < 1:
        raise ctx.error("numberOfNeighbors", "must be at least 1", value=k)
    kind = parameter.WhichOneof("AllowedValues")
    if kind == "range" and not parameter.range.minValue <= k <= parameter.range.maxValue:
        rule = f"must be in its range, {parameter.range.minValue} to {parameter.range.maxValue}"
        raise ctx.error("numberOfNeighbors", rule, value=k)
    if kind == "set" and k not in parameter.set.values:
        raise ctx.error("numberOfNeighbors", f"must be in its set, {list(parameter.set.values)[:10]}", value=k)
    return k


# The votes


def _uniform(ctx: ModelContext, distances: Value) -> Value:
    return ctx.op("Expand", ctx.doubles(1.0), ctx.op("Shape", distances))


def _inverse(ctx: ModelContext, distances: Value) -> Value:
    """Return 1 / distance, in multiples of the nearest one's; 1 for all at distance 0, or for all at infinity."""
    ratios = ctx.op("Div", ctx.op("Gather", distances, ctx.integers([0]), axis=1), distances)
    return ctx.op("Where", ctx.op("IsNaN", ratios), ctx.doubles(1.0), ratios)


_WEIGHTINGS: Mapping[str | None, Callable[[ModelContext, Value], Value]] = {
    "uniformWeighting": _uniform,
    "inverseDistanceWeighting": _inverse,
}

LOWERINGS: Mapping[str, Callable[[ModelContext], Forms]] = {
    "kNearestNeighborsClassifier": lower_k_nearest_neighbors_classifier,
}
