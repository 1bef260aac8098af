"""Parse a model without its weights; each weight stays in the file until it is wanted.

A protobuf parser would copy every weight into its own memory, where it stays for as long as the message lives.
Here the file is scanned along the message descriptors, large weight payloads are cut out, and the small rest is
parsed. In place of each payload the message carries an unknown field that numbers it: see ``DetachedWeights``.
"""

from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from google.protobuf.unknown_fields import UnknownFieldSet

WEIGHT_PARAMS = "CoreML.Specification.WeightParams"
# Fields of WeightParams that hold values: floatValue, float16Value, rawValue, int8RawValue.
PAYLOAD_FIELDS = frozenset({1, 2, 30, 31})
# A number that no Core ML message uses; the payload's own field number is added to it.
MARKER = 536_800_000
SMALLEST = 1024
DEEPEST = 90
# protobuf reads a tag as 32 bits: 29 for the field's number, 3 for its wire type.
_LARGEST_TAG = 2**32 - 1

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class Extent(NamedTuple):
    """Where a payload lies in the file, in bytes."""

    offset: int
    length: int


class ScanError(ValueError):
    """The bytes do not follow the wire format; the real parser will say what is wrong."""


@cache
def _holds_weights(descriptor: Any, seen: frozenset[str] = frozenset()) -> bool:
    """Whether a message of this type may contain ``WeightParams`` at any depth."""
    if descriptor.full_name == WEIGHT_PARAMS:
        return True
    if descriptor.full_name in seen:
        return False
    seen = seen | {descriptor.full_name}
    return any(f.message_type is not None and _holds_weights(f.message_type, seen) for f in descriptor.fields)


def _read_varint(buffer: memoryview, at: int) -> tuple[int, int]:
    """Return the number at a position and the position behind it."""
    number = 0
    for shift in range(0, 70, 7):
        byte = buffer[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise ScanError("a number is longer than 64 bits")


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _fields(buffer: memoryview, start: int, end: int) -> Iterator[tuple[int, int, int, int, int]]:
    """Yield (number, wire type, start of field, start of value, end of field) for each field."""
    at = start
    while at < end:
        tag, value = _read_varint(buffer, at)
        if tag > _LARGEST_TAG:
            raise ScanError("a field's number is longer than 29 bits")
        number, wire = tag >> 3, tag & 7
        if wire == _BYTES:
            length, value = _read_varint(buffer, value)
            stop = value + length
        elif wire == _VARINT:
            _, stop = _read_varint(buffer, value)
        elif wire in (_FIXED64, _FIXED32):
            stop = value + (8 if wire == _FIXED64 else 4)
        else:
            raise ScanError(f"wire type {wire}")
        if stop > end:
            raise ScanError("a field runs past the end of its message")
        yield number, wire, at, value, stop
        at = stop


class _Scan:
    def __init__(self, buffer: memoryview) -> None:
        self.buffer = buffer
        self.extents: list[Extent] = []

    def message(self, descriptor: Any, start: int, end: int, depth: int = 0) -> bytes:
        """Return the message's bytes without its large payloads."""
        if depth > DEEPEST:
            raise ScanError("messages are nested too deeply")
        if descriptor.full_name == WEIGHT_PARAMS:
            return self._weight(start, end)
        chunks: list[bytes] = []  # no views: a traceback would keep them, and the file could not be closed
        for number, wire, at, value, stop in _fields(self.buffer, start, end):
            child = descriptor.fields_by_number.get(number)
            if wire == _BYTES and child is not None and child.message_type and _holds_weights(child.message_type):
                body = self.message(child.message_type, value, stop, depth + 1)
                chunks += (_varint(number << 3 | _BYTES), _varint(len(body)), body)
            else:
                chunks.append(bytes(self.buffer[at:stop]))
        return b"".join(chunks)

    def _weight(self, start: int, end: int) -> bytes:
        """Return a ``WeightParams`` with a marker in place of each large payload."""
        fields = list(_fields(self.buffer, start, end))
        # protobuf joins a field that comes in pieces, or takes the last one; that is left to it.
        pieces = Counter(number for number, *_ in fields)
        chunks: list[bytes] = []
        for number, wire, at, value, stop in fields:
            if pieces[number] == 1 and self._detachable(number, wire, stop - value):
                chunks += (_varint((MARKER + number) << 3), _varint(len(self.extents)))
                self.extents.append(Extent(value, stop - value))
            elif number < MARKER:  # a marker that stands in the file itself is not one of ours
                chunks.append(bytes(self.buffer[at:stop]))
        return b"".join(chunks)

    @staticmethod
    def _detachable(number: int, wire: int, length: int) -> bool:
        return wire == _BYTES and number in PAYLOAD_FIELDS and length >= SMALLEST


def detach(buffer: memoryview, descriptor: Any) -> tuple[bytes, list[Extent]]:
    """Split serialized bytes of a message into a small message and the extents of its large weights.

    Raises:
        ScanError: The bytes do not follow the wire format.
    """
    scan = _Scan(buffer)
    try:
        return scan.message(descriptor, 0, len(buffer)), scan.extents
    except IndexError as error:
        raise ScanError("a number is cut off") from error


def payloads(weight_params: Any) -> dict[int, list[int]]:
    """Return the numbers of the detached payloads of one ``WeightParams``, by payload field."""
    found: dict[int, list[int]] = {}
    for field in UnknownFieldSet(weight_params):
        number = field.field_number - MARKER
        if number in PAYLOAD_FIELDS and isinstance(field.data, int):
            found.setdefault(number, []).append(field.data)
    return found
