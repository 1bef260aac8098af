"""Tensors made of numbers, against NumPy."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import windfall
from tests.lowering.neural_network.strategies import few
from tests.programs import Input, Output, check_operator, run_operator


@pytest.mark.parametrize("value", [None, np.float32(2.5), np.int32(-3), np.bool_(True), np.uint8(200)])
def test_fill_and_fill_like(value: Any) -> None:
    filled = np.full((2, 0, 3), np.float32(0) if value is None else value)
    for dims in (np.array([2, 0, 3]), Input(np.array([2, 0, 3]))):
        check_operator("fill", filled, shape=dims, value=value)
    check_operator("fill_like", filled, ref_tensor=Input(np.ones((2, 0, 3))), value=value)
    check_operator("fill_like", np.array(5, np.int32), ref_tensor=Input(np.float32(1)), value=np.int32(5))


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.bool_, np.int16])
@pytest.mark.parametrize("axis", [0, 1, -1, -3])
def test_one_hot(dtype: Any, axis: int) -> None:
    """Indices beyond the vector, also negative ones, give the off value alone."""
    indices = np.array([[0, 3], [4, -1]])
    found = np.moveaxis(indices[..., None] == np.arange(4), -1, axis)
    values = (np.array(1, dtype), np.array(0, dtype))
    for size in (4, Input(np.int32(4)), Input(np.array([4]))):
        check_operator(
            "one_hot", np.where(found, *values), indices=Input(indices), one_hot_vector_size=size, axis=axis,
            on_value=values[0], off_value=values[1],
        )  # fmt: skip


def test_one_hot_has_ones_by_default() -> None:
    check_operator("one_hot", np.eye(2, 3, dtype=np.int32), indices=Input(np.array([0, 1])), one_hot_vector_size=3)
    check_operator("one_hot", np.array([0, 1], np.int32), indices=Input(np.int32(1)), one_hot_vector_size=2)


@few
@given(
    start=st.integers(-8, 8),
    end=st.integers(-8, 8),
    step=st.integers(-3, 3).filter(bool),
    scale=st.sampled_from([1, 0.1]),
)
def test_range_1d_is_numpys(start: int, end: int, step: int, scale: float) -> None:
    for dtype in (np.int32, np.float32):
        numbers = [np.array(n * (scale if dtype == np.float32 else 1), dtype) for n in (start, end, step)]
        expected = np.arange(*(number[()] for number in numbers), dtype=dtype)
        for wrap in (np.asarray, Input):
            given_numbers = {name: wrap(n) for name, n in zip(("start", "end", "step"), numbers, strict=True)}
            check_operator("range_1d", expected, **given_numbers)


def test_a_range_of_float16_is_as_long_as_float16_has_it() -> None:
    """The tenth of float16 is a little less than 0.1, so exactly counted there are 11 of them below 1."""
    numbers = {"start": np.float16(0), "end": np.float16(1), "step": np.float16(0.1)}
    expected = np.arange(10, dtype=np.float32) * np.float32(np.float16(0.1))
    (result,) = run_operator("range_1d", [Output(np.float16, (10,))], **numbers)
    np.testing.assert_allclose(result, expected)
    fed = {name: Input(np.float32(number)) for name, number in numbers.items()}
    (result,) = run_operator("range_1d", [Output(np.float16, (None,))], **fed)
    np.testing.assert_allclose(result, expected)


@pytest.mark.parametrize(
    ("operator", "arguments", "message"),
    [
        ("fill", {"shape": np.array(3)}, r"shape is of shape \[\], must be a vector"),
        ("fill", {"shape": np.array([2, -1])}, "arguments do not fit the operator"),
        ("fill", {"shape": np.array([2**31 - 1] * 2)}, "arguments do not fit the operator"),
        (
            "fill_like",
            {"ref_tensor": Input(np.ones(1)), "value": np.ones(2)},
            r"value is \[1.0, 1.0\], must be one value",
        ),
        (
            "one_hot",
            {"indices": Input(np.array([1])), "one_hot_vector_size": -1},
            "one_hot_vector_size is -1, must be at",
        ),
        (
            "one_hot",
            {"indices": Input(np.array([1])), "one_hot_vector_size": 2, "axis": 2},
            "axis is 2, must be -2 to 1",
        ),
        (
            "range_1d",
            {"start": 0.0, "end": Input(np.float32(1)), "step": 0.0},
            "step is 0.0, must be a number other than 0",
        ),
        ("range_1d", {"start": 0.0, "end": np.inf, "step": 1.0}, "end is inf, must be finite"),
        (
            "range_1d",
            {"start": -1e38, "end": 1e38, "step": 1e-45},
            "step is .*, must lead from start to end in less than 2147483648 steps",
        ),
    ],
)
def test_what_does_not_fit_is_refused(operator: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(windfall.LoweringError, match=message):
        run_operator(operator, [Output(np.float32, [None])], **arguments)
