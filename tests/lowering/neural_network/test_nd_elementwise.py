"""Elementwise functions of tensors of any rank, against NumPy and PyTorch."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from tests.lowering.neural_network.strategies import few, random, seeds, tensors
from tests.lowering.neural_network.symbolic import run_symbolic
from tests.support import run_layer
from windfall.errors import LoweringError

Function = Callable[..., Any]


def of_torch(function: Callable[[torch.Tensor], torch.Tensor]) -> Function:
    return lambda x: function(torch.from_numpy(x)).numpy()


# Layer type: its function, and where that is defined.
UNARY: dict[str, tuple[Function, float, float]] = {
    "ceil": (np.ceil, -3, 3),
    "floor": (np.floor, -3, 3),
    "round": (np.around, -3, 3),
    "sign": (np.sign, -3, 3),
    "exp2": (np.exp2, -8, 8),
    "sin": (np.sin, -6, 6),
    "cos": (np.cos, -6, 6),
    "tan": (np.tan, -1.5, 1.5),
    "asin": (np.arcsin, -1, 1),
    "acos": (np.arccos, -1, 1),
    "atan": (np.arctan, -5, 5),
    "sinh": (np.sinh, -5, 5),
    "cosh": (np.cosh, -5, 5),
    "tanh": (np.tanh, -5, 5),
    "asinh": (np.arcsinh, -5, 5),
    "acosh": (np.arccosh, 1, 9),
    "atanh": (np.arctanh, -0.99, 0.99),
    "erf": (of_torch(torch.erf), -3, 3),
    "gelu": (of_torch(torch.nn.functional.gelu), -4, 4),
    "logicalNot": (np.logical_not, -3, 3),
}


@pytest.mark.parametrize("layer_type", UNARY)
@pytest.mark.parametrize("dims", [(50,), (2, 5), (2, 3, 4), (1, 2, 3, 4), (2, 1, 2, 3, 2)])
def test_unary_functions_match_numpy_and_pytorch(layer_type: str, dims: tuple[int, ...]) -> None:
    function, low, high = UNARY[layer_type]
    x = random(0, dims, low, high)
    x.flat[:2] = max(low, 0), high  # 0 where the function is defined there
    expected = function(x.astype(np.float64))
    y = run_layer(layer_type, x)
    np.testing.assert_allclose(y, expected, rtol=2e-5, atol=2e-6)
    np.testing.assert_array_equal(run_symbolic(layer_type, x), y)


def test_halves_are_rounded_to_the_even_number() -> None:
    # coremltools compares the layer with numpy.around.
    x = [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5]
    np.testing.assert_array_equal(run_layer("round", x), [-2, -2, 0, 0, 2, 2])


def test_the_sign_of_zero_is_zero() -> None:
    np.testing.assert_array_equal(run_layer("sign", [-0.0, 0.0, 1e-30, -1e-30]), [0, 0, 1, -1])


@few
@given(x=tensors(least_rank=1), mode=st.sampled_from(["EXACT", "TANH_APPROXIMATION", "SIGMOID_APPROXIMATION"]))
def test_gelu_follows_the_formula_of_its_mode(x: NDArray[Any], mode: str) -> None:
    v = torch.from_numpy(x.astype(np.float64))
    expected = {
        "EXACT": lambda: 0.5 * v * (1 + torch.erf(v / 2**0.5)),
        "TANH_APPROXIMATION": lambda: 0.5 * v * (1 + torch.tanh((2 / np.pi) ** 0.5 * (v + 0.044715 * v**3))),
        "SIGMOID_APPROXIMATION": lambda: v * torch.sigmoid(1.702 * v),
    }[mode]()
    np.testing.assert_allclose(run_layer("gelu", x, mode=mode), expected.numpy(), rtol=1e-5, atol=1e-6)


@few
@given(x=tensors(least_rank=1), bounds=st.tuples(st.floats(-3, 3, width=32), st.floats(-3, 3, width=32)).map(sorted))
def test_clip_matches_numpy(x: NDArray[Any], bounds: Sequence[float]) -> None:
    low, high = bounds
    np.testing.assert_array_equal(run_layer("clip", x, minVal=low, maxVal=high), np.clip(x, low, high))


@pytest.mark.parametrize("alpha", [0, 2, -3])
@pytest.mark.parametrize("beta", [7, -8])
def test_clamped_relu_follows_its_formula(alpha: float, beta: float) -> None:
    x = np.arange(-20, 20, dtype=np.float32)
    y = run_layer("clampedReLU", x, alpha=alpha, beta=beta)
    np.testing.assert_array_equal(y, np.minimum(beta, np.where(x >= 0, x, x * alpha)))


BINARY: dict[str, Function] = {
    "equal": np.equal,
    "notEqual": np.not_equal,
    "lessThan": np.less,
    "lessEqual": np.less_equal,
    "greaterThan": np.greater,
    "greaterEqual": np.greater_equal,
    "logicalAnd": np.logical_and,
    "logicalOr": np.logical_or,
    "logicalXor": np.logical_xor,
    "addBroadcastable": np.add,
    "subtractBroadcastable": np.subtract,
    "multiplyBroadcastable": np.multiply,
    "divideBroadcastable": np.divide,
    "floorDivBroadcastable": np.floor_divide,
    "modBroadcastable": np.mod,
    "powBroadcastable": np.power,
    "minBroadcastable": np.minimum,
    "maxBroadcastable": np.maximum,
}
COMPARISONS = [name for name in BINARY if name.endswith(("qual", "Than"))]
# Whole numbers, so that equal ones and zeros occur; these layers are not defined at 0 or below.
NOT_ZERO = {"divideBroadcastable", "floorDivBroadcastable", "modBroadcastable"}


def whole_numbers(seed: int, dims: Sequence[int], layer_type: str) -> NDArray[np.float32]:
    low, high = (1, 4) if layer_type == "powBroadcastable" else (-2, 3)
    x = np.random.default_rng(seed).integers(low, high, dims).astype(np.float32)
    return np.where(x == 0, np.float32(3), x) if layer_type in NOT_ZERO else x


@pytest.mark.parametrize("layer_type", BINARY)
@few
@given(shapes=hnp.mutually_broadcastable_shapes(num_shapes=2, min_dims=1, max_dims=5, max_side=3), seed=seeds)
def test_binary_functions_match_numpy(layer_type: str, shapes: hnp.BroadcastableShapes, seed: int) -> None:
    x, y = (whole_numbers(seed + i, dims, layer_type) for i, dims in enumerate(shapes.input_shapes))
    result = run_layer(layer_type, x, y)
    assert result.dtype == np.float32
    assert result.shape == shapes.result_shape
    np.testing.assert_allclose(result, BINARY[layer_type](x, y), rtol=1e-6)


@pytest.mark.parametrize("layer_type", BINARY)
def test_sizes_may_be_known_only_at_run_time(layer_type: str) -> None:
    x, y = whole_numbers(0, (2, 3, 4), layer_type), whole_numbers(1, (3, 1), layer_type)
    np.testing.assert_allclose(run_symbolic(layer_type, x, y), BINARY[layer_type](x, y), rtol=1e-6)


@pytest.mark.parametrize("layer_type", COMPARISONS)
@pytest.mark.parametrize("alpha", [0, -1, 0.5])
def test_a_single_input_is_compared_with_alpha(layer_type: str, alpha: float) -> None:
    x = np.array([[-1, 0, 0.5], [1, -1, 2]], np.float32)
    np.testing.assert_array_equal(run_layer(layer_type, x, alpha=alpha), BINARY[layer_type](x, np.float32(alpha)))


@few
@given(seed=seeds, scale=st.sampled_from([1, 1e-30, 1e20]))
def test_a_remainder_has_the_sign_of_the_divisor(seed: int, scale: float) -> None:
    x, y = random(seed, (40,)) * np.float32(scale), random(seed + 1, (40,)) * np.float32(scale)
    remainder = run_layer("modBroadcastable", x, y)
    np.testing.assert_allclose(remainder, np.mod(x, y), rtol=1e-5, atol=1e-6 * scale)
    assert np.all((remainder == 0) | (np.sign(remainder) == np.sign(y)))


def test_a_quotient_is_rounded_down_also_below_zero() -> None:
    x, y = np.array([7, -7, 7, -7, 0.5], np.float32), np.array([2, 2, -2, -2, 0.2], np.float32)
    np.testing.assert_array_equal(run_layer("floorDivBroadcastable", x, y), [3, -4, -4, 3, 2])
    np.testing.assert_array_equal(run_layer("floorDivBroadcastable", [1.0], [0.1]), [10])


@few
@given(shapes=hnp.mutually_broadcastable_shapes(num_shapes=3, min_dims=1, max_dims=5, max_side=3), seed=seeds)
def test_where_takes_elements_of_one_or_the_other(shapes: hnp.BroadcastableShapes, seed: int) -> None:
    inputs = [random(seed + i, dims) for i, dims in enumerate(shapes.input_shapes)]
    condition, x, y = np.trunc(inputs[0]), *inputs[1:]
    result = run_layer("whereBroadcastable", condition, x, y)
    np.testing.assert_array_equal(result, np.where(condition, x, y))


def test_any_number_but_zero_is_true() -> None:
    x = [0.0, -0.0, 0.25, -1.0, 1e-30]
    np.testing.assert_array_equal(run_layer("logicalNot", x), [1, 1, 0, 0, 0])
    np.testing.assert_array_equal(run_layer("whereBroadcastable", x, [1.0] * 5, [2.0] * 5), [2, 2, 1, 1, 1])


@pytest.mark.parametrize(
    ("layer_type", "count", "fields", "message"),
    [
        ("clip", 1, {"minVal": 2, "maxVal": 1}, "minVal is 2.0, must be at most maxVal, 1.0"),
        ("gelu", 1, {"mode": 3}, "mode is 3, must be 0 to 2 for EXACT, TANH_APPROXIMATION or SIGMOID_APPROXIMATION"),
        ("addBroadcastable", 1, {}, r"input is \['x0'\], must be 2 names"),
        ("equal", 3, {}, r"input is \['x0', 'x1', 'x2'\], must be 1 to 2 names"),
    ],
)
def test_wrong_parameters_are_refused(layer_type: str, count: int, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(LoweringError, match=message):
        run_layer(layer_type, *[np.ones(2)] * count, **fields)


def test_shapes_that_do_not_broadcast_are_refused() -> None:
    with pytest.raises(LoweringError, match=r"input is 'x0' \[2\], 'x1' \[3\], does not fit the layer"):
        run_layer("modBroadcastable", np.ones(2), np.ones(3))
