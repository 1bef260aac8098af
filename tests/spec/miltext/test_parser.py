"""Programs read from their text: functions, blocks, operations, arguments and attributes."""

import numpy as np
import pytest
from tests.programs import Name, Output, add_operation, set_type
from tests.spec.miltext.support import AGAIN, error_of, parse, parse_body

from windfall.errors import FormatError
from windfall.spec.miltext import parse_program, scanner, write_program
from windfall.spec.proto import MIL_pb2, Model_pb2

PROGRAM = """program(1.3)
[buildInfo = dict<string, string>({{"coremltools-version", "9.0"}})]
{
    func main<ios18>(tensor<fp32, [1, ?]> x, int32 n, state<tensor<fp16, [2]>> memory) [kind = string("test")] {
        tensor<fp32, [2]> w = const()[name = string("w"), val = tensor<fp32, [2]>([0x1p-1, 1.5])];
        tensor<fp16, [2]> old = read_state(input = memory)[name = string("old")];
        write_state(data = old, input = memory)[name = string("write")];
        tensor<fp32, [?, ?]> y = concat(axis = int32(0), values = (x, w, fp32(0x1p+0)))[name = string("y")];
        tensor<fp32, [1]> a, tensor<fp32, [?]> b = split(x = y);
        int32 last = while_loop(loop_vars = n) (int32 i) {
            bool more = greater(x = i, y = int32(0));
        } -> (more) (int32 j) {
            int32 less = cond(pred = bool(true)) () {
                int32 one = sub(x = j, y = int32(1));
            } -> (one) () {
            } -> (j);
        } -> (less);
    } -> (y, last);
}"""
"""Nearly every form of the grammar."""


def expected():
    """Return the program of the text, made by hand."""
    program = MIL_pb2.Program(version=1)
    pair = program.attributes["buildInfo"].immediateValue.dictionary.values.add()
    for part, text in ((pair.key, "coremltools-version"), (pair.value, "9.0")):
        set_string(part, text)
    kind = program.attributes["buildInfo"].type.dictionaryType
    kind.keyType.tensorType.dataType = kind.valueType.tensorType.dataType = MIL_pb2.STRING
    function = program.functions["main"]
    function.opset = "CoreML8"
    set_type(function.inputs.add(name="x").type, MIL_pb2.FLOAT32, (1, None))
    set_type(function.inputs.add(name="n").type, MIL_pb2.INT32, ())
    set_type(function.inputs.add(name="memory").type.stateType.wrappedType, MIL_pb2.FLOAT16, (2,))
    set_string(function.attributes["kind"], "test")
    fill_block(function.block_specializations["CoreML8"])
    return program


def set_string(value, text):
    value.type.tensorType.dataType = MIL_pb2.STRING
    value.immediateValue.tensor.strings.values.append(text)


def fill_block(block):
    weight = add_operation(block, "const", {"w": Output(np.float32, (2,))})
    set_type(weight.attributes["val"].type, MIL_pb2.FLOAT32, (2,))
    weight.attributes["val"].immediateValue.tensor.floats.values.extend([0.5, 1.5])
    read = add_operation(block, "read_state", {"old": Output(np.float16, (2,))}, input_=Name("memory"))
    write = add_operation(block, "write_state", {}, data=Name("old"), input_=Name("memory"))
    concat = add_operation(block, "concat", {"y": Output(np.float32, (None, None))}, axis=0)
    values = concat.inputs["values"].arguments
    values.add().name, values.add().name = "x", "w"
    number = values.add().value
    set_type(number.type, MIL_pb2.FLOAT32, ())
    number.immediateValue.tensor.floats.values.append(1)
    for operation, name in ((weight, "w"), (read, "old"), (write, "write"), (concat, "y")):
        set_string(operation.attributes["name"], name)
    add_operation(block, "split", {"a": Output(np.float32, (1,)), "b": Output(np.float32, (None,))}, x=Name("y"))
    loop = add_operation(block, "while_loop", {"last": Output(np.int32, ())}, loop_vars=Name("n"))
    condition, body = loop.blocks.add(outputs=["more"]), loop.blocks.add(outputs=["less"])
    set_type(condition.inputs.add(name="i").type, MIL_pb2.INT32, ())
    set_type(body.inputs.add(name="j").type, MIL_pb2.INT32, ())
    add_operation(condition, "greater", {"more": Output(np.bool_, ())}, x=Name("i"), y=0)
    branch = add_operation(body, "cond", {"less": Output(np.int32, ())}, pred=np.bool_(True))
    then = branch.blocks.add(outputs=["one"])
    add_operation(then, "sub", {"one": Output(np.int32, ())}, x=Name("j"), y=1)
    branch.blocks.add(outputs=["j"])
    block.outputs.extend(["y", "last"])


