"""What a serialized graph says of its values: types, shapes, constants."""

from collections.abc import Collection
from typing import Any

import onnx
from onnx import helper, numpy_helper


class Values:
    """The types, shapes and constants of a graph.

    Attributes:
        ports: The graph's inputs and outputs.
        types: The members of ``TensorProto.DataType``, by the names of values; 0 for what is no tensor.
        shapes: The shapes by the names of values, None where a size is known only at run time.
        initializers: The constants by their names.
        makers: The nodes by the names of what they make.
        checked: The inputs that are indices and that are checked before each run.
    """

    def __init__(self, graph: onnx.GraphProto, checked: Collection[str] = ()) -> None:
        declared = [*graph.value_info, *graph.input, *graph.output]
        self.checked = checked
        self.ports = [*graph.input, *graph.output]
        self.types = {value.name: value.type.tensor_type.elem_type for value in declared}
        self.shapes = {value.name: _dims(value.type.tensor_type) for value in declared}
        self.initializers = {tensor.name: tensor for tensor in graph.initializer}
        self.makers = {name: node for node in graph.node for name in node.output}
        self.types |= {name: tensor.data_type for name, tensor in self.initializers.items()}
        self.shapes |= {name: tuple(tensor.dims) for name, tensor in self.initializers.items()}
        for node in graph.node:
            if node.output[0] not in self.shapes and node.op_type in ("Reshape", "Cast"):
                self._add_read(node)

    def constant(self, name: str) -> Any:
        """Return the array of an initializer that lies in the graph, None for other values."""
        tensor = self.initializers.get(name)
        if tensor is None or tensor.data_location == tensor.EXTERNAL:
            return None
        return numpy_helper.to_array(tensor)

    def _add_read(self, node: onnx.NodeProto) -> None:
        """Add a weight that a node reads from a file; see ``serialize.py``, which declares no shape for it."""
        stored = self.initializers.get(node.input[0])
        if stored is None:
            return
        if node.op_type == "Cast":
            self.types[node.output[0]] = attribute(node, "to", 0)
            self.shapes[node.output[0]] = tuple(stored.dims)
            return
        dims = self.constant(node.input[1])
        if dims is not None:
            self.types[node.output[0]] = stored.data_type
            self.shapes[node.output[0]] = tuple(dims.tolist())


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """Return an attribute of a node."""
    return next((helper.get_attribute_value(each) for each in node.attribute if each.name == name), default)


def _dims(tensor: onnx.TypeProto.Tensor) -> tuple[int, ...] | None:
    if not tensor.HasField("shape") or any(not dim.HasField("dim_value") for dim in tensor.shape.dim):
        return None
    return tuple(dim.dim_value for dim in tensor.shape.dim)
