"""Zeros that are padded before a window go into it where that is exact."""

import numpy as np
import pytest
from tests.passes.graphs import check_rewritten, normal

from windfall.graph.builder import GraphBuilder
from windfall.passes.pad_into_window import PadIntoWindow


def padded(g: GraphBuilder, x, pads=(1, 2, 3, 0), value=None, mode=None, axes=(2, 3)):
    axes_value = None if axes is None else g.constant(np.array(axes))
    fill = None if value is None else g.constant(np.float32(value))
    return g.op("Pad", x, g.constant(np.array(pads)), fill, axes_value, mode=mode)


def conv(g: GraphBuilder, x, **attributes):
    return g.op("Conv", x, g.constant(normal(4, 3, 3, 3)), **attributes)


@pytest.mark.parametrize(
    ("pad", "convolution", "pads"),
    [
        ({}, {}, (1, 2, 3, 0)),
        ({"value": 0}, {"pads": [1, 0, 0, 2]}, (2, 2, 3, 2)),
        ({}, {"strides": [2, 2], "dilations": [2, 1]}, (1, 2, 3, 0)),
        ({}, {"auto_pad": "VALID"}, (1, 2, 3, 0)),
        ({"axes": (3, -2)}, {}, (2, 1, 0, 3)),
        ({"axes": None, "pads": (0, 0, 1, 2, 0, 0, 3, 0)}, {}, (1, 2, 3, 0)),
        ({"value": 1}, {}, None),
        ({"mode": "edge"}, {}, None),
        ({"pads": (-1, 0, 0, 0)}, {}, None),
        ({"axes": (1, 2), "pads": (0, 1, 1, 0), "crop": True}, {}, None),
        ({}, {"auto_pad": "SAME_UPPER"}, None),
    ],
)
def test_a_convolution_pads_with_zeros_alone(pad, convolution, pads) -> None:
    more = pad.pop("crop", False)

    def build(g, x):
        x = padded(g, x, **pad)
        return conv(
            g, g.op("Slice", x, g.constant([0]), g.constant([3]), g.constant([1])) if more else x, **convolution
        )

    x = normal(1, 3, 7, 8, seed=1)
    kept = ["Pad", "Slice", "Conv"] if more else ["Pad", "Conv"]
    model = check_rewritten(PadIntoWindow(), build, x, kept if pads is None else ["Conv"])
    if pads is not None:
        assert tuple(list(model.graph)[-1].attributes.get_ints("pads")) == pads


def test_two_pads_in_a_row_both_go() -> None:
    check_rewritten(PadIntoWindow(), lambda g, x: conv(g, padded(g, padded(g, x))), normal(1, 3, 5, 6), ["Conv"])


def test_other_users_keep_the_pad() -> None:
    def build(g, x):
        x = padded(g, x)
        return g.op("Add", g.op("ReduceSum", conv(g, x)), g.op("ReduceSum", x))

    left = ["Pad", "Conv", "ReduceSum", "ReduceSum", "Add"]
    model = check_rewritten(PadIntoWindow(), build, normal(1, 3, 5, 6), left, changed=True)
    assert [node.inputs[0] is model.graph.inputs[0] for node in model.graph][:2] == [True, True]


@pytest.mark.parametrize(
    ("before", "value", "attributes", "taken"),
    [
        ("Relu", 0, {}, True),
        ("Sigmoid", 0, {"strides": [2, 2]}, True),
        ("Neg", 0, {}, False),  # the largest of a border of negative numbers is the zero
        ("Neg", -np.inf, {}, True),
        ("Relu", 0, {"ceil_mode": 1, "strides": [2, 2]}, False),
        ("Relu", 0, {"pads": [1, 1, 1, 1]}, False),
        ("Relu", 0, {"kernel_shape": [2, 2]}, False),  # as wide as the pad
        ("Relu", 0, {"dilations": [2, 2]}, False),
    ],
)
def test_the_largest_entry_meets_no_zeros(before, value, attributes, taken) -> None:
    def build(g, x):
        x = padded(g, g.op(before, x), pads=(1, 1, 2, 2), value=value)
        return g.op("MaxPool", x, **{"kernel_shape": [3, 3], **attributes})

    x = np.abs(normal(1, 3, 7, 8)) + np.float32(0.5)
    check_rewritten(PadIntoWindow(), build, x, [before, *([] if taken else ["Pad"]), "MaxPool"])


@pytest.mark.parametrize(("least", "taken"), [(0, True), (1, True), (-1, False)])
def test_a_clip_is_not_negative_from_zero_on(least: int, taken: bool) -> None:
    def build(g, x):
        x = g.op("Clip", x, g.constant(np.float32(least)), g.constant(np.float32(6)))
        return g.op("MaxPool", padded(g, x, pads=(1, 1, 1, 1)), kernel_shape=[3, 3])

    left = ["Clip", *([] if taken else ["Pad"]), "MaxPool"]
    check_rewritten(PadIntoWindow(), build, -np.abs(normal(1, 3, 7, 8)), left)


@pytest.mark.parametrize(
    ("attributes", "taken"),
    [
        ({}, True),
        ({"pads": [1, 0, 0, 0], "count_include_pad": 1, "kernel_shape": [5, 5]}, True),
        ({"pads": [1, 0, 0, 0], "kernel_shape": [5, 5]}, False),
        ({"ceil_mode": 1, "strides": [2, 2]}, False),
    ],
)
def test_a_mean_counts_the_zeros(attributes, taken) -> None:
    def build(g, x):
        return g.op("AveragePool", padded(g, x, pads=(1, 1, 2, 2)), **{"kernel_shape": [3, 3], **attributes})

    check_rewritten(PadIntoWindow(), build, normal(1, 3, 8, 8), [*([] if taken else ["Pad"]), "AveragePool"])