def test_a_program_is_read():
    assert parse(PROGRAM) == expected()


@pytest.mark.parametrize("ending", ["", "\n", " \r\n\t"])
def test_a_program_may_be_bytes_with_any_white_space(ending):
    for text in (PROGRAM, PROGRAM.replace("\n", "\r\n"), PROGRAM.replace("    ", "\t"), PROGRAM.replace("\n", " ")):
        assert parse((text + ending).encode()) == expected()


def test_a_program_cut_off_anywhere_is_damaged():
    for end in range(len(PROGRAM)):
        with pytest.raises(FormatError, match=r"^m.mil:\d+:\d+: ") as error:
            parse(PROGRAM[:end])
        assert str(error.value).endswith(AGAIN)


def test_a_program_without_any_one_character_is_read_or_refused():
    refused = 0
    for at in range(len(PROGRAM)):
        try:
            parse(PROGRAM[:at] + PROGRAM[at + 1 :])
        except FormatError:
            refused += 1
    assert 100 < refused < len(PROGRAM)


@pytest.mark.parametrize(
    ("text", "opset"),
    [
        ("<ios15>", "CoreML5"),
        ("<ios16>", "CoreML6"),
        ("<ios17>", "CoreML7"),
        ("< ios18 >", "CoreML8"),
        ("<ios26>", "CoreML9"),
        ("<CoreML8>", "CoreML8"),
        ("<ios99>", "ios99"),
        ("", ""),
    ],
)
def test_opsets(text, opset):
    function = parse(f"program(1.0) {{ func main{text}() {{ }} -> (); }}").functions["main"]
    assert function.opset == opset
    assert list(function.block_specializations) == [opset]


@pytest.mark.parametrize("head", ["program(1.0)", "program(1.3)", "program ( 1 )", "program(1.3.1)", "program(1.0) []"])
def test_versions(head):
    assert parse(f"{head} {{}}") == MIL_pb2.Program(version=1)


def test_several_functions():
    program = parse(
        "program(1.3) { func encode<ios18>(fp32 x) { } -> (x);\nfunc decode<ios17>(fp32 x, fp32 y) { } -> (x, y) }"
    )
    assert set(program.functions) == {"encode", "decode"}
    assert [i.name for i in program.functions["decode"].inputs] == ["x", "y"]
    assert program.functions["decode"].block_specializations["CoreML7"].outputs == ["x", "y"]


def test_arguments_are_names_values_or_several_of_both():
    (operation,) = parse_body("f(a = x, b = int32(1), c = (x, int32(2), y), d = (x), e = (), g = tensor);").operations
    counts = {name: len(argument.arguments) for name, argument in operation.inputs.items()}
    assert counts == {"a": 1, "b": 1, "c": 3, "d": 1, "e": 0, "g": 1}
    assert operation.inputs["a"].arguments[0].name == "x"
    assert operation.inputs["g"].arguments[0].name == "tensor"
    assert operation.inputs["b"].arguments[0].value.immediateValue.tensor.ints.values == [1]
    assert [a.WhichOneof("binding") for a in operation.inputs["c"].arguments] == ["name", "value", "name"]


def test_names_are_identifiers():
    (operation,) = parse_body("fp32 _a1@B = f@2(_x = x@0);").operations
    assert operation.outputs[0].name == "_a1@B"
    assert operation.type == "f@2"
    assert operation.inputs["_x"].arguments[0].name == "x@0"


