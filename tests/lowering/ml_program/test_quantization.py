"""Whole numbers for fractions and back; the examples are those of coremltools' tests of the operators."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import windfall
from tests.lowering.neural_network.strategies import few, random
from tests.programs import Input, Output, check_operator, run_operator

TYPES = st.sampled_from([np.int8, np.uint8])


def along(vector: NDArray[Any], axis: int | None, rank: int) -> NDArray[Any]:
    return vector if axis is None else vector.reshape([-1 if i == axis % rank else 1 for i in range(rank)])


def test_examples() -> None:
    x = np.float32([[0, 2, 4], [0, 2, 4]])
    number = {"scale": np.float32(2), "zero_point": np.uint8(1), "output_dtype": "uint8"}
    check_quantize(np.uint8([[1, 2, 3], [1, 2, 3]]), x, **number)
    vector = {"scale": np.float32([1, 2]), "zero_point": np.int8([2, 4]), "output_dtype": "int8"}
    y = np.float32([1, 2, 3, 4]).reshape(1, 1, 2, 2)
    check_quantize(np.int8([3, 5, 5, 6]).reshape(1, 1, 2, 2), y, axis=-1, **vector)
    q = np.uint8([3, 5, 5, 6]).reshape(1, 1, 2, 2)
    back = {"scale": np.float32([1, 2]), "zero_point": np.uint8([2, 4])}
    check_dequantize(np.float32([1, 2, 3, 4]).reshape(1, 1, 2, 2), q, axis=3, **back)


def check_quantize(expected: NDArray[Any], x: NDArray[Any], **arguments: Any) -> None:
    check_operator("quantize", expected, input_=Input(x), opset=7, rtol=0, atol=0, **arguments)


def check_dequantize(expected: NDArray[Any], q: NDArray[Any], **arguments: Any) -> None:
    check_operator("dequantize", expected, input_=q, opset=7, symbolic=False, **arguments)


def test_halves_are_rounded_to_even_before_the_zero_point_is_added_and_what_is_too_large_stays_at_the_end() -> None:
    x = np.float32([0.5, 1.5, 2.5, -0.5, -1.5, 1000, -1000])
    number: dict[str, Any] = {"scale": np.float32(1), "zero_point": np.int8(1), "output_dtype": "int8"}
    check_quantize(np.int8([1, 3, 3, 1, -1, 127, -128]), x, **number)
    number = {"scale": np.float32(0.5), "output_dtype": "uint8"}
    check_quantize(np.uint8([1, 3, 5, 0, 0, 255, 0]), x, **number)


@few
@given(dtype=TYPES, dims=st.lists(st.integers(1, 4), min_size=1, max_size=4), zero=st.booleans(), data=st.data())
def test_quantize(dtype: Any, dims: list[int], zero: bool, data: st.DataObject) -> None:
    rank = len(dims)
    axis = data.draw(st.none() | st.integers(-rank, rank - 1))
    shape = [] if axis is None else [dims[axis]]
    # Powers of 2, so that the quotient is exact.
    scale = np.float32(2) ** random(2, shape, -3, 3).astype(np.int32)
    zero_point = random(3, shape, 0, 100).astype(dtype) if zero else None
    x, limits = random(1, dims, -90, 90), np.iinfo(dtype)
    rounded = np.round(x / along(scale, axis, rank)) + (along(zero_point, axis, rank) if zero_point is not None else 0)
    expected = np.clip(rounded, limits.min, limits.max).astype(dtype)
    name = np.dtype(dtype).name
    check_quantize(expected, x, scale=scale, zero_point=zero_point, axis=axis, output_dtype=name)


@few
@given(dtype=TYPES, dims=st.lists(st.integers(1, 4), min_size=1, max_size=4), zero=st.booleans(), data=st.data())
def test_dequantize(dtype: Any, dims: list[int], zero: bool, data: st.DataObject) -> None:
    rank = len(dims)
    axis = data.draw(st.none() | st.integers(-rank, rank - 1))
    shape = [] if axis is None else [dims[axis]]
    scale, limits = random(2, shape), np.iinfo(dtype)
    zero_point = random(3, shape, 0, 100).astype(dtype) if zero else None
    q = random(1, dims, limits.min, limits.max).astype(dtype)
    moved = q.astype(np.float32) - (along(zero_point, axis, rank) if zero_point is not None else 0)
    expected = (moved * along(scale, axis, rank)).astype(np.float32)
    check_dequantize(expected, q, scale=scale, zero_point=zero_point, axis=axis)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"output_dtype": "int4"}, "output_dtype is 'int4', must be int8 or uint8"),
        ({"scale": np.float32([1, 0]), "axis": 0}, "scale is [1.0, 0.0], must not be 0"),
        ({"zero_point": np.uint8(1)}, "zero_point is uint8, must be int8"),
        (
            {"scale": np.float32([1, 2]), "zero_point": np.int8(1), "axis": 0},
            "zero_point is of shape [], must have the shape of scale, [2]",
        ),
        ({"scale": np.float32([1, 2])}, "axis must be given where scale is a vector"),
        ({"scale": np.float32([1, 2]), "axis": 2}, "axis is 2, must be -2 to 1"),
        (
            {"scale": np.float32([1, 2]), "axis": 1},
            "scale is of shape [2], must be a number or a vector of 3, the input's size along axis 1",
        ),
    ],
)
def test_the_rule_that_is_broken(arguments: dict[str, Any], message: str) -> None:
    given = {"input_": Input(random(1, (2, 3))), "scale": np.float32(1), "output_dtype": "int8"} | arguments
    with pytest.raises(windfall.FormatError) as error:
        run_operator("quantize", [Output(np.int8, [2, 3])], opset=7, **given)
    assert message in str(error.value)


def test_dequantize_takes_small_whole_numbers_alone() -> None:
    with pytest.raises(windfall.FormatError, match="input is float, must be int8 or uint8"):
        run_operator(
            "dequantize", [Output(np.float32, [2])], opset=7, input_=Input(random(1, [2])), scale=np.float32(1)
        )
