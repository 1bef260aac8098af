"""Types in the text of a program."""

import pytest
from tests.spec.miltext.support import error_of, number, parse_body, parse_type

from windfall.spec.miltext import types
from windfall.spec.miltext.writer import type_text
from windfall.spec.proto import MIL_pb2

DATA_TYPES = {
    "bool": "BOOL",
    "string": "STRING",
    "fp8e4m3fn": "FLOAT8E4M3FN",
    "fp8e5m2": "FLOAT8E5M2",
    "fp16": "FLOAT16",
    "fp32": "FLOAT32",
    "fp64": "FLOAT64",
    "bf16": "BFLOAT16",
    "int4": "INT4",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "uint1": "UINT1",
    "uint2": "UINT2",
    "uint3": "UINT3",
    "uint4": "UINT4",
    "uint6": "UINT6",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
}


def dimensions(tensor):
    """Return the sizes as they are written: a number, ? or ..."""
    return [
        d.constant.size if d.WhichOneof("dimension") == "constant" else "..." if d.unknown.variadic else "?"
        for d in tensor.dimensions
    ]


@pytest.mark.parametrize(("name", "member"), DATA_TYPES.items())
def test_every_data_type_has_a_name(name, member):
    for text in (name, f"tensor<{name}, []>"):
        tensor = parse_type(text).tensorType
        assert (tensor.dataType, tensor.rank, len(tensor.dimensions)) == (number(member), 0, 0)


def test_all_members_of_the_format_are_named():
    assert set(DATA_TYPES.values()) == set(MIL_pb2.DataType.keys()) - {"UNUSED_TYPE"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tensor<fp16, [3]>", [3]),
        ("tensor<fp16, [1, 3, 224, 224]>", [1, 3, 224, 224]),
        ("tensor<fp16, [0, 0]>", [0, 0]),
        ("tensor<fp16, [?]>", ["?"]),
        ("tensor<fp16, [1, ?, ?, 4]>", [1, "?", "?", 4]),
        ("tensor<fp16, [...]>", ["..."]),
        ("tensor<fp16, [..., 3]>", ["...", 3]),
        ("tensor<fp16, [9999999999999999999]>", [9999999999999999999]),
        ("tensor<fp16,[1,2]>", [1, 2]),
        ("tensor\n<\tfp16 ,\r\n[ 1 , 2 ] >", [1, 2]),
        (f"tensor<fp16, [{', '.join(['1'] * 64)}]>", [1] * 64),
    ],
)
def test_the_sizes_of_tensors(text, expected):
    tensor = parse_type(text).tensorType
    assert dimensions(tensor) == expected
    assert tensor.rank == len(expected)
    assert tensor.dataType == number("FLOAT16")


@pytest.mark.parametrize(("text", "kind", "size"), [("3", "constant", 3), ("?", "unknown", 0), ("...", "unknown", 0)])
def test_lists_have_a_length_or_an_open_one(text, kind, size):
    declared = parse_type(f"list<tensor<int32, [2]>, {text}>").listType
    assert dimensions(declared.type.tensorType) == [2]
    assert declared.length.WhichOneof("dimension") == kind
    assert declared.length.constant.size == size
    assert declared.length.unknown.variadic == (text == "...")


def test_tuples_have_types():
    declared = parse_type("tuple<string, tensor<fp32, [?]>, tuple<bool>>").tupleType
    assert [one.WhichOneof("type") for one in declared.types] == ["tensorType", "tensorType", "tupleType"]
    assert declared.types[1].tensorType.dataType == number("FLOAT32")
    assert [one.tensorType.dataType for one in declared.types[2].tupleType.types] == [number("BOOL")]


def test_dictionaries_have_types_of_keys_and_values():
    declared = parse_type("dict<tensor<string, []>, tensor<fp32, [2]>>").dictionaryType
    assert declared.keyType.tensorType.dataType == number("STRING")
    assert dimensions(declared.valueType.tensorType) == [2]


