import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import windfall
from tests.classical import model_spec, optional, predict
from tests.lowering.classical.tree_support import branch, classifier, leaf, regressor, walk

# One tree: x0 <= 0.5 ? (x1 < 2 ? 1 : 2) : 4
STUMPS = [
    branch(0, 0, 0, 0, 0.5, 1, 2),
    branch(0, 1, 1, 1, 2.0, 3, 4),
    leaf(0, 2, 4.0),
    leaf(0, 3, 1.0),
    leaf(0, 4, 2.0),
]


def values_of(spec, rows):
    return windfall.load(spec).predict_batch({"x": np.array(rows, np.float64)})["y"]


@pytest.mark.parametrize(("x", "expected"), [([0.5, 1], 1), ([0.5, 2], 2), ([0.6, 0], 4), ([math.nan, 0], 4)])
def test_a_tree_of_two_branches(x, expected):
    assert predict(regressor(STUMPS), x=np.array(x))["y"] == [expected]


@pytest.mark.parametrize(
    ("mode", "expected"),
    # for 1, 2, 3 and NaN against 2, the true child 10, the false child 20
    [(0, [10, 10, 20]), (1, [10, 20, 20]), (2, [20, 10, 10]), (3, [20, 20, 10]), (4, [20, 10, 20]), (5, [10, 20, 10])],
)
@pytest.mark.parametrize("missing", [False, True])
def test_every_branch_mode_and_where_a_missing_value_goes(mode, expected, missing):
    spec = regressor([branch(7, 5, 1, mode, 2.0, 8, 3, missing=missing), leaf(7, 3, 20.0), leaf(7, 8, 10.0)])
    got = values_of(spec, [[0, 1], [0, 2], [0, 3], [0, math.nan]])
    np.testing.assert_array_equal(got, [[v] for v in [*expected, 10 if missing else 20]])


def test_comparisons_at_thresholds_that_float32_cannot_tell_apart():
    threshold = 0.1  # between two float32 numbers
    near = [np.nextafter(threshold, 0), threshold, np.nextafter(threshold, 1)]
    for mode, expected in {0: [1, 1, 2], 1: [1, 2, 2], 2: [2, 1, 1], 3: [2, 2, 1], 4: [2, 1, 2], 5: [1, 2, 1]}.items():
        spec = regressor([branch(0, 0, 0, mode, threshold, 1, 2), leaf(0, 1, 1.0), leaf(0, 2, 2.0)])
        np.testing.assert_array_equal(values_of(spec, [[x, 0] for x in near])[:, 0], expected)


def test_sums_are_doubles():
    nodes = [
        node
        for tree in range(50)
        for node in (branch(tree, 0, 0, 0, 0.0, 1, 2), leaf(tree, 1, 0.1), leaf(tree, 2, 1e-12))
    ]
    got = values_of(regressor(nodes, base=[1e5]), [[-1, 0], [1, 0]])
    np.testing.assert_allclose(got[:, 0], [1e5 + 5.0, 1e5 + 5e-11], rtol=1e-15)


def test_base_values_and_trees_of_a_single_leaf():
    nodes = [*STUMPS, leaf(3, 9, 100.0)]
    np.testing.assert_array_equal(values_of(regressor(nodes, base=[1000.0]), [[0, 0], [1, 0]]), [[1101], [1104]])
    np.testing.assert_array_equal(values_of(regressor([leaf(3, 9, 100.0)]), [[0, 0], [1, 0]]), [[100], [100]])


def test_a_classifier_of_a_single_leaf():
    model = windfall.load(classifier([leaf(0, 0, 0.75)], 1, {"stringClassLabels": {"vector": ["no", "yes"]}}))
    found = model.predict_batch({"x": [[0, 0], [1, 0], [2, 0]]})
    assert list(found["label"]) == ["yes"] * 3
    np.testing.assert_array_equal(found["scores"]["yes"], [0.75] * 3)


def test_leaves_with_several_values_and_with_some_of_them():
    nodes = [
        branch(0, 0, 0, 0, 0.0, 1, 2), leaf(0, 1, 1.0, 2.0, 3.0), leaf(0, 2, d1=0.1),
        branch(1, 0, 1, 0, 0.0, 1, 2), leaf(1, 1, d2=0.2), leaf(1, 2, d0=10.0, d2=0.7),
        leaf(2, 0, 100.0, d2=300.0),
    ]  # fmt: skip
    rows = [[-1, -1], [-1, 1], [1, -1], [1, 1]]
    expected = [walk(nodes, row, 3, [0.5, 0, 0]) for row in rows]
    np.testing.assert_allclose(values_of(regressor(nodes, 3, [0.5, 0, 0]), rows), expected, rtol=1e-15)


@st.composite
def ensembles(draw):
    """Random trees, their nodes in random order, with ids that say nothing of it."""
    dimensions = draw(st.integers(1, 3))
    nodes = []
    for tree in draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4, unique=True)):
        ids = iter(draw(st.lists(st.integers(0, 2**64 - 1), min_size=31, max_size=31, unique=True)))

        def grow(node, depth, tree=tree, ids=ids):
            if depth == 4 or draw(st.integers(0, 2)) == 0:
                dims = draw(st.lists(st.integers(0, dimensions - 1), min_size=1, unique=True))
                nodes.append(leaf(tree, node, **{f"d{d}": draw(st.sampled_from([0.1, -3.0, 1e-9, 7.5])) for d in dims}))
                return
            true, false = next(ids), next(ids)
            threshold = draw(st.sampled_from([-1.0, 0.0, 0.1, 2.5]))
            nodes.append(
                branch(
                    tree,
                    node,
                    draw(st.integers(0, 1)),
                    draw(st.integers(0, 5)),
                    threshold,
                    true,
                    false,
                    missing=draw(st.booleans()),
                )
            )
            grow(true, depth + 1)
            grow(false, depth + 1)

        grow(next(ids), 0)
    base = draw(st.sampled_from([[], [0.25] * dimensions]))
    return draw(st.permutations(nodes)), dimensions, base