def test_blocks_may_have_a_word_and_attributes_and_commas_between_them():
    text = "int32 y = cond(pred = x) then (fp32 a) [k = int32(1)] { } -> (a), else { } -> (x);"
    first, second = parse_body(text).operations[0].blocks
    assert (first.inputs[0].name, list(first.attributes), first.outputs) == ("a", ["k"], ["a"])
    assert (len(second.inputs), len(second.attributes), second.outputs) == (0, 0, ["x"])


def test_text_must_be_utf8():
    with pytest.raises(FormatError) as error:
        parse(b"program(1.3) {} \xff")
    assert str(error.value) == "m.mil has no UTF-8 character at byte 16, must be text; compile the model again"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1:1: found the end, must be program(1.0)"),
        ("\n  \n", "3:1: found the end, must be program(1.0)"),
        ("program", "1:1: found 'program', must be program(1.0)"),
        ("\ufeffprogram(1.0) {}", "1:1: found '\\ufeff', must be program(1.0)"),
        ("program(2.0) {}", "1:9: the program has version 2, must have 1"),
        ("program(1.0)", "1:13: found the end, must be '{'"),
        ("program(1.0) [v = int32(1), v = int32(2)] {}", "1:29: there are two attributes v"),
        ("program(1.0) [v] {}", "1:15: found 'v', must be the name of an attribute and '='"),
        ("program(1.0) [v = int32(1) {}", "1:28: found '{', must be ',' or ']'"),
        ("program(1.0) [v = int32(1), ] {}", "1:29: found ']', must be the name of an attribute and '='"),
        ("program(1.0) {\n  x\n}", "2:3: found 'x', must be func or '}'"),
        ("program(1.0) {\n  func 2x()", "2:3: found 'func', must be func or '}'"),
        ("program(1.0) { func f<ios18", "1:22: found '<', must be '('"),
        ("program(1.0) { func f<7>", "1:22: found '<', must be '('"),
        ("program(1.0) { func f() {} -> ();\nfunc f() {} -> (); }", "2:6: there are two functions f"),
        ("program(1.0) {} {}", "1:17: found '{', must be the end"),
        ("program(1.0) { func f(x) {} -> (); }", "1:23: found 'x', must be a type"),
        ("program(1.0) { func f(fp32) {} -> (); }", "1:27: found ')', must be a name"),
        ("program(1.0) { func f(fp32 1) {} -> (); }", "1:28: found '1', must be a name"),
        ("program(1.0) { func f(fp32 x fp32 y) {} -> (); }", "1:30: found 'fp32', must be ',' or ')'"),
        ("program(1.0) { func f(fp32 x,) {} -> (); }", "1:30: found ')', must be a type"),
        ("program(1.0) { func f() -> (); }", "1:25: found '->', must be '{'"),
        ("program(1.0) { func f() {}; }", "1:26: found '}', must be a type"),
        ("program(1.0) { func f() {} -> (1); }", "1:32: found '1', must be the name of a result"),
        ("program(1.0) { func f() {} -> (x y); }", "1:34: found 'y', must be ',' or ')'"),
        ("program(1.0) { func f() {} -> x; }", "1:26: found '}', must be a type"),
    ],
)
def test_what_is_no_program(text, message):
    assert error_of(parse, text) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("y = f();", "2:1: found 'y', must be a type"),
        ("fp32 y f();", "2:8: found 'f', must be ',' or '='"),
        ("fp32 y = f;", "2:10: found 'f', must be an operation"),
        ("fp32 y = int32(1);", "2:16: found '1', must be the name of an argument and '='"),
        ("fp32 y, z = f();", "2:9: found 'z', must be a type"),
        ("fp32 y,\n  fp32 = f();", "3:8: found '=', must be a name"),
        ("f(x);", "2:3: found 'x', must be the name of an argument and '='"),
        ("f(x = );", "2:7: found ')', must be a type"),
        ("f(x = 1);", "2:7: found '1', must be a type"),
        ('f(x = "same");', "2:7: found '\"same\"', must be a type"),
        ("f(x = y z = w);", "2:7: found 'y', must be a type"),
        ("f(x = y, );", "2:10: found ')', must be the name of an argument and '='"),
        ("f(x = (y, );", "2:11: found ')', must be a type"),
        ("f(x = (y z));", "2:8: found 'y', must be a type"),
        ("f(x = int32(1) y = z);", "2:16: found 'y', must be ',' or ')'"),
        ("f(x = y,\n  x = z);", "3:3: there are two arguments x"),
        ("f(x = y)[a = int32(1), a = int32(1)];", "2:24: there are two attributes a"),
        ("f(x = y)[a];", "2:10: found 'a', must be the name of an attribute and '='"),
        ("f(x = y)[a = b];", "2:14: found 'b', must be a type"),
        ("f(x = y)", "3:1: found '}', must be ';'"),
        ("f(x = y) g(x = y);", "2:12: found 'x', must be a type"),
        ("f(x = y) then;", "2:10: found 'then', must be ';'"),
        ("f(x = y) () { };", "2:15: found '}', must be a type"),
        ("f(x = y) () [a = int32(1)];", "2:27: found ';', must be '{'"),
        (f'f(x = "{"a" * 50}");', f"2:7: found '\"{'a' * 39}...', must be a type"),
        (f"{'a' * 50} y;", f"2:1: found '{'a' * 40}...', must be a type"),
        ("\x1b[31m y;", "2:1: found '\N{REPLACEMENT CHARACTER}', must be a type"),
    ],
)
def test_what_is_no_operation(text, message):
    assert error_of(parse_body, text) == message


