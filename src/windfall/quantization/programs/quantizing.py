"""Decide on the weights of ML programs, and store them."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from windfall.errors import FormatError, UnsupportedError
from windfall.quantization.codecs import CUSTOM, DEQUANTIZE, Encoded, encode_custom
from windfall.quantization.programs.blocks import Blocks, blocks_of
from windfall.quantization.programs.codecs import PROGRAM_CODECS, TABLE_WIDTHS, Float
from windfall.quantization.programs.forms import store_encoded, store_float, store_half
from windfall.quantization.programs.opsets import least_opset, system
from windfall.quantization.programs.values import opset_number
from windfall.quantization.programs.weightfile import WeightFile
from windfall.quantization.programs.weights import ProgramWeight
from windfall.quantization.selection import Selection
from windfall.quantization.settings import Settings
from windfall.quantization.weight import stored
from windfall.spec.modelfile import ModelFile
from windfall.spec.proto import MIL_pb2
from windfall.spec.weights import FLOAT16, FLOAT32, RAW

FLOAT, _HALF = 32, 16
Fit = Callable[[ProgramWeight, NDArray[np.float32], int, Encoded], Encoded]
"""Given a weight, its values, the bits and the weight as it would be without samples, returns what to store."""


def wanted_bits(file: ModelFile, weight: ProgramWeight, settings: Settings, selection: Selection) -> int | None:
    """Return how many bits a weight gets, None where it stays as it is.

    Raises:
        UnsupportedError: Programs cannot hold so many in this mode.
    """
    bits = selection.bits_for(weight)
    how = stored(file, weight)
    if bits is None or how is None:
        return None
    if settings.mode == DEQUANTIZE:
        return None if weight.maker.type == "const" else FLOAT
    if bits == _HALF:
        return _HALF if weight.data_type == MIL_pb2.FLOAT32 and how.field in (FLOAT32, RAW) else None
    _check_width(weight, bits, settings, file)
    is_float = how.field in (FLOAT16, FLOAT32)
    return None if is_float and not selection.is_each and _size(weight, bits, settings) >= how.size else bits


def _check_width(weight: ProgramWeight, bits: int, settings: Settings, file: ModelFile) -> None:
    widths = TABLE_WIDTHS if settings.has_table else PROGRAM_CODECS[settings.mode].widths
    if bits in widths:
        return
    known = f"{', '.join(map(str, widths[:-1]))} and {widths[-1]}"
    more = "" if settings.has_table else "; other widths need a lookup table, as in mode kmeans"
    raise UnsupportedError(
        f"bits is {bits} for {weight.field} of {weight.layer!r} of {file.name}, ML programs have {known} in mode "
        f"{settings.mode!r}{more}"
    )


def _size(weight: ProgramWeight, bits: int, settings: Settings) -> int:
    """Return how many bytes a weight takes with its scales or tables."""
    kind = 2 if weight.data_type == MIL_pb2.FLOAT16 else 4
    count = _blocks(weight, settings).total
    return (weight.size * bits + 7) // 8 + count * (kind * 2**bits if settings.has_table else kind + 1)


def _blocks(weight: ProgramWeight, settings: Settings) -> Blocks:
    return blocks_of(weight, settings.finest, settings.group_size)


def needed_opset(weight: ProgramWeight, bits: int, settings: Settings) -> int:
    """Return the number of the first opset that can hold what a weight is to become."""
    if bits == FLOAT:
        return 0
    channels = tuple(size if axis == weight.channel_axis else 1 for axis, size in enumerate(weight.shape))
    grids = {(1,) * len(channels): "per_tensor", channels: "per_channel"}
    granularity = grids.get(_blocks(weight, settings).grid, "per_block")
    return least_opset(bits, granularity, has_table=settings.has_table)


def check_opset(weight: ProgramWeight, bits: int, settings: Settings, file: ModelFile) -> None:
    """Check that a weight's function can hold what it is to become.

    Raises:
        UnsupportedError: It needs a later opset.
    """
    function = weight.site.function
    needed = needed_opset(weight, bits, settings)
    if opset_number(function.opset) < needed:
        what = "float16 in place of float32" if bits == _HALF else f"{bits} bits {settings.finest} in {settings.mode}"
        raise UnsupportedError(
            f"{weight.field} of {weight.layer!r} of {file.name}: {what} needs {system(needed)}, the program is of "
            f"{system(opset_number(function.opset))}; raise it with upgrade=True (--upgrade), or ask for other bits"
        )


def store(
    weight: ProgramWeight,
    values: NDArray[np.float32],
    bits: int,
    settings: Settings,
    out: WeightFile,
    fit: Fit | None = None,
) -> None:
    """Write values into the program as a weight of so many bits.

    Args:
        weight: The weight in the new model.
        values: The values, in its shape.
        bits: How many bits each gets.
        settings: What is wanted.
        out: The new model's weight file.
        fit: Fits small numbers to samples, where there are some.

    Raises:
        FormatError: A value, or what a function of the user's returned, cannot be stored.
    """
    if bits == FLOAT:
        store_float(weight, values, out)
    elif bits == _HALF:
        store_half(weight, values, out)
    else:
        blocks = _blocks(weight, settings)
        small = encoded(weight, values, bits, settings, blocks)
        store_encoded(weight, small if fit is None else fit(weight, values, bits, small), blocks, bits, out)


def encoded(
    weight: ProgramWeight, values: NDArray[np.float32], bits: int, settings: Settings, blocks: Blocks
) -> Encoded:
    """Return values as small numbers in blocks; see ``store_encoded``."""
    if settings.mode == CUSTOM:
        return _custom(values, bits, settings, blocks)
    return PROGRAM_CODECS[settings.mode].encode(blocks.rows(values), bits, float_type(weight))


def _custom(values: NDArray[np.float32], bits: int, settings: Settings, blocks: Blocks) -> Encoded:
    assert settings.function is not None
    if blocks.total > 1:
        raise FormatError("would have several tables, mode 'custom_lut' gives one; leave granularity out")
    own = encode_custom(values, bits, settings.function)
    assert own.table is not None
    return Encoded(own.codes.reshape(1, -1), table=own.table.reshape(1, -1))


def float_type(weight: ProgramWeight) -> Float:
    """Return the type that scales and tables of a weight have."""
    return np.float16 if weight.data_type == MIL_pb2.FLOAT16 else np.float32
