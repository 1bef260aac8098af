"""Values of each data type of ML programs as bytes, in messages and in weight files."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from windfall.errors import FormatError, UnsupportedError, WindfallError
from windfall.spec.proto import MIL_pb2

_DTYPES: dict[int, str] = {
    MIL_pb2.FLOAT16: "<f2",
    MIL_pb2.FLOAT32: "<f4",
    MIL_pb2.FLOAT64: "<f8",
    MIL_pb2.BFLOAT16: "<u2",
    MIL_pb2.INT8: "<i1",
    MIL_pb2.INT16: "<i2",
    MIL_pb2.INT32: "<i4",
    MIL_pb2.INT64: "<i8",
    MIL_pb2.UINT8: "<u1",
    MIL_pb2.UINT16: "<u2",
    MIL_pb2.UINT32: "<u4",
    MIL_pb2.UINT64: "<u8",
}
SUB_BYTE: dict[int, int] = {
    MIL_pb2.UINT1: 1,
    MIL_pb2.UINT2: 2,
    MIL_pb2.UINT3: 3,
    MIL_pb2.UINT4: 4,
    MIL_pb2.INT4: 4,
    MIL_pb2.UINT6: 6,
}
"""How many bits a value has, for the data types that pack several into a byte."""
UNSIGNED: dict[int, int] = {
    1: MIL_pb2.UINT1,
    2: MIL_pb2.UINT2,
    3: MIL_pb2.UINT3,
    4: MIL_pb2.UINT4,
    6: MIL_pb2.UINT6,
    8: MIL_pb2.UINT8,
}
"""The data types of small numbers from 0 on, by their bits."""
BITS: dict[int, int] = {
    **{data_type: np.dtype(dtype).itemsize * 8 for data_type, dtype in _DTYPES.items()},
    **SUB_BYTE,
    MIL_pb2.FLOAT8E4M3FN: 8,
    MIL_pb2.FLOAT8E5M2: 8,
}
"""How many bits a value has, for all data types that are stored as bytes."""


def decode_bytes(data: bytes | NDArray[Any], data_type: int, count: int) -> NDArray[Any]:
    """Return packed values as an array [count], of the nearest type that NumPy has.

    Source: ``RepeatedBytes`` in MIL.proto, and blob files. Values below a byte are packed from the least significant
    bit on, and may lie across two bytes; they become int8 or uint8. bfloat16 becomes float32.

    Raises:
        FormatError: The bytes are too few or too many, or the data type is none that is stored as bytes.
        UnsupportedError: They are floats of eight bits.
    """
    raw = np.frombuffer(data, np.uint8) if isinstance(data, bytes) else _raw(data)
    bits = BITS.get(data_type)
    if bits is None:
        raise FormatError(f"has values of type {type_name(data_type)}, which are not stored as bytes")
    expected = (count * bits + 7) // 8
    if raw.size != expected:
        raise FormatError(
            f"has {raw.size} bytes, must have {expected} for {count} values of type {type_name(data_type)}"
        )
    if data_type in SUB_BYTE:
        values = _unpack(raw, bits, count)
        return ((values ^ 8).view(np.int8) - 8) if data_type == MIL_pb2.INT4 else values
    if data_type not in _DTYPES:
        raise UnsupportedError(f"has values of type {type_name(data_type)}, which windfall cannot read")
    array = raw.view(_DTYPES[data_type])
    if data_type == MIL_pb2.BFLOAT16:
        # A bfloat16 is the upper half of a float32.
        return (array.astype("<u4") << 16).view("<f4")
    return array


def encode_bytes(values: ArrayLike, data_type: int) -> NDArray[np.uint8]:
    """Return values as bytes; the reverse of ``decode_bytes``. bfloat16 and floats of eight bits are not made here.

    Raises:
        WindfallError: The data type does not hold such values exactly.
    """
    array = np.asarray(values)
    dtype = np.dtype({MIL_pb2.INT4: "i1"}.get(data_type, _DTYPES.get(data_type, "u1")))
    if data_type not in BITS or data_type == MIL_pb2.BFLOAT16 or array.dtype != dtype:
        raise WindfallError(f"cannot store values of type {array.dtype} as {type_name(data_type)}")
    if data_type not in SUB_BYTE:
        return _raw(array)
    bits = SUB_BYTE[data_type]
    lowest = -(2 ** (bits - 1)) if data_type == MIL_pb2.INT4 else 0
    if array.size and (array.min() < lowest or array.max() >= lowest + 2**bits):
        raise WindfallError(f"{type_name(data_type)} holds {lowest} to {lowest + 2**bits - 1}, not {_ends(array)}")
    return _pack(_raw(array), bits)


def _ends(array: NDArray[Any]) -> str:
    return f"{array.min()} to {array.max()}"


def _raw(array: NDArray[Any]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _group(bits: int) -> tuple[int, int]:
    """Return the fewest bytes that whole values fill, and how many values those are."""
    size = 1 if 8 % bits == 0 else 3
    return size, size * 8 // bits


def _unpack(raw: NDArray[np.uint8], bits: int, count: int) -> NDArray[np.uint8]:
    size, per_group = _group(bits)
    groups = np.pad(raw, (0, -raw.size % size)).reshape(-1, size)
    words: NDArray[Any] = np.zeros(len(groups), np.uint32 if size > 1 else np.uint8)
    for index in range(size):
        words |= groups[:, index].astype(words.dtype) << (8 * index)
    values = np.empty((len(groups), per_group), np.uint8)
    for index in range(per_group):
        values[:, index] = (words >> (bits * index)) & (2**bits - 1)
    return values.reshape(-1)[:count]


def _pack(values: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    size, per_group = _group(bits)
    groups = np.pad(values & (2**bits - 1), (0, -values.size % per_group)).reshape(-1, per_group)
    words = np.zeros(len(groups), np.uint32)
    for index in range(per_group):
        words |= groups[:, index].astype(np.uint32) << (bits * index)
    packed = words.astype("<u4").view(np.uint8).reshape(-1, 4)[:, :size]
    return np.ascontiguousarray(packed.reshape(-1)[: (values.size * bits + 7) // 8])


def type_name(data_type: int) -> str:
    """Return the name of a data type of MIL.proto."""
    known = MIL_pb2.DataType.DESCRIPTOR.values_by_number.get(data_type)
    return str(known.name) if known else str(data_type)
