"""Constants in a program's message, and what is wrong with them."""

from typing import Any

import numpy as np
import pytest

import windfall
from tests.programs import Input, Output, operator_spec
from windfall.errors import FormatError
from windfall.spec.proto import MIL_pb2


def sum_with(data_type: int, field: str, values: list[Any], dtype: Any = np.float32) -> Any:
    """Return zeros plus a constant that is declared as one type and stored in the field of another."""
    zeros = np.zeros(len(values), dtype)
    spec, feeds = operator_spec("add", [Output(dtype, zeros.shape)], 8, x=Input(zeros), y=zeros)
    (function,) = spec.mlProgram.functions.values()
    operation = function.block_specializations[function.opset].operations[0]
    value = operation.inputs["y"].arguments[0].value
    value.type.tensorType.dataType = data_type
    tensor = value.immediateValue.tensor
    tensor.Clear()
    getattr(tensor, field).values.extend(values)
    return windfall.load(spec).predict(feeds)["out0"]


@pytest.mark.parametrize(
    ("data_type", "field", "values", "shown"),
    [
        (MIL_pb2.INT8, "ints", [1, 300], "int8 has the value '300'"),
        (MIL_pb2.UINT16, "ints", [1, -1], "uint16 has the value '-1'"),
        (MIL_pb2.BOOL, "ints", [1, 2], "bool has the value '2'"),
        (MIL_pb2.INT32, "floats", [1.0, 2.0], "int32 has the value '1.0'"),
        (MIL_pb2.INT32, "floats", [float("nan"), 1e38], "int32 has the value 'nan'"),
        (MIL_pb2.FLOAT32, "strings", ["a", "1"], "fp32 has the value 'a'"),
        (MIL_pb2.STRING, "ints", [1, 2], "string has the value '1'"),
    ],
)
def test_a_value_that_the_type_cannot_hold_is_refused(
    data_type: int, field: str, values: list[Any], shown: str
) -> None:
    with pytest.raises(FormatError, match=f"a constant of {shown}, which is none"):
        sum_with(data_type, field, values)


def test_values_may_lie_in_the_field_of_a_type_that_holds_them_all() -> None:
    np.testing.assert_array_equal(sum_with(MIL_pb2.INT32, "longInts", [-5, 2**31 - 1], np.int32), [-5, 2**31 - 1])
    np.testing.assert_array_equal(sum_with(MIL_pb2.FLOAT16, "floats", [0.5, 2.0]), [0.5, 2])
    np.testing.assert_array_equal(sum_with(MIL_pb2.FLOAT32, "ints", [7, -7]), [7, -7])


def test_a_double_beyond_float32_is_infinite() -> None:
    np.testing.assert_array_equal(sum_with(MIL_pb2.FLOAT64, "doubles", [1e300, -1e300, 0.5]), [np.inf, -np.inf, 0.5])
