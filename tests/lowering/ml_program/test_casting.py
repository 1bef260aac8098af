"""Casts, against NumPy where it defines the result."""

import re
from typing import Any

import numpy as np
import pytest

import windfall
from tests.programs import Input, Output, check_operator, run_operator

FRACTIONS = np.array([-2.9, -0.5, -0.0, 0.0, 0.5, 1.9, 100.99], np.float32)
WHOLE = [("int8", np.int8), ("uint8", np.uint8), ("int16", np.int16), ("uint16", np.uint16), ("int32", np.int32)]


@pytest.mark.parametrize(("dtype", "kind"), WHOLE)
def test_fractions_are_cut_off(dtype: str, kind: Any) -> None:
    x = np.abs(FRACTIONS) if np.dtype(kind).kind == "u" else FRACTIONS
    check_operator("cast", x.astype(kind), x=Input(x), dtype=dtype)


@pytest.mark.parametrize(("dtype", "kind"), WHOLE)
def test_what_does_not_fit_becomes_the_nearest_that_does_and_nan_0(dtype: str, kind: Any) -> None:
    x = np.array([np.nan, np.inf, -np.inf, 3e9, -3e9, 1e30], np.float32)
    low, high = np.iinfo(kind).min, np.iinfo(kind).max
    expected = np.array([0, high, low, high, low, high]).astype(kind)
    check_operator("cast", expected, x=Input(x), dtype=dtype)
    np.testing.assert_array_equal(run_operator("cast", [Output(kind, (6,))], x=x, dtype=dtype)[0], expected)


def test_all_but_0_is_true() -> None:
    x = np.array([-1, -0.0, 0, 1e-30, 0.5, np.nan, np.inf], np.float32)
    check_operator("cast", x.astype(bool), x=Input(x), dtype="bool")
    check_operator("cast", np.array([False, True, True]), x=Input([0, 1, -5]), dtype="bool")


@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
def test_truth_values_and_whole_numbers_become_fractional(dtype: str) -> None:
    check_operator("cast", np.float32([1, 0]), x=Input([True, False]), dtype=dtype)
    check_operator("cast", np.float32([-7, 2**24]), x=Input([-7, 2**24]), dtype=dtype)


def test_of_a_whole_number_that_is_too_large_the_low_bits_stay() -> None:
    x = np.array([127, 128, 300, -1], np.int32)
    check_operator("cast", x.astype(np.int8), x=Input(x), dtype="int8")
    check_operator("cast", x.astype(np.uint8), x=Input(x), dtype="uint8")


@pytest.mark.parametrize("dtype", ["float", "int4", "string"])
def test_an_unknown_type_is_refused(dtype: str) -> None:
    rule = "must be one of int8, uint8, int16, uint16, int32, fp16, fp32, bool"
    with pytest.raises(windfall.LoweringError, match=re.escape(f"(cast) of the model: dtype is '{dtype}', {rule}")):
        run_operator("cast", [Output(np.float32, (1,))], x=Input([1.0]), dtype=dtype)
