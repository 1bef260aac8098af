"""Shapes and orders of tensors of any rank, against NumPy and the specification's examples."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import windfall
from tests.lowering.neural_network.strategies import few, tensors
from tests.lowering.neural_network.symbolic import run_symbolic
from tests.support import fill, layer_spec, run_layer


def numbered(dims: tuple[int, ...]) -> NDArray[np.float32]:
    return np.arange(np.prod(dims), dtype=np.float32).reshape(dims)


@few
@given(x=tensors(least_rank=1), data=st.data())
def test_reshape_static_matches_numpy(x: NDArray[Any], data: st.DataObject) -> None:
    target = data.draw(st.permutations(x.shape))
    if data.draw(st.booleans()):
        target[data.draw(st.integers(0, len(target) - 1))] = -1
    np.testing.assert_array_equal(run_layer("reshapeStatic", x, targetShape=target), x.reshape(target))


# The first of each are the examples on the message.
@pytest.mark.parametrize(
    ("layer_type", "dims", "fields", "expected"),
    [
        ("squeeze", (1, 1, 10, 5), {"axes": [0, 1]}, (10, 5)),
        ("squeeze", (1, 10, 5, 1), {"axes": [0, 3]}, (10, 5)),
        ("squeeze", (10, 5, 1, 1), {"axes": [-2, -1]}, (10, 5)),
        ("squeeze", (1,), {"axes": [0]}, (1,)),
        ("squeeze", (1, 1), {"axes": [1, 0]}, (1,)),
        ("squeeze", (3, 1, 7), {"axes": [1]}, (3, 7)),
        ("squeeze", (3, 1, 7, 1), {"squeezeAll": True}, (3, 7)),
        ("squeeze", (1, 1, 1), {"squeezeAll": True}, (1,)),
        ("squeeze", (5, 6), {"squeezeAll": True}, (5, 6)),
        ("expandDims", (10, 5), {"axes": [0, 1]}, (1, 1, 10, 5)),
        ("expandDims", (10, 5), {"axes": [0, 2]}, (1, 10, 1, 5)),
        ("expandDims", (10, 5), {"axes": [-2, -1]}, (10, 5, 1, 1)),
        ("expandDims", (10,), {"axes": [1, 0, -2]}, (1, 1, 1, 10)),
        ("flattenTo2D", (3,), {"axis": -1}, (1, 3)),
        ("flattenTo2D", (3,), {"axis": 1}, (3, 1)),
        ("flattenTo2D", (4, 3), {"axis": -1}, (4, 3)),
        ("flattenTo2D", (5, 2), {"axis": 0}, (1, 10)),
        ("flattenTo2D", (5, 5, 3), {"axis": -2}, (5, 15)),
        ("flattenTo2D", (2, 3, 2), {"axis": -1}, (6, 2)),
        ("rankPreservingReshape", (20, 10), {"targetShape": [5, -1]}, (5, 40)),
        ("rankPreservingReshape", (20, 10, 5), {"targetShape": [0, 2, 25]}, (20, 2, 25)),
        ("rankPreservingReshape", (10, 3, 5), {"targetShape": [25, 0, -1]}, (25, 3, 2)),
    ],
)
def test_the_values_stay_in_order(
    layer_type: str, dims: tuple[int, ...], fields: dict[str, Any], expected: tuple[int, ...]
) -> None:
    x = numbered(dims)
    np.testing.assert_array_equal(run_layer(layer_type, x, **fields), x.reshape(expected))
    if "squeezeAll" not in fields:
        np.testing.assert_array_equal(run_symbolic(layer_type, x, **fields), x.reshape(expected))


@few
@given(x=tensors(least_rank=1), data=st.data())
def test_transpose_is_numpys(x: NDArray[Any], data: st.DataObject) -> None:
    axes = data.draw(st.permutations(range(x.ndim)))
    np.testing.assert_array_equal(run_layer("transpose", x, axes=axes), x.transpose(axes))


def test_three_axes_of_a_picture_leave_its_batch_alone() -> None:
    x = np.arange(120, dtype=np.float32).reshape(2, 3, 4, 5)
    np.testing.assert_array_equal(run_layer("transpose", x, axes=[1, 2, 0]), x.transpose(0, 2, 3, 1))


def test_transpose_of_the_example() -> None:
    assert run_layer("transpose", np.ones((6, 7, 8, 9)), axes=[3, 1, 2, 0]).shape == (9, 7, 8, 6)


@few
@given(x=tensors(least_rank=1), data=st.data())
def test_the_shape_can_be_an_input(x: NDArray[Any], data: st.DataObject) -> None:
    target = data.draw(st.permutations(x.shape))
    expected = x.reshape(target)
    np.testing.assert_array_equal(run_layer("reshapeLike", x, np.zeros(target)), expected)
    np.testing.assert_array_equal(run_symbolic("reshapeLike", x, np.zeros(target)), expected)
    target[data.draw(st.integers(0, x.ndim - 1))] = -1
    np.testing.assert_array_equal(run_layer("reshapeDynamic", x, target), expected)


@pytest.mark.parametrize("dims", [(7,), (1, 2, 3), (2, 1, 4, 3, 5)])
def test_get_shape_gives_the_sizes(dims: tuple[int, ...]) -> None:
    np.testing.assert_array_equal(run_layer("getShape", np.zeros(dims)), dims)
    np.testing.assert_array_equal(run_symbolic("getShape", np.zeros(dims)), dims)


def test_a_shape_read_from_a_tensor_is_known_when_the_model_is_loaded() -> None:
    spec = layer_spec("getShape", np.zeros((2, 3)), numbered((6,)))
    layers = spec.neuralNetwork.layers
    layers[0].input[:] = ["x0"]
    layers[0].output[0] = "shape"
    for name, kind, inputs, fields in [
        ("m", "reshapeDynamic", ["x1", "shape"], {}),
        ("y0", "squeeze", ["e"], {"squeezeAll": True}),
    ]:
        if kind == "squeeze":
            between = layers.add(name="e", input=["m"], output=["e"])
            between.expandDims.axes.append(0)
        layer = layers.add(name=name, input=inputs, output=[name])
        getattr(layer, kind).SetInParent()
        fill(getattr(layer, kind), fields)
    result = windfall.load(spec).predict({"x0": np.zeros((2, 3)), "x1": numbered((6,))})["y0"]
    np.testing.assert_array_equal(result, numbered((2, 3)))


@pytest.mark.parametrize(
    ("layer_type", "fields", "message"),
    [
        ("reshapeStatic", {"targetShape": [-2, 3]}, r"targetShape is \[-2, 3\], must have sizes of at least 0"),
        ("reshapeStatic", {"targetShape": [-1, -1]}, r"targetShape is \[-1, -1\], must have sizes of at least 0"),
        ("reshapeStatic", {"targetShape": [7]}, r"input is 'x0' \[2, 3\], does not fit the layer"),
        ("squeeze", {"axes": [0]}, r"axes is \[0\], must be axes of size 1 of the input's \[2, 3\]"),
        ("squeeze", {}, r"axes is \[\], must be one or more axes, each -2 to 1"),
        ("squeeze", {"axes": [0, -2]}, r"axes is \[0, -2\], must name each axis once"),
        ("expandDims", {"axes": [3]}, r"axes is \[3\], must be one or more axes, each -3 to 2"),
        ("flattenTo2D", {"axis": 3}, r"axis is 3, must be -2 to 2 for an input of rank 2"),
        ("rankPreservingReshape", {"targetShape": [6]}, r"targetShape is \[6\], must have 2 sizes as the input has"),
        ("rankPreservingReshape", {"targetShape": [-1, -1]}, r"targetShape is \[-1, -1\], must have 2 sizes"),
        ("rankPreservingReshape", {"targetShape": [4, 0]}, r"input is 'x0' \[2, 3\], does not fit the layer"),
        ("transpose", {"axes": [0, 0]}, r"axes is \[0, 0\], must be 0 to 1 in any order for an input of rank 2"),
    ],
)
def test_wrong_parameters_are_refused(layer_type: str, fields: dict[str, object], message: str) -> None:
    with pytest.raises(windfall.LoweringError, match=message):
        run_layer(layer_type, np.ones((2, 3)), **fields)


def test_squeeze_all_needs_to_know_the_sizes() -> None:
    with pytest.raises(windfall.LoweringError, match=r"squeezeAll is True, needs an input whose sizes .* are known"):
        run_symbolic("squeeze", np.ones((1, 2)), squeezeAll=True)


def test_a_shape_must_be_a_vector() -> None:
    with pytest.raises(windfall.LoweringError, match=r"input for the shape has shape \[1, 2\], must be a vector"):
        run_layer("reshapeDynamic", np.ones((2, 3)), np.ones((1, 2)))


def test_a_shape_of_unknown_length_is_refused() -> None:
    with pytest.raises(windfall.LoweringError, match=r"the length of the shape .* is known only at run time"):
        run_symbolic("reshapeDynamic", np.ones((2, 3)), np.ones(2))
