"""Write an ML program as text, in the form that ``parser`` reads."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from windfall.errors import UnsupportedError
from windfall.spec.miltext.numbers import STORES
from windfall.spec.miltext.parser import OPSETS
from windfall.spec.miltext.types import TYPE_NAMES
from windfall.spec.packing import decode_bytes
from windfall.spec.proto import MIL_pb2

_NAMES = {number: name for name, number in OPSETS.items()}
_ESCAPES = str.maketrans({'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"})
_INDENT = "    "


def write_program(program: Any) -> str:
    """Return the text of a ``Program`` message, whose ``docString`` and those of its values have no place in it.

    Raises:
        UnsupportedError: A value is of a type that has no text.
    """
    lines = ["program(1.3)", *filter(None, [_attributes(program.attributes)]), "{"]
    for name in sorted(program.functions):
        lines += _function(name, program.functions[name])
    return "\n".join([*lines, "}"])


def _function(name: str, function: Any) -> Iterator[str]:
    if list(function.block_specializations) != [function.opset]:
        raise UnsupportedError(f"function {name} has blocks for several opsets, may have one to be written as text")
    opset = _NAMES.get(function.opset, function.opset)
    head = f"func {name}<{opset}>({_named(function.inputs)})"
    lines = _block(function.block_specializations[function.opset])
    yield f"{_INDENT}{head}{_spaced(function.attributes)} {next(lines)}"
    yield from (_INDENT + line for line in lines)


def _block(block: Any, end: str = ";") -> Iterator[str]:
    yield "{"
    for operation in block.operations:
        yield from (_INDENT + line for line in _operation(operation))
    yield f"}} -> ({', '.join(block.outputs)}){end}"


def _operation(operation: Any) -> Iterator[str]:
    outputs = f"{_named(operation.outputs)} = " if operation.outputs else ""
    arguments = ", ".join(f"{name} = {_argument(operation.inputs[name])}" for name in sorted(operation.inputs))
    line = f"{outputs}{operation.type}({arguments}){_attributes(operation.attributes)}"
    for block in operation.blocks:
        inner = _block(block, "")
        yield f"{line} ({_named(block.inputs)}){_spaced(block.attributes)} {next(inner)}"
        *body, line = inner
        yield from body
    yield f"{line};"


def _named(values: Iterable[Any]) -> str:
    return ", ".join(f"{type_text(value.type)} {value.name}" for value in values)


def _spaced(attributes: Any) -> str:
    return f" {_attributes(attributes)}" if attributes else ""


def _attributes(attributes: Any) -> str:
    texts = [f"{name} = {value_text(attributes[name])}" for name in sorted(attributes)]
    return f"[{', '.join(texts)}]" if texts else ""


def _argument(argument: Any) -> str:
    texts = [value_text(b.value) if b.WhichOneof("binding") == "value" else b.name for b in argument.arguments]
    return texts[0] if len(texts) == 1 else f"({', '.join(texts)})"


def type_text(value_type: Any) -> str:
    """Return the text of a ``ValueType`` message."""
    kind = value_type.WhichOneof("type")
    message = getattr(value_type, kind)
    if kind == "tensorType":
        name = TYPE_NAMES[message.dataType]
        return f"tensor<{name}, [{', '.join(map(_size, message.dimensions))}]>" if message.dimensions else name
    if kind == "listType":
        return f"list<{type_text(message.type)}, {_size(message.length)}>"
    if kind == "tupleType":
        return f"tuple<{', '.join(map(type_text, message.types))}>"
    if kind == "dictionaryType":
        return f"dict<{type_text(message.keyType)}, {type_text(message.valueType)}>"
    return f"state<{type_text(message.wrappedType)}>"


def _size(dimension: Any) -> str:
    if dimension.HasField("constant"):
        return str(dimension.constant.size)
    return "..." if dimension.unknown.variadic else "?"


def value_text(value: Any) -> str:
    """Return the text of a ``Value`` message.

    Raises:
        UnsupportedError: It is of a type that has no text.
    """
    blob = value.blobFileValue
    if value.WhichOneof("value") == "blobFileValue":
        place = f"path = string({_quoted(blob.fileName)}), offset = uint64({blob.offset})"
        return f"{type_text(value.type)}(BLOBFILE({place}))"
    return f"{type_text(value.type)}({_literal(value)})"


def _literal(value: Any) -> str:
    kind = value.immediateValue.WhichOneof("value")
    held = getattr(value.immediateValue, kind)
    if kind == "tensor":
        return _tensor(held, value.type.tensorType)
    if kind == "dictionary":
        return f"{{{', '.join(f'{{{_literal(pair.key)}, {_literal(pair.value)}}}' for pair in held.values)}}}"
    texts = ", ".join(map(_literal, held.values))
    return f"({texts})" if kind == "tuple" else f"[{texts}]"


def _tensor(tensor: Any, declared: Any) -> str:
    sizes = [int(dimension.constant.size) for dimension in declared.dimensions]
    return _nested(iter(_texts(tensor, declared, sizes)), sizes)


def _nested(texts: Iterator[str], sizes: list[int]) -> str:
    if not sizes:
        return next(texts)
    return f"[{', '.join(_nested(texts, sizes[1:]) for _ in range(sizes[0]))}]"


def _texts(tensor: Any, declared: Any, sizes: list[int]) -> Iterable[str]:
    count = 1
    for size in sizes:
        count *= size
    if declared.dataType == MIL_pb2.STRING:
        return map(_quoted, tensor.strings.values)
    if declared.dataType not in STORES:
        raise UnsupportedError(f"values of type {TYPE_NAMES[declared.dataType]} cannot be written as text")
    store = STORES[declared.dataType]
    values = getattr(tensor, store.field).values
    if store.field == "bytes":
        values = decode_bytes(values, declared.dataType, count).tolist()
    return map(_TEXTS.get(store.dtype, str), values)


def _quoted(text: str) -> str:
    return f'"{text.translate(_ESCAPES)}"'


def _hex(number: float) -> str:
    mantissa, mark, exponent = float(number).hex().partition("p")
    return f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}{mark}{exponent}"


_TEXTS: Mapping[str, Any] = {
    "?": lambda number: str(number).lower(),
    "<f2": _hex,
    "<f4": _hex,
    "<f8": _hex,
}
"""How a number is written, by NumPy type; others in decimal digits."""
