"""Values that a program holds itself, read when they are needed.

Source: ``Value``, ``TensorValue`` in MIL.proto.
"""

import math
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from windfall.errors import FormatError
from windfall.graph.builder import GraphBuilder
from windfall.graph.compressed import Compressed, CompressedTensor, nowhere
from windfall.graph.limits import LARGEST_TENSOR
from windfall.graph.stored import StoredTensor
from windfall.lowering.ml_program.types import GRAPH_TYPES, tensor_type, type_name
from windfall.spec.blobfile import decode_bytes
from windfall.spec.modelfile import ModelFile, Place
from windfall.spec.openfile import shown
from windfall.spec.packing import BITS
from windfall.spec.proto import MIL_pb2

_SMALLEST_STORED = 1024
_STRINGS = np.dtype(object)


class Constant:
    """A value that is known before the program runs.

    Attributes:
        data_type: A member of ``DataType`` in MIL.proto: what it is in the program.
        dims: Its shape.
        describe: Tells what it is decoded from, None if it is stored as it is.
        place: Tells where its bytes lie, None if no file holds them as the graph has them.
    """

    def __init__(
        self,
        data_type: int,
        dims: tuple[int, ...],
        load: Callable[[], NDArray[Any]],
        place: Callable[[], Place | None] = nowhere,
        describe: Callable[[], Compressed] | None = None,
    ) -> None:
        self.data_type = data_type
        self.dims = dims
        self._load = load
        self.place = place
        self.describe = describe
        self._value: ir.Value | None = None

    @classmethod
    def of(cls, array: NDArray[Any], data_type: int) -> "Constant":
        """Wrap an array that is already there."""
        return cls(data_type, array.shape, lambda: array)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.dims)

    @property
    def array(self) -> NDArray[Any]:
        """The elements in the NumPy type that the graph has for them; large ones are read anew each time.

        Raises:
            FormatError: They are damaged, or not as many as the shape asks for.
        """
        return self._small if self.size < _SMALLEST_STORED else self._read()

    @cached_property
    def _small(self) -> NDArray[Any]:
        return self._read()

    def _read(self) -> NDArray[Any]:
        array = self._load()
        with np.errstate(over="ignore", invalid="ignore"):  # numbers that the type cannot hold are the model's own
            return array.astype(_dtype(self.data_type), copy=False).reshape(self.dims)

    def value(self, graph: GraphBuilder, name: str) -> ir.Value:
        """Return the constant as a value of the graph, the same one each time."""
        if self._value is None:
            # A layer of whole numbers takes the codes of any weight.
            has_codes = self.describe is not None and len(self.dims) > 1
            small = self.size < _SMALLEST_STORED and self.data_type != MIL_pb2.STRING and not has_codes
            self._value = graph.constant(self.array, name) if small else graph.stored(self._tensor(name), name)
        return self._value

    def _tensor(self, name: str) -> ir.TensorProtocol:
        if self.data_type == MIL_pb2.STRING:
            strings = np.array([str(text).encode() for text in self.array.flat], dtype=object)
            return ir.StringTensor(strings.reshape(self.dims), shape=ir.Shape(self.dims), name=name)
        if self.describe is not None and GRAPH_TYPES[self.data_type] == ir.DataType.FLOAT:
            return CompressedTensor(self._read, self.dims, name, self.describe)
        return StoredTensor(self._read, self.dims, name, self.place, GRAPH_TYPES[self.data_type])


def constant_of(file: ModelFile, value: Any) -> Constant:
    """Return what a ``Value`` message holds; what lies in a blob file stays there until it is needed.

    Raises:
        FormatError: It has no type or shape that a constant can have, or not as many elements as its shape asks for.
    """
    declared = tensor_type(value.type)
    if declared is None or None in declared.dims:
        raise FormatError(f"a constant is of {_kind(value.type)}, must be a tensor or a list of known shape")
    data_type, dims = declared.data_type, tuple(int(dim or 0) for dim in declared.dims)
    graph_type = GRAPH_TYPES.get(data_type)
    if graph_type is None:
        raise FormatError(f"a constant is of {type_name(data_type)}, which no program can have")
    if math.prod(dims) * _itemsize(data_type) > LARGEST_TENSOR:
        raise FormatError(f"a constant has the shape {list(dims)}, must need at most {LARGEST_TENSOR:,} bytes")
    if value.WhichOneof("value") == "blobFileValue":
        return _stored(file, value.blobFileValue, data_type, dims)
    array = _immediate(value.immediateValue, data_type, math.prod(dims))
    return Constant(data_type, dims, lambda: array)


