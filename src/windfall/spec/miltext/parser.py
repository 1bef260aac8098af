"""Read an ML program from its text.

Source: ``Program``, ``Function``, ``Block``, ``Operation`` in MIL.proto. ::

    program(1.3)
    [buildInfo = dict<string, string>({{"coremltools-version", "9.0"}})]
    {
        func main<ios18>(tensor<fp16, [1, 8]> x, state<tensor<fp16, [8]>> memory) {
            tensor<fp16, [8]> old = read_state(input = memory)[name = string("old")];
            tensor<fp16, [1, 8]> y = add(x = x, y = old)[name = string("y")];
            write_state(data = old, input = memory)[name = string("write")];
        } -> (y);
    }

The blocks of ``cond`` and ``while_loop`` follow their attributes: ``(tensor<int32, []> i) { ... } -> (i)``.
"""

from collections.abc import Mapping
from typing import Any

from windfall.errors import FormatError
from windfall.spec.miltext.scanner import AGAIN, Scanner, token
from windfall.spec.miltext.types import SIMPLE, TypeReader
from windfall.spec.miltext.values import ValueReader
from windfall.spec.proto import MIL_pb2

OPSETS: Mapping[str, str] = {
    "ios15": "CoreML5",
    "ios16": "CoreML6",
    "ios17": "CoreML7",
    "ios18": "CoreML8",
    "ios26": "CoreML9",
}
"""The opsets of the messages by the names that they have in the text."""

VERSION = 1
NAME = r"[A-Za-z_][A-Za-z0-9_@]*+"
"""What an identifier may be, see MIL.proto."""
_NAME = f"({NAME})"
_PROGRAM = token(r"program\s*+\(\s*+(\d{1,9})(?:\.\d{1,9})*+\s*+\)")
_FUNCTION = token(rf"func\s++{_NAME}\s*+(?:<\s*+{_NAME}\s*+>)?+")
_LONE_NAME, _CALL, _TYPED = token(_NAME), token(rf"{_NAME}\s*+\("), token(rf"({SIMPLE})\s++{_NAME}")
_ARGUMENT = token(rf"{_NAME}\s*+=\s*+(?:{_NAME}\s*+(?=[,)]))?+")
_ATTRIBUTE = token(rf"{_NAME}\s*+=")
_BINDING = token(rf"{_NAME}\s*+(?=[,)])")
_OPEN, _CLOSE, _NEXT = token(r"\("), token(r"\)"), token(r"([,)])")
_ATTRIBUTES, _NO_MORE, _NEXT_ATTRIBUTE = token(r"\["), token(r"\]"), token(r"([,\]])")
_BEGIN, _FINISH, _RESULTS = token(r"\{"), token(r"\}"), token(r"\}\s*+->\s*+\(")
_MORE_OUTPUTS, _SEMICOLON, _END = token(r"([,=])"), token(";"), token(r"\Z")
_INNER = token(rf"(?:{_NAME}\s*+)?+(?=[({{])")
_INNER_COMMA = token(",")


def parse_program(text: str | bytes, name: str) -> Any:
    """Read the text of an ML program.

    Args:
        text: All of the text; bytes are UTF-8.
        name: What messages call it.

    Returns:
        A ``Program`` message, as coremltools would write it.

    Raises:
        FormatError: The text is damaged, or breaks a rule; the error says where.
        UnsupportedError: It has numbers of a type that windfall cannot read.
    """
    if isinstance(text, bytes):
        text = _decoded(text, name)
    return _Parser(Scanner(text, name)).program()


def _decoded(text: bytes, name: str) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise FormatError(f"{name} has no UTF-8 character at byte {error.start}, must be text; {AGAIN}") from error


