"""Nodes that move entries, or keep them, are merged."""

import numpy as np
import pytest
from tests.passes.graphs import check_rewritten, graph_of, normal, run

from windfall.passes.merge_moves import MergeReshapes, MergeTransposes


def transposed(g, x, *perms):
    for perm in perms:
        x = g.op("Transpose", x, perm=list(perm))
    return g.op("Neg", x)


@pytest.mark.parametrize(
    ("perms", "left"),
    [
        (((1, 2, 0), (0, 2, 1)), ["Transpose", "Neg"]),
        (((1, 2, 0), (1, 2, 0), (1, 2, 0)), ["Neg"]),
        (((2, 1, 0), (2, 1, 0)), ["Neg"]),
        (((0, 1, 2),), ["Neg"]),
        (((0, 2, 1),), ["Transpose", "Neg"]),
    ],
)
def test_transposes_in_a_row_become_one(perms, left) -> None:
    check_rewritten(MergeTransposes(), lambda g, x: transposed(g, x, *perms), normal(2, 3, 4), left)


def test_a_transpose_without_perm_reverses() -> None:
    def build(g, x):
        return g.op("Transpose", g.op("Transpose", x, perm=[1, 0, 2]))

    model = graph_of(build, [2, 3, 4])
    x = normal(2, 3, 4)
    assert MergeTransposes()(model).modified
    np.testing.assert_array_equal(run(model, x), x.transpose(1, 0, 2).T)


def test_an_output_keeps_its_transpose_though_it_changes_nothing() -> None:
    def build(g, x):
        return g.op("Transpose", g.op("Transpose", x, perm=[1, 0]), perm=[1, 0])

    model = graph_of(build, [2, 3])
    MergeTransposes()(model)
    x = normal(2, 3)
    np.testing.assert_array_equal(run(model, x), x)
    assert not MergeTransposes()(model).modified


def test_other_users_keep_the_first_transpose() -> None:
    def build(g, x):
        first = g.op("Transpose", x, perm=[1, 2, 0])
        return g.op("Add", g.op("ReduceSum", first), g.op("Transpose", first, perm=[1, 2, 0]))

    model = graph_of(build, [2, 3, 4])
    x = normal(2, 3, 4)
    expected = run(model, x)
    assert MergeTransposes()(model).modified
    assert [list(n.attributes.get_ints("perm")) for n in model.graph if n.op_type == "Transpose"] == [
        [1, 2, 0],
        [2, 0, 1],
    ]
    np.testing.assert_array_equal(run(model, x), expected)


def reshaped(g, x, *shapes, **attributes):
    for shape in shapes:
        x = g.op("Reshape", x, g.constant(np.array(shape)), **attributes)
    return g.op("Neg", x)


@pytest.mark.parametrize(
    ("shapes", "left"),
    [
        (([6, 4], [3, 8]), ["Reshape", "Neg"]),
        (([24], [4, -1], [2, 12]), ["Reshape", "Neg"]),
        (([6, 4], [2, 3, 4]), ["Neg"]),
        (([6, 4], [0, 2, 2]), ["Reshape", "Reshape", "Neg"]),  # a size of the value between
    ],
)
def test_reshapes_in_a_row_become_one(shapes, left) -> None:
    check_rewritten(MergeReshapes(), lambda g, x: reshaped(g, x, *shapes), normal(2, 3, 4), left)


def test_a_reshape_takes_the_place_of_flatten_and_unsqueeze() -> None:
    def build(g, x):
        flat = g.op("Flatten", g.op("Unsqueeze", x, g.constant(np.array([0]))), axis=2)
        return g.op("Reshape", flat, g.constant(np.array([4, 6])))

    model = graph_of(build, [2, 3, 4])
    assert MergeReshapes()(model).modified
    x = normal(2, 3, 4)
    np.testing.assert_array_equal(run(model, x), x.reshape(4, 6))


def test_a_shape_known_at_run_time_stays() -> None:
    def build(g, x):
        shape = g.op("Shape", g.op("Neg", x))
        return g.op("Reshape", g.op("Reshape", x, g.constant(np.array([-1]))), shape)

    check_rewritten(MergeReshapes(), build, normal(2, 3), ["Neg", "Shape", "Reshape", "Reshape"])