def test_states_wrap_a_type():
    assert dimensions(parse_type("state<tensor<fp16, [8, 1]>>").stateType.wrappedType.tensorType) == [8, 1]


@pytest.mark.parametrize(
    "text",
    [
        "tensor<fp16, [1, ?, ...]>",
        "uint6",
        "list<string, 3>",
        "list<string, ...>",
        "list<list<string, 1>, ?>",
        "tuple<string, tuple<fp64>, dict<int64, bool>>",
        "dict<string, tuple<tensor<int8, [1]>>>",
        "state<tensor<fp16, [8]>>",
    ],
)
def test_types_are_written_as_they_were_read(text):
    assert type_text(parse_type(text)) == text


def test_types_that_are_remembered_are_not_shared():
    block = parse_body(
        "tensor<int32, [?]> a = const()[val = tensor<int32, [?]>([1, 2])];\n"
        "tensor<int32, [?]> b = const()[val = tensor<int32, [?]>([1, 2, 3])];"
    )
    assert [dimensions(o.outputs[0].type.tensorType) for o in block.operations] == [["?"], ["?"]]
    assert [dimensions(o.attributes["val"].type.tensorType) for o in block.operations] == [[2], [3]]


def test_no_more_types_are_remembered_than_may_be(monkeypatch):
    monkeypatch.setattr(types, "MOST_REMEMBERED", 1)
    block = parse_body("int32 a = f(); int8 b = f(); int32 c = f(); int8 d = f();")
    assert [o.outputs[0].type.tensorType.dataType for o in block.operations] == [23, 21, 23, 21]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("int31", "2:1: found 'int31', must be a type"),
        ("  tensor<half, [1]>", "2:3: found 'tensor', must be a type"),
        ("tensor<fp16>", "2:1: found 'tensor', must be a type"),
        ("tensor<fp16, 1>", "2:1: found 'tensor', must be a type"),
        ("array<fp16, [1]>", "2:1: found 'array', must be a type"),
        ("list<fp16>", "2:10: found '>', must be ',' and the length of the list"),
        ("list<fp16, n>", "2:12: found 'n', must be the length of the list, or ?"),
        ("list<fp16, 1n>", "2:12: found '1n', must be the length of the list, or ?"),
        ("list<fp16, -1>", "2:12: found '-', must be the length of the list, or ?"),
        ("list<fp16, 1, 2>", "2:13: found ',', must be '>'"),
        (
            "list<fp16, 99999999999999999999>",
            "2:12: found '99999999999999999999', must be the length of the list, or ?",
        ),
        ("tuple<>", "2:7: found '>', must be a type"),
        ("tuple<fp16, >", "2:13: found '>', must be a type"),
        ("tuple<fp16 fp32>", "2:12: found 'fp32', must be '>'"),
        ("dict<fp16>", "2:10: found '>', must be ',' and the type of the dictionary's values"),
        ("state<fp16, 1>", "2:11: found ',', must be '>'"),
        ("tensor<fp16, [1,, 2]>", "2:1: a tensor has the dimension '', must be a size or ?"),
        ("tensor<fp16, [-1]>", "2:1: a tensor has the dimension '-1', must be a size or ?"),
        ("tensor<fp16, [n]>", "2:1: a tensor has the dimension 'n', must be a size or ?"),
        ("tensor<fp16, [٣]>", "2:1: a tensor has the dimension '٣', must be a size or ?"),
        ("\ttensor<fp16, [1 2]>", "2:2: a tensor has the dimension '1 2', must be a size or ?"),
        (
            "tensor<fp16, [99999999999999999999]>",
            "2:1: a tensor has the dimension '99999999999999999999', must be a size or ?",
        ),
        (f"tensor<fp16, [{', '.join(['1'] * 65)}]>", "2:1: a tensor has 65 dimensions, may have 64"),
    ],
)
def test_what_is_no_type(text, message):
    assert error_of(parse_type, text) == message
