"""Small ML programs made in memory, and the operators in them run."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

import windfall
from windfall.spec.proto import FeatureTypes_pb2, MIL_pb2, Model_pb2

ArrayType = FeatureTypes_pb2.ArrayFeatureType
DATA_TYPES = {
    np.dtype(np.bool_): MIL_pb2.BOOL,
    np.dtype(np.float16): MIL_pb2.FLOAT16,
    np.dtype(np.float32): MIL_pb2.FLOAT32,
    np.dtype(np.int8): MIL_pb2.INT8,
    np.dtype(np.int16): MIL_pb2.INT16,
    np.dtype(np.int32): MIL_pb2.INT32,
    np.dtype(np.uint8): MIL_pb2.UINT8,
    np.dtype(np.uint16): MIL_pb2.UINT16,
    np.dtype(np.uint32): MIL_pb2.UINT32,
}
"""The type in a program for each NumPy type; int64 and float64 become int32 and float32 first."""
_FEATURE_TYPES = {"f": ArrayType.FLOAT32, "i": ArrayType.INT32, "u": ArrayType.INT32, "b": ArrayType.INT32}
_FIELDS = {np.dtype(np.bool_): "bools", np.dtype(np.float32): "floats", np.dtype(np.int32): "ints"}
_NARROWED = {np.dtype(np.int64): np.dtype(np.int32), np.dtype(np.float64): np.dtype(np.float32)}
Dims = Sequence[int | None]


class Input(NamedTuple):
    """An argument that is an input of the model; all others are constants.

    Attributes:
        array: What it is fed.
        dims: Its declared shape, None for a size that is left open; by default that of the array.
    """

    array: ArrayLike
    dims: Dims | None = None


class Typed(NamedTuple):
    """A constant whose type in the program NumPy does not have, e.g. MIL_pb2.UINT4, given as its packed bytes."""

    data: bytes
    data_type: int
    dims: Sequence[int]


class Output(NamedTuple):
    """The declared type of an output; dims None stands for no tensor, e.g. a dictionary."""

    dtype: Any
    dims: Dims


def narrowed(array: ArrayLike) -> NDArray[Any]:
    """Return an array of a type that programs have."""
    array = np.asarray(array)
    return array.astype(_NARROWED.get(array.dtype, array.dtype))


def set_type(value_type: Any, data_type: int, dims: Dims) -> None:
    """Let a ``ValueType`` message be a tensor."""
    tensor = value_type.tensorType
    tensor.dataType = data_type
    tensor.rank = len(dims)
    for size in dims:
        dimension = tensor.dimensions.add()
        if size is None:
            dimension.unknown.variadic = False
        else:
            dimension.constant.size = size


def set_value(value: Any, constant: Any) -> None:
    """Let a ``Value`` message hold a constant: an array, a number, a string, a list of strings or ``Typed``."""
    tensor = value.immediateValue.tensor
    if isinstance(constant, Typed):
        set_type(value.type, constant.data_type, constant.dims)
        tensor.bytes.values = constant.data
        return
    if isinstance(constant, str):
        set_type(value.type, MIL_pb2.STRING, ())
        tensor.strings.values.append(constant)
        return
    array = narrowed(constant)
    set_type(value.type, DATA_TYPES[array.dtype], array.shape)
    field = _FIELDS.get(array.dtype, "bytes")
    if field == "bytes":
        tensor.bytes.values = array.tobytes()
    else:
        getattr(tensor, field).values.extend(array.ravel().tolist())


def add_operation(block: Any, operator: str, outputs: Mapping[str, Output], **arguments: Any) -> Any:
    """Add an operation to a block; an argument that is a ``Name``, or a list of them, stands for those values."""
    operation = block.operations.add(type=operator)
    for name, value in arguments.items():
        values = value if isinstance(value, list) and value and isinstance(value[0], Name) else [value]
        for item in values:
            binding = operation.inputs[name.rstrip("_")].arguments.add()
            if isinstance(item, Name):
                binding.name = item
            else:
                set_value(binding.value, item)
    for name, output in outputs.items():
        set_type(operation.outputs.add(name=name).type, DATA_TYPES[np.dtype(output.dtype)], output.dims)
    return operation


class Name(str):
    """The name of a value of the program."""

    __slots__ = ()


def new_program(opset: int = 8) -> tuple[Any, Any, Any]:
    """Return an empty ``Model`` message with an ML program, its function and that one's block."""
    spec = Model_pb2.Model(specificationVersion=opset + 1)
    spec.mlProgram.version = 1
    function = spec.mlProgram.functions["main"]
    function.opset = f"CoreML{opset}"
    return spec, function, function.block_specializations[function.opset]


