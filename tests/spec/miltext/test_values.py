"""Values in the text of a program: strings, tensors, lists, tuples, dictionaries, places in weight files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.spec.miltext.support import error_of, parse, parse_value

from windfall.spec.miltext import types
from windfall.spec.miltext.writer import value_text


def sizes(value_type):
    return [dimension.constant.size for dimension in value_type.tensorType.dimensions]


def tensor(value):
    """Return what a tensor of int32, fp32 or string holds."""
    held = value.immediateValue.tensor
    return list(getattr(held, held.WhichOneof("value")).values)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r'"same"', "same"),
        (r'""', ""),
        (r'"a \"b\" \'c\' \\ \/ d"', "a \"b\" 'c' \\ / d"),
        (r'"one\ttwo\nthree\r"', "one\ttwo\nthree\r"),
        ('"one\ttwo\nthree"', "one\ttwo\nthree"),
        ('"], [)} -> (x); // \0"', "], [)} -> (x); // \0"),
        ('"é \N{GRINNING FACE}"', "é \N{GRINNING FACE}"),
    ],
)
def test_strings(text, expected):
    for written in (f"string({text})", f"tensor<string, []>({text})"):
        assert tensor(parse_value(written)) == [expected]


@given(st.text())
def test_strings_are_read_as_they_were_written(text):
    value = parse_value('string("")')
    value.immediateValue.tensor.strings.values[0] = text
    assert parse_value(value_text(value)) == value


@pytest.mark.parametrize(
    ("text", "shape", "expected"),
    [
        ("tensor<int32, [3]>([1, 2, 3])", [3], [1, 2, 3]),
        ("tensor<int32, [2, 3]>([[1, 2, 3], [4, 5, 6]])", [2, 3], [1, 2, 3, 4, 5, 6]),
        ("tensor<int32, [1, 1, 2, 1]>([[[[1], [2]]]])", [1, 1, 2, 1], [1, 2]),
        ("tensor<int32, [2, 2]>(\n[[1,2]\n,\t[ 3 ,4 ] ] )", [2, 2], [1, 2, 3, 4]),
        ("tensor<int32, [?]>([1, 2])", [2], [1, 2]),
        ("tensor<int32, [?]>([])", [0], []),
        ("tensor<int32, [0]>([])", [0], []),
        ("tensor<int32, [0]>([ ])", [0], []),
        ("tensor<int32, [0, 3]>([])", [0, 3], []),
        ("tensor<int32, [2, 0]>([[], []])", [2, 0], []),
        ("tensor<int32, [2, 0, 5]>([[], [ ]])", [2, 0, 5], []),
        ('tensor<string, [2]>(["a", "b"])', [2], ["a", "b"]),
        ('tensor<string, [2, 1]>([["a"], ["b"]])', [2, 1], ["a", "b"]),
        ('tensor<string, [?]>(["a", "b", "c"])', [3], ["a", "b", "c"]),
        ("tensor<string, [?]>([])", [0], []),
        ("tensor<string, [2, 0]>([[], []])", [2, 0], []),
        (f"tensor<int32, [{', '.join(['1'] * 64)}]>({'[' * 64}7{']' * 64})", [1] * 64, [7]),
    ],
)
def test_tensors(text, shape, expected):
    value = parse_value(text)
    assert sizes(value.type) == shape
    assert tensor(value) == expected
    assert parse_value(value_text(value)) == value


def test_lists():
    value = parse_value("list<tensor<int32, [2]>, 2>([[1, 2], [3, 4]])")
    assert value.type.listType.length.constant.size == 2
    items = value.immediateValue.list.values
    assert [sizes(item.type) for item in items] == [[2], [2]]
    assert [tensor(item) for item in items] == [[1, 2], [3, 4]]


def test_open_sizes_become_those_of_what_is_there():
    value = parse_value("list<tensor<int32, [?]>, ?>([[1], [2, 3], []])")
    assert value.type.listType.length.constant.size == 3
    assert [sizes(item.type) for item in value.immediateValue.list.values] == [[1], [2], [0]]
    assert value.type.listType.type.tensorType.dimensions[0].HasField("unknown")
    assert parse_value("list<string, 0>([])").immediateValue.WhichOneof("value") == "list"


def test_tuples():
    value = parse_value('tuple<string, tensor<int32, [1]>, tuple<fp32>>(("a", [2], (0.5)))')
    text, ints, inner = value.immediateValue.tuple.values
    assert (tensor(text), tensor(ints)) == (["a"], [2])
    assert tensor(inner.immediateValue.tuple.values[0]) == [0.5]


def test_dictionaries():
    value = parse_value('dict<string, int32>({{"a", 1}, {"b", 2}})')
    assert [(tensor(p.key), tensor(p.value)) for p in value.immediateValue.dictionary.values] == [
        (["a"], [1]),
        (["b"], [2]),
    ]
    assert parse_value("dict<string, int32>({})").immediateValue.WhichOneof("value") == "dictionary"


FLEXIBLE = (
    "tuple<tuple<tensor<string, []>, dict<tensor<string, []>, tensor<int32, [?]>>>, "
    "tuple<tensor<string, []>, dict<tensor<string, []>, list<tensor<int32, [2]>, ?>>>>"
    '((("DefaultShapes", {{"x", [1, 128]}, {"y", [7]}}), ("RangeDims", {{"x", [[1, 1], [1, 512]]}})))'
)


def test_the_flexible_shapes_of_a_function():
    """The form of the attribute FlexibleShapeInformation, all kinds of values inside each other."""
    defaults, ranges = parse_value(FLEXIBLE).immediateValue.tuple.values
    name, shapes = defaults.immediateValue.tuple.values
    assert tensor(name) == ["DefaultShapes"]
    assert [tensor(pair.value) for pair in shapes.immediateValue.dictionary.values] == [[1, 128], [7]]
    _, shapes = ranges.immediateValue.tuple.values
    (pair,) = shapes.immediateValue.dictionary.values
    assert [tensor(item) for item in pair.value.immediateValue.list.values] == [[1, 1], [1, 512]]
    value = parse_value(FLEXIBLE)
    assert parse_value(value_text(value)) == value


@pytest.mark.parametrize(
    "text",
    [
        'tensor<fp16, [2, 3]>(BLOBFILE(path = string("@model_path/weights/weight.bin"), offset = uint64(64)))',
        'tensor<fp16, [2, 3]>(BLOBFILE(path=tensor<string, []>("@model_path/weights/weight.bin"), offset=uint64(64)))',
        'tensor<fp16, [2, 3]>(BLOBFILE(path=string("@model_path/weights/weight.bin"), offset=tensor<uint64, []>(64)))',
        'tensor<fp16,[2,3]>(BLOBFILE (path=string("@model_path/weights/weight.bin"),offset=uint64(64)))',
    ],
)
def test_values_in_weight_files(text):
    value = parse_value(text)
    assert sizes(value.type) == [2, 3]
    assert value.WhichOneof("value") == "blobFileValue"
    assert (value.blobFileValue.fileName, value.blobFileValue.offset) == ("@model_path/weights/weight.bin", 64)


@pytest.mark.parametrize("most", [0, 1, 4096])
def test_values_are_remembered_and_not_shared(monkeypatch, most):
    monkeypatch.setattr("windfall.spec.miltext.values.MOST_REMEMBERED", most)
    program = parse("program(1.0) [a = int32(1), b = int32(2), c = int32(1), d = int8(1)] {}")
    assert [tensor(program.attributes[name]) for name in "abc"] == [[1], [2], [1]]
    assert program.attributes["d"].type != program.attributes["a"].type
    program.attributes["a"].immediateValue.tensor.ints.values[0] = 7
    assert tensor(program.attributes["c"]) == [1]
    assert types.MOST_REMEMBERED > 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1", "2:1: found '1', must be a type"),
        ("true", "2:1: found 'true', must be a type"),
        ('"same"', "2:1: found '\"same\"', must be a type"),
        ("int32 1", "2:7: found '1', must be '('"),
        ("list<int32, 1> [1]", "2:16: found '[', must be '('"),
        ("int32(1]", "2:8: found ']', must be ')'"),
        # Strings.
        ("string(same)", "2:8: found 'same', must be a string"),
        ('string("same)', "2:8: found '\"same)] {}', must be a string"),
        (r'string("C:\dir")', r"2:11: a string has the unknown '\\d'"),
        ('string("one\n\\x41")', r"3:1: a string has the unknown '\\x'"),
        ('string("a", "b")', "2:11: found ',', must be ')'"),
        ('tensor<string, [2]>(["a"])', "2:25: found ']', must be ','"),
        ('tensor<string, [2]>(["a", "b", "c"])', "2:30: found ',', must be ']'"),
        ('tensor<string, [2]>("a")', "2:21: found '\"a\"', must be '['"),
        ('tensor<string, [?]>(["a" "b"])', "2:26: found '\"b\"', must be ',' or ']'"),
        ('tensor<string, [?]>("a")', "2:21: found '\"a\"', must be '['"),
        ("tensor<string, [9999999999999999999]>([])", "2:40: found ']', must be a string"),
        # Tensors.
        ("tensor<int32, [2]>(1)", "2:20: found '1', must be '['"),
        ("tensor<int32, [2]>(\n  [1])", "3:3: the brackets must hold a tensor of shape [2]"),
        ("tensor<int32, [2]>([1, 2, 3])", "2:20: the brackets must hold a tensor of shape [2]"),
        ("tensor<int32, [2]>([1 2])", "2:20: the brackets must hold a tensor of shape [2]"),
        ("tensor<int32, [2]>([[1, 2]])", "2:20: the brackets must hold a tensor of shape [2]"),
        ("tensor<int32, [2, 1]>([1, 2])", "2:23: found '[', must be the numbers of [2, 1]"),
        ("tensor<int32, [2, 1]>([[1, 2]])", "2:23: the brackets must hold a tensor of shape [2, 1]"),
        ("tensor<int32, [2, 1]>([[1]2, [3]])", "2:23: the brackets must hold a tensor of shape [2, 1]"),
        ("tensor<int32, [2, 1]>([[1], 2[3]])", "2:23: the brackets must hold a tensor of shape [2, 1]"),
        ("tensor<int32, [2, 1]>([[]1, [2]])", "2:23: the brackets must hold a tensor of shape [2, 1]"),
        ("tensor<int32, [0]>([1])", "2:20: the brackets must hold a tensor of shape [0]"),
        ("tensor<int32, [2, 0]>([[], [1]])", "2:23: the brackets must hold a tensor of shape [2, 0]"),
        ("tensor<int32, [2, 0]>([])", "2:23: found '[', must be the numbers of [2, 0]"),
        ("tensor<int32, [0, 2]>([[]])", "2:23: the brackets must hold a tensor of shape [0, 2]"),
        ("tensor<int32, [?]>([[1]])", "2:20: the brackets must hold a tensor of shape [?]"),
        ("tensor<int32, [?, 2]>([[1, 2]])", "2:23: a value has the shape [?, 2], must have no open sizes"),
        ("tensor<int32, [..., 2]>([[1, 2]])", "2:25: a value has the shape [?, 2], must have no open sizes"),
        (
            "tensor<int32, [9999999999999999999]>([1])",
            "2:38: the brackets must hold a tensor of shape [9999999999999999999]",
        ),
        # Lists, tuples and dictionaries.
        ("list<int32, 2>(1, 2)", "2:16: found '1', must be '['"),
        ("list<int32, 2>([1, 2, 3])", "2:16: a list has 3 values, must have 2"),
        ("list<int32, 2>(\n[1])", "3:1: a list has 1 values, must have 2"),
        ("list<int32, ?>([1 2])", "2:19: found '2', must be ',' or ']'"),
        ("list<int32, ?>([1, ])", "2:20: found ']', must be a number"),
        ("tuple<int32, int32>(1, 2)", "2:21: found '1', must be '('"),
        ("tuple<int32, int32>((1))", "2:23: found ')', must be ','"),
        ("tuple<int32, int32>((1, 2, 3))", "2:26: found ',', must be ')'"),
        ("dict<int32, int32>([1, 2])", "2:20: found '[', must be '{'"),
        ("dict<int32, int32>({1, 2})", "2:21: found '1', must be '{'"),
        ("dict<int32, int32>({{1}})", "2:23: found '}', must be ','"),
        ("dict<int32, int32>({{1, 2, 3}})", "2:26: found ',', must be '}'"),
        ("dict<int32, int32>({{1, 2} {3, 4}})", "2:28: found '{', must be ',' or '}'"),
        ("state<fp16>(1)", "2:13: a state has no value that could be written down"),
        ("list<state<fp16>, 1>([1])", "2:23: a state has no value that could be written down"),
        # Places in weight files.
        ("fp16(BLOBFILE())", "2:6: found 'BLOBFILE', must be a number of type fp16"),
        ('fp16(BLOBFILE(path = string("w")))', "2:33: found ')', must be ',' and offset ="),
        ('fp16(BLOBFILE(path = string("w"), 64))', "2:33: found ',', must be ',' and offset ="),
        ('fp16(BLOBFILE(path = "w", offset = uint64(64)))', "2:22: found '\"w\"', must be a type"),
        ('fp16(BLOBFILE(path = string("w"), offset = 64))', "2:44: found '64', must be a type"),
        ('fp16(BLOBFILE(path = string("w"), offset = uint64(64))', "2:55: found ']', must be ')'"),
    ],
)  # fmt: skip
def test_what_is_no_value(text, message):
    assert error_of(parse_value, text) == message


@pytest.mark.parametrize(
    ("path", "offset"),
    [
        ("int32(1)", "uint64(64)"),
        ('tensor<string, [2]>(["a", "b"])', "uint64(64)"),
        ('string(BLOBFILE(path = string("w"), offset = uint64(64)))', "uint64(64)"),
        ('string("w")', "int64(64)"),
        ('string("w")', "int64(-1)"),
        ('string("w")', "int32(64)"),
        ('string("w")', "tensor<uint64, [2]>([1, 2])"),
    ],
)
def test_a_place_in_a_weight_file_is_a_string_and_a_number(path, offset):
    text = f"fp16(BLOBFILE(path =\n {path}, offset = {offset}))"
    assert error_of(parse_value, text) == "3:2: the path must be one string, the offset one uint64"
