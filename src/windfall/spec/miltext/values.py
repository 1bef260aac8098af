"""Values in the text of an ML program: a type, and in brackets what it holds.

Source: ``Value`` in MIL.proto. ::

    tensor<int32, [2, 1]>([[3], [4]])
    string("same")
    list<string, 2>(["a", "b"])
    tuple<string, int32>(("a", 1))
    dict<string, int32>({{"a", 1}, {"b", 2}})
    tensor<fp16, [8]>(BLOBFILE(path = string("@model_path/weights/weight.bin"), offset = uint64(64)))
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from windfall.errors import FormatError, UnsupportedError
from windfall.spec.miltext.numbers import STORES, store_numbers
from windfall.spec.miltext.scanner import Scanner, token
from windfall.spec.miltext.types import MOST_REMEMBERED, SIMPLE, TYPE_NAMES, TypeReader
from windfall.spec.openfile import shown
from windfall.spec.proto import MIL_pb2
from windfall.text import safe

_SHORT = token(rf"({SIMPLE}\s*+\([-+\w.,\[\] ]{{1,60}}+\))")
_HEAD = token(rf"({SIMPLE})\s*+\(")
_OPEN, _CLOSE = token(r"\("), token(r"\)")
_BLOB, _OFFSET = token(r"BLOBFILE\s*+\(\s*+path\s*+="), token(r",\s*+offset\s*+=")
_SCALAR = token(r"([-+\w.]++)")
_STRING = token(r'"([^"\\]*+(?:\\.[^"\\]*+)*+)"')
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {'"': '"', "\\": "\\", "'": "'", "/": "/", "n": "\n", "t": "\t", "r": "\r"}
_COMMA = token(",")
_LIST, _LIST_END = token(r"\["), token(r"\]")
_DICT, _DICT_END = token(r"\{"), token(r"\}")
# Brackets and commas stay, all else is taken for a digit.
_STRUCTURE = bytes(byte if byte in b"[]," else ord("0") for byte in range(256))
_NO_BRACKETS = str.maketrans("", "", "[]")


class ValueReader:
    """Reads values into messages."""

    def __init__(self, scanner: Scanner, types: TypeReader) -> None:
        self._scanner = scanner
        self._types = types
        self._known: dict[str, Any] = {}
        self._kinds: Mapping[str, Callable[[Any], None]] = {
            "tensorType": self._tensor,
            "listType": self._list,
            "tupleType": self._tuple,
            "dictionaryType": self._dictionary,
        }

    def read(self, value: Any) -> None:
        """Read the value that stands here.

        Args:
            value: The ``Value`` message to fill.

        Raises:
            FormatError: None does, or it breaks a rule.
            UnsupportedError: It holds numbers of a type that windfall cannot read.
        """
        start = self._scanner.position
        short = self._scanner.accept(_SHORT)
        known = self._known.get(short[1]) if short else None
        if known is not None:
            value.CopyFrom(known)
            return
        self._scanner.position = start
        self._read(value)
        if short and len(self._known) < MOST_REMEMBERED:
            self._known[short[1]] = MIL_pb2.Value()
            self._known[short[1]].CopyFrom(value)

    def _read(self, value: Any) -> None:
        head = self._scanner.accept(_HEAD)
        if head is None:
            value.type.CopyFrom(self._types.read())
            self._scanner.take(_OPEN, "'('")
        else:
            value.type.CopyFrom(self._types.simple(head[1], head.start(1)))
        if self._scanner.accept(_BLOB):
            self._blob(value)
        else:
            self._literal(value)
        self._scanner.take(_CLOSE, "')'")

    def _blob(self, value: Any) -> None:
        path, offset = MIL_pb2.Value(), MIL_pb2.Value()
        at = self._scanner.position
        with self._scanner.deeper(3):
            self.read(path)
            self._scanner.take(_OFFSET, "',' and offset =")
            self.read(offset)
        names, offsets = path.immediateValue.tensor.strings.values, offset.immediateValue.tensor.longInts.values
        if len(names) != 1 or len(offsets) != 1 or offset.type.tensorType.dataType != MIL_pb2.UINT64:
            raise self._scanner.rule("the path must be one string, the offset one uint64", at)
        value.blobFileValue.fileName, value.blobFileValue.offset = names[0], offsets[0]
        self._scanner.take(_CLOSE, "')'")

    def _literal(self, value: Any) -> None:
        """Read what a value holds, whose type is known."""
        kind = value.type.WhichOneof("type")
        if kind not in self._kinds:
            raise self._scanner.rule("a state has no value that could be written down")
        self._scanner.count_part()
        self._kinds[kind](value)

    def _item(self, item: Any, value_type: Any) -> None:
        item.type.CopyFrom(value_type)
        with self._scanner.deeper(4):
            self._literal(item)

    def _list(self, value: Any) -> None:
        items, declared, at = value.immediateValue.list, value.type.listType, self._scanner.position
        items.SetInParent()
        self._scanner.take(_LIST, "'['")
        while not self._scanner.accept(_LIST_END):
            if items.values:
                self._scanner.take(_COMMA, "',' or ']'")
            self._item(items.values.add(), declared.type)
        if declared.length.HasField("constant") and declared.length.constant.size != len(items.values):
            raise self._scanner.rule(
                f"a list has {len(items.values)} values, must have {declared.length.constant.size}", at
            )
        # Only a variable's size may be open.
        declared.length.constant.size = len(items.values)

    def _tuple(self, value: Any) -> None:
        self._scanner.take(_OPEN, "'('")
        for index, value_type in enumerate(value.type.tupleType.types):
            if index:
                self._scanner.take(_COMMA, "','")
            self._item(value.immediateValue.tuple.values.add(), value_type)
        self._scanner.take(_CLOSE, "')'")

    def _dictionary(self, value: Any) -> None:
        pairs, declared = value.immediateValue.dictionary, value.type.dictionaryType
        pairs.SetInParent()
        self._scanner.take(_DICT, "'{'")
        while not self._scanner.accept(_DICT_END):
            if pairs.values:
                self._scanner.take(_COMMA, "',' or '}'")
            self._scanner.take(_DICT, "'{'")
            pair = pairs.values.add()
            self._item(pair.key, declared.keyType)
            self._scanner.take(_COMMA, "','")
            self._item(pair.value, declared.valueType)
            self._scanner.take(_DICT_END, "'}'")

    def _tensor(self, value: Any) -> None:
        declared, tensor = value.type.tensorType, value.immediateValue.tensor
        if declared.dataType == MIL_pb2.STRING:
            self._strings(declared, tensor.strings)
        elif declared.dataType in STORES:
            self._numbers(declared, tensor)
        else:
            raise UnsupportedError(
                f"{self._scanner.place()}: numbers of type {TYPE_NAMES[declared.dataType]} in the text of a program "
                "cannot be read, only those in a weight file"
            )

    def _strings(self, declared: Any, target: Any) -> None:
        sizes = self._sizes(declared)
        if None in sizes:
            self._scanner.take(_LIST, "'['")
            while not self._scanner.accept(_LIST_END):
                if target.values:
                    self._scanner.take(_COMMA, "',' or ']'")
                self._nested((), target.values)
            declared.dimensions[0].constant.size = len(target.values)
        else:
            self._nested(sizes, target.values)
        target.SetInParent()

    def _nested(self, sizes: Sequence[int | None], target: Any) -> None:
        if not sizes:
            self._scanner.count_part()
            target.append(self._string())
            return
        self._scanner.take(_LIST, "'['")
        for index in range(sizes[0] or 0):
            if index:
                self._scanner.take(_COMMA, "','")
            self._nested(sizes[1:], target)
        self._scanner.take(_LIST_END, "']'")

    def _numbers(self, declared: Any, tensor: Any) -> None:
        at = self._scanner.position
        sizes = self._sizes(declared)
        text = self._scanner.take(_SCALAR, "a number")[1] if not sizes else self._inside(sizes)
        try:
            count = store_numbers(tensor, text, declared.dataType)
        except ValueError as error:
            raise self._scanner.rule(
                f"found {shown(safe(error))}, must be a number of type {TYPE_NAMES[declared.dataType]}", at
            ) from error
        if None in sizes:
            declared.dimensions[0].constant.size = count
        elif count != math.prod(size or 0 for size in sizes):
            raise self._shape_error(sizes, at)

    def _inside(self, sizes: Sequence[int | None]) -> str:
        """Step over the numbers of a tensor, and return them without their brackets."""
        at = self._scanner.position
        if self._scanner.accept(_LIST) is None:
            raise self._scanner.error("'['")
        self._scanner.position = at
        # What is inside an axis without elements is not written down.
        written = sizes[: sizes.index(0) + 1] if 0 in sizes else sizes
        text = self._scanner.take_until(_closing(len(written)), f"the numbers of {_shape_text(sizes)}")
        if not _has_shape(text, written):
            raise self._shape_error(sizes, at)
        return "" if 0 in sizes else text.translate(_NO_BRACKETS)

    def _shape_error(self, sizes: Sequence[int | None], at: int) -> FormatError:
        return self._scanner.rule(f"the brackets must hold a tensor of shape {_shape_text(sizes)}", at)

    def _sizes(self, declared: Any) -> list[int | None]:
        """Return the size of each axis; one alone may be open, it is then that of what follows."""
        sizes = [int(d.constant.size) if d.HasField("constant") else None for d in declared.dimensions]
        if None in sizes and len(sizes) > 1:
            raise self._scanner.rule(f"a value has the shape {_shape_text(sizes)}, must have no open sizes")
        return sizes

    def _string(self) -> str:
        found = self._scanner.take(_STRING, "a string")
        text = found[1]
        if "\\" not in text:
            return text
        unknown = next((escape for escape in _ESCAPE.finditer(text) if escape[1] not in _ESCAPES), None)
        if unknown is not None:
            raise self._scanner.rule(f"a string has the unknown {unknown[0]!r}", found.start(1) + unknown.start())
        return _ESCAPE.sub(lambda escape: _ESCAPES[escape[1]], text)


@cache
def _closing(rank: int) -> re.Pattern[str]:
    """Return the pattern of what ends a tensor: nowhere inside it do as many brackets close."""
    return re.compile(rf"(?:\]\s*+){{{rank - 1}}}\]")


def _has_shape(text: str, sizes: Sequence[int | None]) -> bool:
    """Tell whether brackets and commas are those of a tensor, and numbers stand in the innermost brackets only."""
    found = text.encode().translate(_STRUCTURE, b" \t\r\n")
    if b"]0" in found or b"0[" in found or (0 in sizes and b"0" in found):
        return False
    found = found.translate(None, b"0")
    if None in sizes:
        return found.count(b"[") == 1
    length = 0
    for size in reversed(sizes):
        length = (size or 0) * length + max((size or 0) - 1, 0) + 2
    # Compared before anything of the length is made, which a file may ask to be very long.
    if length != len(found):
        return False
    expected = b""
    for size in reversed(sizes):
        expected = b"[" + b",".join([expected] * (size or 0)) + b"]"
    return expected == found


def _shape_text(sizes: Sequence[int | None]) -> str:
    return f"[{', '.join('?' if size is None else str(size) for size in sizes)}]"
