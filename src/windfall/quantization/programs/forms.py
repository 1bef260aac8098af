"""Write a weight into a program: a constant becomes an operation that decompresses one, or the other way round.

Source: ``constexpr_*`` among coremltools' operator definitions (iOS 16 ``constexpr_ops.py``, iOS 18
``compression.py``); before iOS 18 their parameters are attributes.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windfall.errors import FormatError
from windfall.quantization.codecs import Encoded
from windfall.quantization.programs.blocks import Blocks
from windfall.quantization.programs.values import opset_number, set_text
from windfall.quantization.programs.weightfile import WeightFile
from windfall.quantization.programs.weights import ProgramWeight
from windfall.spec.packing import UNSIGNED, encode_bytes
from windfall.spec.proto import MIL_pb2

_INTS = {4: MIL_pb2.INT4, 8: MIL_pb2.INT8}
IOS18 = 8
"""The number of the first opset with block-wise operators."""
_LARGEST = 65504

_Argument = tuple[NDArray[Any], int] | str


def store_float(weight: ProgramWeight, values: NDArray[np.float32], out: WeightFile) -> None:
    """Store values as a constant of the type that is declared for it.

    Raises:
        FormatError: One is beyond what that type has.
    """
    _write(weight.maker, "const", {"val": _float(values, weight.data_type)}, out, as_inputs=False)


def store_half(weight: ProgramWeight, values: NDArray[np.float32], out: WeightFile) -> None:
    """Store float32 values as float16, and let an operation make float32 of them again.

    Raises:
        FormatError: One is beyond what float16 has.
    """
    arguments: dict[str, _Argument] = {"source_val": _float(values, MIL_pb2.FLOAT16), "output_dtype": "fp32"}
    _write(weight.maker, "constexpr_cast", arguments, out, as_inputs=_is_blockwise(weight))


def store_encoded(weight: ProgramWeight, encoded: Encoded, blocks: Blocks, bits: int, out: WeightFile) -> None:
    """Store small numbers, with the scales or the tables that they need.

    Args:
        weight: The weight.
        encoded: The codes [blocks, values]; scales and biases [blocks], or tables [blocks, 2**bits].
        blocks: How the weight falls into blocks.
        bits: How many bits a code has.
        out: The file that it goes into.
    """
    codes = blocks.restored(encoded.codes)
    if encoded.table is not None:
        _store_table(weight, codes, encoded.table, blocks, bits, out)
    elif _is_blockwise(weight):
        _store_blockwise(weight, codes, encoded, blocks, bits, out)
    else:
        _store_affine(weight, codes, encoded, out)


def _is_blockwise(weight: ProgramWeight) -> bool:
    return opset_number(weight.site.function.opset) >= IOS18


def _store_table(
    weight: ProgramWeight, codes: NDArray[np.uint8], table: Any, blocks: Blocks, bits: int, out: WeightFile
) -> None:
    if _is_blockwise(weight):
        tables = table.reshape(*blocks.grid, 2**bits, 1)
        arguments: dict[str, _Argument] = {"indices": (codes, UNSIGNED[bits]), "lut": _float(tables, weight.data_type)}
    else:
        shape = np.array(weight.shape, np.uint32)
        packed = encode_bytes(codes, UNSIGNED[bits])
        arguments = {
            "indices": (packed, MIL_pb2.UINT8),
            "lut": _float(table.reshape(-1), weight.data_type),
            "shape": (shape, MIL_pb2.UINT32),
        }
    _write(weight.maker, "constexpr_lut_to_dense", arguments, out, as_inputs=_is_blockwise(weight))


def _store_blockwise(
    weight: ProgramWeight, codes: NDArray[np.uint8], encoded: Encoded, blocks: Blocks, bits: int, out: WeightFile
) -> None:
    scale, zero = _scale_and_zero(encoded)
    arguments: dict[str, _Argument] = {"scale": _float(scale.reshape(blocks.grid), weight.data_type)}
    if (zero == 2 ** (bits - 1)).all():
        arguments["data"] = (_signed(codes, bits), _INTS[bits])
    else:
        arguments["data"] = (codes, UNSIGNED[bits])
        arguments["offset"] = (zero.astype(np.uint8).reshape(blocks.grid), UNSIGNED[bits])
    _write(weight.maker, "constexpr_blockwise_shift_scale", arguments, out, as_inputs=True)


def _store_affine(weight: ProgramWeight, codes: NDArray[np.uint8], encoded: Encoded, out: WeightFile) -> None:
    scale, zero = _scale_and_zero(encoded)
    is_single = scale.size == 1
    axis = np.array(weight.channel_axis, np.int32)
    scale, zero = (array.reshape(()) if is_single else array for array in (scale, zero))
    arguments: dict[str, _Argument] = {
        "quantized_data": (codes, MIL_pb2.UINT8),
        "zero_point": (zero.astype(np.uint8), MIL_pb2.UINT8),
        "scale": _float(scale, weight.data_type),
        "axis": (axis, MIL_pb2.INT32),
    }
    _write(weight.maker, "constexpr_affine_dequantize", arguments, out, as_inputs=False)


def _scale_and_zero(encoded: Encoded) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    assert encoded.scale is not None
    assert encoded.bias is not None
    return encoded.scale, np.rint(-encoded.bias / encoded.scale)


def _signed(codes: NDArray[np.uint8], bits: int) -> NDArray[np.int8]:
    signed: NDArray[np.int8] = (codes.astype(np.int16) - 2 ** (bits - 1)).astype(np.int8)
    return signed


def _float(values: NDArray[np.float32], data_type: int) -> tuple[NDArray[Any], int]:
    if data_type == MIL_pb2.FLOAT32:
        return values.astype("<f4", copy=False), data_type
    with np.errstate(over="ignore"):
        halves = values.astype("<f2")
    if np.isinf(halves).any() and np.isfinite(values).all():
        most = values.flat[np.abs(values).argmax()]
        raise FormatError(f"has the value {most:g}, float16 ends at {_LARGEST}; leave it out with select")
    return halves, data_type


def _write(operation: Any, kind: str, arguments: Mapping[str, _Argument], out: WeightFile, *, as_inputs: bool) -> None:
    """Turn an operation into one of another kind that has the same output."""
    name = operation.outputs[0].name
    operation.type = kind
    operation.inputs.clear()
    operation.attributes.clear()
    set_text(operation.attributes["name"], name)
    for argument, content in arguments.items():
        value = operation.inputs[argument].arguments.add().value if as_inputs else operation.attributes[argument]
        if isinstance(content, str):
            set_text(value, content)
        else:
            out.put(value, *content)
