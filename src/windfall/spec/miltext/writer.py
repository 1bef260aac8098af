"""Write an ML program as text, in the form that ``parser`` reads."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

from windfall.errors import FormatError, UnsupportedError
from windfall.spec.miltext.numbers import STORES
from windfall.spec.miltext.parser import NAME, OPSETS, VERSION
from windfall.spec.miltext.types import TYPE_NAMES
from windfall.spec.openfile import shown
from windfall.spec.packing import decode_bytes
from windfall.spec.proto import MIL_pb2

_OPSET_NAMES = {number: name for name, number in OPSETS.items()}
_ESCAPES = str.maketrans({'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"})
_INDENT = "    "
_OLD_OPSETS = ("CoreML5", "CoreML6", "CoreML7")
_SCALAR = ContextVar("scalar", default="{}")
"""How a type without sizes is written."""


def write_program(program: Any) -> str:
    """Return the text of a ``Program`` message, whose ``docString`` and those of its values have no place in it.

    Raises:
        FormatError: The program breaks a rule of the format, so that it has no text.
        UnsupportedError: A function has blocks for several opsets, or a value is of a type that has no text.
    """
    if program.version != VERSION:
        raise FormatError(f"the program has version {program.version}, must have {VERSION} to be written as text")
    # The text of programs for iOS 17 and before has the scalars as tensors without sizes; both can be read.
    is_old = bool(program.functions) and all(f.opset in _OLD_OPSETS for f in program.functions.values())
    token = _SCALAR.set("tensor<{}, []>" if is_old else "{}")
    try:
        minor = 0 if is_old else 3
        lines = [f"program({VERSION}.{minor})", *filter(None, [_attributes(program.attributes)]), "{"]
        for name in sorted(program.functions):
            lines += _function(name, program.functions[name])
    finally:
        _SCALAR.reset(token)
    return "\n".join([*lines, "}"])


def _function(name: str, function: Any) -> Iterator[str]:
    blocks = sorted(function.block_specializations)
    if blocks != [function.opset]:
        raise UnsupportedError(
            f"function {shown(name)} has blocks for the opsets {blocks}, must have one for its own, "
            f"{shown(function.opset)}, to be written as text"
        )
    opset = f"<{_name(_OPSET_NAMES.get(function.opset, function.opset))}>" if function.opset else ""
    lines = _block(function.block_specializations[function.opset])
    yield (f"{_INDENT}func {_name(name)}{opset}({_named(function.inputs)}){_spaced(function.attributes)} {next(lines)}")
    yield from (_INDENT + line for line in lines)


def _block(block: Any, end: str = ";") -> Iterator[str]:
    yield "{"
    for operation in block.operations:
        yield from (_INDENT + line for line in _operation(operation))
    yield f"}} -> ({', '.join(map(_name, block.outputs))}){end}"


def _operation(operation: Any) -> Iterator[str]:
    outputs = f"{_named(operation.outputs)} = " if operation.outputs else ""
    arguments = ", ".join(f"{_name(name)} = {_argument(operation.inputs[name])}" for name in sorted(operation.inputs))
    line = f"{outputs}{_name(operation.type)}({arguments}){_attributes(operation.attributes)}"
    for block in operation.blocks:
        inner = _block(block, "")
        yield f"{line} ({_named(block.inputs)}){_spaced(block.attributes)} {next(inner)}"
        *body, line = inner
        yield from body
    yield f"{line};"


def _name(name: str) -> str:
    if not re.fullmatch(NAME, name):
        raise FormatError(f"the program has the name {shown(name)}, must match [A-Za-z_][A-Za-z0-9_@]*")
    return name


def _named(values: Iterable[Any]) -> str:
    return ", ".join(f"{type_text(value.type)} {_name(value.name)}" for value in values)


def _spaced(attributes: Any) -> str:
    return f" {_attributes(attributes)}" if attributes else ""


def _attributes(attributes: Any) -> str:
    texts = [f"{_name(name)} = {value_text(attributes[name])}" for name in sorted(attributes)]
    return f"[{', '.join(texts)}]" if texts else ""


def _argument(argument: Any) -> str:
    texts = [value_text(b.value) if b.WhichOneof("binding") == "value" else _name(b.name) for b in argument.arguments]
    return texts[0] if len(texts) == 1 else f"({', '.join(texts)})"


def type_text(value_type: Any) -> str:
    """Return the text of a ``ValueType`` message.

    Raises:
        FormatError: It says nothing, or something that no text can say.
    """
    kind = value_type.WhichOneof("type")
    if kind is None:
        raise FormatError("a value of the program has no type")
    return _TYPES[kind](getattr(value_type, kind))


def _tensor_type(tensor: Any) -> str:
    if tensor.dataType not in TYPE_NAMES:
        raise FormatError(f"a tensor of the program has the data type {tensor.dataType}, which there is not")
    name = TYPE_NAMES[tensor.dataType]
    sizes = ", ".join(map(_size, tensor.dimensions))
    return f"tensor<{name}, [{sizes}]>" if tensor.dimensions else _SCALAR.get().format(name)


def _size(dimension: Any) -> str:
    if dimension.HasField("constant"):
        return str(dimension.constant.size)
    return "..." if dimension.unknown.variadic else "?"


_TYPES: Mapping[str, Callable[[Any], str]] = {
    "tensorType": _tensor_type,
    "listType": lambda message: f"list<{type_text(message.type)}, {_size(message.length)}>",
    "tupleType": lambda message: f"tuple<{', '.join(map(type_text, message.types))}>",
    "dictionaryType": lambda message: f"dict<{type_text(message.keyType)}, {type_text(message.valueType)}>",
    "stateType": lambda message: f"state<{type_text(message.wrappedType)}>",
}


def value_text(value: Any) -> str:
    """Return the text of a ``Value`` message.

    Raises:
        FormatError: It breaks a rule of the format, so that it has no text.
        UnsupportedError: It is of a type that has no text.
    """
    blob = value.blobFileValue
    if value.WhichOneof("value") == "blobFileValue":
        path, offset = (_SCALAR.get().format(name) for name in ("string", "uint64"))
        place = f"path = {path}({_quoted(blob.fileName)}), offset = {offset}({blob.offset})"
        return f"{type_text(value.type)}(BLOBFILE({place}))"
    return f"{type_text(value.type)}({_literal(value)})"


def _literal(value: Any) -> str:
    kind = value.immediateValue.WhichOneof("value")
    if kind is None:
        raise FormatError(f"a value of type {type_text(value.type)} holds nothing")
    return _LITERALS[kind](value, getattr(value.immediateValue, kind))


def _tensor(value: Any, tensor: Any) -> str:
    declared = value.type.tensorType
    sizes = [int(dimension.constant.size) for dimension in declared.dimensions if dimension.HasField("constant")]
    texts = list(_texts(tensor, declared.dataType, math.prod(sizes)))
    if len(sizes) < len(declared.dimensions) or len(texts) != math.prod(sizes):
        raise FormatError(
            f"a value of type {type_text(value.type)} has {len(texts)} elements, must have those of its shape"
        )
    return _nested(iter(texts), sizes)


def _texts(tensor: Any, data_type: int, count: int) -> Iterable[str]:
    kind = tensor.WhichOneof("value")
    is_text = data_type == MIL_pb2.STRING
    if kind is None or is_text != (kind == "strings"):
        return ()
    values = getattr(tensor, kind).values
    if is_text:
        return map(_quoted, values)
    if data_type not in STORES:
        raise UnsupportedError(f"values of type {TYPE_NAMES[data_type]} cannot be written as text")
    if kind == "bytes":
        values = decode_bytes(values, data_type, count).tolist()
    return map(_NUMBERS.get(STORES[data_type].dtype, str), values)


def _nested(texts: Iterator[str], sizes: list[int]) -> str:
    if not sizes:
        return next(texts)
    return f"[{', '.join(_nested(texts, sizes[1:]) for _ in range(sizes[0]))}]"


def _pair(pair: Any) -> str:
    return f"{{{_literal(pair.key)}, {_literal(pair.value)}}}"


def _quoted(text: str) -> str:
    return f'"{text.translate(_ESCAPES)}"'


def _hex(number: float) -> str:
    mantissa, mark, exponent = float(number).hex().partition("p")
    return f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}{mark}{exponent}"


_LITERALS: Mapping[str, Callable[[Any, Any], str]] = {
    "tensor": _tensor,
    "list": lambda _, held: f"[{', '.join(map(_literal, held.values))}]",
    "tuple": lambda _, held: f"({', '.join(map(_literal, held.values))})",
    "dictionary": lambda _, held: f"{{{', '.join(map(_pair, held.values))}}}",
}
_NUMBERS: Mapping[str, Callable[[Any], str]] = {
    "?": lambda number: str(number).lower(),
    "<f2": _hex,
    "<f4": _hex,
    "<f8": _hex,
}
"""How a number is written, by NumPy type; others in decimal digits."""
