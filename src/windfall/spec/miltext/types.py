"""Types in the text of an ML program: ``tensor<fp16, [1, ?]>``, ``int32``, ``list<string, 3>``, ``state<...>``.

Source: ``ValueType`` in MIL.proto. A type that has a name only is a tensor of rank 0.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from windfall.spec.miltext.scanner import Scanner, token
from windfall.spec.proto import MIL_pb2

SIMPLE = r'(?:tensor\s*+<\s*+\w++\s*+,\s*+\[[^\[\]<>"]*+\]\s*+>|\w++(?!\s*+<))'
"""A tensor's type, or a lone name. Its text is found in one step, and what it means is remembered."""
MOST_DIMENSIONS = 64
_SIMPLE = token(f"({SIMPLE})")
_FAMILY = token(r"(\w++)\s*+<")
_PARTS = re.compile(r"(?:tensor\s*<\s*)?(\w+)(?:\s*,\s*\[([^\]]*)\]\s*>)?")
_DIMENSION = re.compile(r"\d{1,19}", re.ASCII)
_LENGTH = token(r"([0-9]{1,19}(?!\w)|\?|\.\.\.)")
_COMMA = token(",")
_END = token(">")
# Texts of types and values that are remembered, so that a hostile file cannot have very many.
MOST_REMEMBERED = 4096

DATA_TYPES: Mapping[str, int] = {
    "bool": MIL_pb2.BOOL,
    "string": MIL_pb2.STRING,
    "fp16": MIL_pb2.FLOAT16,
    "fp32": MIL_pb2.FLOAT32,
    "fp64": MIL_pb2.FLOAT64,
    "bf16": MIL_pb2.BFLOAT16,
    "fp8e4m3fn": MIL_pb2.FLOAT8E4M3FN,
    "fp8e5m2": MIL_pb2.FLOAT8E5M2,
    **{
        name.lower(): number
        for name, number in MIL_pb2.DataType.items()
        if name.startswith(("INT", "UINT"))  # the others are written shorter than they are called
    },
}
"""The members of ``DataType`` by the names that they have in the text."""
TYPE_NAMES: Mapping[int, str] = {number: name for name, number in DATA_TYPES.items()}


class TypeReader:
    """Reads types. The messages that it returns are shared: they must be copied, not changed."""

    def __init__(self, scanner: Scanner) -> None:
        self._scanner = scanner
        self._known: dict[str, Any] = {}
        self._families: Mapping[str, Callable[[Any], None]] = {
            "list": self._list,
            "tuple": self._tuple,
            "dict": self._dictionary,
            "state": self._state,
        }

    def read(self) -> Any:
        """Return the type that stands here.

        Raises:
            FormatError: None does, or it breaks a rule.
        """
        found = self._scanner.accept(_SIMPLE)
        if found is not None:
            return self.simple(found[1], found.start(1))
        before = self._scanner.position
        family = self._scanner.take(_FAMILY, "a type")
        if family[1] not in self._families:
            raise self._scanner.error("a type", before)
        message = MIL_pb2.ValueType()
        with self._scanner.deeper(2):
            self._families[family[1]](message)
        self._scanner.take(_END, "'>'")
        return message

    def simple(self, text: str, at: int) -> Any:
        """Return the type that ``SIMPLE`` has found.

        Args:
            text: Its text.
            at: Where it starts.

        Raises:
            FormatError: It breaks a rule.
        """
        message = self._known.get(text)
        if message is None:
            message = self._tensor(text, at)
            if len(self._known) < MOST_REMEMBERED:
                self._known[text] = message
        return message

    def _tensor(self, text: str, at: int) -> Any:
        parts = _PARTS.fullmatch(text)
        data_type = DATA_TYPES.get(parts[1]) if parts else None
        if parts is None or data_type is None:
            raise self._scanner.error("a type", at)
        sizes = parts[2].split(",") if parts[2] and parts[2].strip() else []
        if len(sizes) > MOST_DIMENSIONS:
            raise self._scanner.rule(f"a tensor has {len(sizes)} dimensions, may have {MOST_DIMENSIONS}", at)
        message = MIL_pb2.ValueType()
        message.tensorType.dataType = data_type
        message.tensorType.rank = len(sizes)
        for size in sizes:
            self._dimension(message.tensorType.dimensions.add(), size.strip(), at)
        return message

    def _dimension(self, dimension: Any, size: str, at: int) -> None:
        if _DIMENSION.fullmatch(size):
            dimension.constant.size = int(size)
        elif size in {"?", "..."}:
            dimension.unknown.variadic = size == "..."
        else:
            raise self._scanner.rule(f"a tensor has the dimension {size[:20]!r}, must be a size or ?", at)

    def _list(self, message: Any) -> None:
        message.listType.type.CopyFrom(self.read())
        self._scanner.take(_COMMA, "',' and the length of the list")
        length = self._scanner.take(_LENGTH, "the length of the list, or ?")
        self._dimension(message.listType.length, length[1], length.start(1))

    def _tuple(self, message: Any) -> None:
        message.tupleType.types.add().CopyFrom(self.read())
        while self._scanner.accept(_COMMA):
            self._scanner.count_part()
            message.tupleType.types.add().CopyFrom(self.read())

    def _dictionary(self, message: Any) -> None:
        message.dictionaryType.keyType.CopyFrom(self.read())
        self._scanner.take(_COMMA, "',' and the type of the dictionary's values")
        message.dictionaryType.valueType.CopyFrom(self.read())

    def _state(self, message: Any) -> None:
        message.stateType.wrappedType.CopyFrom(self.read())
