"""How a model's weights are stored, whatever message they lie in.

Source: ``WeightParams`` in NeuralNetwork.proto, ``Value`` in MIL.proto.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from windfall.errors import FormatError
from windfall.spec.detach import WEIGHT_PARAMS
from windfall.spec.modelfile import ModelFile
from windfall.spec.weights import FLOAT16, FLOAT32, INT8, encoding

NEURAL_NETWORK = "CoreML.Specification.NeuralNetwork"
_VALUE = "CoreML.Specification.MILSpec.Value"
_FLOATS = {FLOAT32: "Float32", FLOAT16: "Float16"}
_QUANTIZED = {"linearQuantization": "linear", "lookupTableQuantization": "lookup table", None: "without a scale"}
_MOST = 2**60
"""No file holds more values than this: a model that declares more is damaged."""


class Stored(NamedTuple):
    """One weight as it is stored."""

    precision: str
    values: int
    size: int
    place: tuple[str, int] | None = None
    """The name of a weight file, and where in it the weight is described."""


@dataclass(frozen=True)
class WeightPrecision:
    """The weights of a model that are stored in one way.

    Attributes:
        precision: E.g. ``Float32``, ``Float16``, ``8-bit linear``, ``4-bit lookup table``.
        values: How many numbers.
        bytes: What they take, their scales and tables with them.
        share: The part of all weights' bytes, 0 to 1.
    """

    precision: str
    values: int
    bytes: int
    share: float


def stored_weights(file: ModelFile, message: Any, *, nested: bool = True) -> Iterator[Stored]:
    """Yield every weight at any depth of a message.

    Args:
        file: The model that the message is part of.
        message: Any message, e.g. a ``Model`` or a layer's parameters.
        nested: Whether the weights of neural networks inside count too: a loop's body, a pipeline's members.

    Yields:
        Each weight; one in a weight file once, though several functions of a program have it.
    """
    places = set[tuple[str, int]]()
    for found in _weight_messages(message, nested):
        stored = _READERS[found.DESCRIPTOR.full_name](file, found)
        if stored is None or stored.place in places:
            continue
        if stored.place is not None:
            places.add(stored.place)
        yield stored


def summarize(weights: Iterable[Stored]) -> tuple[WeightPrecision, ...]:
    """Add up weights by their precision, the largest first."""
    sums: dict[str, tuple[int, int]] = {}
    for weight in weights:
        values, size = sums.get(weight.precision, (0, 0))
        sums[weight.precision] = (values + weight.values, size + weight.size)
    total = sum(size for _, size in sums.values()) or 1
    ordered = sorted(sums.items(), key=lambda item: -item[1][1])
    return tuple(WeightPrecision(name, values, size, size / total) for name, (values, size) in ordered)


def _weight_messages(message: Any, nested: bool) -> Iterator[Any]:
    if message.DESCRIPTOR.full_name in _READERS:
        yield message
        return
    for field, value in message.ListFields():
        if not _holds_weights(field.message_type) or (not nested and field.message_type.full_name == NEURAL_NETWORK):
            continue
        for child in children(value):
            yield from _weight_messages(child, nested)


def children(value: Any) -> list[Any]:
    """Return the messages in a field: the one, those of a list, or those of a map."""
    if hasattr(value, "DESCRIPTOR"):
        return [value]
    return list(value.values() if hasattr(value, "values") else value)


@cache
def _holds_weights(descriptor: Any) -> bool:
    """Whether a message of this type may contain weights at any depth."""
    if descriptor is None:
        return False
    seen, todo = set[str](), [descriptor]
    while todo:
        current = todo.pop()
        if current.full_name in _READERS:
            return True
        if current.full_name not in seen:
            seen.add(current.full_name)
            todo += [field.message_type for field in current.fields if field.message_type is not None]
    return False


def _weight_params(file: ModelFile, params: Any) -> Stored | None:
    try:
        how = encoding(file, params)
    except FormatError as error:
        return Stored(f"damaged: {error}", 0, 0)
    if how is None:
        return None
    kind = params.quantization.WhichOneof("QuantizationType")
    name = _FLOATS.get(how.field) or f"{how.bits}-bit {_QUANTIZED[kind]}{', signed' if how.field == INT8 else ''}"
    extra = 0
    if how.field not in _FLOATS and kind is not None:
        extra = sum(4 * len(numbers) for _, numbers in getattr(params.quantization, kind).ListFields())
    return Stored(name, how.size * 8 // how.bits, how.size + extra)


def _program_value(_: ModelFile, value: Any) -> Stored | None:
    """Read the type of a constant that lies in a weight file; those inside the program are small."""
    if value.WhichOneof("value") != "blobFileValue":
        return None
    tensor = value.type.tensorType
    data_type = type(tensor).DESCRIPTOR.fields_by_name["dataType"].enum_type.values_by_number.get(tensor.dataType)
    name = "unknown type" if data_type is None else data_type.name.capitalize()
    digits = re.search(r"\d+", name)
    count = value_count(dimension.constant.size for dimension in tensor.dimensions)
    size = (count * int(digits.group() if digits else 8) + 7) // 8
    return Stored(name, count, size, (value.blobFileValue.fileName, value.blobFileValue.offset))


def value_count(dims: Iterable[int]) -> int:
    """Return how many values a shape has, up to a limit that keeps sums printable."""
    count = 1
    for dim in dims:
        count = min(count * dim, _MOST)
    return count


_READERS = {WEIGHT_PARAMS: _weight_params, _VALUE: _program_value}
