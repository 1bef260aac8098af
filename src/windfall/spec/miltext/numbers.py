"""Numbers in the text of an ML program, and how the messages store them.

Source: ``TensorValue`` in MIL.proto. Which field has which data type is what coremltools writes.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from windfall.spec.packing import SUB_BYTE, encode_bytes
from windfall.spec.proto import MIL_pb2

Number = int | float | bool
# Numbers take some ten times the memory of their text, so that long texts are converted piece by piece.
_PIECE = 2**20
_BOOLS = {"true": True, "false": False}
# int and float take more than programs may have: _ between digits, digits of all scripts, "infinity".
_INTEGER = b"0123456789-, \t\r\n"
_FRACTION = b"0123456789abcdefxp.+-int, \t\r\n"


class Store(NamedTuple):
    """How the numbers of a data type are written and stored.

    Attributes:
        field: The member of ``TensorValue`` that holds them.
        dtype: Their NumPy type.
        lowest: The smallest one; None for fractions.
        highest: The largest one.
    """

    field: str
    dtype: str
    lowest: int | None = None
    highest: int = 0


def _integers(field: str, bits: int, dtype: str, signed: bool) -> Store:
    highest = min(2 ** (bits - signed) - 1, 2**63 - 1)  # longInts are signed, whatever the data type is
    return Store(field, dtype, -(2 ** (bits - 1)) if signed else 0, highest)


STORES: Mapping[int, Store] = {
    MIL_pb2.BOOL: Store("bools", "?", 0, 1),
    MIL_pb2.FLOAT16: Store("bytes", "<f2"),
    MIL_pb2.FLOAT32: Store("floats", "<f4"),
    MIL_pb2.FLOAT64: Store("doubles", "<f8"),
    MIL_pb2.INT8: _integers("bytes", 8, "i1", signed=True),
    MIL_pb2.INT16: _integers("ints", 16, "<i2", signed=True),
    MIL_pb2.INT32: _integers("ints", 32, "<i4", signed=True),
    MIL_pb2.INT64: _integers("longInts", 64, "<i8", signed=True),
    MIL_pb2.UINT8: _integers("bytes", 8, "u1", signed=False),
    MIL_pb2.UINT16: _integers("ints", 16, "<u2", signed=False),
    MIL_pb2.UINT32: _integers("bytes", 32, "<u4", signed=False),
    MIL_pb2.UINT64: _integers("longInts", 64, "<u8", signed=False),
    **{
        data_type: _integers(
            "bytes", bits, "i1" if data_type == MIL_pb2.INT4 else "u1", signed=data_type == MIL_pb2.INT4
        )
        for data_type, bits in SUB_BYTE.items()
    },
}
"""The data types whose numbers a program may have in its text."""


def store_numbers(tensor: Any, text: str, data_type: int) -> int:
    """Store numbers that stand in a text, parted by commas.

    Args:
        tensor: The ``TensorValue`` message.
        text: The numbers; an empty text has none.
        data_type: One of ``STORES``.

    Returns:
        How many they are.

    Raises:
        ValueError: One of them is no number, or none of this data type; it is the error's argument.
    """
    store = STORES[data_type]
    target = getattr(tensor, store.field)
    target.SetInParent()
    arrays, count = [np.empty(0, store.dtype)], 0
    for piece in _pieces(text) if text.strip() else ():
        numbers = _numbers(piece, store)
        count += len(numbers)
        if store.field == "bytes":
            arrays.append(np.array(numbers, store.dtype))
        else:
            target.values.extend(numbers)
    if store.field == "bytes" and count:
        target.values = encode_bytes(np.concatenate(arrays), data_type).tobytes()
    return count


def _pieces(text: str) -> Iterator[str]:
    start = 0
    while start <= len(text):
        end = text.find(",", start + _PIECE)
        end = len(text) if end < 0 else end
        yield text[start:end]
        start = end + 1


def _numbers(piece: str, store: Store) -> list[Number]:
    texts = piece.split(",")
    convert, allowed = _converter(piece, store)
    try:
        if not piece.encode().translate(None, allowed):
            numbers = list(map(convert, texts))
            if _fits(numbers, piece, store):
                return numbers
    except (ValueError, OverflowError, KeyError):
        pass
    raise ValueError(next((text.strip(" \t\r\n") for text in texts if not _is_number(text, store)), ""))


def _converter(piece: str, store: Store) -> tuple[Callable[[str], Number], bytes]:
    if store.dtype == "?":
        return _bool, b"truefals, \t\r\n"
    if store.lowest is not None:
        return int, _INTEGER
    if "x" in piece:
        return _fraction, _FRACTION
    return float, _FRACTION


def _bool(text: str) -> bool:
    return _BOOLS[text.strip()]


def _fraction(text: str) -> float:
    return float.fromhex(text) if "x" in text else float(text)


def _fits(numbers: list[Number], piece: str, store: Store) -> bool:
    if store.lowest is not None:
        return store.lowest <= min(numbers) and max(numbers) <= store.highest
    with np.errstate(over="ignore"):
        array: NDArray[Any] = np.array(numbers, np.float64).astype(store.dtype)
    return int(np.isinf(array).sum()) == piece.count("inf")


def _is_number(text: str, store: Store) -> bool:
    convert, allowed = _converter(text, store)
    try:
        return not text.encode().translate(None, allowed) and _fits([convert(text)], text, store)
    except (ValueError, OverflowError, KeyError):
        return False