def _dtype(data_type: int) -> np.dtype[Any]:
    return _STRINGS if data_type == MIL_pb2.STRING else GRAPH_TYPES[data_type].numpy()


def _itemsize(data_type: int) -> int:
    return _STRINGS.itemsize if data_type == MIL_pb2.STRING else int(GRAPH_TYPES[data_type].itemsize)


def _kind(value_type: Any) -> str:
    return f"{value_type.WhichOneof('type') or 'no type'}"


def _stored(file: ModelFile, place: Any, data_type: int, dims: tuple[int, ...]) -> Constant:
    # The data type and the count are checked now, so that a damaged file shows before anything is computed.
    blob = file.blob(place.fileName, place.offset)
    if blob.data_type != data_type:
        raise FormatError(
            f"{place.fileName} at {place.offset} holds {type_name(blob.data_type)}, must hold {type_name(data_type)}"
        )
    if blob.count != math.prod(dims):
        raise FormatError(
            f"{place.fileName} at {place.offset} holds {blob.count} values, must hold {math.prod(dims)} for "
            f"the shape {list(dims)}"
        )
    as_it_is = BITS[data_type] == GRAPH_TYPES[data_type].itemsize * 8
    # Float16 is made float32 by the engine, while it reads the file.
    if as_it_is or data_type == MIL_pb2.FLOAT16:
        return Constant(data_type, dims, blob.read, lambda: _in_folder(file, blob.place))
    return Constant(data_type, dims, blob.read)


def _in_folder(file: ModelFile, place: Place | None) -> Place | None:
    """Return a place if it is in the one folder where engines look, also for graphs from the cache."""
    return place if place is not None and place.path.parent == file.folder else None


def _immediate(immediate: Any, data_type: int, count: int) -> NDArray[Any]:
    array = _READERS[immediate.WhichOneof("value")](immediate, data_type, count)
    if array.size != count:
        raise FormatError(f"a constant has {array.size} values, must have {count}")
    return array


def _tensor(immediate: Any, data_type: int, count: int) -> NDArray[Any]:
    kind = immediate.tensor.WhichOneof("value")
    values: Any = () if kind is None else getattr(immediate.tensor, kind).values
    if kind == "bytes":
        return decode_bytes(values, data_type, count)
    if not values:
        return np.empty(0, _dtype(data_type))
    return _fitting(np.array(values, _STRINGS if kind == "strings" else None), data_type)


def _fitting(array: NDArray[Any], data_type: int) -> NDArray[Any]:
    """Return values of a message as the type that the graph has for them, which must be able to hold them."""
    dtype = _dtype(data_type)
    is_text, is_fraction = array.dtype == _STRINGS, array.dtype.kind == "f"
    wrong = array
    if is_text == (dtype == _STRINGS) and not (is_fraction and dtype.kind != "f"):
        with np.errstate(over="ignore"):  # what float32 cannot hold is infinite in all that is computed
            elements = array.astype(dtype)
        wrong = array[elements != array] if dtype.kind in "biu" else array[:0]
    if wrong.size:
        raise FormatError(f"a constant of {type_name(data_type)} has the value {shown(str(wrong[0]))}, which is none")
    return elements


def _list(immediate: Any, data_type: int, _count: int) -> NDArray[Any]:
    parts = [_immediate(item.immediateValue, data_type, 1) for item in immediate.list.values]
    return np.concatenate(parts) if parts else np.empty(0, _STRINGS)


def _neither(immediate: Any, _data_type: int, _count: int) -> NDArray[Any]:
    raise FormatError(f"a constant is a {immediate.WhichOneof('value') or 'value without content'}, must be a tensor")


_READERS: Mapping[str | None, Callable[[Any, int, int], NDArray[Any]]] = {
    "tensor": _tensor,
    "list": _list,
    "tuple": _neither,
    "dictionary": _neither,
    None: _neither,
}
