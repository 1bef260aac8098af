"""Weights as float32 arrays, from every encoding that ``WeightParams`` allows.

Source: ``WeightParams``, ``QuantizationParams`` in NeuralNetwork.proto.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from windfall.errors import FormatError
from windfall.spec.detach import payloads
from windfall.spec.modelfile import ModelFile

FLOAT32, FLOAT16, RAW, INT8 = 1, 2, 30, 31
_FIELD_NAMES = {FLOAT32: "floatValue", FLOAT16: "float16Value", RAW: "rawValue", INT8: "int8RawValue"}


class Encoding(NamedTuple):
    """How one weight is stored: the payload's field, its size in bytes, and bits per value."""

    field: int
    size: int
    bits: int


def encoding(file: ModelFile, params: Any) -> Encoding | None:
    """Return how a weight is stored, None if it has no values.

    Raises:
        FormatError: It is stored in two ways or in pieces, or the number of bits is not 1 to 8.
    """
    sizes = {
        field: size
        for field in _FIELD_NAMES
        if (size := _inline_size(params, field) + file.payload_size(params, field))
    }
    if len(sizes) > 1:
        names = " and ".join(_FIELD_NAMES[field] for field in sizes)
        raise FormatError(f"stored as {names} at once, must be one of them")
    if not sizes:
        return None
    ((field, size),) = sizes.items()
    pieces = len(payloads(params).get(field, ())) + bool(_inline_size(params, field))
    if pieces > 1:
        raise FormatError(f"is stored in {pieces} pieces, must be one")
    bits = {FLOAT32: 32, FLOAT16: 16, INT8: 8}.get(field) or int(params.quantization.numberOfBits)
    if field == RAW and not 1 <= bits <= 8:
        raise FormatError(f"quantization.numberOfBits is {bits}, must be 1 to 8")
    return Encoding(field, size, bits)


def check(file: ModelFile, params: Any, shape: tuple[int, ...]) -> Encoding | None:
    """Check that a weight has as many values as a shape asks for, and return how they are stored.

    Raises:
        FormatError: It has not.
    """
    stored = encoding(file, params)
    if any(size < 0 for size in shape):
        raise FormatError(f"is asked for as {_by(shape)} values, no size may be below 0")
    count = math.prod(shape)
    if stored is None:
        if count == 0:
            return None
        raise FormatError(f"has no values, must have {count}")
    expected = (count * stored.bits + 7) // 8
    if stored.size != expected:
        have = stored.size * 8 // stored.bits
        raise FormatError(
            f"has {have} values in {stored.size} bytes, must have {count} {_by(shape)} in {expected} bytes"
        )
    return stored


def decode(file: ModelFile, params: Any, shape: tuple[int, ...], channel_axis: int = 0) -> NDArray[np.float32]:
    """Return a weight as a float32 array.

    Args:
        file: The model that the weight belongs to.
        params: The ``WeightParams`` message.
        shape: The shape that the layer's other parameters ask for.
        channel_axis: The axis that a per-channel scale and bias run along.

    Raises:
        FormatError: The number of values, scales or table entries does not fit.
    """
    stored = check(file, params, shape)
    if stored is None:
        return np.zeros(shape, np.float32)
    count = math.prod(shape)
    values = _DECODERS[stored.field](_payload(file, params, stored.field), params.quantization, stored.bits, count)
    if stored.field in (FLOAT32, FLOAT16):
        return values.astype(np.float32, copy=False).reshape(shape)
    return _dequantize(values.reshape(shape), quantization_of(params, stored, shape, channel_axis))


def _by(shape: tuple[int, ...]) -> str:
    return "(" + " x ".join(map(str, shape)) + ")"


def _inline_size(params: Any, field: int) -> int:
    return len(getattr(params, _FIELD_NAMES[field])) * (4 if field == FLOAT32 else 1)


def _payload(file: ModelFile, params: Any, field: int) -> Any:
    detached = file.payload(params, field)
    if detached is not None:
        return detached
    inline = getattr(params, _FIELD_NAMES[field])
    return np.array(inline, np.float32).view(np.uint8) if field == FLOAT32 else inline


def _decode_float32(raw: Any, _quantization: Any, _bits: int, _count: int) -> NDArray[Any]:
    return np.frombuffer(raw, np.dtype("<f4"))


def _decode_float16(raw: Any, _quantization: Any, _bits: int, _count: int) -> NDArray[Any]:
    return np.frombuffer(raw, np.dtype("<f2"))


