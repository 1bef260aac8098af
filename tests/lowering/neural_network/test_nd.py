"""Layers on tensors of any rank, against PyTorch and NumPy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tests.support import run_layer

import windfall

SHAPES = hnp.array_shapes(min_dims=1, max_dims=5, max_side=4)


@settings(deadline=None, max_examples=25)
@given(SHAPES, st.data())
def test_softmax_nd_matches_pytorch(shape: tuple[int, ...], data: st.DataObject) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32) * 20
    expected = torch.softmax(torch.from_numpy(x), axis).numpy()
    np.testing.assert_allclose(run_layer("softmaxND", x, axis=axis), expected, rtol=1e-5, atol=1e-7)


@settings(deadline=None, max_examples=25)
@given(SHAPES, st.data())
def test_reshape_static_matches_numpy(shape: tuple[int, ...], data: st.DataObject) -> None:
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    target = data.draw(st.permutations(shape))
    if data.draw(st.booleans()):
        target[data.draw(st.integers(0, len(target) - 1))] = -1
    np.testing.assert_array_equal(run_layer("reshapeStatic", x, targetShape=target), x.reshape(target))


@pytest.mark.parametrize(
    ("layer_type", "fields", "message"),
    [
        ("softmaxND", {"axis": 2}, r"axis is 2, must be -2 to 1 for an input of rank 2"),
        ("reshapeStatic", {"targetShape": [-2, 3]}, r"targetShape is \[-2, 3\], must have sizes of at least 0"),
        ("reshapeStatic", {"targetShape": [-1, -1]}, r"targetShape is \[-1, -1\], must have sizes of at least 0"),
        ("reshapeStatic", {"targetShape": [7]}, r"input is 'x0' \[2, 3\], does not fit the layer"),
    ],
)
def test_wrong_parameters_are_refused(layer_type: str, fields: dict[str, object], message: str) -> None:
    with pytest.raises(windfall.LoweringError, match=message):
        run_layer(layer_type, np.ones((2, 3)), **fields)