def blocks(depth, inner="fp32 y = f();"):
    return "fp32 y = cond(pred = x) { " * depth + inner + " } -> (y);" * depth


def lists(depth):
    return f"fp32 y = const()[val = {'list<' * depth}int32{', 1>' * depth}({'[' * depth}1{']' * depth})];"


def dictionaries(depth):
    return f"fp32 y = const()[val = {'dict<int32, ' * depth}int32{'>' * depth}({'{{1, ' * depth}1{'}}' * depth})];"


def tuples(depth):
    return f"fp32 y = const()[val = {'tuple<' * depth}int32{'>' * depth}({'(' * depth}1{')' * depth})];"


def states(depth):
    return f"{'state<' * depth}fp16{'>' * depth} y = f();"


@pytest.mark.parametrize(
    ("make", "deepest"),
    [
        (blocks, 44),
        (lists, 22),
        (dictionaries, 22),
        (tuples, 22),
        (states, 44),
        (lambda depth: blocks(depth, lists(12)), 20),
    ],
)
def test_what_lies_deep_in_each_other_can_be_written_and_read_as_a_message_or_is_refused(make, deepest):
    model = Model_pb2.Model()
    model.mlProgram.functions["main"].block_specializations["CoreML8"].CopyFrom(parse_body(make(deepest)))
    assert Model_pb2.Model.FromString(model.SerializeToString()) == model
    for depth in (deepest + 1, deepest + 30, 5000):
        with pytest.raises(FormatError, match=r"^m.mil:2:\d+: too many brackets lie in each other; compile the model"):
            parse_body(make(depth))


@pytest.mark.parametrize(
    "body",
    [
        "fp32 y = f();" * 6,
        f"{', '.join(['fp32 y'] * 11)} = f();",
        f"f({', '.join(f'x{i} = y' for i in range(11))});",
        f"f(x = ({', '.join(['y'] * 11)}));",
        f"f()[{', '.join(f'a{i} = int32(1)' for i in range(11))}];",
        f"f(x = list<int32, ?>([{', '.join(['1'] * 11)}]));",
        'f(x = tensor<string, [?]>(["", "", "", "", "", "", "", "", "", "", ""]));',
        f"{'tuple<' + ', '.join(['fp32'] * 11) + '>'} y = f();",
    ],
)
def test_programs_of_too_many_parts(monkeypatch, body):
    parse_body(body)
    monkeypatch.setattr(scanner, "MOST_PARTS", 10)
    message = "the program has more than 10 operations and values, the most there may be"
    assert error_of(parse_body, body).partition(": ")[2] == message


def test_the_text_is_the_form_that_is_written():
    assert parse_program(write_program(expected()), "m.mil") == expected()
