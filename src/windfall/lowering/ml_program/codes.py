"""Compressed weights as graphs hold them: codes, and what these stand for.

Source: ``constexpr_*`` among coremltools' operator definitions (iOS 16 ``constexpr_ops.py``, iOS 18
``compression.py``).
"""

import math
from collections.abc import Sequence

import numpy as np

from windfall.graph.compressed import Compressed, nowhere
from windfall.lowering.ml_program.constants import Constant
from windfall.lowering.ml_program.context import Array, Ints
from windfall.spec.blobfile import decode_bytes
from windfall.spec.packing import BITS
from windfall.spec.proto import MIL_pb2

_NARROW = (
    MIL_pb2.UINT1,
    MIL_pb2.UINT2,
    MIL_pb2.UINT3,
    MIL_pb2.UINT4,
    MIL_pb2.UINT6,
    MIL_pb2.UINT8,
    MIL_pb2.INT4,
    MIL_pb2.INT8,
)
_SIGNED = (MIL_pb2.INT4, MIL_pb2.INT8)


def is_narrow(data: Constant) -> bool:
    """Whether numbers are whole ones of at most eight bits."""
    return data.data_type in _NARROW


def linear_codes(data: Constant, scale: Array, zero: Array | None) -> Compressed:
    """Return ``scale * (data - zero)``, which ``is_narrow``.

    Args:
        data: [d0, d1, ...].
        scale: [g0, g1, ...]; each g divides its d.
        zero: The same, maybe with other g; none for 0.
    """
    return Compressed(
        lambda: data.array,
        data.dims,
        BITS[data.data_type],
        signed=data.data_type in _SIGNED,
        scale=scale.astype(np.float32),
        zero=None if zero is None else zero.astype(np.float32),
        place=data.place,
    )


def looked_up_codes(indices: Constant, tables: Array) -> Compressed:
    """Return what indices [d0, d1, ...] stand for in tables [g0, g1, ..., entries]."""
    bits = BITS[indices.data_type]
    return Compressed(lambda: indices.array, indices.dims, bits, table=tables.astype(np.float32), place=indices.place)


def packed_codes(indices: Constant, index_type: int, table: Array, dims: Ints) -> Compressed:
    """Return what packed indices, bytes, stand for in a table, in a shape of at least one axis."""
    bits, count = BITS[index_type], math.prod(dims)

    def load() -> Array:
        return decode_bytes(indices.array, index_type, count).reshape(dims)

    tables = table.astype(np.float32).reshape(*_ones(dims), -1)
    return Compressed(load, dims, bits, table=tables, place=indices.place if bits == 8 else nowhere)


def _ones(dims: Sequence[int]) -> list[int]:
    return [1] * len(dims)
