"""Programs written as text, and read again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.mutations.programs import BASES
from tests.programs import Input, Name, Output, add_operation, new_program, operator_spec, set_type
from tests.spec.miltext.support import parse, parse_value

from windfall.errors import FormatError, UnsupportedError
from windfall.spec.miltext import write_program
from windfall.spec.miltext.writer import type_text, value_text
from windfall.spec.proto import MIL_pb2


def program(operator, *outputs, **arguments):
    spec, _ = operator_spec(operator, outputs, 8, **arguments)
    return spec.mlProgram


PROGRAMS = {
    **{base.__name__: base().spec.mlProgram for base in BASES},
    "empty": MIL_pb2.Program(version=1),
    "opset 5": operator_spec("relu", [Output(np.float32, (2,))], 5, x=Input(np.zeros(2)))[0].mlProgram,
    "several inputs": program(
        "concat", Output(np.float32, (None,)), values=[Input(np.zeros(2)), Input(np.ones(1), [None])], axis=0
    ),
    "arrays": program(
        "f",
        Output(np.float32, ()),
        **{name: np.array([[0, 1], [1, 0]], name) for name in ("bool", "float16", "float32", "int8", "int32", "uint8")},
        u=np.uint32([0, 2**32 - 1]),
        text="same",
    ),
    "no elements": program("f", Output(np.float32, (0,)), a=np.zeros((2, 0), np.float16), b=np.zeros(0, np.uint8)),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_are_read_as_they_were_written(name):
    text = write_program(PROGRAMS[name])
    assert parse(text) == PROGRAMS[name]
    assert write_program(parse(text)) == text


def test_the_text_of_a_program():
    spec, function, block = new_program()
    spec.mlProgram.attributes["build"].CopyFrom(parse_value('dict<string, string>({{"a", "b"}})'))
    set_type(function.inputs.add(name="x").type, MIL_pb2.FLOAT16, (1, None))
    function.attributes["kind"].CopyFrom(parse_value('string("\\"")'))
    operation = add_operation(
        block, "concat", {"y": Output(np.float16, (2, None))}, values=[Name("x"), Name("x")], axis=0
    )
    operation.attributes["name"].CopyFrom(parse_value('string("y")'))
    branch = add_operation(block, "cond", {"z": Output(np.float32, ())}, pred=np.bool_(True))
    then, other = branch.blocks.add(outputs=["t"]), branch.blocks.add(outputs=["y"])
    add_operation(then, "relu", {"t": Output(np.float32, ())}, x=Name("y"))
    set_type(other.inputs.add(name="i").type, MIL_pb2.INT32, ())
    other.attributes["a"].CopyFrom(parse_value("int32(1)"))
    add_operation(block, "write_state", {}, data=Name("y"))
    block.outputs.extend(["y", "z"])
    assert (
        write_program(spec.mlProgram)
        == """program(1.3)
