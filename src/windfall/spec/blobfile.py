"""The format of weight files.

A blob file starts with a header of 64 bytes. Each blob is 64 bytes that describe it, then its data; both start at
multiples of 64. All numbers are little-endian. Source: coremltools, mlmodel/src/MILBlob/Blob/StorageFormat.hpp.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from windfall.errors import FormatError, WindfallError
from windfall.spec.openfile import AGAIN
from windfall.spec.packing import BITS, SUB_BYTE, decode_bytes, encode_bytes, type_name
from windfall.spec.proto import MIL_pb2

__all__ = ["BlobWriter", "Metadata", "check_header", "decode_bytes", "parse_metadata"]

ALIGNMENT = 64
"""Bytes; the sizes of the header and of a blob's description, too."""
_VERSION = 2
_SENTINEL = 0xDEADBEEF
_HEADER = struct.Struct("<II56x")  # count, version
_METADATA = struct.Struct("<IIQQQ32x")  # sentinel, data type, size, offset of the data, bits of padding

_BLOB_TYPES: dict[int, int] = {
    1: MIL_pb2.FLOAT16,
    2: MIL_pb2.FLOAT32,
    3: MIL_pb2.UINT8,
    4: MIL_pb2.INT8,
    5: MIL_pb2.BFLOAT16,
    6: MIL_pb2.INT16,
    7: MIL_pb2.UINT16,
    8: MIL_pb2.INT4,
    9: MIL_pb2.UINT1,
    10: MIL_pb2.UINT2,
    11: MIL_pb2.UINT4,
    12: MIL_pb2.UINT3,
    13: MIL_pb2.UINT6,
    14: MIL_pb2.INT32,
    15: MIL_pb2.UINT32,
    16: MIL_pb2.FLOAT8E4M3FN,
    17: MIL_pb2.FLOAT8E5M2,
}
_BLOB_NUMBERS = {data_type: number for number, data_type in _BLOB_TYPES.items()}


@dataclass(frozen=True)
class Metadata:
    """What a blob file says of one blob: its ``DataType`` of MIL.proto, its values, and where its bytes lie."""

    data_type: int
    count: int
    offset: int
    size: int


def check_header(data: bytes, name: str) -> None:
    """Check the first bytes of a blob file.

    Raises:
        FormatError: They are not those of a blob file.
    """
    version = _HEADER.unpack(data)[1] if len(data) == _HEADER.size else None
    if version != _VERSION:
        raise FormatError(f"{name} is no weight file: its version is {version}, must be {_VERSION}; {AGAIN}")


def parse_metadata(read: Callable[[int, int], NDArray[np.uint8]], file_size: int, at: int, name: str) -> Metadata:
    """Read and check what a blob file says of one blob.

    Args:
        read: Reads bytes of the file, given their offset and how many they are.
        file_size: The file's size in bytes.
        at: Where the blob's description starts.
        name: The file's name, for messages.

    Raises:
        FormatError: It breaks a rule of the format.
    """
    _require(not at % ALIGNMENT, name, at, f"an offset must be a multiple of {ALIGNMENT}")
    inside = ALIGNMENT <= at <= file_size - ALIGNMENT
    _require(inside, name, at, f"an offset must lie after the header and inside the file's {file_size} bytes")
    sentinel, number, size, offset, padding = _METADATA.unpack(read(at, _METADATA.size).tobytes())
    _require(sentinel == _SENTINEL, name, at, f"its sentinel is 0x{sentinel:X}, must be 0x{_SENTINEL:X}")
    _require(number in _BLOB_TYPES, name, at, f"its data type is {number}, must be 1 to {max(_BLOB_TYPES)}")
    _require(not offset % ALIGNMENT, name, at, f"its data is at {offset}, must be at a multiple of {ALIGNMENT}")
    inside = offset >= ALIGNMENT and offset + size <= file_size
    _require(inside, name, at, f"its data of {size} bytes at {offset} must lie inside the file's {file_size} bytes")
    data_type = _BLOB_TYPES[number]
    bits = BITS[data_type]
    # The padding of other types may be anything: it was not written before iOS 18.
    used = size * 8
    if data_type in SUB_BYTE:
        _require(padding < 8, name, at, f"its padding is {padding} bits, must be below 8")
        used -= padding
    rule = f"its data has {used} bits, must have a multiple of {bits} for values of type {type_name(data_type)}"
    _require(used >= 0 and used % bits == 0, name, at, rule)
    return Metadata(data_type, used // bits, offset, size)


def _require(holds: bool, name: str, at: int, rule: str) -> None:
    if not holds:
        raise FormatError(f"{name} at {at}: {rule}; {AGAIN}")


class BlobWriter:
    """Write a new blob file; a ``with`` statement closes it.

    Raises:
        OSError: The file is there, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb")
        self._file.write(bytes(_HEADER.size))
        self._count = 0

    def append(self, values: NDArray[Any] | bytes, data_type: int, count: int | None = None) -> int:
        """Write a blob.

        Args:
            values: An array as ``decode_bytes`` gives it, or the bytes themselves.
            data_type: The ``DataType`` of MIL.proto.
            count: How many values bytes hold; as many as fit by default.

        Returns:
            Where it starts: the ``offset`` of ``BlobFileValue``.

        Raises:
            WindfallError: The data type cannot hold such values, or is none of blob files.
        """
        if data_type not in _BLOB_NUMBERS:
            raise WindfallError(f"weight files have no values of type {type_name(data_type)}")
        if isinstance(values, bytes):
            data = np.frombuffer(values, np.uint8)
            count = data.size * 8 // BITS[data_type] if count is None else count
        else:
            data = encode_bytes(values, data_type)
            count = values.size
        padding = data.size * 8 - count * BITS[data_type]
        if not 0 <= padding < 8:
            raise WindfallError(f"{data.size} bytes do not hold {count} values of type {type_name(data_type)}")
        at = self._align()
        self._file.write(_METADATA.pack(_SENTINEL, _BLOB_NUMBERS[data_type], data.size, at + ALIGNMENT, padding))
        self._file.write(data.data)
        self._count += 1
        return at

    def _align(self) -> int:
        self._file.write(bytes(-self._file.tell() % ALIGNMENT))
        return self._file.tell()

    def flush(self) -> int:
        """Let what was written so far be read from the file, but for the header; return how many bytes that is."""
        self._file.flush()
        return self._file.tell()

    def close(self) -> None:
        """Write the header and close the file."""
        if not self._file.closed:
            self._file.seek(0)
            self._file.write(_HEADER.pack(self._count, _VERSION))
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
