"""How the weights of a program are compressed, operator by operator; the sizes are counted by hand."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

import windfall
from tests.lowering.ml_program.test_compression import narrow
from tests.programs import DATA_TYPES, Name, Output, Typed, add_operation, new_program, set_type
from windfall.description import Compression, ModelDescription
from windfall.errors import FormatError
from windfall.spec.proto import MIL_pb2, Model_pb2

HALF, SINGLE = np.float16, np.float32
NINE = np.int8([0] * 9)


def constexpr(
    block: Any, operator: str, outputs: Mapping[str, Output], *, attributes: bool = False, **given: Any
) -> Any:
    """Add an operation of the family; before iOS 18 what it is given are attributes."""
    operation = add_operation(block, operator, outputs, **given)
    if attributes:
        for name, argument in operation.inputs.items():
            operation.attributes[name].CopyFrom(argument.arguments[0].value)
        operation.inputs.clear()
    return operation


def use(block: Any, name: str, operator: str = "conv", **more: Any) -> None:
    """Add an operation that a weight is an argument of."""
    output = f"y{len(block.operations)}"
    add_operation(block, operator, {output: Output(SINGLE, (1,))}, x=Name("x"), weight=Name(name), **more)


def stored(block: Any, name: str, data_type: int, dims: tuple[int, ...], offset: int, output_dims: Any = None) -> Name:
    """Add a constant that lies in a weight file."""
    constant = block.operations.add(type="const")
    set_type(constant.outputs.add(name=name).type, data_type, dims if output_dims is None else output_dims)
    set_type(constant.attributes["val"].type, data_type, dims)
    constant.attributes["val"].blobFileValue.fileName = "@model_path/weights/weight.bin"
    constant.attributes["val"].blobFileValue.offset = offset
    return Name(name)


def described(spec: Any) -> ModelDescription:
    return windfall.load(spec).description


def compressions(spec: Any) -> list[Compression]:
    return list(described(spec).compressions)


def data(data_type: int, *dims: int) -> Typed:
    """A constant of zeros of a type that NumPy does not have."""
    return Typed(b"", data_type, dims)


AFFINE = "constexpr_affine_dequantize"
LUT = "constexpr_lut_to_dense"
SPARSE = "constexpr_sparse_to_dense"
BLOCKWISE = "constexpr_blockwise_shift_scale"
IOS_16 = [
    (
        # 40 values of a byte, four zero points of one, four scales of two
        (AFFINE, HALF, (4, 10), {"quantized_data": np.int8([[0] * 10] * 4), "zero_point": np.int8([0] * 4),
                                 "scale": HALF([1] * 4), "axis": np.int32(0)}),
        ("8-bit linear", 52, 80),
    ),
    (
        (AFFINE, SINGLE, (40,), {"quantized_data": np.uint8([0] * 40), "zero_point": np.uint8(0),
                                 "scale": SINGLE(1), "axis": np.int32(0)}),
        ("8-bit linear", 45, 160),
    ),
    *(
        # 21 indices, and a table
        ((LUT, HALF, (3, 7), {"indices": np.uint8([0] * size), "lut": HALF([0] * 2**bits), "shape": np.uint32([3, 7])}),
         (f"{bits}-bit lookup table", size + 2 * 2**bits, 42))
        for bits, size in ((1, 3), (2, 6), (4, 11), (6, 16), (8, 21))
    ),
    (
        # a bit for each of 40 values, 7 of which are there
        (SPARSE, HALF, (40,), {"nonzero_data": HALF([1] * 7), "mask": np.uint8([0] * 5), "shape": np.uint32([40])}),
        ("sparse", 5 + 14, 80),
    ),
    (
        ("constexpr_cast", SINGLE, (40,), {"source_val": HALF([0] * 40), "output_dtype": "fp32"}),
        ("float16", 80, 160),
    ),
]  # fmt: skip
IOS_18 = [
    *(
        ((BLOCKWISE, SINGLE, (2, 4), {"data": given, "scale": SINGLE([[1, 1]]), "offset": offset}), (form, size, 32))
        for given, offset, form, size in (
            (data(MIL_pb2.INT4, 2, 4), data(MIL_pb2.INT4, 1, 2), "4-bit linear", 4 + 8 + 1),
            (data(MIL_pb2.UINT4, 2, 4), data(MIL_pb2.UINT4, 1, 2), "4-bit linear", 4 + 8 + 1),
            (np.int8([[0] * 4] * 2), np.int8([[0, 0]]), "8-bit linear", 8 + 8 + 2),
            (np.uint8([[0] * 4] * 2), None, "8-bit linear", 8 + 8),
        )
    ),
    *(
        ((LUT, HALF, (4, 6), {"indices": data(data_type, 4, 6), "lut": np.zeros((1, 1, 2**bits, 1), HALF)}),
         (f"{bits}-bit lookup table", 3 * bits + 2 * 2**bits, 48))
        for bits, data_type in ((1, MIL_pb2.UINT1), (2, MIL_pb2.UINT2), (3, MIL_pb2.UINT3), (4, MIL_pb2.UINT4),
                                (6, MIL_pb2.UINT6), (8, MIL_pb2.UINT8))
    ),
    (
        # Each of the two entries is three numbers.
        (LUT, SINGLE, (12, 6), {"indices": data(MIL_pb2.UINT1, 4, 6), "lut": np.zeros((1, 1, 2, 3), SINGLE),
                                "vector_axis": np.int32(0)}),
        ("1-bit lookup table", 3 + 24, 288),
    ),
    (
        (SPARSE, HALF, (4, 6), {"nonzero_data": HALF([1] * 9), "mask": data(MIL_pb2.UINT1, 4, 6)}),
        ("sparse", 18 + 3, 48),
    ),
]  # fmt: skip


@pytest.mark.parametrize("attributes", [True, False])
@pytest.mark.parametrize(("weight", "expected"), [*IOS_16, *IOS_18])
def test_each_operator_of_the_family(weight: Any, expected: tuple[str, int, int], attributes: bool) -> None:
    operator, dtype, dims, given = weight
    form, size, full = expected
    spec, _, block = new_program()
    given = {name: value for name, value in given.items() if value is not None}
    constexpr(block, operator, {"w": Output(dtype, dims)}, attributes=attributes, **given)
    use(block, "w")
    values = int(np.prod(dims))
    (found,) = compressions(spec)
    assert found == Compression("conv", form, 1, values, size, full)
    assert found.bits == pytest.approx(8 * size / values)


def two_steps(first: str, outputs: Mapping[str, Output], second: str, **given: Any) -> list[Compression]:
    """Describe a weight that one operation makes of what another one makes."""
    spec, _, block = new_program()
    own = {name: given.pop(name) for name in list(given) if name.startswith("second_")}
    constexpr(block, first, outputs, **given)
    named = {name.removeprefix("second_"): value for name, value in own.items()}
    constexpr(block, second, {"w": Output(SINGLE, (4, 6))}, **named)
    use(block, "w")
    return compressions(spec)


def test_a_lookup_table_over_sparse_indices() -> None:
    outputs = {"m": Output(np.uint8, (4, 6)), "v": Output(SINGLE, (9,))}
    arguments = {"indices_mask": narrow(np.zeros((4, 6)), 1), "indices_nonzero_data": narrow([0] * 9, 1)}
    found = two_steps("constexpr_lut_to_sparse", outputs, SPARSE, **arguments, lut=np.zeros((1, 1, 2, 1), SINGLE),
                      second_mask=Name("m"), second_nonzero_data=Name("v"))  # fmt: skip
    assert found == [Compression("conv", "sparse, 1-bit lookup table", 1, 24, 3 + 2 + 8, 96)]


@pytest.mark.parametrize("second", ["mask", "same_place"])
def test_scales_over_sparse_data_that_share_a_mask(second: str) -> None:
    spec, _, block = new_program()
    # coremltools writes two constants for the same place in the file.
    masks = {name: stored(block, name, MIL_pb2.UINT1, (4, 6), 64) for name in ("mask", "same_place")}
    outputs = {"m": Output(np.uint8, (4, 6)), "v": Output(SINGLE, (9,))}
    constexpr(block, "constexpr_sparse_blockwise_shift_scale", outputs, data_mask=masks["mask"],
              scale=np.zeros((1, 6), SINGLE), offset=np.zeros((1, 6), np.int8), nonzero_data=NINE)  # fmt: skip
    constexpr(block, SPARSE, {"w": Output(SINGLE, (4, 6))}, nonzero_data=Name("v"), mask=masks[second])
    use(block, "w")
    assert compressions(spec) == [Compression("conv", "sparse, 8-bit linear", 1, 24, 3 + 9 + 24 + 6, 96)]


def test_a_lookup_table_that_is_quantized_itself() -> None:
    table = {"t": Output(SINGLE, (1, 1, 16, 1))}
    found = two_steps(BLOCKWISE, table, LUT, data=np.zeros((1, 1, 16, 1), np.int8), scale=np.ones((1, 1, 1, 1), SINGLE),
                      second_indices=data(MIL_pb2.UINT4, 4, 6), second_lut=Name("t"))  # fmt: skip
    assert found == [Compression("conv", "4-bit lookup table, 8-bit linear", 1, 24, 16 + 4 + 12, 96)]


def test_scales_over_what_a_lookup_table_gives() -> None:
    numbers = {"n": Output(np.int8, (4, 6))}
    found = two_steps(LUT, numbers, BLOCKWISE, indices=data(MIL_pb2.UINT4, 4, 6), lut=np.zeros((1, 1, 16, 1), np.int8),
                      second_data=Name("n"), second_scale=np.ones((4, 1), SINGLE))  # fmt: skip
    assert found == [Compression("conv", "8-bit linear, 4-bit lookup table", 1, 24, 12 + 16 + 16, 96)]


def quantized(block: Any, name: str, offset: int) -> None:
    """Add a weight of 40 bytes in a file, and a scale."""
    values = stored(block, f"{name}_data", MIL_pb2.INT8, (4, 10), offset)
    constexpr(block, BLOCKWISE, {name: Output(HALF, (4, 10))}, data=values, scale=np.ones((4, 1), HALF))


def test_weights_are_added_up_by_operator_and_form() -> None:
    spec, _, block = new_program()
    for index in range(3):
        quantized(block, f"w{index}", 64 * (index + 1))
        use(block, f"w{index}", "linear" if index else "conv")
    constexpr(block, "constexpr_cast", {"c": Output(SINGLE, (9,))}, source_val=HALF([0] * 9), output_dtype="fp32")
    use(block, "c", "linear")
    stored(block, "plain", MIL_pb2.FLOAT16, (500,), 640)
    use(block, "plain", "linear")
    assert compressions(spec) == [
        Compression("linear", "8-bit linear", 2, 80, 96, 160),
        Compression("conv", "8-bit linear", 1, 40, 48, 80),
        Compression("linear", "float16", 1, 9, 18, 36),
    ]
    text = str(described(spec))
    assert "Compressed weights" in text
    assert "  linear     8-bit linear         2   96 bytes   160 bytes        9.60\n" in text


def test_a_weight_that_is_shared_counts_once() -> None:
    spec, function, block = new_program()
    other = spec.mlProgram.functions["other"]
    other.opset = function.opset
    for number, one in enumerate((block, other.block_specializations[function.opset])):
        quantized(one, f"w{number}", 64)
        constexpr(one, "constexpr_cast", {"c": Output(SINGLE, (9,))}, source_val=HALF([0] * 9), output_dtype="fp32")
        for name in (f"w{number}", "c", "c"):
            use(one, name)
        use(one, f"w{number}", "gather")
    # What lies in the message, each function has for itself.
    assert compressions(spec) == [
        Compression("conv", "8-bit linear", 1, 40, 48, 80),
        Compression("gather", "8-bit linear", 1, 40, 48, 80),
        Compression("conv", "float16", 2, 18, 36, 72),
    ]


def test_blocks_inside_operations() -> None:
    spec, _, block = new_program()
    quantized(block, "outer", 64)
    branch = add_operation(block, "cond", {"y": Output(SINGLE, (1,))}, pred=Name("p"))
    for number in range(2):
        inner = branch.blocks.add()
        loop = add_operation(inner, "while_loop", {f"l{number}": Output(SINGLE, (1,))})
        body = loop.blocks.add()
        quantized(body, f"w{number}", 640 + 64 * number)
        use(body, f"w{number}", "matmul")
        use(body, "outer", "matmul")
    assert compressions(spec) == [Compression("matmul", "8-bit linear", 3, 120, 144, 240)]


def test_a_program_in_a_pipeline() -> None:
    member, _, block = new_program()
    quantized(block, "w", 64)
    use(block, "w")
    spec = Model_pb2.Model(specificationVersion=9)
    spec.pipeline.models.add().identity.SetInParent()
    spec.pipeline.models.add().CopyFrom(member)
    assert compressions(spec) == [Compression("conv", "8-bit linear", 1, 40, 48, 80)]


def test_other_models_and_programs_have_none() -> None:
    spec, _, block = new_program()
    stored(block, "w", MIL_pb2.FLOAT16, (4,), 64)
    use(block, "w")
    # No file says what this one means; it cannot be run either.
    constexpr(block, "constexpr_of_later", {"later": Output(SINGLE, (4,))}, data=np.int8([1]))
    use(block, "later")
    assert compressions(spec) == []
    assert "Compressed weights" not in str(described(spec))
    network = Model_pb2.Model(specificationVersion=9)
    network.neuralNetwork.SetInParent()
    assert compressions(network) == []


def test_json_has_them() -> None:
    spec, _, block = new_program()
    quantized(block, "w", 64)
    use(block, "w")
    found = json.loads(json.dumps(described(spec).to_dict()))["compressions"]
    numbers = {"weights": 1, "values": 40, "bytes": 48, "full_bytes": 80}
    assert found == [{"operator": "conv", "form": "8-bit linear", **numbers}]


# Damaged and hostile programs


def cycle(block: Any) -> None:
    for name, other in (("a", "b"), ("b", "c"), ("c", "a")):
        constexpr(block, BLOCKWISE, {name: Output(SINGLE, (4,))}, data=Name(other), scale=Name(other))
        use(block, name)
    constexpr(block, BLOCKWISE, {"own": Output(SINGLE, (4,))}, data=Name("own"), scale=SINGLE([1]))
    use(block, "own")


def chain(block: Any) -> None:
    before: Any = np.int8([1])
    for index in range(3000):
        constexpr(block, BLOCKWISE, {f"w{index}": Output(SINGLE, (1,))}, data=before, scale=SINGLE([1]))
        use(block, f"w{index}")
        before = Name(f"w{index}")


def wide(block: Any) -> None:
    """A thousand operations that make use of one with thousands of arguments."""
    constexpr(block, BLOCKWISE, {"w": Output(SINGLE, (1,))}, data=[Name("w")] * 3000, scale=SINGLE([1]))
    block.operations[-1].inputs["more"].CopyFrom(block.operations[-1].inputs["data"])
    for index in range(1000):
        constexpr(block, BLOCKWISE, {f"v{index}": Output(SINGLE, (1,))}, data=Name("w"), scale=SINGLE([1]))
        use(block, f"v{index}")


def bare(block: Any) -> None:
    for operator in (AFFINE, LUT, SPARSE, BLOCKWISE, "constexpr_cast", "constexpr_lut_to_sparse",
                     "constexpr_sparse_blockwise_shift_scale"):  # fmt: skip
        block.operations.add(type=operator)
        operation = block.operations.add(type=operator)
        operation.outputs.add(name=operator)
        for name in ("data", "lut", "indices", "mask", "nonzero_data"):
            operation.inputs[name].SetInParent()
        use(block, operator)


def untyped(block: Any) -> None:
    block.operations.add(type="const").outputs.add(name="c")
    for number, name in enumerate(("c", "x", "nothing")):
        operation = block.operations.add(type=BLOCKWISE)
        operation.outputs.add(name=f"w{number}")
        operation.inputs["data"].arguments.add(name=name)
        operation.attributes["scale"].SetInParent()
        use(block, f"w{number}")


def odd_types(block: Any) -> None:
    constant = block.operations.add(type="const")
    constant.outputs.add(name="c").type.tensorType.dataType = 9999
    constant.attributes["val"].type.dictionaryType.SetInParent()
    open_type = block.operations.add(type=LUT)
    set_type(open_type.outputs.add(name="w").type, DATA_TYPES[np.dtype(SINGLE)], [None, 3])
    open_type.inputs["indices"].arguments.add(name="c")
    open_type.inputs["lut"].arguments.add().value.type.listType.SetInParent()
    use(block, "w")
    ranks = block.operations.add(type=LUT)
    ranks.outputs.add(name="v").type.tensorType.rank = 2**62
    ranks.attributes["lut"].type.tensorType.dataType = MIL_pb2.STRING
    use(block, "v")


def absurd(block: Any) -> None:
    dims = (2**63 - 1,) * 400
    values = stored(block, "d", MIL_pb2.INT4, dims, 64)
    table = stored(block, "t", MIL_pb2.FLOAT16, (2**63 - 1,), 128)
    constexpr(block, BLOCKWISE, {"w": Output(HALF, dims)}, data=values, scale=values)
    constexpr(block, LUT, {"v": Output(HALF, dims)}, indices=values, lut=table)
    use(block, "w")
    use(block, "v")


HOSTILE: list[tuple[Callable[[Any], None], int]] = [
    (cycle, 1), (chain, 3), (wide, 1), (bare, 4), (untyped, 1), (odd_types, 1), (absurd, 2),
]  # fmt: skip


@pytest.mark.parametrize(("build", "rows"), HOSTILE, ids=lambda case: getattr(case, "__name__", None))
def test_damaged_programs_are_described_all_the_same(build: Callable[[Any], None], rows: int) -> None:
    spec, _, block = new_program()
    build(block)
    description = described(spec)
    assert len(description.compressions) == rows
    assert all(one.values <= 2**60 * one.weights for one in description.compressions)
    assert "Compressed weights" in str(description)
    assert len(json.loads(json.dumps(description.to_dict(layers=True)))["compressions"]) == rows


def test_blocks_that_lie_too_deep() -> None:
    spec, _, block = new_program()
    for _ in range(70):
        block = block.operations.add(type="while_loop").blocks.add()
    with pytest.raises(FormatError, match="the program has blocks in more than 64 others, the most there may be"):
        _ = described(spec)
