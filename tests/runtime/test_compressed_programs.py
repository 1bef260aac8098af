"""Compressed weights that stay as they are stored, in ML programs: the numbers, and what the graph holds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.programs import Name, Output, Typed, add_input, add_operation, new_program
from tests.runtime.test_compressed_weights import both, float_sizes, operators
from windfall.spec.proto import MIL_pb2

RNG = np.random.default_rng(0)
NARROW = {1: MIL_pb2.UINT1, 2: MIL_pb2.UINT2, 3: MIL_pb2.UINT3, 4: MIL_pb2.UINT4, 6: MIL_pb2.UINT6}


def packed(values, bits, data_type):
    """Return numbers as they lie in a program, from the least significant bit on."""
    flat = np.ravel(values).astype(np.int16).view(np.uint16).astype(np.uint8)
    single = np.unpackbits(flat[:, None], axis=1, bitorder="little")[:, :bits]
    return Typed(np.packbits(single, bitorder="little").tobytes(), data_type, np.shape(values))


def program(operator, arguments, dims, users, *inputs, opset=8):
    """Return a program whose constant ``w`` is made by one operation, and read by others."""
    spec, function, block = new_program(opset)
    for index, array in enumerate(inputs):
        add_input(spec, function, f"x{index}", array, array.shape)
    add_operation(block, operator, {"w": Output(np.float32, dims)}, **arguments)
    for name, user, out, given_ in users:
        add_operation(block, user, {name: Output(np.float32, out)}, **given_)
    block.outputs.append("y")
    spec.description.output.add(name="y").type.multiArrayType.dataType = 65568
    return spec


def blockwise(dims, grid, data_type, *, with_offset=True):
    """Return the arguments of constexpr_blockwise_shift_scale, and the weight by NumPy in float64."""
    bits, low = {MIL_pb2.INT4: (4, -8), MIL_pb2.UINT4: (4, 0), MIL_pb2.INT8: (8, -128), MIL_pb2.UINT8: (8, 0)}[
        data_type
    ]
    codes, zero = RNG.integers(low, low + 2**bits, dims), RNG.integers(low, low + 2**bits, grid)
    scale = RNG.uniform(0.01, 0.02, grid).astype(np.float32)
    arguments = {"data": packed(codes, bits, data_type), "scale": scale}
    if with_offset:
        arguments["offset"] = packed(zero, bits, data_type)
    full_scale, full_zero = scale.astype(np.float64), zero if with_offset else np.zeros_like(zero)
    for axis, (d, g) in enumerate(zip(dims, grid, strict=True)):
        full_scale, full_zero = (np.repeat(part, d // g, axis) for part in (full_scale, full_zero))
    return arguments, full_scale * (codes - full_zero)


def check_linear(operator, arguments, weight, held, *, opset=8, rows=3):
    x = RNG.normal(size=(rows, weight.shape[1])).astype(np.float32)
    out = (rows, weight.shape[0])
    users = [("y", "linear", out, {"x": Name("x0"), "weight": Name("w")})]
    found, graph = both(program(operator, arguments, weight.shape, users, x, opset=opset), x0=x)
    np.testing.assert_allclose(found["y"], x @ weight.T, rtol=1e-5, atol=1e-5 * (np.abs(x) @ np.abs(weight.T)).max())
    assert held in operators(graph)
    assert max(float_sizes(graph)) < weight.size


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("per_channel", [True, False])
def test_affine_dequantize(dtype, per_channel):
    info = np.iinfo(dtype)
    codes = RNG.integers(info.min, info.max + 1, (40, 64)).astype(dtype)
    count = 40 if per_channel else 1
    scale = RNG.uniform(0.01, 0.02, count).astype(np.float32)
    zero = RNG.integers(info.min, info.max + 1, count).astype(dtype)
    weight = scale[:, None].astype(np.float64) * (codes.astype(np.float64) - zero[:, None])
    arguments = {"quantized_data": codes, "zero_point": zero, "scale": scale, "axis": 0}
    check_linear("constexpr_affine_dequantize", arguments, weight, "MatMulNBits", opset=6)
    check_linear("constexpr_affine_dequantize", arguments, weight, "DequantizeLinear", opset=6, rows=9)


@pytest.mark.parametrize("data_type", [MIL_pb2.INT4, MIL_pb2.UINT4, MIL_pb2.INT8, MIL_pb2.UINT8])
@pytest.mark.parametrize("grid", [(1, 1), (48, 1), (48, 4), (12, 2), (1, 4)])
@pytest.mark.parametrize("with_offset", [True, False])
def test_blockwise_shift_scale(data_type, grid, with_offset):
    arguments, weight = blockwise((48, 128), grid, data_type, with_offset=with_offset)
    check_linear("constexpr_blockwise_shift_scale", arguments, weight, "MatMulNBits")


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(1, 5), st.sampled_from([5, 8, 16, 24, 32, 48]), st.integers(1, 9))
def test_blocks_of_any_size(groups, per_group, block, rows):
    arguments, weight = blockwise((groups * per_group * 8, block * 5), (groups, 5), MIL_pb2.UINT4)
    x = RNG.normal(size=(rows, block * 5)).astype(np.float32)
    users = [("y", "linear", (rows, weight.shape[0]), {"x": Name("x0"), "weight": Name("w")})]
    spec = program("constexpr_blockwise_shift_scale", arguments, weight.shape, users, x)
    found, _ = both(spec, x0=x)
    np.testing.assert_allclose(found["y"], x @ weight.T, rtol=1e-5, atol=1e-5 * (np.abs(x) @ np.abs(weight.T)).max())


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 6, 8])
@pytest.mark.parametrize("groups", [(1, 1), (8, 1), (1, 2)])
def test_lookup_tables_of_ios_18(bits, groups):
    codes = RNG.integers(0, 2**bits, (48, 100))
    table = RNG.normal(size=(*groups, 2**bits)).astype(np.float32)
    rows, columns = (np.arange(d) // (d // g) for d, g in zip(codes.shape, groups, strict=True))
    weight = table.astype(np.float64)[rows[:, None], columns[None, :], codes]
    indices = codes.astype(np.uint8) if bits == 8 else packed(codes, bits, NARROW[bits])
    x = RNG.normal(size=(3, 100)).astype(np.float32)
    users = [("y", "linear", (3, 48), {"x": Name("x0"), "weight": Name("w")})]
    spec = program("constexpr_lut_to_dense", {"indices": indices, "lut": table[..., None]}, (48, 100), users, x)
    found, graph = both(spec, x0=x)
    np.testing.assert_allclose(found["y"], x @ weight.T, rtol=1e-5, atol=1e-5 * (np.abs(x) @ np.abs(weight.T)).max())
    kept = groups[1] == 1  # no operator looks up along both axes
    if kept and bits > 1:
        assert "GatherElements" in operators(graph)
    assert (max(float_sizes(graph)) < weight.size) == (kept or bits == 1)


@pytest.mark.parametrize("bits", [1, 2, 4, 6, 8])
def test_lookup_tables_of_ios_16(bits):
    codes, table = RNG.integers(0, 2**bits, (48, 100)), RNG.normal(size=2**bits).astype(np.float32)
    indices = np.frombuffer(packed(codes, bits, MIL_pb2.UINT8).data, np.uint8)
    arguments = {"indices": indices, "lut": table, "shape": np.uint32([48, 100])}
    held = "MatMulNBits" if bits == 1 else "GatherElements"
    check_linear("constexpr_lut_to_dense", arguments, table.astype(np.float64)[codes], held, opset=6)


def test_convolutions():
    import torch

    arguments, weight = blockwise((32, 16, 3, 3), (32, 2, 1, 1), MIL_pb2.INT8)
    x = RNG.normal(size=(1, 16, 6, 6)).astype(np.float32)
    users = [("y", "conv", (1, 32, 4, 4), {"x": Name("x0"), "weight": Name("w")})]
    found, graph = both(program("constexpr_blockwise_shift_scale", arguments, weight.shape, users, x), x0=x)
    expected = torch.nn.functional.conv2d(torch.from_numpy(x).double(), torch.from_numpy(weight))
    np.testing.assert_allclose(found["y"], expected.numpy(), rtol=1e-5, atol=1e-4)
    assert max(float_sizes(graph)) < weight.size


@pytest.mark.parametrize("transpose", [True, False])
@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("data_type", [MIL_pb2.UINT4, MIL_pb2.UINT8])
def test_products_of_any_rank_with_a_matrix_either_way_round(transpose, rank, data_type):
    arguments, weight = blockwise((64, 48) if transpose else (48, 64), (1, 4), data_type)
    x = RNG.normal(size=(2, 5, 48)[-rank:]).astype(np.float32)
    users = [
        ("y", "matmul", (*x.shape[:-1], 64), {"x": Name("x0"), "y": Name("w"), "transpose_y": transpose}),
    ]
    found, graph = both(program("constexpr_blockwise_shift_scale", arguments, weight.shape, users, x), x0=x)
    np.testing.assert_allclose(found["y"], x @ (weight.T if transpose else weight), rtol=1e-5, atol=1e-4)
    assert max(float_sizes(graph)) < weight.size


@pytest.mark.parametrize("grid", [(1, 1), (50, 1), (10, 1), (50, 2)])
def test_rows_that_are_gathered(grid):
    arguments, weight = blockwise((50, 64), grid, MIL_pb2.UINT4)
    x = np.int32([[3, 0], [49, 3]])
    users = [("y", "gather", (2, 2, 64), {"x": Name("w"), "indices": Name("x0"), "axis": 0})]
    found, graph = both(program("constexpr_blockwise_shift_scale", arguments, weight.shape, users, x), x0=x)
    np.testing.assert_allclose(found["y"], weight[x], rtol=1e-5, atol=1e-6)
    assert max(float_sizes(graph)) < weight.size


def test_a_weight_that_several_operations_read():
    arguments, weight = blockwise((64, 64), (64, 1), MIL_pb2.INT4)
    x = RNG.normal(size=(2, 64)).astype(np.float32)
    users = [
        ("a", "linear", (2, 64), {"x": Name("x0"), "weight": Name("w")}),
        ("b", "matmul", (2, 64), {"x": Name("a"), "y": Name("w")}),
        ("c", "add", (64, 64), {"x": Name("w"), "y": Name("w")}),
        ("y", "matmul", (2, 64), {"x": Name("b"), "y": Name("c")}),
    ]
    found, graph = both(program("constexpr_blockwise_shift_scale", arguments, weight.shape, users, x), x0=x)
    np.testing.assert_allclose(found["y"], x @ weight.T @ weight @ (2 * weight), rtol=1e-4, atol=1e-3)
    assert max(float_sizes(graph)) < weight.size


def test_weights_that_are_outputs_are_expanded():
    arguments, weight = blockwise((64, 64), (64, 1), MIL_pb2.INT4)
    spec, function, block = new_program()
    add_input(spec, function, "x0", np.zeros(1, np.float32), (1,))
    add_operation(block, "constexpr_blockwise_shift_scale", {"y": Output(np.float32, (64, 64))}, **arguments)
    block.outputs.append("y")
    spec.description.output.add(name="y").type.multiArrayType.dataType = 65568
    found, _ = both(spec, x0=np.zeros(1, np.float32))
    np.testing.assert_allclose(found["y"], weight, rtol=1e-6, atol=1e-7)
