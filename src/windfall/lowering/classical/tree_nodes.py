"""Read and check the nodes of an ensemble of trees.

Source: ``TreeEnsembleParameters`` in TreeEnsemble.proto; what is valid, TreeEnsembleCommon.cpp.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from windfall.lowering.classical.context import ModelContext
from windfall.spec.proto import TreeEnsemble_pb2

Ints = NDArray[np.int64]
NodeType = TreeEnsemble_pb2.TreeEnsembleParameters.TreeNode
# Engines walk down a tree by calling themselves.
DEEPEST = 4096


class Nodes(NamedTuple):
    """The nodes of all trees, in the order of the file, each field an array with an element for each node.

    Attributes:
        behavior: A ``TreeNodeBehavior``.
        feature: The number of the feature that a branch looks at.
        threshold: What a branch compares it with.
        true_child: The number of the node that follows where the comparison holds; 0 at leaves.
        false_child: The number of the node that follows where it does not; 0 at leaves.
        missing_true: Whether the former follows where the feature is missing.
        is_leaf: Whether it is a leaf.
        roots: The numbers of the first nodes of all trees, in the order of their ids.
    """

    behavior: Ints
    feature: Ints
    threshold: NDArray[np.float64]
    true_child: Ints
    false_child: Ints
    missing_true: NDArray[np.bool_]
    is_leaf: NDArray[np.bool_]
    roots: Ints


def subset(nodes: Nodes, chosen: NDArray[np.bool_]) -> Nodes:
    """Return the nodes of some trees, numbered anew.

    Args:
        nodes: The nodes of all trees.
        chosen: bool [nodes], true for all nodes of the trees that are wanted.
    """
    numbers = np.cumsum(chosen) - 1
    children = (np.where(nodes.is_leaf, 0, numbers[child])[chosen] for child in (nodes.true_child, nodes.false_child))
    true_child, false_child = children
    return Nodes(
        nodes.behavior[chosen],
        nodes.feature[chosen],
        nodes.threshold[chosen],
        true_child,
        false_child,
        nodes.missing_true[chosen],
        nodes.is_leaf[chosen],
        numbers[nodes.roots[chosen[nodes.roots]]],
    )


def tree_of(nodes: Nodes) -> Ints:
    """Return the number of the tree of each node, in the order of ``roots``."""
    trees = np.zeros(len(nodes.behavior), np.int64)
    trees[nodes.roots] = np.arange(len(nodes.roots))
    level = nodes.roots
    while len(level):
        branches = level[~nodes.is_leaf[level]]
        for child in (nodes.true_child, nodes.false_child):
            trees[child[branches]] = trees[branches]
        level = np.concatenate([nodes.true_child[branches], nodes.false_child[branches]])
    return trees


class Leaves(NamedTuple):
    """The values of all leaves.

    Attributes:
        node: The number of the leaf's node, in order.
        dimension: The dimension that the value is added to.
        value: The value.
    """

    node: Ints
    dimension: Ints
    value: NDArray[np.float64]


def read_nodes(ctx: ModelContext, ensemble: Any, features: int) -> Nodes:
    """Read the nodes of all trees.

    Args:
        ctx: The model.
        ensemble: The ``TreeEnsembleParameters`` message.
        features: How many features there are.

    Raises:
        LoweringError: Nodes do not form trees, or a branch looks at a feature that is not there.
    """
    nodes = ensemble.nodes
    if not nodes:
        raise ctx.error("nodes", "there are none, must be at least one")
    behavior = np.array([node.nodeBehavior for node in nodes], np.int64)
    unknown = ~np.isin(behavior, NodeType.TreeNodeBehavior.values())
    if unknown.any():
        raise ctx.error("nodeBehavior", "must be 0 to 6", value=behavior[unknown][0])
    feature = np.array([node.branchFeatureIndex for node in nodes], np.uint64)
    threshold = np.array([node.branchFeatureValue for node in nodes], np.float64)
    missing_true = np.array([node.missingValueTracksTrueChild for node in nodes], np.bool_)
    is_leaf = behavior == NodeType.LeafNode
    beyond = ~is_leaf & (feature >= features)
    if beyond.any():
        raise ctx.error(
            "branchFeatureIndex", f"must be below {features}, the number of features", value=feature[beyond][0]
        )
    true_child, false_child, roots = _links(ctx, nodes, is_leaf)
    return Nodes(behavior, feature.astype(np.int64), threshold, true_child, false_child, missing_true, is_leaf, roots)


class _Ids:
    """The ids of all nodes, to find nodes by them.

    Attributes:
        ids: uint64 [nodes, 2], the ids of tree and node.
        trees: The number of each node's tree.
    """

    def __init__(self, ctx: ModelContext, nodes: Any) -> None:
        self._ctx = ctx
        self.ids = np.array([(node.treeId, node.nodeId) for node in nodes], np.uint64)
        self.trees = np.unique(self.ids[:, 0], return_inverse=True)[1]
        self._known, numbers = np.unique(self.ids[:, 1], return_inverse=True)
        keys = self.trees * len(self._known) + numbers
        self._order = np.argsort(keys, kind="stable")
        self._keys = keys[self._order]
        twice = np.flatnonzero(np.diff(self._keys) == 0)
        if len(twice):
            tree, node = self.ids[self._order[twice[0]]]
            raise ctx.error("nodeId", f"stands twice in tree {tree}; ids must differ", value=node)

    def children(self, field: str, child_ids: NDArray[np.uint64], is_branch: NDArray[np.bool_]) -> Ints:
        """Return the numbers of the children that a field of each branch gives by their ids; 0 at leaves."""
        ranks = np.minimum(np.searchsorted(self._known, child_ids), len(self._known) - 1)
        keys = self.trees * len(self._known) + ranks
        places = np.minimum(np.searchsorted(self._keys, keys), len(keys) - 1)
        lost = np.flatnonzero(is_branch & ((self._known[ranks] != child_ids) | (self._keys[places] != keys)))
        if len(lost):
            tree, node = self.ids[lost[0]]
            rule = f"is no node of tree {tree}; node {node} must branch to nodes that exist"
            raise self._ctx.error(field, rule, value=child_ids[lost[0]])
        return np.asarray(np.where(is_branch, self._order[places], 0))


def _links(ctx: ModelContext, nodes: Any, is_leaf: NDArray[np.bool_]) -> tuple[Ints, Ints, Ints]:
    """Return the numbers of the children of all nodes, and of the roots."""
    ids = _Ids(ctx, nodes)
    true_child = ids.children(
        "trueChildNodeId", np.array([node.trueChildNodeId for node in nodes], np.uint64), ~is_leaf
    )
    false_child = ids.children(
        "falseChildNodeId", np.array([node.falseChildNodeId for node in nodes], np.uint64), ~is_leaf
    )
    return true_child, false_child, _roots(ctx, true_child, false_child, ~is_leaf, ids)


def _roots(ctx: ModelContext, true_child: Ints, false_child: Ints, is_branch: NDArray[np.bool_], ids: _Ids) -> Ints:
    """Return the first node of each tree; each must reach all nodes of its own, over one path."""
    parents = np.bincount(np.concatenate([true_child[is_branch], false_child[is_branch]]), minlength=len(ids.ids))
    shared = np.flatnonzero(parents > 1)
    if len(shared):
        tree, node = ids.ids[shared[0]]
        rule = f"of tree {tree} is the child of {parents[shared[0]]} branches, must be of one"
        raise ctx.error("nodeId", rule, value=node)
    roots = np.flatnonzero(parents == 0)
    of_tree = np.bincount(ids.trees[roots], minlength=ids.trees.max() + 1)
    if (of_tree != 1).any():
        wrong = int(np.flatnonzero(of_tree != 1)[0])
        tree = ids.ids[np.flatnonzero(ids.trees == wrong)[0], 0]
        raise ctx.error("nodes", f"tree {tree} has {of_tree[wrong]} nodes that are no child, must have one")
    lost = np.flatnonzero(~_reached(ctx, roots, true_child, false_child, is_branch))
    if len(lost):
        tree, node = ids.ids[lost[0]]
        raise ctx.error("nodes", f"node {node} of tree {tree} cannot be reached from the tree's first node")
    return np.asarray(roots[np.argsort(ids.trees[roots], kind="stable")])


def _reached(
    ctx: ModelContext, roots: Ints, true_child: Ints, false_child: Ints, is_branch: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return whether each node can be reached from the roots."""
    reached = np.zeros(len(is_branch), np.bool_)
    level, depth = roots, 0
    while len(level):
        reached[level] = True
        branches = level[is_branch[level]]
        level = np.concatenate([true_child[branches], false_child[branches]])
        depth += 1
        if depth > DEEPEST:
            raise ctx.error("nodes", f"a tree is over {DEEPEST:,} nodes deep, the most there may be")
    return reached


