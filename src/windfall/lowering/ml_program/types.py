"""The types of values in a program, and what they become in the graph.

Source: ``ValueType``, ``DataType`` in MIL.proto.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import onnx_ir as ir

from windfall.graph.shapes import Dim
from windfall.spec.proto import MIL_pb2

GRAPH_TYPES: Mapping[int, ir.DataType] = {
    MIL_pb2.BOOL: ir.DataType.BOOL,
    MIL_pb2.STRING: ir.DataType.STRING,
    # Fractional numbers are computed in float32, however they are stored.
    MIL_pb2.FLOAT16: ir.DataType.FLOAT,
    MIL_pb2.FLOAT32: ir.DataType.FLOAT,
    MIL_pb2.FLOAT64: ir.DataType.FLOAT,
    MIL_pb2.BFLOAT16: ir.DataType.FLOAT,
    MIL_pb2.INT8: ir.DataType.INT8,
    MIL_pb2.INT16: ir.DataType.INT16,
    MIL_pb2.INT32: ir.DataType.INT32,
    MIL_pb2.INT64: ir.DataType.INT64,
    MIL_pb2.UINT8: ir.DataType.UINT8,
    MIL_pb2.UINT16: ir.DataType.UINT16,
    MIL_pb2.UINT32: ir.DataType.UINT32,
    MIL_pb2.UINT64: ir.DataType.UINT64,
    # Narrower ones are only stored: an operator of the family constexpr makes numbers of them.
    MIL_pb2.INT4: ir.DataType.INT8,
    MIL_pb2.UINT6: ir.DataType.UINT8,
    MIL_pb2.UINT4: ir.DataType.UINT8,
    MIL_pb2.UINT3: ir.DataType.UINT8,
    MIL_pb2.UINT2: ir.DataType.UINT8,
    MIL_pb2.UINT1: ir.DataType.UINT8,
}
"""The type in the graph for each ``DataType`` of a program."""


class TensorType(NamedTuple):
    """What a program says of a value.

    Attributes:
        data_type: A member of ``DataType``.
        dims: The size of each axis, None where it is known only at run time.
    """

    data_type: int
    dims: tuple[Dim, ...]

    @property
    def graph_type(self) -> ir.DataType | None:
        """The type in the graph, None if there is none."""
        return GRAPH_TYPES.get(self.data_type)


def tensor_type(value_type: Any) -> TensorType | None:
    """Return what a ``ValueType`` message says of a tensor; None if it is of another kind or has no fixed rank.

    A list is the tensor of its elements, stacked along axis 0; a state is the tensor that it holds.
    """
    kind = value_type.WhichOneof("type")
    if kind == "stateType":
        return tensor_type(value_type.stateType.wrappedType)
    if kind == "listType":
        element = tensor_type(value_type.listType.type)
        return element and TensorType(element.data_type, (_dim(value_type.listType.length), *element.dims))
    tensor = value_type.tensorType
    if kind != "tensorType" or tensor.rank != len(tensor.dimensions):
        return None
    # One dimension that stands for any number of them.
    if any(dimension.unknown.variadic for dimension in tensor.dimensions):
        return None
    return TensorType(tensor.dataType, tuple(map(_dim, tensor.dimensions)))


def _dim(dimension: Any) -> Dim:
    return int(dimension.constant.size) if dimension.HasField("constant") else None


def type_name(data_type: int) -> str:
    """Return the name of a ``DataType`` as programs write it: ``fp16``, ``int32``, ``bool``."""
    if data_type not in MIL_pb2.DataType.values():
        return f"type {data_type}"
    return str(MIL_pb2.DataType.Name(data_type)).lower().replace("float", "fp")
