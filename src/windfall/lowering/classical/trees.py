"""Ensembles of trees.

All is compared and summed in doubles, as in Core ML: the operator of ``ai.onnx.ml`` 5 has both in the type of its
input. It knows one value for each leaf. Where leaves have several, it finds the leaves, and their values are summed
after it.

Source: TreeEnsemble.proto; what is valid, TreeEnsembleCommon.cpp.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from windfall.graph.builder import ML
from windfall.lowering.classical.context import ModelContext, Value
from windfall.lowering.classical.forms import Forms, Labels
from windfall.lowering.classical.linear import logistic
from windfall.lowering.classical.tree_nodes import Leaves, Nodes, NodeType, read_leaves, read_nodes, subset, tree_of
from windfall.spec.pipelines import declared_labels
from windfall.spec.proto import TreeEnsemble_pb2

# The operator's numbers for comparisons, its aggregation and its transform.
_LEQ, _LT, _EQ = 0, 1, 4
_SUM, _NONE = 1, 0
_MOST_DIMENSIONS = 2**20
_GROUP_NODES = 2048
# The values of leaves that have several become a matrix; it may be as large, or have so many times the values given.
_MOST_NUMBERS, _MOST_ZEROS = 2**24, 8

_COMPARISONS: Mapping[int, tuple[int, bool]] = {
    NodeType.BranchOnValueLessThanEqual: (_LEQ, False),
    NodeType.BranchOnValueLessThan: (_LT, False),
    NodeType.BranchOnValueGreaterThanEqual: (_LT, True),
    NodeType.BranchOnValueGreaterThan: (_LEQ, True),
    NodeType.BranchOnValueEqual: (_EQ, False),
    NodeType.BranchOnValueNotEqual: (_EQ, True),
    NodeType.LeafNode: (_LEQ, False),
}
"""The comparison for each behaviour of a branch, and whether it is the opposite: then the children change places.

