import numpy as np
import pytest

from tests.classical import predict
from tests.lowering.classical.tree_support import branch, classifier, leaf, regressor
from windfall.errors import LoweringError
from windfall.lowering.classical.tree_nodes import DEEPEST

ONE, TWO = leaf(0, 1, 1.0), leaf(0, 2, 2.0)
ROOT = branch(0, 0, 0, 0, 0.0, 1, 2)


@pytest.mark.parametrize(
    ("nodes", "fields", "text"),
    [
        ([], {}, "nodes there are none, must be at least one"),
        ([ROOT, ONE, TWO, ONE], {}, "nodeId is 1, stands twice in tree 0; ids must differ"),
        (
            [branch(0, 0, 0, 0, 0.0, 1, 7), ONE, TWO],
            {},
            "falseChildNodeId is 7, is no node of tree 0; node 0 must branch to nodes that exist",
        ),
        (
            [branch(0, 0, 0, 0, 0.0, 9, 2), ONE, leaf(1, 9, 1.0), TWO],
            {},
            "trueChildNodeId is 9, is no node of tree 0; node 0 must branch to nodes that exist",
        ),
        ([branch(0, 0, 0, 0, 0.0, 1, 1), ONE], {}, "nodeId is 1, of tree 0 is the child of 2 branches, must be of one"),
        ([ROOT, ONE, TWO, leaf(0, 3, 1.0)], {}, "nodes tree 0 has 2 nodes that are no child, must have one"),
        ([branch(0, 0, 0, 0, 0.0, 0, 1), ONE], {}, "nodes tree 0 has 0 nodes that are no child, must have one"),
        (
            [leaf(0, 9, 1.0), branch(0, 3, 0, 0, 0.0, 4, 1), branch(0, 4, 0, 0, 0.0, 3, 2), ONE, TWO],
            {},
            "nodes node 3 of tree 0 cannot be reached from the tree's first node",
        ),
        (
            [branch(0, 0, 2, 0, 0.0, 1, 2), ONE, TWO],
            {},
            "branchFeatureIndex is 2, must be below 2, the number of features",
        ),
        (
            [branch(0, 0, 2**64 - 1, 0, 0.0, 1, 2), ONE, TWO],
            {},
            "branchFeatureIndex is 18446744073709551615, must be below 2, the number of features",
        ),
        ([branch(0, 0, 0, 9, 0.0, 1, 2), ONE, TWO], {}, "nodeBehavior is 9, must be 0 to 6"),
        ([ROOT, ONE, leaf(0, 2)], {}, "evaluationInfo leaf 2 of tree 0 has none, must have at least one value"),
        (
            [ROOT, ONE, leaf(0, 2, 1.0, 2.0)],
            {},
            "evaluationIndex is 1, must be below 1, the numPredictionDimensions",
        ),
        ([ROOT, ONE, leaf(0, 2, 1.0, d0=2.0)], {}, "evaluationIndex is 0, stands twice in leaf 2 of tree 0"),
        ([ROOT, ONE, TWO], {"dimensions": 0}, "numPredictionDimensions is 0, must be 1 to 1,048,576"),
        ([ROOT, ONE, TWO], {"dimensions": 2**40}, "numPredictionDimensions is 1099511627776, must be 1 to 1,048,576"),
        (
            [ROOT, ONE, TWO],
            {"base": [1.0, 2.0]},
            "basePredictionValue is 2 values, must be 1, the numPredictionDimensions, or none",
        ),
        ([ROOT, ONE, TWO], {"transform": 4}, "postEvaluationTransform is 4, must be 0 to 3"),
    ],
)
def test_damaged_trees(nodes, fields, text):
    with pytest.raises(LoweringError) as error:
        predict(regressor(nodes, **fields), x=np.zeros(2))
    assert str(error.value) == f"cannot lower the model (treeEnsembleRegressor): {text}"


@pytest.mark.parametrize(
    ("dimensions", "labels", "transform", "text"),
    [
        (1, ["a", "b", "c"], 0, "ClassLabels is 3 labels, must be 2 for numPredictionDimensions of 1"),
        (3, ["a", "b"], 0, "ClassLabels is 2 labels, must be 3 for numPredictionDimensions of 3"),
        (
            1,
            ["a", "b"],
            1,
            (
                "postEvaluationTransform is Classification_SoftMax, needs numPredictionDimensions of at least 2; "
                "convert the model with Regression_Logistic"
            ),
        ),
    ],
)
def test_labels_and_dimensions_that_do_not_fit(dimensions, labels, transform, text):
    with pytest.raises(LoweringError) as error:
        predict(
            classifier([ROOT, ONE, TWO], dimensions, {"stringClassLabels": {"vector": labels}}, transform), x=[0, 0]
        )
    assert str(error.value) == f"cannot lower the model (treeEnsembleClassifier): {text}"


def test_leaves_of_many_dimensions():
    nodes = [part for tree in range(20) for part in (
        branch(tree, 0, 0, 0, 0.0, 1, 2), leaf(tree, 1, d0=1.0, d1=2.0), leaf(tree, 2, 1.0))]  # fmt: skip
    with pytest.raises(LoweringError) as error:
        predict(regressor(nodes, 2**20), x=[0, 0])
    assert str(error.value) == (
        "cannot lower the model (treeEnsembleRegressor): evaluationInfo is 40 leaves of 1,048,576 dimensions, must "
        "have at most 16,777,216 numbers as a matrix"
    )


def chain(depth):
    """A tree that is a chain: each branch has a leaf and the next branch."""
    nodes = [
        part
        for i in range(depth - 1)
        for part in (branch(0, 2 * i, 0, 0, float(i), 2 * i + 1, 2 * i + 2), leaf(0, 2 * i + 1, i))
    ]
    return [*nodes, leaf(0, 2 * depth - 2, -1.0)]


def test_a_very_deep_tree_runs_and_a_deeper_one_is_refused():
    assert predict(regressor(chain(DEEPEST)), x=[DEEPEST // 2 - 0.5, 0])["y"] == [DEEPEST // 2]
    with pytest.raises(LoweringError, match=rf"nodes a tree is over {DEEPEST:,} nodes deep, the most there may be$"):
        predict(regressor(chain(DEEPEST + 2)), x=[0, 0])
