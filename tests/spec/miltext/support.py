"""Texts of ML programs, read."""

import pytest

from windfall.errors import FormatError
from windfall.spec.miltext import parse_program
from windfall.spec.proto import MIL_pb2

AGAIN = "; compile the model again"


def number(name):
    """Return a member of ``DataType`` by its name."""
    return MIL_pb2.DataType.Value(name)


def parse(text):
    return parse_program(text, "m.mil")


def parse_body(body):
    """Return the block of a function that takes x; the body's first character is the first of line 2."""
    program = parse(f"program(1.3) {{ func main<ios18>(fp32 x) {{\n{body}\n}} -> (x); }}")
    return program.functions["main"].block_specializations["CoreML8"]


def parse_value(text):
    """Return a value; the text's first character is the first of line 2."""
    return parse(f"program(1.3) [v =\n{text}] {{}}").attributes["v"]


def parse_type(text):
    """Return a type; the text's first character is the first of line 2."""
    return parse_body(f"{text} y = f();").operations[0].outputs[0].type


def error_of(read, text):
    """Return what is wrong with a text, without the name in front and the way out behind: ``2:5: found ...``."""
    with pytest.raises(FormatError) as error:
        read(text)
    message = str(error.value)
    assert message.startswith("m.mil:")
    assert message.endswith(AGAIN)
    return message.removeprefix("m.mil:").removesuffix(AGAIN)