class _Parser:
    """Reads each part of a program into its message."""

    def __init__(self, scanner: Scanner) -> None:
        self._scanner = scanner
        self._types = TypeReader(scanner)
        self._values = ValueReader(scanner, self._types)

    def program(self) -> Any:
        message = MIL_pb2.Program()
        version = self._scanner.take(_PROGRAM, "program(1.0)")
        message.version = int(version[1])
        if message.version != VERSION:
            raise self._scanner.rule(f"the program has version {version[1]}, must have {VERSION}", version.start(1))
        self._attributes(message.attributes)
        self._scanner.take(_BEGIN, "'{'")
        while not self._scanner.accept(_FINISH):
            self._function(message.functions)
        self._scanner.take(_END, "the end")
        return message

    def _function(self, functions: Any) -> None:
        found = self._scanner.take(_FUNCTION, "func or '}'")
        name, opset = found[1], found[2] or ""
        if name in functions:
            raise self._scanner.rule(f"there are two functions {name}", found.start(1))
        self._scanner.count_part()
        function = functions[name]
        function.opset = OPSETS.get(opset, opset)
        self._scanner.take(_OPEN, "'('")
        self._parameters(function.inputs)
        self._attributes(function.attributes)
        self._block(function.block_specializations[function.opset])
        self._scanner.accept(_SEMICOLON)

    def _parameters(self, inputs: Any) -> None:
        if self._scanner.accept(_CLOSE):
            return
        while True:
            self._typed(inputs.add())
            if self._scanner.take(_NEXT, "',' or ')'")[1] == ")":
                return

    def _typed(self, named: Any) -> None:
        """Read a type and the name of what has it."""
        self._scanner.count_part()
        found = self._scanner.accept(_TYPED)
        if found is not None:
            named.type.CopyFrom(self._types.simple(found[1], found.start(1)))
            named.name = found[2]
        else:
            named.type.CopyFrom(self._types.read())
            named.name = self._scanner.take(_LONE_NAME, "a name")[1]

    def _attributes(self, attributes: Any) -> None:
        if not self._scanner.accept(_ATTRIBUTES):
            return
        separator = "]" if self._scanner.accept(_NO_MORE) else ","
        while separator == ",":
            found = self._scanner.take(_ATTRIBUTE, "the name of an attribute and '='")
            if found[1] in attributes:
                raise self._scanner.rule(f"there are two attributes {found[1]}", found.start(1))
            self._scanner.count_part()
            self._values.read(attributes[found[1]])
            separator = self._scanner.take(_NEXT_ATTRIBUTE, "',' or ']'")[1]

    def _block(self, block: Any) -> None:
        """Read operations in braces, and the names of the results behind them."""
        self._scanner.take(_BEGIN, "'{'")
        while not self._scanner.accept(_RESULTS):
            self._operation(block.operations.add())
        if self._scanner.accept(_CLOSE):
            return
        while True:
            self._scanner.count_part()
            block.outputs.append(self._scanner.take(_LONE_NAME, "the name of a result")[1])
            if self._scanner.take(_NEXT, "',' or ')'")[1] == ")":
                return

    def _operation(self, operation: Any) -> None:
        self._scanner.count_part()
        call = self._scanner.accept(_CALL)
        if call is None:
            self._typed(operation.outputs.add())
            while self._scanner.take(_MORE_OUTPUTS, "',' or '='")[1] == ",":
                self._typed(operation.outputs.add())
            call = self._scanner.take(_CALL, "an operation")
        operation.type = call[1]
        self._arguments(operation.inputs)
        self._attributes(operation.attributes)
        self._inner_blocks(operation.blocks)
        self._scanner.take(_SEMICOLON, "';'")

    def _arguments(self, inputs: Any) -> None:
        if self._scanner.accept(_CLOSE):
            return
        while True:
            found = self._scanner.take(_ARGUMENT, "the name of an argument and '='")
            if found[1] in inputs:
                raise self._scanner.rule(f"there are two arguments {found[1]}", found.start(1))
            self._scanner.count_part()
            bindings = inputs[found[1]].arguments
            if found[2]:
                bindings.add().name = found[2]
            elif self._scanner.accept(_OPEN):
                self._bindings(bindings)
            else:
                self._binding(bindings.add())
            if self._scanner.take(_NEXT, "',' or ')'")[1] == ")":
                return

    def _bindings(self, bindings: Any) -> None:
        if self._scanner.accept(_CLOSE):
            return
        while True:
            self._binding(bindings.add())
            if self._scanner.take(_NEXT, "',' or ')'")[1] == ")":
                return

    def _binding(self, binding: Any) -> None:
        self._scanner.count_part()
        found = self._scanner.accept(_BINDING)
        if found is not None:
            binding.name = found[1]
        else:
            self._values.read(binding.value)

    def _inner_blocks(self, blocks: Any) -> None:
        # A word may stand before a block; it has no place in the message.
        while self._scanner.accept(_INNER):
            with self._scanner.deeper(2):
                block = blocks.add()
                if self._scanner.accept(_OPEN):
                    self._parameters(block.inputs)
                self._attributes(block.attributes)
                self._block(block)
            self._scanner.accept(_INNER_COMMA)
