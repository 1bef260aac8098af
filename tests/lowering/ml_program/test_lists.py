"""Lists of tensors, against NumPy, and a published model that keeps the steps of an LSTM in them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import windfall
from tests.programs import (
    DATA_TYPES,
    Input,
    Name,
    Output,
    add_input,
    add_operation,
    new_program,
    run_operator,
    set_type,
    set_value,
)
from windfall.errors import EngineError
from windfall.lowering.ml_program.constants import constant_of
from windfall.spec.modelfile import read_model_file

few = settings(max_examples=20, deadline=None)
MODEL = Path(__file__).parents[4] / "shared" / "models" / "dtln-aec-128-part1-fp32.mlpackage"
Dims = Sequence[int | None]
NAMES = {np.float32: "fp32", np.int32: "int32", np.bool_: "bool"}


class Program:
    """A program whose operations are added one by one.

    Attributes:
        block: Where the next operations go.
    """

    def __init__(self) -> None:
        self.spec, self.function, self.block = new_program()
        self.feeds: dict[str, Any] = {}
        self.count = 0

    def input(self, name: str, array: Any, *, opened: bool) -> Name:
        array = np.asarray(array)
        array = array.astype(np.int32) if array.dtype == np.int64 else array
        add_input(self.spec, self.function, name, array, [None] * array.ndim if opened else array.shape)
        self.feeds[name] = array
        return Name(name)

    def new(self) -> Name:
        self.count += 1
        return Name(f"v{self.count}")

    def add(self, operator: str, dtype: Any, dims: Dims, /, **arguments: Any) -> Name:
        name = self.new()
        add_operation(self.block, operator, {name: Output(dtype, dims)}, **arguments)
        return name

    def add_list(self, operator: str, dtype: Any, dims: Dims, /, **arguments: Any) -> Name:
        name = self.new()
        operation = add_operation(self.block, operator, {}, **arguments)
        set_list_type(operation.outputs.add(name=name).type, dtype, dims)
        return name

    def make_list(self, dtype: Any, dims: Sequence[int | str], /, **arguments: Any) -> Name:
        """Add a list whose open sizes are names; its length is declared as the one it is made with."""
        declared = [None if isinstance(size, str) else size for size in dims]
        name = self.add_list("make_list", dtype, [1, *declared], dtype=NAMES[dtype], **arguments)
        shape = self.block.operations[-1].inputs["elem_shape"]
        for size in dims:
            set_value(shape.arguments.add().value, size if isinstance(size, str) else np.int32(size))
        return name

    def predict(self, *outputs: tuple[Name, Any]) -> list[NDArray[Any]]:
        """Run the program and return some of its values."""
        for name, dtype in outputs:
            self.block.outputs.append(name)
            kind = self.spec.description.output.add(name=name).type.multiArrayType
            kind.dataType = 65568 if dtype == np.float32 else 131104
        result = windfall.load(self.spec).predict(self.feeds)
        return [result[name] for name, _ in outputs]


def set_list_type(value_type: Any, dtype: Any, dims: Dims) -> None:
    set_type(value_type.listType.type, DATA_TYPES[np.dtype(dtype)], dims[1:])
    value_type.listType.length.constant.size = dims[0]


@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize("dims", [(2,), ("s",)])
def test_coremltools_example(opened: bool, dims: tuple[Any, ...]) -> None:
    program = Program()
    a, b = (program.input(name, np.array(v, np.float32), opened=opened) for name, v in (("a", [1, 3]), ("b", [2, 4])))
    size = [None if opened or dims == ("s",) else 2]
    made = program.make_list(np.float32, dims, init_length=2)
    first = program.add_list("list_write", np.float32, [2, *size], ls=made, index=0, value=a)
    beyond = program.add_list("list_write", np.float32, [2, *size], ls=first, index=4, value=b)
    values = np.array([[-1, -2], [-4, -5]], np.float32)
    full = program.add_list("list_scatter", np.float32, [2, *size], ls=beyond, indices=[2, 1], value=values)
    read = program.add("list_read", np.float32, size, ls=full, index=0)
    gathered = program.add("list_gather", np.float32, [3, *size], ls=full, indices=[4, 2, 3])
    length = program.add("list_length", np.int32, [], ls=full)
    results = program.predict((read, np.float32), (gathered, np.float32), (length, np.int32))
    for got, expected in zip(results, ([1, 3], [[2, 4], [-1, -2], [0, 0]], 5), strict=True):
        np.testing.assert_array_equal(np.squeeze(got), expected)


@pytest.mark.parametrize("dims", [(3,), (), (2, 0)])
def test_a_list_is_zeros_at_first(dims: tuple[int, ...]) -> None:
    program = Program()
    made = program.make_list(np.float32, dims, init_length=program.input("n", np.int32(4), opened=False))
    read = program.add("list_gather", np.float32, [2, *dims], ls=made, indices=[0, 3])
    (got,) = program.predict((read, np.float32))
    np.testing.assert_array_equal(got, np.zeros((2, *dims)))


@few
@given(
    dims=st.lists(st.integers(1, 3), max_size=2),
    writes=st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=3), min_size=1, max_size=3),
    dtype=st.sampled_from([np.float32, np.int32, np.bool_]),
    named=st.booleans(),
    fed=st.booleans(),
)
def test_what_is_written_is_read(dims: list[int], writes: list[list[int]], dtype: Any, named: bool, fed: bool) -> None:
    program = Program()
    ls = program.make_list(dtype, ["s"] * len(dims) if named else dims)
    expected = np.zeros([1, *dims], dtype)
    opened = [None if named else size for size in dims]
    for number, indices in enumerate(writes):
        rng = np.random.default_rng(number)
        values = rng.integers(0, 2 if dtype == np.bool_ else 9, [len(indices), *dims]).astype(dtype)
        grown = max(len(expected), *(index + 1 for index in indices))
        expected = np.concatenate([expected, np.zeros([grown - len(expected), *dims], dtype)])
        for index, value in zip(indices, values, strict=True):
            expected[index] = value
        places = program.input(f"i{number}", np.array(indices, np.int32), opened=True) if fed else indices
        ls = program.add_list("list_scatter", dtype, [1, *opened], ls=ls, indices=places, value=values)
    everything = program.add("list_gather", dtype, [None, *opened], ls=ls, indices=list(range(len(expected))))
    kind = np.float32 if dtype == np.float32 else np.int32
    if dtype == np.bool_:
        everything = program.add("cast", np.int32, [None, *opened], x=everything, dtype="int32")
    (got,) = program.predict((everything, kind))
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize("dims", [(2,), ("s",)])
def test_a_loop_appends_to_a_list(opened: bool, dims: tuple[Any, ...]) -> None:
    program = Program()
    left = program.input("left", np.array(3, np.int32), opened=False)
    update = program.input("update", np.array([1, 2], np.float32), opened=opened)
    made = program.make_list(np.float32, dims)
    size = [None if opened or dims == ("s",) else 2]
    zero = program.add("add", np.int32, [], x=left, y=np.int32(-3))
    loop = add_operation(program.block, "while_loop", {}, loop_vars=[zero, left, made])
    outer, results = program.block, [program.new() for _ in range(3)]
    blocks = [loop.blocks.add() for _ in range(2)]
    names = [[program.new() for _ in range(3)] for _ in blocks]
    for block, inside in ((loop, [results]), *((block, [n]) for block, n in zip(blocks, names, strict=True))):
        values = block.outputs if block is loop else block.inputs
        for name in inside[0][:2]:
            set_type(values.add(name=name).type, DATA_TYPES[np.dtype(np.int32)], ())
        set_list_type(values.add(name=inside[0][2]).type, np.float32, [1, *size])
    program.block = blocks[0]
    blocks[0].outputs.append(program.add("cast", np.bool_, [], x=names[0][1], dtype="bool"))
    program.block, (i, rest, ls) = blocks[1], names[1]
    factor = program.add("cast", np.float32, [], x=i, dtype="fp32")
    value = program.add("mul", np.float32, size, x=update, y=factor)
    blocks[1].outputs.extend(
        [
            program.add("add", np.int32, [], x=i, y=np.int32(1)),
            program.add("add", np.int32, [], x=rest, y=np.int32(-1)),
            program.add_list("list_write", np.float32, [1, *size], ls=ls, index=i, value=value),
        ]
    )
    program.block = outer
    length = program.add("list_length", np.int32, [], ls=results[2])
    gathered = program.add("list_gather", np.float32, [3, *size], ls=results[2], indices=[0, 1, 2])
    got, count = program.predict((gathered, np.float32), (length, np.int32))
    np.testing.assert_array_equal(got, [[0, 0], [1, 2], [2, 4]])
    assert int(np.squeeze(count)) == 3


@pytest.mark.parametrize("index", [-1, 1, 2**31 - 1, -(2**31)])
def test_reading_what_is_not_there_fails(index: int) -> None:
    program = Program()
    place = program.input("i", np.array(index, np.int32), opened=False)
    read = program.add("list_read", np.float32, [2], ls=program.make_list(np.float32, (2,)), index=place)
    with pytest.raises(EngineError, match="ind"):
        program.predict((read, np.float32))


def test_writing_before_the_start_fails() -> None:
    program = Program()
    place, value = program.input("i", np.array(-1, np.int32), opened=False), np.zeros(2, np.float32)
    made = program.make_list(np.float32, (2,))
    ls = program.add_list("list_write", np.float32, [1, 2], ls=made, index=place, value=value)
    read = program.add("list_read", np.float32, [2], ls=ls, index=0)
    with pytest.raises(EngineError, match="ind"):
        program.predict((read, np.float32))


def test_elements_of_an_open_shape_all_have_that_of_the_first() -> None:
    program = Program()
    a = program.input("a", np.zeros(2, np.float32), opened=True)
    b = program.input("b", np.zeros(3, np.float32), opened=True)
    ls = program.make_list(np.float32, ("s",))
    for value in (a, b):
        ls = program.add_list("list_write", np.float32, [1, None], ls=ls, index=0, value=value)
    read = program.add("list_read", np.float32, [None], ls=ls, index=0)
    with pytest.raises(EngineError):
        program.predict((read, np.float32))


@pytest.mark.parametrize(
    ("operator", "arguments", "error"),
    [
        ("make_list", {"dtype": "fp64"}, "dtype is 'fp64', must be one of bool, fp16, fp32, int32"),
        ("make_list", {"elem_shape": np.int32(-1)}, "elem_shape is -1, must be sizes of at least 0, or names"),
        ("make_list", {"elem_shape": [1, 2]}, r"elem_shape is \[1, 2\], must be sizes of at least 0, or names"),
        ("make_list", {"elem_shape": Input([1])}, "elem_shape is computed, must be a constant of the program"),
        ("list_read", {"ls": np.zeros((1, 2), np.float32), "index": 1}, "indices is 1, must be at least 0 and below 1"),
        (
            "list_write",
            {"ls": np.zeros((1, 2), np.float32), "index": 0, "value": np.int32([1, 2])},
            "value must be float elements of rank 1, as those of the list are",
        ),
        (
            "list_scatter",
            {"ls": np.zeros((1, 2), np.float32), "indices": [0], "value": np.float32([1])},
            "value must be float elements of rank 1, as those of the list are",
        ),
    ],
)
def test_what_is_refused(operator: str, arguments: dict[str, Any], error: str) -> None:
    with pytest.raises(windfall.LoweringError, match=error):
        run_operator(operator, [Output(np.float32, (1, 2))], **arguments)


def sigmoid(x: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(1 / (1 + np.exp(-x)))


def weights() -> Mapping[str, NDArray[Any]]:
    """Return the constants of the published model by their names."""
    file = read_model_file(MODEL)
    (function,) = file.spec.mlProgram.functions.values()
    block = function.block_specializations[function.opset]
    found = {o.outputs[0].name: o.attributes["val"] for o in block.operations if o.type == "const"}
    arrays = {name: constant_of(file, value).array for name, value in found.items()}
    return {name: array.astype(np.float64) for name, array in arrays.items() if array.dtype == np.float32}


def masked(stored: Mapping[str, NDArray[Any]], feeds: Mapping[str, Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the mask and the states that follow, by the equations of the network."""

    def normalized(name: str) -> NDArray[Any]:
        x = np.log(feeds[f"{name}_magnitude"].astype(np.float64) + 1e-7)
        x -= x.mean(-1, keepdims=True)
        x /= np.sqrt((x**2).mean(-1, keepdims=True) + 1e-7)
        prefix = f"DTLN_AEC_Part1_{name}_norm"
        return np.asarray(x * stored[f"{prefix}_mul_ReadVariableOp"] + stored[f"{prefix}_add_1_ReadVariableOp"])

    x = np.concatenate([normalized("mic"), normalized("lpb")], -1)[:, 0]
    states = np.empty_like(feeds["states_in"], np.float64)
    for layer, first in ((0, 3), (1, 14)):
        prefix = f"Func_DTLN_AEC_Part1_lstm_1_{layer}_PartitionedCall_input__"
        kernel, recurrent, bias = (stored[f"{prefix}{first + i}"] for i in range(3))
        h, c = np.moveaxis(feeds["states_in"][:, layer].astype(np.float64), -1, 0)
        enter, forget, new, leave = np.split(x @ kernel + h @ recurrent + bias, 4, -1)
        c = sigmoid(forget) * c + sigmoid(enter) * np.tanh(new)
        x = sigmoid(leave) * np.tanh(c)
        states[:, layer] = np.stack([x, c], -1)
    dense = "DTLN_AEC_Part1_dense_mask_1"
    logits = x @ stored[f"{dense}_Tensordot_ReadVariableOp"] + stored[f"{dense}_BiasAdd_ReadVariableOp"]
    return sigmoid(logits)[:, None], states


@pytest.mark.skipif(not MODEL.exists(), reason="the published models are not beside the project")
@pytest.mark.parametrize("batch", [1, 2])
def test_an_lstm_in_a_loop_over_lists(batch: int) -> None:
    rng = np.random.default_rng(batch)
    feeds = {
        "mic_magnitude": rng.random((batch, 1, 257), np.float32),
        "lpb_magnitude": rng.random((batch, 1, 257), np.float32),
        "states_in": rng.normal(size=(batch, 2, 128, 2)).astype(np.float32),
    }
    mask, states = masked(weights(), feeds)
    got = windfall.load(MODEL).predict(feeds)
    np.testing.assert_allclose(got["Identity"], mask, atol=1e-5)
    np.testing.assert_allclose(got["Identity_1"], states, atol=1e-5)