NaN is missing, and never equal to anything: only with comparisons that NaN does not fulfil is ``missing tracks true``
all that decides. Engines are also faster where all nodes compare alike.
"""


def lower_tree_ensemble_regressor(ctx: ModelContext) -> Forms:
    """Sum the values of the leaves that all trees lead to.

    Source: ``TreeEnsembleRegressor``. All inputs side by side are the features, double [rows, features]; NaN is
    missing.

    Returns:
        double [rows, numPredictionDimensions].

    Raises:
        LoweringError: The nodes do not form trees, or name features or dimensions that are not there.
    """
    return ctx.regression(_transformed(ctx, _sums(ctx)))


def lower_tree_ensemble_classifier(ctx: ModelContext) -> Forms:
    """Sum the values of the leaves that all trees lead to, and choose the label with the highest score.

    With one dimension there are two classes, and the sum, after the transform, is the second one's score.

    Source: ``TreeEnsembleClassifier``. All inputs side by side are the features, double [rows, features]; NaN is
    missing.

    Returns:
        The label, and double [rows, labels].

    Raises:
        LoweringError: As for a regressor; or there is not one label for each dimension.
    """
    sums = _sums(ctx)
    dimensions = ctx.count(sums)
    labels = _labels(ctx, dimensions)
    scores = _transformed(ctx, sums)
    if dimensions == 1:
        if ctx.params.postEvaluationTransform == TreeEnsemble_pb2.Classification_SoftMax:
            rule = "needs numPredictionDimensions of at least 2; convert the model with Regression_Logistic"
            raise ctx.error("postEvaluationTransform", rule, value="Classification_SoftMax")
        scores = ctx.op("Concat", ctx.op("Sub", ctx.doubles(1.0), scores), scores, axis=1)
    return ctx.classification(scores, labels)


def _labels(ctx: ModelContext, dimensions: int) -> Labels:
    labels: Labels = declared_labels(ctx.params)
    expected = max(dimensions, 2)
    if not labels:
        return list(range(expected))
    if len(labels) != expected:
        rule = f"must be {expected} for numPredictionDimensions of {dimensions}"
        raise ctx.error("ClassLabels", rule, value=f"{len(labels)} labels")
    return labels


def _sums(ctx: ModelContext) -> Value:
    """Return the sums of all trees, double [rows, dimensions]."""
    ensemble = ctx.params.treeEnsemble
    dimensions = int(ensemble.numPredictionDimensions)
    if not 1 <= dimensions <= _MOST_DIMENSIONS:
        raise ctx.error("numPredictionDimensions", f"must be 1 to {_MOST_DIMENSIONS:,}", value=dimensions)
    features = ctx.matrix()
    nodes = read_nodes(ctx, ensemble, ctx.count(features))
    leaves = read_leaves(ctx, ensemble, nodes, dimensions)
    base = _base(ctx, ensemble, dimensions)
    # A tree of one leaf is a constant; the operator has no such trees.
    trees, lone = tree_of(nodes), nodes.is_leaf[nodes.roots]
    is_lone = lone[trees[leaves.node]]
    np.add.at(base, leaves.dimension[is_lone], leaves.value[is_lone])
    if lone.all():
        sums = ctx.op("Expand", ctx.doubles(base[None]), ctx.op("Concat", ctx.rows, ctx.integers([1]), axis=0))
        # Inference cannot follow it.
        sums.shape = ir.Shape([ctx.shape(features)[0], dimensions])
        return sums
    several = len(np.unique(leaves.node)) < len(leaves.node)
    add = _add_several if several else _add_single
    parts = [add(ctx, features, *_part(nodes, leaves, chosen), dimensions) for chosen in _groups(ctx, trees, lone)]
    sums = parts[0] if len(parts) == 1 else ctx.op("Sum", *parts)
    return sums if not base.any() else ctx.op("Add", sums, ctx.doubles(base))


def _groups(ctx: ModelContext, trees: NDArray[np.int64], lone: NDArray[np.bool_]) -> Iterator[NDArray[np.bool_]]:
    """Yield which nodes belong together: all trees that branch; for many rows, as many as stay in a core's cache.

    One operator takes a row through all of its trees, then the next one: 1,000 trees of depth 8 take 1.4 times as long
    as in groups of 1,000 nodes. For one row an operator for each group would take longer.
    """
    if not ctx.many:
        yield ~lone[trees]
        return
    counts = np.bincount(trees, minlength=len(lone)) * ~lone
    group = np.cumsum(counts) // _GROUP_NODES
    for number in np.unique(group[~lone]):
        yield ((group == number) & ~lone)[trees]


def _part(nodes: Nodes, leaves: Leaves, chosen: NDArray[np.bool_]) -> tuple[Nodes, Leaves]:
    """Return some trees with their leaves, numbered anew."""
    ours = chosen[leaves.node]
    numbers = np.cumsum(chosen) - 1
    return subset(nodes, chosen), Leaves(numbers[leaves.node[ours]], leaves.dimension[ours], leaves.value[ours])


def _base(ctx: ModelContext, ensemble: Any, dimensions: int) -> NDArray[np.float64]:
    base = np.array(ensemble.basePredictionValue, np.float64)
    if len(base) not in (0, dimensions):
        rule = f"must be {dimensions}, the numPredictionDimensions, or none"
        raise ctx.error("basePredictionValue", rule, value=f"{len(base)} values")
    return base if len(base) else np.zeros(dimensions)


def _add_single(ctx: ModelContext, features: Value, nodes: Nodes, leaves: Leaves, dimensions: int) -> Value:
    """Return the sums of trees whose leaves have one value each."""
    return _ensemble(ctx, features, nodes, leaves.dimension, leaves.value, dimensions)


def _add_several(ctx: ModelContext, features: Value, nodes: Nodes, leaves: Leaves, dimensions: int) -> Value:
    """Return the sums of trees whose leaves have several values: find the leaf in each tree, then add their values."""
    numbers, rows = np.unique(leaves.node, return_inverse=True)
    if len(numbers) * dimensions > max(_MOST_NUMBERS, _MOST_ZEROS * len(rows)):
        rule = f"must have at most {_MOST_NUMBERS:,} numbers as a matrix"
        raise ctx.error("evaluationInfo", rule, value=f"{len(numbers):,} leaves of {dimensions:,} dimensions")
    values = np.zeros((len(numbers), dimensions))
    values[rows, leaves.dimension] = leaves.value
    # [rows, trees], the number of the leaf: doubles hold it exactly
    which = np.arange(len(numbers), dtype=np.float64)
    found = _ensemble(ctx, features, nodes, tree_of(nodes)[numbers], which, len(nodes.roots))
    chosen = ctx.op("Gather", ctx.doubles(values, "leaves"), ctx.op("Cast", found, to=ir.DataType.INT64))
    # [rows, trees, dimensions] -> [rows, dimensions]
    return ctx.op("ReduceSum", chosen, ctx.integers([1]), keepdims=0)


def _ensemble(
    ctx: ModelContext,
    features: Value,
    nodes: Nodes,
    targets: NDArray[np.int64],
    weights: NDArray[np.float64],
    dimensions: int,
) -> Value:
    """Add the operator for some trees; targets and weights are those of their leaves, in order."""
    branches = np.flatnonzero(~nodes.is_leaf)
    # Branches and leaves are numbered apart from each other.
    numbers = np.where(nodes.is_leaf, np.cumsum(nodes.is_leaf), np.cumsum(~nodes.is_leaf)) - 1
    modes = np.array([_COMPARISONS[int(b)] for b in range(len(_COMPARISONS))])
    mode, swap = modes[nodes.behavior[branches]].T
    first, second = nodes.true_child[branches], nodes.false_child[branches]
    first, second = np.where(swap, second, first), np.where(swap, first, second)
    missing = nodes.missing_true[branches] != swap.astype(np.bool_)
    return ctx.op(
        "TreeEnsemble",
        features,
        domain=ML,
        aggregate_function=_SUM,
        post_transform=_NONE,
        n_targets=dimensions,
        tree_roots=numbers[nodes.roots].tolist(),
        nodes_featureids=nodes.feature[branches].tolist(),
        nodes_splits=ir.tensor(nodes.threshold[branches]),
        nodes_modes=ir.tensor(mode.astype(np.uint8)),
        nodes_truenodeids=numbers[first].tolist(),
        nodes_falsenodeids=numbers[second].tolist(),
        nodes_trueleafs=nodes.is_leaf[first].astype(int).tolist(),
        nodes_falseleafs=nodes.is_leaf[second].astype(int).tolist(),
        nodes_missing_value_tracks_true=missing.astype(int).tolist() if missing.any() else None,
        leaf_targetids=targets.tolist(),
        leaf_weights=ir.tensor(weights),
    )


def _transformed(ctx: ModelContext, sums: Value) -> Value:
    transform = _TRANSFORMS.get(ctx.params.postEvaluationTransform)
    if transform is None:
        raise ctx.error("postEvaluationTransform", "must be 0 to 3", value=ctx.params.postEvaluationTransform)
    return transform(ctx, sums)


def _none(_ctx: ModelContext, sums: Value) -> Value:
    return sums


def _softmax(ctx: ModelContext, sums: Value) -> Value:
    return ctx.op("Softmax", sums, axis=1)


def _softmax_zero(ctx: ModelContext, sums: Value) -> Value:
    """The sum of the first class counts as 0; of two classes with one dimension, that of the class without one."""
    if ctx.count(sums) == 1:
        return logistic(ctx, sums)
    mask = np.ones(ctx.count(sums))
    mask[0] = 0
    return ctx.op("Softmax", ctx.op("Mul", sums, ctx.doubles(mask)), axis=1)


_TRANSFORMS: Mapping[int, Callable[[ModelContext, Value], Value]] = {
    TreeEnsemble_pb2.NoTransform: _none,
    TreeEnsemble_pb2.Classification_SoftMax: _softmax,
    TreeEnsemble_pb2.Regression_Logistic: logistic,
    TreeEnsemble_pb2.Classification_SoftMaxWithZeroClassReference: _softmax_zero,
}

LOWERINGS: Mapping[str, Callable[[ModelContext], Forms]] = {
    "treeEnsembleClassifier": lower_tree_ensemble_classifier,
    "treeEnsembleRegressor": lower_tree_ensemble_regressor,
}
