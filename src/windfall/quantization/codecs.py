"""How a weight's values become small numbers: a function for each mode, which knows nothing of models.

Source: ``QuantizationParams``, ``LinearQuantizationParams``, ``LookUpTableQuantizationParams`` in NeuralNetwork.proto.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from windfall.errors import FormatError
from windfall.quantization.kmeans import best_table, nearest

LutFunction = Callable[[int, NDArray[np.float32]], tuple[Any, Any]]
"""The user's own quantizer: given the number of bits and a weight, it returns a table of 2**bits numbers and, in the
weight's shape, the index of an entry for each value."""

_LARGEST = float(np.finfo(np.float32).max)


class Encoded(NamedTuple):
    """Values as small numbers, with what these stand for: ``code * scale + bias``, or ``table[code]``.

    Attributes:
        codes: The numbers, in the shape that the values were given in.
        scale: [channels], or None.
        bias: [channels], or None.
        table: [2**bits], or None.
    """

    codes: NDArray[np.uint8]
    scale: NDArray[np.float32] | None = None
    bias: NDArray[np.float32] | None = None
    table: NDArray[np.float32] | None = None


class Codec(NamedTuple):
    """A way to quantize.

    Attributes:
        encode: Takes values as [channels, values], finite, and the number of bits.
        widths: The numbers of bits that it can do.
        by_channel: Whether each channel may have a scale of its own; else there is one channel.
    """

    encode: Callable[[NDArray[np.float32], int], Encoded]
    widths: range
    by_channel: bool


def encode_linear(values: NDArray[np.float32], bits: int) -> Encoded:
    """Spread the numbers evenly from each channel's least value to its greatest.

    A value is off by at most half a step, a step being the range over 2**bits - 1.
    """
    low, high = values.min(axis=1), values.max(axis=1)
    width = high.astype(np.float64) - low
    if (width > _LARGEST).any():
        raise FormatError(f"has values from {low.min():g} to {high.max():g}, further apart than float32 can say")
    levels = 2**bits - 1
    scale = _usable(width / levels)
    steps = np.subtract(values, low[:, np.newaxis])
    steps /= scale[:, np.newaxis]
    return Encoded(_rounded(steps, levels), scale, low)


def encode_symmetric(values: NDArray[np.float32], bits: int) -> Encoded:
    """Spread the numbers evenly around 0, which stays 0, up to each channel's greatest magnitude.

    A value is off by at most half a step, a step being the greatest magnitude over 2**(bits - 1) - 1.
    """
    zero = 2 ** (bits - 1)
    most = np.maximum(np.abs(values.min(axis=1)), np.abs(values.max(axis=1))).astype(np.float64)
    scale = _usable(most / (zero - 1))
    if (scale.astype(np.float64) * (2 * zero - 1) > _LARGEST).any():
        raise FormatError(f"has values of up to {most.max():g}, for which {bits} bits around 0 need more than float32")
    steps = values / scale[:, np.newaxis]
    steps += zero
    return Encoded(_rounded(steps, 2 * zero - 1), scale, scale * np.float32(-zero))


def encode_linear_lut(values: NDArray[np.float32], bits: int) -> Encoded:
    """Look the numbers up in a table that goes evenly from the least value to the greatest."""
    flat = values.reshape(-1)
    table = np.linspace(float(flat.min()), float(flat.max()), 2**bits).astype(np.float32)
    return Encoded(nearest(flat, table).reshape(values.shape), table=table)


def encode_kmeans(values: NDArray[np.float32], bits: int) -> Encoded:
    """Look the numbers up in the table that has the least sum of squared differences."""
    flat = values.reshape(-1)
    table = best_table(flat, 2**bits)
    codes = nearest(flat, table).reshape(values.shape)
    return Encoded(codes, table=np.pad(table, (0, 2**bits - len(table)), mode="edge"))


def encode_custom(values: NDArray[np.float32], bits: int, function: LutFunction) -> Encoded:
    """Let the user's function choose the table and the numbers; what it returns is checked.

    Args:
        values: The weight in its own shape.
        bits: How many bits a number has.
        function: The user's.
    """
    result = function(bits, values.copy())
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise FormatError(f"got {type(result).__name__} from the function, must be a pair: the table and the indices")
    table, codes = (_numbers(part) for part in result)
    if table is None or table.size != 2**bits or not np.isfinite(table).all() or np.abs(table).max() > _LARGEST:
        have = "what is none" if table is None else f"one of shape {list(table.shape)}"
        raise FormatError(f"got {have} as the function's table, must be {2**bits} finite numbers")
    if codes is None or codes.size != values.size:
        have = "what are none" if codes is None else f"{codes.size}"
        raise FormatError(f"got {have} as the function's indices, must be {values.size}, one for each value")
    if not ((codes >= 0) & (codes < 2**bits) & (codes == np.floor(codes))).all():
        raise FormatError(f"got indices from the function that are not whole numbers from 0 to {2**bits - 1}")
    return Encoded(codes.astype(np.uint8).reshape(values.shape), table=table.reshape(-1).astype(np.float32))


def decoded(encoded: Encoded) -> NDArray[np.float32]:
    """Return what numbers in the shape [channels, values] stand for."""
    if encoded.table is not None:
        return encoded.table[encoded.codes]
    assert encoded.scale is not None
    assert encoded.bias is not None
    return encoded.codes * encoded.scale[:, np.newaxis] + encoded.bias[:, np.newaxis]


def _numbers(given: Any) -> NDArray[Any] | None:
    try:
        array = np.asarray(given)
    except ValueError:  # lists of different lengths
        return None
    return array if array.dtype.kind in "fiub" else None


def _usable(scale: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return scales in float32; a channel of one value has a scale of 1, and keeps its value as the bias."""
    rounded = scale.astype(np.float32)
    rounded[rounded == 0] = 1
    return rounded


def _rounded(steps: NDArray[np.float32], most: int) -> NDArray[np.uint8]:
    np.rint(steps, out=steps)
    np.clip(steps, 0, most, out=steps)
    return steps.astype(np.uint8)


CODECS: Mapping[str, Codec] = {
    "linear": Codec(encode_linear, range(1, 9), by_channel=True),
    # With 1 bit there would be no other number than 0 in reach.
    "linear_symmetric": Codec(encode_symmetric, range(2, 9), by_channel=True),
    "linear_lut": Codec(encode_linear_lut, range(1, 9), by_channel=False),
    "kmeans": Codec(encode_kmeans, range(1, 9), by_channel=False),
}
"""The modes that need nothing but values."""

CUSTOM, DEQUANTIZE = "custom_lut", "dequantize"
MODES = (*CODECS, CUSTOM, DEQUANTIZE)
TABLES = frozenset({"linear_lut", "kmeans", CUSTOM})
"""The modes that store lookup tables; the others store scales."""
