"""Tensors filled with one number or with evenly spaced ones, against NumPy."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from tests.lowering.neural_network.strategies import few, tensors
from tests.lowering.neural_network.symbolic import run_symbolic
from tests.support import layer_spec, run_layer
from windfall.errors import LoweringError
from windfall.lowering.neural_network.network import lower_network
from windfall.spec.modelfile import from_spec

numbers = st.floats(-100, 100, width=32)


@few
@given(x=tensors(least_rank=1), number=numbers)
def test_fill_like_takes_the_shape_alone(x: NDArray[Any], number: float) -> None:
    x.flat[0] = np.nan
    expected = np.full(x.shape, number, np.float32)
    np.testing.assert_array_equal(run_layer("fillLike", x, value=number), expected)
    np.testing.assert_array_equal(run_symbolic("fillLike", x, value=number), expected)


@few
@given(shape=hnp.array_shapes(min_dims=1, max_dims=5, max_side=4), number=numbers)
def test_a_shape_is_stored_or_an_input(shape: tuple[int, ...], number: float) -> None:
    expected = np.full(shape, number, np.float32)
    np.testing.assert_array_equal(run_layer("fillStatic", targetShape=shape, value=number), expected)
    np.testing.assert_array_equal(run_layer("fillDynamic", shape, value=number), expected)


def test_a_fill_keeps_the_sizes_that_are_known() -> None:
    lowered = lower_network(from_spec(layer_spec("fillLike", np.ones((2, 3)))), {"x0": (2, "n")})
    shape = lowered.graph.outputs[0].shape
    assert shape is not None
    assert [str(dim) for dim in shape] == ["2", "n"]


@pytest.mark.parametrize("layer_type", ["fillDynamic", "randomNormalDynamic"])
def test_a_shape_must_have_a_length_that_is_known(layer_type: str) -> None:
    message = "input for the shape has a length known only at run time, must have a fixed one"
    with pytest.raises(LoweringError, match=message):
        run_symbolic(layer_type, np.ones(2))


# Start, end, step: those of coremltools' tests, and empty ranges.
RANGES = [
    (-10.4, 23, 12.2),
    (0, 1000, 1),
    (50.5, 90.5, 1.5),
    (5, 8, 2),
    (5, 8, 98),
    (5, 8, 1.5),
    (10, 5, -0.6),
    (24, -65, -2),
    (5, 5, 1),
    (5, 8, -1),
]


@pytest.mark.parametrize(("start", "end", "step"), RANGES)
def test_ranges_match_numpy(start: float, end: float, step: float) -> None:
    expected = np.arange(start, end, step)
    start_and_step = {"startValue": start, "stepSizeValue": step}
    ignored = {"startValue": 7, "stepSizeValue": 0}
    for y in (
        run_layer("rangeStatic", endValue=end, **start_and_step),
        run_layer("rangeDynamic", [end], **start_and_step),
        run_layer("rangeDynamic", [end], [start], **(ignored | {"stepSizeValue": step})),
        run_layer("rangeDynamic", [end], [start], [step], **ignored),
    ):
        assert y.shape == expected.shape
        np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-5)


def test_rounding_errors_do_not_add_up() -> None:
    expected = np.arange(100000) * float(np.float32(0.1))
    for y in (
        run_layer("rangeStatic", endValue=9999.95, stepSizeValue=0.1),
        run_layer("rangeDynamic", [9999.95], stepSizeValue=0.1),
    ):
        np.testing.assert_allclose(y, expected, rtol=2e-7)


@pytest.mark.parametrize(
    ("layer_type", "inputs", "fields", "message"),
    [
        ("fillStatic", [], {}, r"targetShape is \[\], must have at least one size"),
        ("fillStatic", [], {"targetShape": [2**20, 2**20]}, "needs 4,398,046,511,104 bytes, must be at most"),
        ("fillDynamic", [np.ones((2, 2))], {}, r"input for the shape has shape \[2, 2\], must be a vector"),
        ("rangeStatic", [], {"endValue": 3}, r"stepSizeValue is 0.0, must not be 0"),
        ("rangeStatic", [], {"endValue": np.inf, "stepSizeValue": 1}, "endValue is inf, must give a finite range"),
        ("rangeStatic", [], {"endValue": 1e30, "stepSizeValue": 1e-8}, "cannot lower layer 'layer'"),
        ("rangeDynamic", [np.ones(1)], {}, r"stepSizeValue is 0.0, must not be 0"),
    ],
)
def test_wrong_parameters_are_refused(
    layer_type: str, inputs: list[NDArray[Any]], fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(LoweringError, match=message):
        run_layer(layer_type, *inputs, **fields)
