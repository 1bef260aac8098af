"""Write values into ``WeightParams``, in each form that the format has."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windfall.errors import FormatError
from windfall.quantization.codecs import Encoded
from windfall.quantization.packing import pack
from windfall.spec.detach import WEIGHT_PARAMS, payloads
from windfall.spec.modelfile import ModelFile

_FLOATS = 1
_NAMES = {2: "float16Value", 30: "rawValue", 31: "int8RawValue"}
_LARGEST = 65504
_MOST = 2**31 - 1


def store_floats(params: Any, values: NDArray[np.float32]) -> None:
    """Store values as float32."""
    _clear(params)
    _merge_floats(params, values.astype("<f4", copy=False).tobytes())


def store_halves(params: Any, values: NDArray[np.float32]) -> None:
    """Store values as float16.

    Raises:
        FormatError: One is beyond what float16 has.
    """
    with np.errstate(over="ignore"):
        halves = values.astype("<f2")
    if np.isinf(halves).any():
        most = values.flat[np.abs(values).argmax()]
        raise FormatError(f"has the value {most:g}, float16 ends at {_LARGEST}; leave the layer out with select")
    _clear(params)
    params.float16Value = halves.tobytes()


def store_encoded(params: Any, encoded: Encoded, bits: int) -> None:
    """Store small numbers, with the scales or the table that they need."""
    _clear(params)
    params.rawValue = pack(encoded.codes, bits)
    quantization = params.quantization
    quantization.numberOfBits = bits
    if encoded.table is not None:
        quantization.lookupTableQuantization.floatValue.extend(encoded.table.tolist())
        return
    assert encoded.scale is not None
    assert encoded.bias is not None
    quantization.linearQuantization.scale.extend(encoded.scale.tolist())
    quantization.linearQuantization.bias.extend(encoded.bias.tolist())


def attach(file: ModelFile, params: Any) -> None:
    """Put into a weight what was left in the file."""
    for field in payloads(params):
        data = file.payload(params, field)
        if data is None:
            continue
        kept = type(params)()
        kept.CopyFrom(params)
        kept.DiscardUnknownFields()
        params.Clear()
        params.MergeFrom(kept)
        if field == _FLOATS:
            _merge_floats(params, bytes(data))
        else:
            setattr(params, _NAMES[field], bytes(data))


def weight_messages(message: Any) -> Iterator[Any]:
    """Yield every ``WeightParams`` at any depth of a message."""
    if message.DESCRIPTOR.full_name == WEIGHT_PARAMS:
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for child in [value] if hasattr(value, "DESCRIPTOR") else value:
            yield from weight_messages(child)


def _clear(params: Any) -> None:
    is_updatable = params.isUpdatable
    params.Clear()
    if is_updatable:
        params.isUpdatable = True


def _merge_floats(params: Any, data: bytes) -> None:
    """Add floats by way of the wire format: one by one they would take a hundred times as long."""
    if len(data) > _MOST - 16:
        raise FormatError(f"would have {len(data)} bytes, a message ends at {_MOST}")
    length = bytearray()
    rest = len(data)
    while rest > 0x7F:
        length.append(rest & 0x7F | 0x80)
        rest >>= 7
    params.MergeFromString(b"\x0a" + bytes(length) + bytes([rest]) + data)
