"""Serialize a graph without its weights, which engines take by address."""

import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from typing import Any

# Smaller initializers stay in the graph, where engines can fold them.
_SMALLEST_EXTERNAL = 1024


def serialize(model: ir.Model) -> tuple[bytes, dict[str, NDArray[Any]]]:
    """Return a serialized ONNX model and its large initializers by name.

    The large ones are declared as external data in a file that does not exist: the engine is given the arrays.
    """
    large = {
        str(value.name): value.const_value.numpy()
        for value in model.graph.initializers.values()
        if value.const_value is not None and value.const_value.nbytes >= _SMALLEST_EXTERNAL
    }
    tensors = {name: model.graph.initializers.pop(name) for name in large}
    try:
        proto = ir.to_proto(model)
    finally:
        model.graph.initializers.update(tensors)
    for name, array in large.items():
        proto.graph.initializer.append(_declaration(name, tensors[name], array))
    return proto.SerializeToString(), large


def _declaration(name: str, value: ir.Value, array: NDArray[Any]) -> onnx.TensorProto:
    assert value.dtype is not None, value
    tensor = onnx.TensorProto(
        name=name, data_type=int(value.dtype), dims=array.shape, data_location=onnx.TensorProto.EXTERNAL
    )
    tensor.external_data.add(key="location", value="weights")
    return tensor
