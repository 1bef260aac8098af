"""Compressed weights; the examples are those of the operators' definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import windfall
from tests.programs import Name, Output, Typed, add_input, add_operation, new_program, operator_spec
from windfall.errors import FormatError
from windfall.lowering.ml_program.decompression import look_up, set_values, shift_and_scale, spread
from windfall.spec.proto import MIL_pb2


def packed(values, bits):
    """Pack numbers from the least significant bit on."""
    flat = np.ravel(values).astype(np.uint8)
    single = np.unpackbits(flat[:, None], axis=1, bitorder="little")[:, :bits]
    return np.packbits(single, bitorder="little").tobytes()


def narrow(values, bits):
    types = {1: MIL_pb2.UINT1, 2: MIL_pb2.UINT2, 3: MIL_pb2.UINT3, 4: MIL_pb2.UINT4, 6: MIL_pb2.UINT6}
    return Typed(packed(values, bits), types[bits], np.shape(values))


def decompressed(operator, dims, *, opset=8, dtype=np.float32, **arguments):
    """Return what a constexpr operation holds: it is added to zeros that are fed."""
    spec, function, block = new_program(opset)
    add_input(spec, function, "x", np.zeros(dims, np.float32), dims)
    add_operation(block, operator, {"c0": Output(dtype, dims)}, **arguments)
    add_operation(block, "cast", {"f": Output(np.float32, dims)}, x=Name("c0"), dtype="fp32")
    add_operation(block, "add", {"y": Output(np.float32, dims)}, x=Name("x"), y=Name("f"))
    block.outputs.append("y")
    spec.description.output.add(name="y").type.multiArrayType.dataType = 65568
    return windfall.load(spec).predict({"x": np.zeros(dims, np.float32)})["y"]


def sparse(operator, mask_dims, count, **arguments):
    """Return the dense form of what a sparse constexpr operation holds."""
    spec, function, block = new_program()
    add_input(spec, function, "x", np.zeros(mask_dims, np.float32), mask_dims)
    operation = add_operation(
        block, operator, {"m": Output(np.uint8, mask_dims), "v": Output(np.float32, [count])}, **arguments
    )
    operation.outputs[0].type.tensorType.dataType = MIL_pb2.UINT1
    add_operation(
        block,
        "constexpr_sparse_to_dense",
        {"d": Output(np.float32, mask_dims)},
        nonzero_data=Name("v"),
        mask=Name("m"),
    )
    add_operation(block, "add", {"y": Output(np.float32, mask_dims)}, x=Name("x"), y=Name("d"))
    block.outputs.append("y")
    spec.description.output.add(name="y").type.multiArrayType.dataType = 65568
    return windfall.load(spec).predict({"x": np.zeros(mask_dims, np.float32)})["y"]


def error_of(operator, dims, **arguments):
    with pytest.raises(FormatError) as error:
        decompressed(operator, dims, **arguments)
    return str(error.value)


def test_affine_dequantize():
    data = np.arange(-12, 12, dtype=np.int8).reshape(2, 3, 4)
    scale, zero = np.float32([0.5, 1, 2]), np.int8([1, -1, 0])
    expected = (data.astype(np.float32) - zero[:, None]) * scale[:, None]
    got = decompressed(
        "constexpr_affine_dequantize", (2, 3, 4), quantized_data=data, zero_point=zero, scale=scale, axis=-2
    )
    np.testing.assert_array_equal(got, expected)
    one = decompressed(
        "constexpr_affine_dequantize",
        (3,),
        dtype=np.float16,
        opset=6,
        quantized_data=np.uint8([0, 5, 255]),
        zero_point=np.uint8(5),
        scale=np.float16(0.5),
        axis=0,
    )
    np.testing.assert_array_equal(one, [-2.5, 0, 125])


def test_parameters_may_be_attributes_as_before_ios_18():
    spec, _ = operator_spec(
        "constexpr_affine_dequantize",
        [Output(np.float32, (2,))],
        6,
        quantized_data=np.int8([1, 2]),
        zero_point=np.int8(0),
        scale=np.float32(3),
        axis=0,
    )
    block = spec.mlProgram.functions["main"].block_specializations["CoreML6"]
    operation = block.operations[0]
    for name, argument in operation.inputs.items():
        operation.attributes[name].CopyFrom(argument.arguments[0].value)
    operation.inputs.clear()
    np.testing.assert_array_equal(windfall.load(spec).predict({})["out0"], [3, 6])


def test_constexpr_cast():
    got = decompressed("constexpr_cast", (2,), source_val=np.float16([0.1, np.inf]), output_dtype="fp32")
    np.testing.assert_array_equal(got, np.float32([np.float16(0.1), np.inf]))


def test_packed_lookup_table():
    # n_bits = 2, five indices in two bytes: 01 10 11 00 | xx xx xx 11
    got = decompressed(
        "constexpr_lut_to_dense",
        (5,),
        opset=6,
        indices=np.uint8([0b01101100, 0b11]),
        lut=np.float32([10, 11, 12, 13]),
        shape=np.uint32([5]),
    )
    np.testing.assert_array_equal(got, [10, 13, 12, 11, 13])


@pytest.mark.parametrize("bits", [1, 2, 4, 6, 8])
def test_packed_lookup_tables_of_all_widths(bits):
    rng = np.random.default_rng(bits)
    indices = rng.integers(0, 2**bits, (3, 7))
    lut = rng.normal(size=2**bits).astype(np.float32)
    data = np.frombuffer(packed(indices, bits), np.uint8)
    got = decompressed("constexpr_lut_to_dense", (3, 7), opset=6, indices=data, lut=lut, shape=np.uint32([3, 7]))
    np.testing.assert_array_equal(got, lut[indices])


def test_two_groups_of_lookup_tables():
    indices = narrow(np.reshape([2, 3, 3, 0, 1, 0, 3, 0, 2, 1, 0, 3], (6, 2)), 2)
    lut = np.float16([1, 5, 9, 13, 2, 10, 18, 26]).reshape(2, 1, 4, 1)
    got = decompressed("constexpr_lut_to_dense", (6, 2), dtype=np.float16, indices=indices, lut=lut)
    np.testing.assert_array_equal(got, [[9, 13], [13, 1], [5, 1], [26, 2], [18, 10], [2, 26]])


@pytest.mark.parametrize(
    ("axis", "expected"),
    [
        (1, [[[0, 0], [1, 1], [2, 2], [5, 0], [6, 1], [7, 2]], [[5, 5], [6, 6], [7, 7], [0, 0], [1, 1], [2, 2]]]),
        (2, [[[0, 1, 2, 0, 1, 2], [5, 6, 7, 0, 1, 2]], [[5, 6, 7, 5, 6, 7], [0, 1, 2, 0, 1, 2]]]),
    ],
)
def test_lookup_tables_of_vectors(axis, expected):
    indices = narrow([[[0, 0], [1, 0]], [[1, 1], [0, 0]]], 1)
    lut = np.int8([[0, 1, 2], [5, 6, 7]]).reshape(1, 1, 1, 2, 3)
    got = decompressed(
        "constexpr_lut_to_dense", np.shape(expected), dtype=np.int8, indices=indices, lut=lut, vector_axis=axis
    )
    np.testing.assert_array_equal(got, expected)


def test_packed_sparse():
    got = decompressed(
        "constexpr_sparse_to_dense",
        (5,),
        opset=6,
        nonzero_data=np.float32([7, 8]),
        mask=np.uint8([0b01100]),
        shape=np.uint32([5]),
    )
    np.testing.assert_array_equal(got, [0, 0, 7, 8, 0])


def test_lookup_tables_over_sparse_indices():
    mask = np.array([[1, 1, 0, 0, 0, 0], [1, 1, 0, 0, 0, 1], [0, 1, 1, 0, 1, 0], [0, 0, 0, 1, 0, 0]])
    arguments = {"indices_mask": narrow(mask, 1), "indices_nonzero_data": narrow([0, 1, 1, 0, 1, 1, 0, 0, 1], 1)}
    got = sparse("constexpr_lut_to_sparse", (4, 6), 9, lut=np.float32([2, 3]).reshape(1, 1, 2, 1), **arguments)
    dense = [[2, 3, 0, 0, 0, 0], [3, 2, 0, 0, 0, 3], [0, 3, 2, 0, 2, 0], [0, 0, 0, 3, 0, 0]]
    np.testing.assert_array_equal(got, dense)
    vectors = np.float32([[2, 2], [3, 3]]).reshape(1, 1, 2, 2)
    got = sparse("constexpr_lut_to_sparse", (8, 6), 18, lut=vectors, vector_axis=0, **arguments)
    np.testing.assert_array_equal(got, np.repeat(dense, 2, axis=0))


def test_scales_over_sparse_data():
    mask = np.array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 1, 1], [1, 1, 0, 0]])
    got = sparse(
        "constexpr_sparse_blockwise_shift_scale",
        (4, 4),
        9,
        data_mask=narrow(mask, 1),
        nonzero_data=np.int8([10, 11, 3, 4, 5, 6, 7, 8, 9]),
        scale=np.float32([[0.1, 0.2, 0.3, 0.4]]),
        offset=np.int8([[1, 2, 3, 4]]),
    )
    np.testing.assert_allclose(got[mask == 1], [0.9, 1.8, 0.2, 0.4, 0.6, 0.9, 1.2, 0.7, 1.4], rtol=1e-6)
    assert not got[mask == 0].any()


def test_scales_of_blocks_of_int4():
    data = np.array([[-8, 7, 1, 2], [3, 4, -5, 6]])
    stored = Typed(packed(data & 15, 4), MIL_pb2.INT4, (2, 4))
    offset = Typed(packed(np.array([1, 15]), 4), MIL_pb2.INT4, (1, 2))
    got = decompressed(
        "constexpr_blockwise_shift_scale", (2, 4), data=stored, scale=np.float32([[2, 10]]), offset=offset
    )
    np.testing.assert_array_equal(got, (data - [1, 1, -1, -1]) * [2, 2, 10, 10])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3)), min_size=1, max_size=3), st.integers(1, 3), st.data())
def test_lookup_matches_a_loop(sizes, vector, data):
    rng = np.random.default_rng(0)
    groups, dims = [g for g, _ in sizes], [g * b for g, b in sizes]
    axis = data.draw(st.integers(0, len(dims) - 1))
    indices, tables = rng.integers(0, 4, dims), rng.normal(size=(*groups, 4, vector))
    got = look_up(indices, tables, axis)
    for place in np.ndindex(*dims):
        table = tables[tuple(i // b for i, (_, b) in zip(place, sizes, strict=True))]
        for v in range(vector):
            there = tuple(i * vector + v if a == axis else i for a, i in enumerate(place))
            assert got[there] == table[indices[place], v]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3)), min_size=1, max_size=3))
def test_scaling_matches_repeated_scales(sizes):
    rng = np.random.default_rng(0)
    groups, dims = [g for g, _ in sizes], [g * b for g, b in sizes]
    data, scale, offset = rng.integers(-8, 8, dims), rng.normal(size=groups), rng.integers(-8, 8, groups)
    wide, zero = scale, offset
    for axis, (_, block) in enumerate(sizes):
        wide, zero = np.repeat(wide, block, axis), np.repeat(zero, block, axis)
    np.testing.assert_allclose(shift_and_scale(data, scale, offset), (data - zero) * wide, rtol=1e-5, atol=1e-6)


def test_scales_beyond_float32_give_infinities():
    scale, offset = np.float32([[3e38], [np.inf]]), np.float32([[-3e38], [1]])
    expected = [[np.inf, -np.inf], [np.nan, np.inf]]
    np.testing.assert_array_equal(shift_and_scale(np.float32([[2e38, -3.2e38], [1, 2]]), scale, offset), expected)


def test_spread_and_set_values_are_inverse():
    mask = np.array([[1, 0], [0, 1]])
    np.testing.assert_array_equal(set_values(spread(np.array([5, 6]), mask), mask), [5, 6])


LUT = np.float32([[[0], [1]]])


@pytest.mark.parametrize(
    ("operator", "arguments", "text"),
    [
        (
            "constexpr_affine_dequantize",
            {"quantized_data": np.int8([1, 2]), "zero_point": np.int8(0), "scale": np.float32([1, 2, 3]), "axis": 0},
            "scale is of 3 values, must have 1 or 2 values",
        ),
        (
            "constexpr_affine_dequantize",
            {"quantized_data": np.int8([1, 2]), "zero_point": np.int8(0), "scale": np.float32(1), "axis": 1},
            "axis is 1, must be -1 to 0",
        ),
        (
            "constexpr_cast",
            {"source_val": np.float16([1]), "output_dtype": "fp16"},
            "output_dtype is 'fp16', must be 'fp32'",
        ),
        (
            "constexpr_lut_to_dense",
            {"indices": np.uint8([0]), "lut": np.float32([1, 2, 3]), "shape": np.uint32([2])},
            "lut is of shape [3], must be a vector of 2, 4, 16, 64 or 256 values",
        ),
        (
            "constexpr_lut_to_dense",
            {"indices": np.uint8([3]), "lut": np.float32([[1, 2]]), "shape": np.uint32([2])},
            "lut is of shape [1, 2], must be a vector of 2, 4, 16, 64 or 256 values",
        ),
        (
            "constexpr_lut_to_dense",
            {"indices": np.uint8([0, 0]), "lut": np.float32([1, 2]), "shape": np.uint32([2])},
            "indices is of 2 bytes, must have 1, 1 bits for each of [2]",
        ),
        (
            "constexpr_lut_to_dense",
            {"indices": np.uint8([27]), "lut": np.float32([1, 2, 3, 4]), "shape": np.int32([-2, -2])},
            "shape is [-2, -2], must have no size below 0",
        ),
        (
            "constexpr_lut_to_dense",
            {"indices": narrow([0, 1], 1), "lut": np.float32([0, 1])},
            "lut is of shape [2], must have the shape [g0, g1, ..., entries, v] with g that divide [2]",
        ),
        (
            "constexpr_lut_to_dense",
            {"indices": narrow([0, 1], 2), "lut": LUT},
            "lut is of 2 entries, must have one for each number that the type of the indices has",
        ),
        (
            "constexpr_lut_to_dense",
            {"indices": narrow([0, 1], 1), "lut": np.zeros((1, 2, 2), np.float32)},
            "vector_axis must be given where the entries of lut are vectors of 2",
        ),
        (
            "constexpr_sparse_to_dense",
            {"nonzero_data": np.float32([1]), "mask": np.uint8([3]), "shape": np.uint32([2])},
            "mask is set 2 times, must have as many as there are values, 1",
        ),
        (
            "constexpr_sparse_to_dense",
            {"nonzero_data": np.float32([1]), "mask": np.uint8([3, 0]), "shape": np.uint32([2])},
            "mask is of 2 bytes, must have 1 for [2]",
        ),
        (
            "constexpr_blockwise_shift_scale",
            {"data": np.int8([[1, 2, 3]]), "scale": np.float32([[1, 2]])},
            "scale is of shape [1, 2], must have as many axes as the data, [1, 3], and sizes that divide its",
        ),
        (
            "constexpr_blockwise_shift_scale",
            {"data": np.int8([[1, 2]]), "scale": np.float32([[1, 2]]), "offset": np.int8([[1]])},
            "offset is of shape [1, 1], must have that of scale, [1, 2]",
        ),
    ],
)
def test_damaged_arguments_are_refused(operator, arguments, text):
    assert error_of(operator, (2,), **arguments) == f"cannot lower operation 'c0' ({operator}) of the model: {text}"