def _decode_int8(raw: Any, _quantization: Any, _bits: int, _count: int) -> NDArray[Any]:
    return np.frombuffer(raw, np.int8)


def _decode_raw(raw: Any, _quantization: Any, bits: int, count: int) -> NDArray[Any]:
    return unpack(np.frombuffer(raw, np.uint8), bits, count)


_DECODERS = {FLOAT32: _decode_float32, FLOAT16: _decode_float16, RAW: _decode_raw, INT8: _decode_int8}


def unpack(packed: NDArray[np.uint8], bits: int, count: int) -> NDArray[np.uint8]:
    """Return ``count`` unsigned numbers of 1 to 8 bits that lie without gaps, most significant bit first.

    >>> unpack(np.array([0b10_01_11_00], np.uint8), bits=2, count=4)
    array([2, 1, 3, 0], dtype=uint8)
    """
    if bits == 8:
        return packed[:count]
    # Eight numbers fill as many bytes as each has bits: [groups, bits] -> [groups] -> [groups, 8]
    groups = -(-count // 8)
    whole = np.zeros(groups * bits, np.uint8)
    whole[: packed.size] = packed[: whole.size]
    joined = np.zeros(groups, np.uint64)
    for byte in whole.reshape(groups, bits).T:
        joined = joined << np.uint64(8) | byte
    numbers = np.empty((groups, 8), np.uint8)
    for place in range(8):
        numbers[:, place] = joined >> np.uint64(bits * (7 - place)) & np.uint64(2**bits - 1)
    return numbers.reshape(-1)[:count]


class Quantized(NamedTuple):
    """What the numbers of a quantized weight stand for: ``table[number]``, or ``scale * number + bias``.

    Scale and bias are shaped to be broadcast against the weight.
    """

    table: NDArray[np.float32] | None = None
    scale: NDArray[np.float32] | None = None
    bias: NDArray[np.float32] | None = None


def quantization_of(params: Any, stored: Encoding, shape: tuple[int, ...], channel_axis: int) -> Quantized:
    """Return what the numbers of a quantized weight stand for.

    Args: as for ``decode``; ``stored`` is what ``check`` returned.

    Raises:
        FormatError: The number of scales or table entries does not fit.
    """
    quantization = params.quantization
    kind = quantization.WhichOneof("QuantizationType")
    if kind == "lookupTableQuantization" and stored.field == RAW:
        table: NDArray[np.float32] = np.array(quantization.lookupTableQuantization.floatValue, np.float32)
        if table.size != 2**quantization.numberOfBits:
            raise FormatError(f"has a lookup table of {table.size} entries, must be {2**quantization.numberOfBits}")
        return Quantized(table=table)
    if kind == "linearQuantization":
        linear = quantization.linearQuantization
        scale = _per_channel(linear.scale, shape, channel_axis, "scale")
        bias = _per_channel(linear.bias, shape, channel_axis, "bias") if linear.bias else None
        return Quantized(scale=scale, bias=bias)
    if kind is None:
        raise FormatError("is quantized without linearQuantization or lookupTableQuantization, must have one")
    raise FormatError(f"is stored as int8RawValue with {kind}, must have linearQuantization")


def numbers(file: ModelFile, params: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return the numbers of a quantized weight as they are stored, uint8 or int8 in its shape.

    Raises:
        FormatError: They are not as many as the shape asks for, or are not there any more.
    """
    stored = check(file, params, shape)
    if stored is None:
        return np.zeros(shape, np.uint8)
    raw = _payload(file, params, stored.field)
    return _DECODERS[stored.field](raw, params.quantization, stored.bits, math.prod(shape)).reshape(shape)


def _dequantize(values: NDArray[Any], found: Quantized) -> NDArray[np.float32]:
    if found.table is not None:
        return np.take(found.table, values)
    assert found.scale is not None, found
    with np.errstate(over="ignore", invalid="ignore"):  # scales beyond float32 are the model's own
        bias = np.float32(0) if found.bias is None else found.bias
        return values.astype(np.float32) * found.scale + bias


def _per_channel(stored: Any, shape: tuple[int, ...], axis: int, name: str) -> NDArray[np.float32]:
    """Return scale or bias, shaped to be broadcast against the weight."""
    values = np.array(stored, np.float32)
    if values.size == 1:
        return values.reshape((1,) * len(shape))
    channels = shape[axis] if shape else 1
    if values.size != channels:
        wanted = "1" if channels == 1 else f"1 or {channels}"
        raise FormatError(f"has a quantization {name} of {values.size} values, must be {wanted}")
    return values.reshape([channels if i == axis else 1 for i in range(len(shape))])