def add_input(spec: Any, function: Any, name: str, array: NDArray[Any], dims: Dims) -> None:
    """Add an input to a program and to its description."""
    set_type(function.inputs.add(name=name).type, DATA_TYPES[array.dtype], dims)
    kind = spec.description.input.add(name=name).type.multiArrayType
    kind.dataType = _FEATURE_TYPES[array.dtype.kind]
    # Descriptions have no empty arrays as the default, but may allow them.
    kind.shape.extend(max(size, 1) for size in array.shape)
    if None in dims or array.size == 0:
        for size in dims:
            low, high = (0, -1) if size is None else (size, size)
            kind.shapeRange.sizeRanges.add(lowerBound=low, upperBound=high)


def operator_spec(operator: str, outputs: Sequence[Output], opset: int, **arguments: Any) -> tuple[Any, dict[str, Any]]:
    """Return a ``Model`` message of one operation, and what to feed it; see ``run_operator``."""
    spec, function, block = new_program(opset)
    feeds: dict[str, Any] = {}

    def bound(name: str, value: Any) -> Any:
        if not isinstance(value, Input):
            return value
        array = narrowed(value.array)
        add_input(spec, function, name, array, array.shape if value.dims is None else value.dims)
        feeds[name] = array
        return Name(name)

    given = {
        name: [bound(f"{name}{i}", v) for i, v in enumerate(value)]
        if isinstance(value, list) and value and isinstance(value[0], Input)
        else bound(name, value)
        for name, value in arguments.items()
        if value is not None
    }
    names = [f"out{index}" for index in range(len(outputs))]
    add_operation(block, operator, dict(zip(names, outputs, strict=True)), **given)
    for name, output in zip(names, outputs, strict=True):
        block.outputs.append(name)
        feature = spec.description.output.add(name=name)
        feature.type.multiArrayType.dataType = _FEATURE_TYPES[np.dtype(output.dtype).kind]
    return spec, feeds


def run_operator(operator: str, outputs: Sequence[Output], *, opset: int = 8, **arguments: Any) -> list[NDArray[Any]]:
    """Run one operation and return its outputs.

    Args:
        operator: Its type.
        outputs: What the program declares of its outputs.
        opset: The version of the operators: 5 for iOS 15 to 8 for iOS 18.
        arguments: ``Input`` for what is fed, a list of those for an argument of several values, else constants; those
            that are None are left out. ``input_`` stands for ``input``.
    """
    spec, feeds = operator_spec(operator, outputs, opset, **arguments)
    results = windfall.load(spec).predict(feeds)
    return [results[f"out{index}"] for index in range(len(outputs))]


def check_operator(
    operator: str,
    expected: ArrayLike | Sequence[ArrayLike],
    *,
    opset: int = 8,
    symbolic: bool = True,
    rtol: float = 1e-5,
    atol: float = 1e-6,
    **arguments: Any,
) -> None:
    """Run one operation and compare its outputs, shapes and values, with what is expected.

    Args:
        operator: Its type.
        expected: The output as an array, of the type that the program declares; a list or tuple of arrays for several.
        opset: The version of the operators.
        symbolic: Run it a second time with every size of inputs and outputs left open.
        rtol: The relative tolerance.
        atol: The absolute tolerance.
        arguments: See ``run_operator``.
    """
    wanted = [narrowed(one) for one in (expected if isinstance(expected, list | tuple) else [expected])]
    for opened in (False, True) if symbolic else (False,):
        outputs = [Output(one.dtype, [None] * one.ndim if opened else one.shape) for one in wanted]
        given = {name: _opened(value) if opened else value for name, value in arguments.items()}
        for got, one in zip(run_operator(operator, outputs, opset=opset, **given), wanted, strict=True):
            assert got.shape == one.shape, f"shape {got.shape}, expected {one.shape}, sizes {'open' * opened}"
            np.testing.assert_allclose(got.astype(np.float64), one.astype(np.float64), rtol=rtol, atol=atol)


def _opened(value: Any) -> Any:
    if isinstance(value, list):
        return [_opened(item) for item in value]
    return Input(value.array, [None] * np.ndim(value.array)) if isinstance(value, Input) else value