[build = dict<string, string>({{"a", "b"}})]
{
    func main<ios18>(tensor<fp16, [1, ?]> x) [kind = string("\\"")] {
        tensor<fp16, [2, ?]> y = concat(axis = int32(0), values = (x, x))[name = string("y")];
        fp32 z = cond(pred = bool(true)) () {
            fp32 t = relu(x = y);
        } -> (t) (int32 i) [a = int32(1)] {
        } -> (y);
        write_state(data = y);
    } -> (y, z);
}"""
    )
    assert parse(write_program(spec.mlProgram)) == spec.mlProgram


@pytest.mark.parametrize("opset", ["", "CoreML5", "CoreML9", "ios99"])
def test_opsets_are_read_as_they_were_written(opset):
    message = MIL_pb2.Program(version=1)
    message.functions["f"].opset = opset
    message.functions["f"].block_specializations[opset].SetInParent()
    assert parse(write_program(message)) == message


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0x0p+0"),
        (-0.0, "-0x0p+0"),
        (1.0, "0x1p+0"),
        (-3.0, "-0x1.8p+1"),
        (0.15625, "0x1.4p-3"),
        (float("inf"), "inf"),
        (float("-inf"), "-inf"),
        (float("nan"), "nan"),
    ],
)
def test_fractions_are_written_in_hexadecimal(number, text):
    value = parse_value("fp32(1)")
    value.immediateValue.tensor.floats.values[0] = number
    assert value_text(value) == f"fp32({text})"


scalars = st.sampled_from(["int32", "fp16", "bool", "string", "uint3", "tensor<int8, [2]>", "tensor<string, [1, 0]>"])
kinds = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["0", "2", "?"])).map(lambda pair: f"list<{pair[0]}, {pair[1]}>"),
        st.lists(inner, min_size=1, max_size=3).map(lambda items: f"tuple<{', '.join(items)}>"),
        st.tuples(inner, inner).map(lambda pair: f"dict<{pair[0]}, {pair[1]}>"),
    ),
    max_leaves=6,
)
CONTENTS = {
    "int32": "-7", "fp16": "0x1.8p+1", "bool": "true", "string": '"a \\" b"', "uint3": "5",
    "tensor<int8, [2]>": "[1, -1]", "tensor<string, [1, 0]>": "[[]]",
}  # fmt: skip


def content(value_type):
    """Return the text of some value of a type."""
    kind = value_type.WhichOneof("type")
    message = getattr(value_type, kind)
    if kind == "listType":
        return f"[{', '.join([content(message.type)] * int(message.length.constant.size))}]"
    if kind == "tupleType":
        return f"({', '.join(map(content, message.types))})"
    if kind == "dictionaryType":
        return f"{{{{{content(message.keyType)}, {content(message.valueType)}}}}}"
    return CONTENTS[type_text(value_type)]


@given(kinds)
def test_values_of_every_kind_are_read_as_they_were_written(kind):
    value_type = parse(f"program(1.0) {{ func f({kind} x) {{ }} -> (); }}").functions["f"].inputs[0].type
    assert type_text(value_type) == kind
    value = parse_value(f"{kind}({content(value_type)})")
    assert parse_value(value_text(value)) == value


def test_numbers_may_be_stored_in_another_field():
    value = parse_value("tensor<fp32, [2]>([1, 2])")
    value.immediateValue.tensor.bytes.values = np.float32([1, 2]).tobytes()
    assert value_text(value) == "tensor<fp32, [2]>([0x1p+0, 0x1p+1])"
    value.immediateValue.tensor.ints.values.extend([1, 2])
    assert value_text(value) == "tensor<fp32, [2]>([0x1p+0, 0x1p+1])"


NOTHING = MIL_pb2.Value(type=parse_value("int32(1)").type)
UNKNOWN = MIL_pb2.ValueType()
UNKNOWN.tensorType.dataType = 0
ELEMENTS = "elements, must have those of its shape"


def held(text, **fields):
    """Return a value that holds something else than its text says."""
    value = parse_value(text)
    value.immediateValue.tensor.Clear()
    for field, values in fields.items():
        getattr(value.immediateValue.tensor, field).values.extend(values)
    return value


def of_open_size():
    value = parse_value("tensor<int32, [1]>([1])")
    value.type.tensorType.dimensions[0].unknown.variadic = False
    return value


def of_type(value_type):
    return MIL_pb2.Value(type=value_type, immediateValue=parse_value("int32(1)").immediateValue)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (NOTHING, "a value of type int32 holds nothing"),
        (of_type(MIL_pb2.ValueType()), "a value of the program has no type"),
        (of_type(UNKNOWN), "a tensor of the program has the data type 0, which there is not"),
        (held("int32(1)"), f"a value of type int32 has 0 {ELEMENTS}"),
        (held("int32(1)", ints=[1, 2]), f"a value of type int32 has 2 {ELEMENTS}"),
        (held("int32(1)", strings=["1"]), f"a value of type int32 has 0 {ELEMENTS}"),
        (held('string("a")', ints=[1]), f"a value of type string has 0 {ELEMENTS}"),
        (held("tensor<fp32, [2, 2]>([[1, 2], [3, 4]])", floats=[1, 2, 3]),
         f"a value of type tensor<fp32, [2, 2]> has 3 {ELEMENTS}"),
        (of_open_size(), f"a value of type tensor<int32, [?]> has 1 {ELEMENTS}"),
    ],
)  # fmt: skip
def test_values_that_are_damaged(value, message):
    with pytest.raises(FormatError) as error:
        value_text(value)
    assert str(error.value) == message


def test_bytes_that_do_not_fit_their_type():
    value = parse_value("tensor<fp16, [2]>([1, 2])")
    value.immediateValue.tensor.bytes.values += b"\0"
    with pytest.raises(FormatError, match=r"^has 5 bytes, must have 4 for 2 values of type FLOAT16$"):
        value_text(value)


@pytest.mark.parametrize("name", ["bf16", "fp8e4m3fn"])
def test_values_of_types_that_are_not_written(name):
    value = parse_value(f'{name}(BLOBFILE(path = string("w"), offset = uint64(64)))')
    assert value_text(value) == f'{name}(BLOBFILE(path = string("w"), offset = uint64(64)))'
    value.immediateValue.tensor.bytes.values = b"\0"
    with pytest.raises(UnsupportedError) as error:
        value_text(value)
    assert str(error.value) == f"values of type {name} cannot be written as text"


def rename(program, place):
    block = program.functions["main"].block_specializations["CoreML8"]
    operation = block.operations[0]
    if place == "function":
        program.functions["x.1"].CopyFrom(program.functions["main"])
    elif place == "attribute":
        operation.attributes["x.1"].CopyFrom(parse_value("int32(1)"))
    elif place == "argument":
        operation.inputs["x.1"].arguments.add().name = "a"
    else:
        target, field = {
            "input": (program.functions["main"].inputs[0], "name"),
            "output": (operation.outputs[0], "name"),
            "operator": (operation, "type"),
            "binding": (operation.inputs["x"].arguments[0], "name"),
        }[place]
        setattr(target, field, "x.1")


@pytest.mark.parametrize("place", ["function", "attribute", "argument", "input", "output", "operator", "binding"])
def test_names_must_be_identifiers(place):
    message = program("relu", Output(np.float32, (2,)), x=Input(np.zeros(2)))
    rename(message, place)
    with pytest.raises(FormatError) as error:
        write_program(message)
    assert str(error.value) == "the program has the name 'x.1', must match [A-Za-z_][A-Za-z0-9_@]*"


def test_results_must_have_identifiers():
    message = program("relu", Output(np.float32, (2,)), x=Input(np.zeros(2)))
    message.functions["main"].block_specializations["CoreML8"].outputs[0] = ""
    with pytest.raises(FormatError, match=r"^the program has the name '', must match"):
        write_program(message)


def test_functions_have_one_block():
    message = MIL_pb2.Program(version=1)
    message.functions["main"].opset = "CoreML8"
    with pytest.raises(UnsupportedError) as error:
        write_program(message)
    assert str(error.value) == (
        "function 'main' has blocks for the opsets [], must have one for its own, 'CoreML8', to be written as text"
    )
    for opset in ("CoreML7", "CoreML8"):
        message.functions["main"].block_specializations[opset].SetInParent()
    with pytest.raises(UnsupportedError, match=r"has blocks for the opsets \['CoreML7', 'CoreML8'\], must have one"):
        write_program(message)


def test_versions_that_have_no_text():
    with pytest.raises(FormatError) as error:
        write_program(MIL_pb2.Program(version=2))
    assert str(error.value) == "the program has version 2, must have 1 to be written as text"


def test_programs_for_ios_17_have_scalars_without_sizes() -> None:
    program = MIL_pb2.Program(version=1)
    function = program.functions["main"]
    function.opset = "CoreML7"
    block = function.block_specializations["CoreML7"]
    operation = block.operations.add(type="const")
    operation.attributes["val"].CopyFrom(
        parse_value('tensor<fp16, [2]>(BLOBFILE(path = string("w"), offset = uint64(64)))')
    )
    text = write_program(program)
    assert text.startswith("program(1.0)\n")
    place = '(path = tensor<string, []>("w"), offset = tensor<uint64, []>(64))'
    assert f"val = tensor<fp16, [2]>(BLOBFILE{place})" in text
    assert parse(text) == program
