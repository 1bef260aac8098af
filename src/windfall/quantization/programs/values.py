"""Constants of programs: read through the lowering, written as messages.

Source: ``Value``, ``ValueType`` in MIL.proto.
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windfall.errors import FormatError
from windfall.spec.modelfile import ModelFile
from windfall.spec.packing import BITS, encode_bytes
from windfall.spec.proto import MIL_pb2

_MOST_STEPS = 16
"""So many operations are looked at for one weight, which is made by 1 to 3 of them."""


def opset_number(opset: str) -> int:
    """Return the number in the name of an opset: 8 for ``CoreML8``, 0 for what is none."""
    match = re.fullmatch(r"CoreML(\d{1,3})", opset)
    return int(match[1]) if match else 0


def steps(makers: Mapping[str, Any], name: str) -> list[Any]:
    """Return the operations that a weight is made by, each after those that it needs itself.

    Args:
        makers: The operations that hold constants or decompress them, by the names of their outputs.
        name: The weight's name.
    """
    found: list[Any] = []
    waiting = [name]
    while waiting and len(found) < _MOST_STEPS:
        maker = makers.get(waiting.pop())
        if maker is not None and all(maker is not other for other in found):
            found.append(maker)
            waiting += names_used(maker)
    return found[::-1]


def names_used(operation: Any) -> Iterator[str]:
    """Yield the names that an operation's arguments refer to."""
    for argument in operation.inputs.values():
        for binding in argument.arguments:
            if binding.WhichOneof("binding") == "name":
                yield binding.name


def stored_values(operation: Any) -> Iterator[Any]:
    """Yield the ``Value`` messages in an operation's own attributes and arguments."""
    yield from operation.attributes.values()
    for argument in operation.inputs.values():
        for binding in argument.arguments:
            if binding.WhichOneof("binding") == "value":
                yield binding.value


def value_size(value: Any) -> int:
    """Return how many bytes the numbers of a ``Value`` take; 0 for texts and what has no size."""
    tensor = value.type.tensorType
    count = math.prod(dimension.constant.size for dimension in tensor.dimensions)
    return int((count * BITS.get(tensor.dataType, 0) + 7) // 8)


def read_constant(file: ModelFile, made_by: list[Any], name: str, opset: str) -> NDArray[np.float32]:
    """Return what a constant stands for, decompressed.

    Args:
        file: The model.
        made_by: What ``steps`` returned for it.
        name: Its name.
        opset: The opset of its function.

    Raises:
        FormatError: It is damaged.
    """
    from windfall.graph.builder import GraphBuilder  # onnx is not needed for networks
    from windfall.lowering.ml_program.constants import Constant
    from windfall.lowering.ml_program.scope import Scope

    scope = Scope(file, GraphBuilder("weights"), opset_number(opset))
    for operation in made_by:
        scope.lower_operation(operation)
    found = scope.find(name)
    if not isinstance(found, Constant):
        raise FormatError(f"{file.name} has no constant {name!r}; convert the model again")
    return found.array


def set_type(value_type: Any, data_type: int, dims: tuple[int, ...]) -> None:
    """Let a ``ValueType`` message be a tensor of known shape."""
    tensor = value_type.tensorType
    tensor.Clear()
    tensor.dataType = data_type
    tensor.rank = len(dims)
    for size in dims:
        tensor.dimensions.add().constant.size = size


def set_immediate(value: Any, array: NDArray[Any], data_type: int) -> None:
    """Let a ``Value`` message hold numbers itself."""
    set_type(value.type, data_type, array.shape)
    tensor = value.immediateValue.tensor
    if data_type == MIL_pb2.FLOAT32:
        tensor.floats.values.extend(array.reshape(-1).tolist())
    elif data_type == MIL_pb2.INT32:
        tensor.ints.values.extend(array.reshape(-1).tolist())
    else:
        tensor.bytes.values = encode_bytes(array, data_type).tobytes()


def set_text(value: Any, text: str) -> None:
    """Let a ``Value`` message hold a text."""
    set_type(value.type, MIL_pb2.STRING, ())
    value.immediateValue.tensor.strings.values.append(text)