@settings(max_examples=60, deadline=None)
@given(
    ensembles(),
    st.lists(st.tuples(*[st.sampled_from([-1.0, 0.0, 0.1, 1.0, 2.5, 3.0, math.nan])] * 2), min_size=1, max_size=5),
)
def test_random_trees_against_a_walk_in_python(ensemble, rows):
    nodes, dimensions, base = ensemble
    got = values_of(regressor(nodes, dimensions, base), rows)
    expected = [walk(nodes, row, dimensions, base) for row in rows]
    np.testing.assert_allclose(got, expected, rtol=1e-14, atol=1e-15)


def test_transforms_of_a_regressor():
    sums = {1: [[1.0, 2.0]], 2: [[1.0, 2.0]], 3: [[0.0, 2.0]]}
    nodes = [branch(0, 0, 0, 0, 0.0, 1, 2), leaf(0, 1, 1.0, 2.0), leaf(0, 2, 0.0, 0.0)]
    softmax = {kind: np.exp(np.array(x)) / np.exp(np.array(x)).sum() for kind, x in sums.items()}
    expected = {**softmax, 2: 1 / (1 + np.exp(-np.array(sums[2])))}
    for transform, wanted in expected.items():
        np.testing.assert_allclose(values_of(regressor(nodes, 2, transform=transform), [[-1, 0]]), wanted, rtol=1e-14)


def test_a_missing_input_is_a_missing_value():
    nodes = [
        branch(0, 0, 0, 0, 0.0, 1, 2, missing=True),
        leaf(0, 1, 1.0),
        branch(0, 2, 1, 0, 0.0, 3, 4),
        leaf(0, 3, 2.0),
        leaf(0, 4, 3.0),
    ]
    fields = {"treeEnsemble": {"nodes": nodes, "numPredictionDimensions": 1}}
    inputs = {"a": optional("double"), "b": optional("int64")}
    model = windfall.load(model_spec("treeEnsembleRegressor", inputs, {"y": "double"}, fields, predicted="y"))
    assert model.predict({})["y"] == 1
    assert model.predict({"a": 5})["y"] == 3
    assert model.predict({"a": 5, "b": -1})["y"] == 2
    assert model.predict({"b": -1})["y"] == 1
    assert model.predict_batch([{}, {"a": 5}, {"a": 5, "b": -1}]) == [{"y": 1}, {"y": 3}, {"y": 2}]


TWO = [branch(0, 0, 0, 0, 0.0, 1, 2), leaf(0, 1, -1.0), leaf(0, 2, 0.75)]


def test_a_classifier_of_two_classes_with_one_dimension():
    labels = {"stringClassLabels": {"vector": ["no", "yes"]}}
    got = predict(classifier(TWO, 1, labels), x=np.array([1.0, 0]))
    assert got == {"label": "yes", "scores": {"no": 0.25, "yes": 0.75}}
    got = predict(classifier(TWO, 1, labels, transform=2), x=np.array([-1.0, 0]))
    assert got["label"] == "no"
    assert got["scores"]["yes"] == pytest.approx(1 / (1 + math.exp(1)), rel=1e-14)
    assert predict(classifier(TWO, 1, labels, transform=3), x=np.array([-1.0, 0])) == got


def test_a_classifier_of_several_classes():
    nodes = [branch(0, 0, 0, 0, 0.0, 1, 2), leaf(0, 1, 1.0, 0.0, 3.0), leaf(0, 2, d1=5.0)]
    spec = classifier(nodes, 3, {"int64ClassLabels": {"vector": [10, -20, 30]}}, transform=1)
    got = windfall.load(spec).predict_batch({"x": np.array([[-1.0, 0], [1, 0]])})
    np.testing.assert_array_equal(got["label"], [30, -20])
    sums = np.exp([[1, 0, 3], [0, 5, 0]])
    for label, column in zip([10, -20, 30], (sums / sums.sum(axis=1, keepdims=True)).T, strict=True):
        np.testing.assert_allclose(got["scores"][label], column, rtol=1e-14)


def test_a_classifier_without_labels_has_numbers():
    assert predict(classifier(TWO, 1, {}), x=np.array([1.0, 0])) == {"label": 1, "scores": {0: 0.25, 1: 0.75}}


def test_no_rows():
    assert values_of(regressor(STUMPS), np.empty((0, 2))).shape == (0, 1)


def test_many_rows_and_many_trees_in_groups():
    rng = np.random.default_rng(0)
    nodes = []
    for tree in range(700):
        if tree % 50 == 0:
            nodes.append(leaf(tree, 0, 0.5, d1=float(tree)))
            continue
        values = rng.normal(size=6)
        nodes += [branch(tree, 0, tree % 2, 0, values[0], 1, 2), branch(tree, 2, 1, 3, values[1], 3, 4)]
        nodes += [leaf(tree, 1, d0=values[2]), leaf(tree, 3, d1=values[3]), leaf(tree, 4, values[4], values[5])]
    rows = rng.normal(size=(300, 2))
    model = windfall.load(regressor(nodes, 2))
    got = model.predict_batch({"x": rows})["y"]
    np.testing.assert_allclose(got[:20], [walk(nodes, row, 2) for row in rows[:20]], rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(got[200:220], model.predict_batch({"x": rows[200:220]})["y"], rtol=1e-11, atol=1e-11)
    assert max(len(one.graph.graph) for one in model._programs.values()) > 4
