"""Elementwise arithmetic against NumPy."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import windfall
from tests.lowering.neural_network.strategies import few, random, seeds, tensors
from tests.support import layer_spec, run_layer
from windfall.errors import LoweringError

numbers = st.floats(-2, 2, width=32)
VARIADIC: dict[str, Callable[[Sequence[NDArray[Any]]], NDArray[Any]]] = {
    "add": sum,
    "multiply": lambda inputs: np.prod(np.broadcast_arrays(*inputs), axis=0),
    "average": lambda inputs: np.mean(np.broadcast_arrays(*inputs), axis=0),
    "max": lambda inputs: np.max(np.broadcast_arrays(*inputs), axis=0),
    "min": lambda inputs: np.min(np.broadcast_arrays(*inputs), axis=0),
}


@pytest.mark.parametrize("layer_type", VARIADIC)
@few
@given(data=st.data(), rank5=st.booleans(), count=st.integers(2, 3), seed=seeds)
def test_several_inputs_broadcast(layer_type: str, data: Any, rank5: bool, count: int, seed: int) -> None:
    full = data.draw(st.lists(st.integers(1, 3), min_size=5 if rank5 else 1, max_size=5))
    # The proto's examples, and more: any axis of any input may be 1 instead.
    masks = data.draw(st.lists(st.tuples(*[st.booleans()] * len(full)), min_size=count, max_size=count))
    shapes = [[size if keep else 1 for size, keep in zip(full, mask, strict=True)] for mask in masks]
    inputs = [random(seed + i, dims) for i, dims in enumerate(shapes)]
    y = run_layer(layer_type, *inputs, rank5=rank5)
    expected = VARIADIC[layer_type]([x.astype(np.float64) for x in inputs])
    # With one sequence step and one batch element an output is [C, H, W].
    np.testing.assert_allclose(y, expected.reshape(y.shape), rtol=1e-5, atol=1e-6)
    assert y.size == expected.size


@few
@given(x=tensors(least_rank=1), alpha=numbers)
def test_a_single_input_is_combined_with_alpha(x: NDArray[Any], alpha: float) -> None:
    np.testing.assert_allclose(run_layer("add", x, alpha=alpha), x + np.float32(alpha), rtol=1e-6)
    np.testing.assert_allclose(run_layer("multiply", x, alpha=alpha), x * np.float32(alpha), rtol=1e-6)


@pytest.mark.parametrize("layer_type", ["average", "max", "min"])
def test_a_single_input_without_alpha_stays(layer_type: str) -> None:
    x = random(0, (2, 3, 4))
    np.testing.assert_array_equal(run_layer(layer_type, x), x)


def test_shapes_that_do_not_broadcast_are_refused() -> None:
    with pytest.raises(LoweringError, match=r"input is 'x0' \[2, 1, 1\], 'x1' \[3, 1, 1\], does not fit the layer: "):
        run_layer("add", np.ones((2, 1, 1)), np.ones((3, 1, 1)))


def unary(name: str, x: NDArray[Any], alpha: float, epsilon: float) -> NDArray[Any]:
    return {
        "SQRT": lambda: np.sqrt(x),
        "RSQRT": lambda: 1 / np.sqrt(x + epsilon),
        "INVERSE": lambda: 1 / (x + epsilon),
        "POWER": lambda: x**alpha,
        "EXP": lambda: np.exp(x),
        "LOG": lambda: np.log(x if epsilon == 1e-6 else x + epsilon),  # it has no default
        "ABS": lambda: np.abs(x),
        "THRESHOLD": lambda: np.maximum(x, alpha),
    }[name]()


UNARY = ("SQRT", "RSQRT", "INVERSE", "POWER", "EXP", "LOG", "ABS", "THRESHOLD")


@pytest.mark.parametrize("name", UNARY)
@few
@given(
    x=tensors(low=0.1, least_rank=1),
    alpha=numbers,
    epsilon=st.sampled_from([0, 0.01, 0.5]),
    shift=st.sampled_from([0, 0.25, 2]),
    scale=st.sampled_from([0, 0.5, 1, 3]),
)
def test_unary_functions_follow_their_formula(
    name: str, x: NDArray[Any], alpha: float, epsilon: float, shift: float, scale: float
) -> None:
    y = run_layer("unary", x, type=name, alpha=alpha, epsilon=epsilon, shift=shift, scale=scale)
    # A scale of 0 stands for 1, an epsilon of 0 for 1e-6.
    inner = x.astype(np.float64) * (scale or 1) + shift
    np.testing.assert_allclose(y, unary(name, inner, alpha, epsilon or 1e-6), rtol=2e-5, atol=1e-6)


def test_epsilon_guards_divisions_and_a_logarithm_that_has_one() -> None:
    x = np.zeros((1, 1, 1))
    assert run_layer("unary", x, type="INVERSE").item() == pytest.approx(1e6)
    assert run_layer("unary", x, type="RSQRT").item() == pytest.approx(1e3)
    assert run_layer("unary", x, type="LOG").item() == -np.inf
    assert run_layer("unary", x, type="LOG", epsilon=0.5).item() == pytest.approx(np.log(0.5))


def test_powers_of_negative_numbers_with_a_whole_exponent() -> None:
    np.testing.assert_allclose(run_layer("unary", [-2.0, 3.0], type="POWER", alpha=3), [-8, 27])


def test_relu6_as_converters_write_it_for_specification_1() -> None:
    # min(x, 6) = -max(-x, -6)
    x = np.array([-1, 3, 7], np.float32)
    y = run_layer("unary", x, type="THRESHOLD", alpha=-6, scale=-1)
    np.testing.assert_array_equal(-y, np.minimum(x, 6))


def test_an_unknown_unary_function_is_refused() -> None:
    with pytest.raises(LoweringError, match=r"type is 8, must be 0 to 7"):
        run_layer("unary", np.ones(1), type=8)


@st.composite
def broadcast_shapes(draw: Callable[[Any], Any], x: NDArray[Any]) -> tuple[int, ...]:
    """Return one of the four shapes that the proto allows for a stored tensor."""
    channels, height, width = x.shape[-3:]
    return draw(st.sampled_from([(1,), (channels,), (1, height, width), (channels, height, width)]))


def over_channels(values: NDArray[Any]) -> NDArray[Any]:
    return values.reshape((*values.shape, 1, 1)[:3])


@few
@given(data=st.data(), x=tensors(), seed=seeds)
def test_bias_broadcasts_to_the_input(data: Any, x: NDArray[Any], seed: int) -> None:
    bias = random(seed, data.draw(broadcast_shapes(x)))
    y = run_layer("bias", x, shape=list(bias.shape), bias=bias)
    np.testing.assert_allclose(y, x + over_channels(bias), rtol=1e-6, atol=1e-6)


@few
@given(data=st.data(), x=tensors(), has_bias=st.booleans(), seed=seeds)
def test_scale_and_bias_broadcast_to_the_input(data: Any, x: NDArray[Any], has_bias: bool, seed: int) -> None:
    scale, bias = (random(seed + i, data.draw(broadcast_shapes(x))) for i in range(2))
    y = run_layer(
        "scale",
        x,
        shapeScale=list(scale.shape),
        scale=scale,
        hasBias=has_bias,
        shapeBias=list(bias.shape),
        bias=bias,
    )
    expected = x * over_channels(scale) + (over_channels(bias) if has_bias else 0)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("dims", "shape", "message"),
    [
        ((2, 1), [1], "input has rank 2, must have rank 3 or more"),
        ((2, 1, 1), [2, 1], r"shape is \[2, 1\], must have 1 or 3 sizes"),
        ((1, 2, 2), [2], r"shape is \[2\], must be 1 or the input's size along each axis of \[1, 2, 2\]"),
    ],
)
def test_a_bias_that_does_not_fit_is_refused(dims: tuple[int, ...], shape: list[int], message: str) -> None:
    with pytest.raises(LoweringError, match=message):
        run_layer("bias", np.ones(dims), shape=shape, bias=np.ones(np.prod(shape)))


def test_load_constant_has_rank_5() -> None:
    data = random(0, (2, 3, 4))
    y = run_layer("loadConstant", shape=[2, 3, 4], data=data)
    np.testing.assert_array_equal(y, data[None, None])


def test_load_constant_meets_a_batch() -> None:
    data, x = random(0, (2, 3, 4)), random(1, (5, 6, 2, 3, 4))
    spec = layer_spec("loadConstant", x, rank5=True, shape=[2, 3, 4], data=data)
    spec.neuralNetwork.layers[0].input.pop()
    spec.neuralNetwork.layers[0].output[0] = "constant"
    add = spec.neuralNetwork.layers.add(name="sum", input=["x0", "constant"], output=["y0"])
    add.add.SetInParent()
    np.testing.assert_allclose(windfall.load(spec).predict({"x0": x})["y0"], x + data, rtol=1e-6)


def test_load_constant_needs_three_sizes() -> None:
    with pytest.raises(LoweringError, match=r"shape is \[2\], must have 3 sizes, \[C, H, W\]"):
        run_layer("loadConstant", shape=[2], data=np.ones(2))
