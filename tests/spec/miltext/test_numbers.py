"""Numbers in the text of a program, and the fields that hold them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tests.spec.miltext.support import error_of, number, parse_value

from windfall.errors import UnsupportedError
from windfall.spec.miltext import numbers
from windfall.spec.miltext.writer import value_text
from windfall.spec.packing import decode_bytes, encode_bytes
from windfall.spec.proto import MIL_pb2

# The name, the field that coremltools fills (_tensor_field_by_type of backend/mil/helper.py), and the range.
INTEGERS = {
    "int4": ("bytes", -8, 7),
    "int8": ("bytes", -128, 127),
    "int16": ("ints", -(2**15), 2**15 - 1),
    "int32": ("ints", -(2**31), 2**31 - 1),
    "int64": ("longInts", -(2**63), 2**63 - 1),
    "uint1": ("bytes", 0, 1),
    "uint2": ("bytes", 0, 3),
    "uint3": ("bytes", 0, 7),
    "uint4": ("bytes", 0, 15),
    "uint6": ("bytes", 0, 63),
    "uint8": ("bytes", 0, 255),
    "uint16": ("ints", 0, 2**16 - 1),
    "uint32": ("bytes", 0, 2**32 - 1),
    "uint64": ("longInts", 0, 2**63 - 1),  # longInts are signed
}
FLOATS = {"fp16": ("bytes", np.float16), "fp32": ("floats", np.float32), "fp64": ("doubles", np.float64)}
FIELD_NAMES = {"fp16": "FLOAT16", "fp32": "FLOAT32", "fp64": "FLOAT64"}


def held(value):
    """Return what a tensor holds, as a list."""
    tensor = value.immediateValue.tensor
    values = getattr(tensor, tensor.WhichOneof("value")).values
    if tensor.WhichOneof("value") != "bytes":
        return list(values)
    declared = value.type.tensorType
    return decode_bytes(
        values, declared.dataType, math.prod(int(d.constant.size) for d in declared.dimensions)
    ).tolist()


@pytest.mark.parametrize(("name", "field", "low", "high"), [(name, *row) for name, row in INTEGERS.items()])
def test_integers_have_a_field_and_a_range(name, field, low, high):
    value = parse_value(f"tensor<{name}, [3]>([{low}, 0, {high}])")
    assert value.immediateValue.tensor.WhichOneof("value") == field
    assert held(value) == [low, 0, high]
    for text in map(str, (low - 1, high + 1)):
        message = f"found {text!r}, must be a number of type {name}"
        assert error_of(parse_value, f"{name}({text})") == f"2:{len(name) + 2}: {message}"
        assert error_of(parse_value, f"tensor<{name}, [2]>([0, {text}])").endswith(message)


@pytest.mark.parametrize("name", INTEGERS)
@given(data=st.data())
def test_integers_of_every_type_are_read_as_they_were_written(name, data):
    field, low, high = INTEGERS[name]
    values = data.draw(st.lists(st.integers(low, high), min_size=1, max_size=9))
    value = MIL_pb2.Value()
    value.type.tensorType.dataType = number(name.upper())
    value.type.tensorType.rank = 1
    value.type.tensorType.dimensions.add().constant.size = len(values)
    if field == "bytes":
        dtype = "<u4" if name == "uint32" else "i1" if low else "u1"
        packed = encode_bytes(np.array(values, dtype), number(name.upper()))
        value.immediateValue.tensor.bytes.values = packed.tobytes()
    else:
        getattr(value.immediateValue.tensor, field).values.extend(values)
    again = parse_value(value_text(value))
    assert again == value
    assert held(again) == values


@pytest.mark.parametrize("name", FLOATS)
@given(data=st.data())
def test_fractions_of_every_type_are_read_as_they_were_written(name, data):
    field, dtype = FLOATS[name]
    array = data.draw(hnp.arrays(dtype, st.integers(1, 9)))
    value = MIL_pb2.Value()
    value.type.tensorType.dataType = number(FIELD_NAMES[name])
    value.type.tensorType.rank = 1
    value.type.tensorType.dimensions.add().constant.size = len(array)
    if field == "bytes":
        value.immediateValue.tensor.bytes.values = array.tobytes()
    else:
        getattr(value.immediateValue.tensor, field).values.extend(array.tolist())
    again = parse_value(value_text(value))
    assert again.immediateValue.tensor.WhichOneof("value") == field
    found = np.array(held(again), dtype)
    np.testing.assert_array_equal(found, array)
    assert (np.signbit(found) == np.signbit(array))[~np.isnan(array)].all()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fp32(0x1p+0)", 1),
        ("fp32(0x1.8p+1)", 3),
        ("fp32(-0x1.921fb6p+1)", -math.pi),
        ("fp32(0x0p+0)", 0),
        ("fp32(0x1p-149)", 2**-149),
        ("fp32(1)", 1),
        ("fp32(+1.5)", 1.5),
        ("fp32(-1.5e-3)", -0.0015),
        ("fp32(.5)", 0.5),
        ("fp32(3.)", 3),
        ("fp32(3.40282347e+38)", float(np.finfo(np.float32).max)),
        ("fp32(inf)", math.inf),
        ("fp32(-inf)", -math.inf),
        ("fp32(nan)", math.nan),
        ("fp32(-nan)", math.nan),
        ("fp16(0x1.ffcp+15)", 65504),
        ("fp16(65504)", 65504),
        ("fp16(0x1p-24)", 2**-24),
        ("fp16(inf)", math.inf),
        ("fp64(0x1.fffffffffffffp+1023)", 1.7976931348623157e308),
        ("fp64(0x0.0000000000001p-1022)", 5e-324),
        ("fp64(0.1)", 0.1),
        ("fp64(1e308)", 1e308),
        ("bool(true)", True),
        ("bool(false)", False),
        ("int32(-0)", 0),
        ("int32(007)", 7),
        ("tensor<int8, []>(-7)", -7),
        ("fp32 ( \n 2 )", 2),
    ],
)
def test_a_number(text, expected):
    (found,) = held(parse_value(text))
    assert found == pytest.approx(expected, rel=1e-7, abs=0, nan_ok=True)
    assert type(found) is type(expected) or "fp" in text


def test_decimal_and_hexadecimal_fractions_stand_side_by_side():
    value = parse_value("tensor<fp32, [5]>([0x1p-1, 0.25, -inf, nan, 7])")
    np.testing.assert_array_equal(held(value), [0.5, 0.25, -math.inf, math.nan, 7])


def test_numbers_of_few_bits_are_packed():
    value = parse_value("tensor<uint3, [3]>([7, 0, 1])")
    assert value.immediateValue.tensor.bytes.values == bytes([0b01_000_111, 0b0])
    value = parse_value("tensor<int4, [2]>([-1, 3])")
    assert value.immediateValue.tensor.bytes.values == bytes([0x3F])


@pytest.mark.parametrize("piece", [1, 2, 5, 7, 1000])
def test_long_texts_are_converted_piece_by_piece(monkeypatch, piece):
    monkeypatch.setattr(numbers, "_PIECE", piece)
    for name in ("int32", "uint8", "fp16", "fp64"):
        assert held(parse_value(f"tensor<{name}, [2, 4]>([[1, 20, 3, 4], [5, 6, 70, 8]])")) == [
            1,
            20,
            3,
            4,
            5,
            6,
            70,
            8,
        ]
        assert error_of(parse_value, f"tensor<{name}, [4]>([1, 2, x, 4])").endswith(
            f"found 'x', must be a number of type {name}"
        )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        # What Python's int and float take, and a program may not have.
        ("int32(1_0)", "1_0"),
        ("int32(٣)", "٣"),
        ("fp32(1_0.5)", "1_0.5"),
        ("fp32(٣)", "٣"),
        ("fp32(infinity)", "infinity"),
        ("fp32(Infinity)", "Infinity"),
        ("fp32(NaN)", "NaN"),
        # Other things that are none.
        ("int32(1.0)", "1.0"),
        ("int32(0x10)", "0x10"),
        ("int32(true)", "true"),
        ("int32(--1)", "--1"),
        ("int32(+1)", "+1"),
        ("fp32(0x)", "0x"),
        ("fp32(0x1p)", "0x1p"),
        ("fp32(1e)", "1e"),
        ("fp32(true)", "true"),
        ("bool(1)", "1"),
        ("bool(True)", "True"),
        ("bool(truefalse)", "truefalse"),
        # Beyond the largest one.
        ("fp16(65520)", "65520"),
        ("fp16(-0x1p+16)", "-0x1p+16"),
        ("fp32(0x1p+128)", "0x1p+128"),
        ("fp32(1e39)", "1e39"),
        ("fp64(1e309)", "1e309"),
        ("fp64(0x1p+1024)", "0x1p+1024"),
        (f"int32({'9' * 5000})", f"{'9' * 200}..."),
    ],
)
def test_what_is_no_number(text, found):
    name, _, _ = text.partition("(")
    assert error_of(parse_value, text) == f"2:{len(name) + 2}: found {found!r}, must be a number of type {name}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tensor<fp32, [2]>([1, 1e39])", "2:19: found '1e39', must be a number of type fp32"),
        ("tensor<fp32, [2]>([inf, 1e39])", "2:19: found '1e39', must be a number of type fp32"),
        ("tensor<int8, [2]>([1, 128])", "2:19: found '128', must be a number of type int8"),
        ("tensor<int8, [2]>([1, 2 3])", "2:19: found '2 3', must be a number of type int8"),
        ("tensor<int8, [2]>(\n [1, ])", "3:2: found '', must be a number of type int8"),
        ("tensor<int8, [?]>([1, ])", "2:19: found '', must be a number of type int8"),
        ("tensor<int8, [2]>([1,\N{NO-BREAK SPACE}2])", "2:19: found '\\xa02', must be a number of type int8"),
        ("int8()", "2:6: found ')', must be a number"),
        ('int8("1")', "2:6: found '\"1\"', must be a number"),
        ("int8([1])", "2:6: found '[', must be a number"),
        ("int8(1, 2)", "2:7: found ',', must be ')'"),
    ],
)
def test_tensors_with_something_that_is_no_number(text, message):
    assert error_of(parse_value, text) == message


@pytest.mark.parametrize("name", ["bf16", "fp8e4m3fn", "fp8e5m2"])
def test_numbers_that_no_field_holds(name):
    with pytest.raises(UnsupportedError) as error:
        parse_value(f"{name}(1)")
    assert str(error.value) == (
        f"m.mil:2:{len(name) + 2}: numbers of type {name} in the text of a program cannot be read, "
        "only those in a weight file"
    )
