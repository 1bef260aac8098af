"""Add nodes to a finished graph, before one that is there."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import ArrayLike

from windfall.graph.attributes import attribute
from windfall.graph.stored import StoredTensor

CONTRIB = "com.microsoft"
"""The domain of ONNX Runtime's own operators."""
Dims = Sequence[int | ir.SymbolicDim | None]


class Emitter:
    """Adds nodes before a place in a graph; types and shapes are the caller's, as in a graph all others are known.

    Attributes:
        model: The graph.
        before: The node that new ones come before.
        prefix: Goes before the names of new nodes and values: the layer's name.
    """

    def __init__(self, model: ir.Model, before: ir.Node, prefix: str) -> None:
        self.model = model
        self.before = before
        self.prefix = prefix

    def op(
        self,
        op_type: str,
        *inputs: ir.Value | None,
        dtype: ir.DataType = ir.DataType.FLOAT,
        dims: Dims | ir.Shape | None = None,
        domain: str = "",
        name: str = "",
        **attributes: Any,
    ) -> ir.Value:
        """Add a node with one output and return that.

        Args:
            op_type: An operator.
            inputs: Its inputs, None for an optional one that is left out.
            dtype: The output's type.
            dims: The output's shape, None if it is known only at run time.
            domain: The operator's domain.
            name: The node's name; made of the operator's by default.
            attributes: The node's attributes; those that are None are left out.
        """
        node = self._node(op_type, inputs, 1, domain, name, attributes)
        (output,) = node.outputs
        output.type = ir.TensorType(dtype)
        output.shape = None if dims is None else ir.Shape(list(dims))
        return output

    def ops(
        self, op_type: str, *inputs: ir.Value | None, outputs: Sequence[Sequence[int]], **attributes: Any
    ) -> Sequence[ir.Value]:
        """Add a node with several outputs of the first input's type and the given shapes."""
        assert inputs[0] is not None, op_type
        node = self._node(op_type, inputs, len(outputs), "", "", attributes)
        for output, dims in zip(node.outputs, outputs, strict=True):
            output.type, output.shape = inputs[0].type, ir.Shape(list(dims))
        return node.outputs

    def _node(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        outputs: int,
        domain: str,
        name: str,
        attributes: Mapping[str, Any],
    ) -> ir.Node:
        if domain:
            self.model.graph.opset_imports.setdefault(domain, 1)
        pairs = [attribute(key, value) for key, value in attributes.items() if value is not None]
        node = ir.Node(domain, op_type, inputs, pairs, num_outputs=outputs, name=name or self._free(op_type))
        for index, output in enumerate(node.outputs):
            output.name = self._free(f"{op_type}:{index}")
        graph = self.before.graph
        assert graph is not None, self.before
        graph.insert_before(self.before, node)
        return node

    def constant(self, array: ArrayLike, name: str = "const") -> ir.Value:
        """Add an array as an initializer."""
        return self.stored(ir.tensor(np.asarray(array)), name)

    def stored(self, tensor: ir.TensorProtocol | StoredTensor, name: str) -> ir.Value:
        """Add a tensor as an initializer as it is."""
        value = ir.Value(name=self._free(name), shape=ir.Shape(tensor.shape.numpy()), type=ir.TensorType(tensor.dtype))
        value.const_value = tensor
        self.model.graph.register_initializer(value)
        return value

    def _free(self, name: str) -> str:
        """Return a name with a number behind it that no name had before."""
        numbers = self.model.graph.meta
        numbers["emitted"] = numbers.get("emitted", 0) + 1
        return f"{self.prefix}.{name}~c{numbers['emitted']}"
