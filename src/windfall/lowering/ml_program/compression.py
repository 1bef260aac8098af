"""Weights that a program holds in fewer bits, as lookup tables or as sparse tensors.

Source: ``constexpr_*`` among coremltools' operator definitions (iOS 16 ``constexpr_ops.py``, iOS 18
``compression.py``).

They are constants: nothing is decompressed before an engine asks for the numbers.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from windfall.graph.compressed import Compressed
from windfall.graph.limits import LARGEST_TENSOR
from windfall.lowering.ml_program.codes import is_narrow, linear_codes, looked_up_codes, packed_codes
from windfall.lowering.ml_program.constants import Constant
from windfall.lowering.ml_program.context import Array, Ints, OperationContext
from windfall.lowering.ml_program.decompression import divides, look_up, set_values, shift_and_scale, spread
from windfall.spec.blobfile import decode_bytes
from windfall.spec.packing import UNSIGNED
from windfall.spec.proto import MIL_pb2


def lower_affine_dequantize(
    ctx: OperationContext, quantized_data: Constant, zero_point: Constant, scale: Constant, axis: int
) -> Constant:
    """Hold ``scale * (quantized_data - zero_point)``.

    Args:
        ctx: The operation and the graph being built.
        quantized_data: int8 or uint8, rank 1 or more.
        zero_point: One number, or one for each index along the axis.
        scale: One number, or one for each index along the axis.
        axis: The axis.

    Raises:
        LoweringError: There is no such axis, or scale or zero_point have another length.
    """
    dims = quantized_data.dims
    axis = ctx.axis("axis", axis, len(dims))
    for name, vector in (("zero_point", zero_point), ("scale", scale)):
        if vector.size not in (1, dims[axis]):
            raise ctx.error(name, f"must have 1 or {dims[axis]} values", value=f"of {vector.size} values")

    def along_axis(vector: Array) -> Array:
        sizes = [1] * len(dims)
        sizes[axis] = vector.size
        return vector.reshape(sizes)

    def load() -> Array:
        scales, zeros = np.broadcast_arrays(along_axis(scale.array), along_axis(zero_point.array))
        return shift_and_scale(quantized_data.array, scales, zeros)

    def describe() -> Compressed:
        return linear_codes(quantized_data, along_axis(scale.array), along_axis(zero_point.array))

    return _constant(ctx, scale.data_type, dims, load, describe if is_narrow(quantized_data) else None)


def lower_constexpr_cast(ctx: OperationContext, source_val: Constant, output_dtype: str) -> Constant:
    """Hold float16 numbers as float32.

    Args:
        ctx: The operation and the graph being built.
        source_val: float16, any shape.
        output_dtype: ``fp32``.

    Raises:
        LoweringError: Another type is asked for.
    """
    if output_dtype != "fp32":
        raise ctx.error("output_dtype", "must be 'fp32'", value=repr(output_dtype))
    return _constant(ctx, MIL_pb2.FLOAT32, source_val.dims, lambda: source_val.array)


def lower_lut_to_dense(
    ctx: OperationContext,
    indices: Constant,
    lut: Constant,
    shape: Ints | None = None,
    vector_axis: int | None = None,
) -> Constant:
    """Hold what the indices into one or several lookup tables stand for.

    Args:
        ctx: The operation and the graph being built.
        indices: iOS 16: uint8 [M], packed from the least significant bit on; iOS 18: uint1 to uint8, any shape.
        lut: iOS 16: [entries]; iOS 18: [g0, g1, ..., entries, v], a table for each block of the indices.
        shape: iOS 16: the shape of the output.
        vector_axis: iOS 18: the axis along which the v numbers of an entry lie.

    Raises:
        LoweringError: The tables do not fit the indices.
    """
    if shape is not None:
        return _packed_lut(ctx, indices, lut, shape)
    dims, axis = _check_tables(ctx, indices.dims, indices.data_type, lut, vector_axis)

    def describe() -> Compressed:
        return looked_up_codes(indices, lut.array[..., 0])

    single = describe if lut.dims[-1] == 1 else None
    return _constant(ctx, lut.data_type, dims, lambda: look_up(indices.array, lut.array, axis), single)


def _packed_lut(ctx: OperationContext, indices: Constant, lut: Constant, shape: Ints) -> Constant:
    bits, count = lut.size.bit_length() - 1, math.prod(shape)
    if len(lut.dims) != 1 or lut.size != 2**bits or bits not in (1, 2, 4, 6, 8):
        rule = "must be a vector of 2, 4, 16, 64 or 256 values"
        raise ctx.error("lut", rule, value=f"of shape {list(lut.dims)}")
    if indices.size != (bits * count + 7) // 8:
        rule = f"must have {(bits * count + 7) // 8}, {bits} bits for each of {list(shape)}"
        raise ctx.error("indices", rule, value=f"of {indices.size} bytes")

    def load() -> Array:
        found: Array = lut.array[decode_bytes(indices.array, UNSIGNED[bits], count)]
        return found

    def describe() -> Compressed:
        return packed_codes(indices, UNSIGNED[bits], lut.array, shape)

    return _constant(ctx, lut.data_type, shape, load, describe if shape else None)


def _check_tables(
    ctx: OperationContext, dims: Sequence[int], index_type: int, lut: Constant, vector_axis: int | None
) -> tuple[tuple[int, ...], int]:
    """Check lookup tables, and return the shape of what they give and the axis of their vectors."""
    rank = len(dims)
    if not rank or len(lut.dims) != rank + 2 or not divides(lut.dims[:-2], dims):
        rule = f"must have the shape [g0, g1, ..., entries, v] with g that divide {list(dims)}"
        raise ctx.error("lut", rule, value=f"of shape {list(lut.dims)}")
    entries, vector = lut.dims[-2:]
    if UNSIGNED.get(entries.bit_length() - 1) != index_type or entries & (entries - 1):
        raise ctx.error(
            "lut", "must have one for each number that the type of the indices has", value=f"of {entries} entries"
        )
    if vector_axis is None and vector != 1:
        raise ctx.error("vector_axis", f"must be given where the entries of lut are vectors of {vector}")
    axis = ctx.axis("vector_axis", vector_axis or 0, rank)
    return tuple(size * (vector if i == axis else 1) for i, size in enumerate(dims)), axis


def lower_sparse_to_dense(
    ctx: OperationContext, nonzero_data: Constant, mask: Constant, shape: Ints | None = None
) -> Constant:
    """Hold zeros, and the given values where the mask is set.

    Args:
        ctx: The operation and the graph being built.
        nonzero_data: [D], the values in row-major order.
        mask: iOS 16: uint8 [M], a bit for each element, packed from the least significant bit on; iOS 18: uint1, the
            output's shape.
        shape: iOS 16: the shape of the output.

    Raises:
        LoweringError: The mask has not a bit for each element, or not as many are set as there are values.
    """
    dims = mask.dims if shape is None else shape
    count = math.prod(dims)
    if shape is not None and mask.size != (count + 7) // 8:
        raise ctx.error("mask", f"must have {(count + 7) // 8} for {list(shape)}", value=f"of {mask.size} bytes")

    def load() -> Array:
        bits = mask.array if shape is None else decode_bytes(mask.array, MIL_pb2.UINT1, count).reshape(dims)
        return spread(_checked(ctx, nonzero_data, bits), bits)

    return _constant(ctx, nonzero_data.data_type, dims, load)


def _checked(ctx: OperationContext, values: Constant, mask: Array) -> Array:
    """Return the values of a sparse tensor, after a check that there is one for each bit that is set."""
    count = int(np.count_nonzero(mask))
    if values.size != count:
        raise ctx.error("mask", f"must have as many as there are values, {values.size}", value=f"set {count} times")
    return values.array.reshape(-1)


def lower_blockwise_shift_scale(
    ctx: OperationContext, data: Constant, scale: Constant, offset: Constant | None = None
) -> Constant:
    """Hold ``scale * (data - offset)``, each scale and offset for a block of the data.

    Args:
        ctx: The operation and the graph being built.
        data: [d0, d1, ...], int4 to uint8, or float.
        scale: [g0, g1, ...]; each g divides its d.
        offset: The shape of scale.

    Raises:
        LoweringError: The scales do not divide the data into equal blocks, or the offsets are of another shape.
    """
    _check_scales(ctx, data.dims, scale, offset)

    def load() -> Array:
        return shift_and_scale(data.array, scale.array, None if offset is None else offset.array)

    def describe() -> Compressed:
        return linear_codes(data, scale.array, None if offset is None else offset.array)

    return _constant(ctx, scale.data_type, data.dims, load, describe if is_narrow(data) else None)


def _check_scales(ctx: OperationContext, dims: Sequence[int], scale: Constant, offset: Constant | None) -> None:
    if not dims or not divides(scale.dims, dims):
        rule = f"must have as many axes as the data, {list(dims)}, and sizes that divide its"
        raise ctx.error("scale", rule, value=f"of shape {list(scale.dims)}")
    if offset is not None and offset.dims != scale.dims:
        raise ctx.error("offset", f"must have that of scale, {list(scale.dims)}", value=f"of shape {list(offset.dims)}")


def lower_lut_to_sparse(
    ctx: OperationContext,
    indices_mask: Constant,
    indices_nonzero_data: Constant,
    lut: Constant,
    vector_axis: int | None = None,
) -> Sequence[Constant]:
    """Hold a sparse tensor of what the indices of another one stand for.

    Args:
        ctx: The operation and the graph being built.
        indices_mask: uint1, any shape from rank 1: where there are indices.
        indices_nonzero_data: uint1 to uint8 [D], the indices.
        lut: [g0, g1, ..., entries, v], a table for each block of the mask.
        vector_axis: The axis along which the v numbers of an entry lie.

    Returns:
        The mask, v times as large along ``vector_axis``, and the values [D * v].

    Raises:
        LoweringError: The tables do not fit, or not as many bits are set as there are indices.
    """
    dims, axis = _check_tables(ctx, indices_mask.dims, indices_nonzero_data.data_type, lut, vector_axis)
    vector = lut.dims[-1]

    def mask() -> Array:
        return np.repeat(indices_mask.array, vector, axis)

    def values() -> Array:
        bits = indices_mask.array
        indices = spread(_checked(ctx, indices_nonzero_data, bits), bits)
        return set_values(look_up(indices, lut.array, axis), mask())

    return [
        _constant(ctx, indices_mask.data_type, dims, mask),
        _constant(ctx, lut.data_type, (indices_nonzero_data.size * vector,), values),
    ]


def lower_sparse_blockwise_shift_scale(
    ctx: OperationContext,
    data_mask: Constant,
    nonzero_data: Constant,
    scale: Constant,
    offset: Constant | None = None,
) -> Sequence[Constant]:
    """Hold a sparse tensor of ``scale * (data - offset)``, each scale and offset for a block of the mask.

    Args:
        ctx: The operation and the graph being built.
        data_mask: uint1, any shape from rank 1: where there are numbers.
        nonzero_data: [D], the numbers.
        scale: [g0, g1, ...]; each g divides the mask's size along its axis.
        offset: The shape of scale.

    Returns:
        The mask and the values [D].

    Raises:
        LoweringError: The scales do not fit, or not as many bits are set as there are numbers.
    """
    _check_scales(ctx, data_mask.dims, scale, offset)

    def values() -> Array:
        bits = data_mask.array
        dense = spread(_checked(ctx, nonzero_data, bits), bits)
        return set_values(shift_and_scale(dense, scale.array, None if offset is None else offset.array), bits)

    return [data_mask, _constant(ctx, scale.data_type, nonzero_data.dims, values)]


def _constant(
    ctx: OperationContext,
    data_type: int,
    dims: Sequence[int],
    load: Callable[[], Array],
    describe: Callable[[], Compressed] | None = None,
) -> Constant:
    if min(dims, default=0) < 0:
        raise ctx.error("shape", "must have no size below 0", value=list(dims))
    if math.prod(dims) * 4 > LARGEST_TENSOR:
        raise ctx.error("outputs", f"must need at most {LARGEST_TENSOR:,} bytes", value=f"of shape {list(dims)}")
    return Constant(data_type, tuple(dims), load, describe=describe)


LOWERINGS: Mapping[str, Callable[..., Any]] = {
    "constexpr_affine_dequantize": lower_affine_dequantize,
    "constexpr_blockwise_shift_scale": lower_blockwise_shift_scale,
    "constexpr_cast": lower_constexpr_cast,
    "constexpr_lut_to_dense": lower_lut_to_dense,
    "constexpr_lut_to_sparse": lower_lut_to_sparse,
    "constexpr_sparse_blockwise_shift_scale": lower_sparse_blockwise_shift_scale,
    "constexpr_sparse_to_dense": lower_sparse_to_dense,
}
