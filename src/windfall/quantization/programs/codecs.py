"""How the values of a program's weight become small numbers, with scales and tables as the program can hold them.

Source: ``constexpr_affine_dequantize``, ``constexpr_blockwise_shift_scale``, ``constexpr_lut_to_dense`` among
coremltools' operator definitions: ``scale * (code - offset)``, with an offset of the codes' own type.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from windfall.errors import FormatError
from windfall.quantization.codecs import CODECS, Encoded
from windfall.quantization.kmeans import nearest

Float = type[np.float16] | type[np.float32]
Rows = NDArray[np.float32]


class ProgramCodec(NamedTuple):
    """A way to quantize.

    Attributes:
        encode: Takes values as [blocks, values], finite, the number of bits, and the type of scales and tables.
        widths: The numbers of bits that programs can hold.
        has_table: Whether it gives lookup tables, [blocks, 2**bits]; else scales, and offsets times these as biases.
    """

    encode: Callable[[Rows, int, Float], Encoded]
    widths: tuple[int, ...]
    has_table: bool


def encode_linear(rows: Rows, bits: int, kind: Float) -> Encoded:
    """Spread the numbers evenly over a range that has 0 in it, which stays 0.

    A value is off by at most half a step, a step being the range over 2**bits - 1, rounded up to the scale's type.
    """
    levels = 2**bits - 1
    low, high = np.minimum(rows.min(axis=1), 0), np.maximum(rows.max(axis=1), 0)
    scale = _scales((high.astype(np.float64) - low) / levels, kind)
    zero = np.clip(np.rint(-low / scale), 0, levels).astype(np.float32)
    codes = rows / scale[:, np.newaxis]
    codes += zero[:, np.newaxis]
    return Encoded(_rounded(codes, 0, levels), scale, -zero * scale)


def encode_symmetric(rows: Rows, bits: int, kind: Float) -> Encoded:
    """Spread the numbers evenly around 0, which stays 0, up to the greatest magnitude.

    A value is off by at most half a step, a step being the greatest magnitude over 2**(bits - 1) - 1, rounded up to
    the scale's type. The codes are 2**(bits - 1) above the signed ones that the program has.
    """
    zero = 2 ** (bits - 1)
    most = np.maximum(np.abs(rows.min(axis=1)), np.abs(rows.max(axis=1))).astype(np.float64)
    scale = _scales(most / (zero - 1), kind)
    codes = rows / scale[:, np.newaxis]
    codes += zero
    return Encoded(_rounded(codes, 1, 2 * zero - 1), scale, scale * np.float32(-zero))


def _tables(mode: str) -> Callable[[Rows, int, Float], Encoded]:
    encode = CODECS[mode].encode

    def each(rows: Rows, bits: int, kind: Float) -> Encoded:
        """Give each block a lookup table of its own."""
        tables = np.stack([_table(encode(row[np.newaxis], bits)) for row in rows])
        return look_up_rows(rows, tables, kind)

    return each


def _table(encoded: Encoded) -> Rows:
    assert encoded.table is not None
    return encoded.table


def look_up_rows(rows: Rows, tables: Rows, kind: Float) -> Encoded:
    """Take for each value the nearest entry of its block's table, once this is rounded to the program's type.

    Args:
        rows: [blocks, values].
        tables: [blocks, entries].
        kind: The type.

    Raises:
        FormatError: An entry is beyond what the type has.
    """
    rounded = np.sort(_as(tables, kind), axis=1)
    codes = np.stack([nearest(row, table) for row, table in zip(rows, rounded, strict=True)])
    return Encoded(codes, table=rounded)


def _as(numbers: NDArray[Any], kind: Float) -> Rows:
    """Return numbers rounded to a type, as float32."""
    with np.errstate(over="ignore"):
        rounded = numbers.astype(kind).astype(np.float32)
    if not np.isfinite(rounded).all():
        most = numbers.flat[np.abs(numbers).argmax()]
        raise FormatError(f"has values of up to {most:g}, beyond {kind.__name__}; leave it out with select")
    return rounded


def _scales(scale: NDArray[np.float64], kind: Float) -> Rows:
    """Return scales of a type, none below what was asked for; 1 for a block of zeros."""
    rounded = scale.astype(kind) if kind is np.float32 else _as(scale, kind).astype(kind)
    short = rounded.astype(np.float64) < scale
    rounded[short] = np.nextafter(rounded[short], kind(np.inf))
    rounded[rounded == 0] = 1
    return _as(rounded, kind)


def _rounded(codes: Rows, least: int, most: int) -> NDArray[np.uint8]:
    np.rint(codes, out=codes)
    np.clip(codes, least, most, out=codes)
    return codes.astype(np.uint8)


_LINEAR, _TABLE = (4, 8), (1, 2, 3, 4, 6, 8)

PROGRAM_CODECS: Mapping[str, ProgramCodec] = {
    "linear": ProgramCodec(encode_linear, _LINEAR, has_table=False),
    "linear_symmetric": ProgramCodec(encode_symmetric, _LINEAR, has_table=False),
    "linear_lut": ProgramCodec(_tables("linear_lut"), _TABLE, has_table=True),
    "kmeans": ProgramCodec(_tables("kmeans"), _TABLE, has_table=True),
}
"""The modes that need nothing but values."""
TABLE_WIDTHS = _TABLE
