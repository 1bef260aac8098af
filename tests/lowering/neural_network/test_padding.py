"""Padding and cropping, against the examples of NeuralNetwork.proto and NumPy."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import windfall
from tests.lowering.neural_network.symbolic import run_symbolic
from tests.support import layer_spec, run_layer

EDGES = st.tuples(*[st.tuples(st.integers(0, 3), st.integers(0, 3))] * 2)
NUMPY_MODES = {"constant": "constant", "reflection": "reflect", "replication": "edge"}


def counting(*shape: int) -> NDArray[np.float32]:
    return np.arange(1, 1 + np.prod(shape), dtype=np.float32).reshape(shape)


def border(*edges: tuple[int, int]) -> dict[str, Any]:
    return {"borderAmounts": [{"startEdgeSize": start, "endEdgeSize": end} for start, end in edges]}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (
            "constant",
            [[0] * 6, [0] * 6, [0, 0, 1, 2, 3, 4], [0, 0, 5, 6, 7, 8], [0, 0, 9, 10, 11, 12]],
        ),
        (
            "reflection",
            [
                [11, 10, 9, 10, 11, 12],
                [7, 6, 5, 6, 7, 8],
                [3, 2, 1, 2, 3, 4],
                [7, 6, 5, 6, 7, 8],
                [11, 10, 9, 10, 11, 12],
            ],
        ),
        (
            "replication",
            [[1, 1, 1, 2, 3, 4], [1, 1, 1, 2, 3, 4], [1, 1, 1, 2, 3, 4], [5, 5, 5, 6, 7, 8], [9, 9, 9, 10, 11, 12]],
        ),
    ],
)
def test_padding_matches_the_spec_example(kind, expected):
    y = run_layer("padding", counting(1, 3, 4), paddingAmounts=border((2, 0), (2, 0)), **{kind: {}})
    np.testing.assert_array_equal(y, [expected])


@settings(deadline=None, max_examples=25)
@given(st.sampled_from(sorted(NUMPY_MODES)), EDGES, st.integers(2, 5), st.floats(-9, 9, width=32))
def test_padding_matches_numpy(kind, edges, rank, value):
    x = counting(*[2, 1, 3, 4, 5][5 - rank :])
    options = {"constant_values": value} if kind == "constant" else {}
    fields = {kind: {"value": value} if options else {}}
    expected = np.pad(x, [(0, 0)] * (rank - 2) + list(edges), mode=NUMPY_MODES[kind], **options)
    np.testing.assert_array_equal(run_layer("padding", x, paddingAmounts=border(*edges), **fields), expected)


@pytest.mark.parametrize("kind", sorted(NUMPY_MODES))
def test_padding_of_a_size_known_at_run_time(kind):
    x = counting(1, 2, 4, 5)
    y = run_symbolic("padding", x, paddingAmounts=border((1, 2), (3, 0)), **{kind: {}})
    np.testing.assert_array_equal(y, np.pad(x, [(0, 0), (0, 0), (1, 2), (3, 0)], mode=NUMPY_MODES[kind]))


def test_no_amounts_pad_nothing():
    np.testing.assert_array_equal(run_layer("padding", counting(1, 2, 2), constant={}), counting(1, 2, 2))


def test_no_reshape_stands_between_padding_and_convolution():
    spec = layer_spec("padding", counting(1, 1, 2, 5, 5), replication={}, paddingAmounts=border((1, 1), (1, 1)))
    spec.neuralNetwork.layers[0].output[0] = "p"
    layer = spec.neuralNetwork.layers.add(name="conv", input=["p"], output=["y0"])
    layer.convolution.kernelChannels, layer.convolution.outputChannels = 2, 1
    layer.convolution.valid.SetInParent()
    layer.convolution.weights.floatValue.extend([1.0] * 18)
    nodes = windfall.load(spec).compiled.onnx.graph.node
    assert [node.op_type for node in nodes] == ["Reshape", "Pad", "Conv", "Reshape"]


@settings(deadline=None, max_examples=30)
@given(EDGES, st.integers(3, 5))
def test_crop_matches_numpy(edges, rank):
    x = counting(*[2, 1, 3, 7, 8][5 - rank :])
    (top, bottom), (left, right) = edges
    y = run_layer("crop", x, cropAmounts=border(*edges))
    np.testing.assert_array_equal(y, x[..., top : 7 - bottom, left : 8 - right])


@settings(deadline=None, max_examples=30)
@given(st.tuples(st.integers(0, 3), st.integers(0, 4)), st.tuples(st.integers(1, 4), st.integers(1, 4)))
def test_crop_to_the_size_of_a_second_input(offset, size):
    x, reference = counting(2, 3, 7, 8), counting(1, 5, *size)
    expected = x[:, :, offset[0] : offset[0] + size[0], offset[1] : offset[1] + size[1]]
    np.testing.assert_array_equal(run_layer("crop", x, reference, offset=offset), expected)
    np.testing.assert_array_equal(run_symbolic("crop", x, reference, offset=offset), expected)


def test_crop_of_a_size_known_at_run_time():
    x = counting(2, 3, 7, 8)
    y = run_symbolic("crop", x, cropAmounts=border((1, 2), (0, 3)))
    np.testing.assert_array_equal(y, x[:, :, 1:5, :5])


@pytest.mark.parametrize(
    ("shape", "fields", "message"),
    [
        ((1, 3, 3), {}, "PaddingType is not set, must be constant, reflection or replication"),
        ((4,), {"constant": {}}, "input has rank 1, must have rank 2 or more"),
        (
            (1, 3, 4),
            {"reflection": {}, "paddingAmounts": border((0, 3), (0, 0))},
            r"paddingAmounts is \[\(0, 3\), .*, must be smaller than the input for a reflection, which has 3 along H",
        ),
        (
            (1, 3, 4),
            {"constant": {}, "paddingAmounts": border((0, 3))},
            r"paddingAmounts is \[\(0, 3\)\], must have two borderAmounts, for H and W, or none",
        ),
    ],
)
def test_padding_names_the_rule_that_is_broken(shape, fields, message):
    with pytest.raises(windfall.FormatError, match=rf"cannot lower layer 'layer' \(padding\) of the model: {message}"):
        run_layer("padding", counting(*shape), **fields)


@pytest.mark.parametrize(
    ("inputs", "fields", "message"),
    [
        (1, {}, r"cropAmounts is \[\], must have two borderAmounts, for H and W, where the layer has one input"),
        (
            1,
            {"cropAmounts": border((1, 2), (0, 0))},
            r"cropAmounts is \[\(1, 2\), \(0, 0\)\], must leave at least one pixel of 3 along H",
        ),
        (2, {}, r"offset is \[\], must have two numbers, for H and W, where the layer has two inputs"),
        (
            2,
            {"offset": [0, 1]},
            r"offset is \[0, 1\], and 4 pixels of the second input reach beyond the input, which has 4 along W",
        ),
    ],
)
def test_crop_names_the_rule_that_is_broken(inputs, fields, message):
    with pytest.raises(windfall.FormatError, match=rf"cannot lower layer 'layer' \(crop\) of the model: {message}"):
        run_layer("crop", *[counting(1, 3, 4)] * inputs, **fields)
