"""Tensors joined and split, against NumPy and the example of the definition."""

from typing import Any

import numpy as np
import pytest

import windfall
from tests.lowering.neural_network.strategies import random
from tests.programs import Input, Output, check_operator, run_operator

TYPES = [np.float32, np.int32, np.int8, np.uint8, np.int16, np.uint16, np.bool_]


@pytest.mark.parametrize(
    ("interleave", "expected"),
    [
        (False, [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10], [11, 12]]),
        (True, [[1, 2], [7, 8], [3, 4], [9, 10], [5, 6], [11, 12]]),
    ],
)
def test_concat_takes_the_example_of_its_definition(interleave: bool, expected: list[list[int]]) -> None:
    values = [Input([[1, 2], [3, 4], [5, 6]]), Input([[7, 8], [9, 10], [11, 12]])]
    for axis in (0, -2):
        check_operator("concat", np.array(expected), values=values, axis=axis, interleave=interleave)


@pytest.mark.parametrize("dtype", TYPES)
def test_every_type_is_joined_and_split(dtype: Any) -> None:
    x, y = np.array([[1, 0]], dtype), np.array([[0, 1], [1, 1]], dtype)
    joined = np.concatenate([x, y])
    check_operator("concat", joined, values=[Input(x), Input(y)], axis=0)
    check_operator("split", [x, y], x=Input(joined), axis=0, split_sizes=np.array([1, 2]))
    check_operator("split", [joined[:, :1], joined[:, 1:]], x=Input(joined), axis=-1, num_splits=2)
    check_operator("stack", np.stack([x, x, x], axis=1), values=[Input(x)] * 3, axis=-2)


def test_values_without_axes_are_joined_to_a_vector() -> None:
    values = [Input(np.float32(number)) for number in (1, 2, 3)]
    for operator in ("concat", "stack"):
        check_operator(operator, np.array([1, 2, 3], np.float32), values=values, axis=0)


def test_parts_and_values_may_be_empty() -> None:
    x = random(1, (2, 3))
    check_operator("concat", x, values=[Input(x), Input(x[:0])], axis=0)
    check_operator("split", [x[:0], x], x=Input(x), axis=0, num_splits=2, split_sizes=np.array([0, 2]))


def test_a_part_that_does_not_come_out_even_makes_the_prediction_fail() -> None:
    outputs = [Output(np.float32, [None])] * 2
    with pytest.raises(windfall.EngineError):
        run_operator("split", outputs, x=Input(np.zeros(3), [None]), axis=0, num_splits=2)


@pytest.mark.parametrize(
    ("operator", "arguments", "message"),
    [
        (
            "concat",
            {"values": [Input(np.ones(2)), Input(np.ones((2, 1)))], "axis": 0},
            r"values is tensors of ranks \[1, 2\], must all have the same rank",
        ),
        ("concat", {"values": [Input(np.ones(2))], "axis": 1}, "axis is 1, must be -1 to 0"),
        (
            "concat",
            {"values": [Input(np.ones(2)), Input(np.ones(3))], "axis": 0, "interleave": True},
            "arguments do not fit the operator",
        ),
        ("stack", {"values": [Input(np.ones(2))], "axis": 2}, "axis is 2, must be -2 to 1"),
        (
            "split",
            {"x": Input(np.ones(3)), "axis": 0, "num_splits": 3},
            "num_splits is 3, must stand for the 2 outputs of",
        ),
        ("split", {"x": Input(np.ones(3)), "axis": 0}, "num_splits must stand for the 2 outputs of the operation"),
        (
            "split",
            {"x": Input(np.ones(3)), "axis": 0, "num_splits": 2},
            "num_splits is 2, must divide 3, the size of axis 0",
        ),
        (
            "split",
            {"x": Input(np.ones(3)), "axis": 0, "split_sizes": np.array([1, 1])},
            r"split_sizes is \[1, 1\], must be sizes that are 3 together",
        ),
    ],
)
def test_what_does_not_fit_is_refused(operator: str, arguments: dict[str, Any], message: str) -> None:
    outputs = [Output(np.float32, [None])] * (2 if operator == "split" else 1)
    with pytest.raises(windfall.LoweringError, match=message):
        run_operator(operator, outputs, **arguments)