def read_leaves(ctx: ModelContext, ensemble: Any, nodes: Nodes, dimensions: int) -> Leaves:
    """Read the values of all leaves.

    Args:
        ctx: The model.
        ensemble: The ``TreeEnsembleParameters`` message.
        nodes: Its nodes.
        dimensions: How many values a prediction has.

    Raises:
        LoweringError: A leaf has no value, or two for one dimension, or one for a dimension that is not there.
    """
    numbers = np.flatnonzero(nodes.is_leaf)
    infos = [ensemble.nodes[number].evaluationInfo for number in numbers.tolist()]
    counts = np.array([len(info) for info in infos], np.int64)
    if (counts == 0).any():
        node = ensemble.nodes[int(numbers[np.flatnonzero(counts == 0)[0]])]
        raise ctx.error(
            "evaluationInfo", f"leaf {node.nodeId} of tree {node.treeId} has none, must have at least one value"
        )
    node = np.repeat(numbers, counts)
    dimension = np.array([entry.evaluationIndex for info in infos for entry in info], np.uint64)
    value = np.array([entry.evaluationValue for info in infos for entry in info], np.float64)
    if (dimension >= dimensions).any():
        rule = f"must be below {dimensions}, the numPredictionDimensions"
        raise ctx.error("evaluationIndex", rule, value=dimension[dimension >= dimensions][0])
    found = Leaves(node, dimension.astype(np.int64), value)
    keys = np.sort(found.node * dimensions + found.dimension)
    if (np.diff(keys) == 0).any():
        number, twice = divmod(int(keys[np.flatnonzero(np.diff(keys) == 0)[0]]), dimensions)
        leaf = ensemble.nodes[number]
        raise ctx.error("evaluationIndex", f"stands twice in leaf {leaf.nodeId} of tree {leaf.treeId}", value=twice)
    return found
