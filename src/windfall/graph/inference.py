"""Type and shape inference for one node at a time, by the operator's own rules in ``onnx``."""

from collections.abc import Mapping
from typing import Any

import onnx
import onnx_ir as ir
from onnx import shape_inference

# Larger constants are never shapes, axes or paddings, the only values that inference looks at.
_LARGEST_DATA = 256

# The input whose length is the rank of the output, for operators whose output shape is an input.
_RANK_FROM_INPUT = {"Reshape": 1, "Expand": 1, "ConstantOfShape": 0}


def infer(node: ir.Node, opsets: Mapping[str, int]) -> None:
    """Set the type and shape of a node's outputs from those of its inputs.

    Args:
        node: The node.
        opsets: The version of each domain.

    Raises:
        Exception: Whatever ``onnx`` raises where the inputs do not fit the operator.
    """
    schema = onnx.defs.get_schema(node.op_type, opsets[node.domain], node.domain)
    types: dict[str, onnx.TypeProto] = {}
    data: dict[str, onnx.TensorProto] = {}
    for value in node.inputs:
        if value is None:
            continue
        name = str(value.name)
        types[name] = _type_proto(value)
        if value.const_value is not None and value.const_value.size <= _LARGEST_DATA:
            data[name] = ir.serde.serialize_tensor(value.const_value)
    found = shape_inference.infer_node_outputs(
        schema,
        ir.serde.serialize_node(node),
        types,
        data,
        opset_imports=[onnx.helper.make_opsetid(*opset) for opset in opsets.items()],
        ir_version=10,
    )
    for output in node.outputs:
        if output.name in found:
            _set_type(output, found[output.name])
    _set_rank(node)


def _type_proto(value: ir.Value) -> Any:
    proto = onnx.TypeProto()
    assert value.dtype is not None, value
    proto.tensor_type.elem_type = int(value.dtype)
    if value.shape is not None:
        proto.tensor_type.shape.SetInParent()
        for dim in value.shape:
            entry = proto.tensor_type.shape.dim.add()
            if isinstance(dim, int):
                entry.dim_value = dim
            elif dim.value is not None:
                entry.dim_param = dim.value
    return proto


def _set_type(output: ir.Value, proto: Any) -> None:
    tensor = proto.tensor_type
    output.type = ir.TensorType(ir.DataType(tensor.elem_type))
    if tensor.HasField("shape"):
        dims = [dim.dim_value if dim.HasField("dim_value") else (dim.dim_param or None) for dim in tensor.shape.dim]
        output.shape = ir.Shape(dims)


def _set_rank(node: ir.Node) -> None:
    """Where only a shape's length is known, the output still has a rank."""
    output = node.outputs[0]
    index = _RANK_FROM_INPUT.get(node.op_type)
    if output.shape is not None or index is None:
        return
    source = node.inputs[index]
    if source is not None and source.shape is not None and len(source.shape) == 1 and isinstance(source.shape[0], int):
        output.shape = ir.Shape([None] * source.shape[0])
