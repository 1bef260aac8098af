"""Build an ONNX graph node by node, with the type and shape of every value known as soon as it exists."""

import math
from collections import ChainMap
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import ArrayLike

from windfall.graph.attributes import attribute
from windfall.graph.inference import infer
from windfall.graph.limits import LARGEST_GRAPH, LARGEST_TENSOR
from windfall.graph.shapes import ShapeError, elements, itemsize, resolve, shape, small_constant, string_tensor

OPSET = 21
"""The version of ONNX's default domain: the newest that ONNX Runtime and OpenVINO both take in full."""
ML = "ai.onnx.ml"
"""The domain of operators for classical models."""
CUSTOM = "windfall.custom"
"""The domain of nodes that no engine computes: the graph is cut there."""
OPSETS = {"": OPSET, ML: 5}
"""The versions of all domains. Before 5 of ``ai.onnx.ml``, ensembles of trees give float32 alone."""


class GraphBuilder:
    """An ONNX graph under construction.

    Attributes:
        graph: The graph.
        prefix: Goes before the name of every value and node that is made; lowerings set it to the layer's name.
    """

    def __init__(self, name: str, input_names: Iterable[str] = ()) -> None:
        self.graph = ir.Graph([], [], nodes=[], opset_imports=dict(OPSETS), name=name)
        self.prefix = ""
        # Inputs keep their names, by which they are fed, whatever nodes are called.
        self._inputs = set(input_names)
        self._names: dict[str, int] = dict.fromkeys(self._inputs, 1)
        self._constants: dict[tuple[str, tuple[int, ...], bytes], ir.Value] = {}
        self._planes: MutableMapping[ir.Value, ir.Value] = {}
        self._leads: MutableMapping[ir.Value, ir.Value] = {}
        # The builder of the outermost graph, which has all initializers and counts all bytes.
        self._root = self
        self._bytes = 0
        # Values that still have a name of ours and not one of the model's.
        self._unnamed: set[ir.Value] = set()

    def input(self, name: str, dtype: ir.DataType, shape: Sequence[int | str] | ir.Shape | None) -> ir.Value:
        """Add an input to the graph; a size given as a string is symbolic, a shape that is None is unknown."""
        unique = name if name in self._inputs else self.unique(name)
        value = ir.Value(name=unique, shape=None if shape is None else ir.Shape(shape), type=ir.TensorType(dtype))
        self.graph.inputs.append(value)
        return value

    def constant(self, array: ArrayLike, name: str = "const") -> ir.Value:
        """Add an array as an initializer; equal small arrays become one. Text is an array of objects."""
        array = np.asarray(array)
        if array.dtype == object:
            return self.stored(string_tensor(array), name)
        key = None
        if array.nbytes <= 64:
            key = (array.dtype.str, array.shape, array.tobytes())
            if key in self._constants:
                return self._constants[key]
        value = self.stored(ir.tensor(array), name)
        if key is not None:
            self._constants[key] = value
        return value

    def stored(self, tensor: ir.TensorProtocol, name: str) -> ir.Value:
        """Add a tensor as an initializer as it is, e.g. one that still lies in a file."""
        value = ir.Value(
            name=self.unique(self._scoped(name)), shape=ir.Shape(tensor.shape.numpy()), type=ir.TensorType(tensor.dtype)
        )
        value.const_value = tensor
        self._root.graph.register_initializer(value)
        return value

    def op(
        self, op_type: str, *inputs: ir.Value | None, name: str = "", domain: str = "", **attributes: Any
    ) -> ir.Value:
        """Add a node with one output and return that.

        Args:
            op_type: An operator.
            inputs: Its inputs, None for an optional one that is left out.
            name: The name of the output within the layer; the operator's by default.
            domain: The operator's domain: ONNX's default one, or ``ML``.
            attributes: The node's attributes; those that are None are left out.

        Raises:
            ShapeError: The inputs do not fit each other, or the output would be too large.
        """
        return self.ops(op_type, *inputs, outputs=1, name=name, domain=domain, **attributes)[0]

    def ops(
        self,
        op_type: str,
        *inputs: ir.Value | None,
        outputs: int,
        name: str = "",
        domain: str = "",
        **attributes: Any,
    ) -> Sequence[ir.Value]:
        """Add a node with several outputs and return them; see ``op``."""
        node = ir.Node(
            domain,
            op_type,
            inputs,
            [attribute(key, value) for key, value in attributes.items() if value is not None],
            num_outputs=outputs,
            name=self.unique(self._scoped(name or op_type)),
        )
        for index, output in enumerate(node.outputs):
            output.name = self.unique(f"{node.name}:{index}")
        try:
            infer(node, OPSETS)
        except Exception as error:
            raise ShapeError(_short(error)) from error
        for output in node.outputs:
            self._check_size(output)
        return self._append(node)

    def _append(self, node: ir.Node) -> Sequence[ir.Value]:
        self.graph.append(node)
        self._unnamed.update(node.outputs)
        return node.outputs

    def subgraph(self, name: str) -> "GraphBuilder":
        """Return a builder for a body of a control flow node of this graph.

        Its nodes may use this graph's values, and its names differ from this graph's, as ONNX asks. Constants belong
        into the outermost graph: engines take only that one's by address.
        """
        body = GraphBuilder(self.unique(self._scoped(name)))
        body.prefix = self.prefix
        body._names = self._names
        body._root = self._root
        body._constants = self._constants
        # What a body makes is not there outside of it.
        body._planes = ChainMap({}, self._planes)
        body._leads = ChainMap({}, self._leads)
        return body

    def add_result(self, value: ir.Value) -> None:
        """Make a value, of this graph or of one around it, the next output of a subgraph."""
        node = value.producer()
        if node is None or node.graph is not self.graph or node.op_type == "Identity" or value.is_graph_output():
            # A subgraph must make its outputs itself. Not by an Identity: the pass that removes those would put the
            # outer value there again.
            value = self.op("Cast", value, to=value.dtype)
        self.graph.outputs.append(value)

    def control(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        bodies: Mapping[str, "GraphBuilder"],
        outputs: Sequence[tuple[ir.DataType, ir.Shape | None]],
    ) -> Sequence[ir.Value]:
        """Add a control flow node and return its outputs.

        Args:
            op_type: If or Loop.
            inputs: Its inputs, None for an optional one that is left out.
            bodies: The finished builders of its subgraphs, by the names of the attributes.
            outputs: The type and shape of each output; None for a shape of which not even the rank is known.
        """
        attributes = [ir.AttrGraph(name, body.graph) for name, body in bodies.items()]
        return self._append(self._declared("", op_type, inputs, attributes, outputs))

    def _declared(
        self,
        domain: str,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Sequence[ir.Attr],
        outputs: Sequence[tuple[ir.DataType, ir.Shape | None]],
    ) -> ir.Node:
        """Return a node whose outputs have the types and shapes that are given."""
        name = self.unique(self._scoped(op_type))
        node = ir.Node(domain, op_type, inputs, attributes, num_outputs=len(outputs), name=name)
        for index, (output, (dtype, dims)) in enumerate(zip(node.outputs, outputs, strict=True)):
            output.name = self.unique(f"{name}:{index}")
            output.type, output.shape = ir.TensorType(dtype), dims
        return node

    @property
    def is_inner(self) -> bool:
        """Whether this is a body of a control flow node."""
        return self._root is not self

    def has(self, value: ir.Value) -> bool:
        """Whether a value is there for nodes of this graph to use: it is one of its own, or of a graph around it."""
        node = value.producer()
        graph = value.graph if node is None else node.graph
        return graph is not None and (graph in (self.graph, self._root.graph) or self.is_inner)

    def foreign(
        self,
        domain: str,
        op_type: str,
        inputs: Sequence[ir.Value],
        outputs: Sequence[tuple[ir.DataType, ir.Shape]],
        **attributes: Any,
    ) -> Sequence[ir.Value]:
        """Add a node that is none of ONNX's and return its outputs.

        Args:
            domain: Its domain.
            op_type: Its operator.
            inputs: Its inputs.
            outputs: The type and shape of each output.
            attributes: Its attributes.

        Raises:
            ShapeError: An output would be too large.
        """
        self.graph.opset_imports.setdefault(domain, 1)
        pairs = [attribute(key, value) for key, value in attributes.items()]
        node = self._declared(domain, op_type, inputs, pairs, outputs)
        for output in node.outputs:
            self._check_size(output)
        return self._append(node)

    def discard(self) -> None:
        """Let go of all values that this subgraph uses; it is not to become part of a node."""
        for node in ir.traversal.RecursiveGraphIterator(self.graph):
            for index in range(len(node.inputs)):
                node.replace_input_with(index, None)

    def rename(self, value: ir.Value, name: str) -> ir.Value:
        """Give a value a name of the model; returns the value that carries it.

        A graph input, an initializer, or a value that already has a name of the model gets an Identity.
        """
        if value not in self._unnamed:
            value = self.op("Identity", value)
        self._unnamed.remove(value)
        value.name = self.unique(name)
        return value

    def unname(self, value: ir.Value) -> None:
        """Take a name of the model from a value, for another one to have it; graph inputs keep theirs."""
        if value.name is None or value.is_graph_input():
            return
        name, value.name = value.name, self.unique(f"{value.name}~old")
        self._names.pop(name, None)

    def unique(self, name: str) -> str:
        """Return the name, with a number behind it where it is taken."""
        count = self._names.get(name, 0)
        self._names[name] = count + 1
        return self.unique(f"{name}~{count}") if count else name

    def _scoped(self, name: str) -> str:
        return f"{self.prefix}.{name}" if self.prefix else name

    def _check_size(self, value: ir.Value) -> None:
        """Refuse a tensor, or a graph, that is too large; sizes that are known only at run time count as 1."""
        if value.shape is None:
            return
        dims = shape(value)
        count = math.prod(1 if dim is None else dim for dim in dims)
        needs = int(count * itemsize(value.dtype))
        if any(dim is not None and dim < 0 for dim in dims):
            raise ShapeError(f"a tensor would have the shape {list(dims)}, no size may be below 0")
        if needs > LARGEST_TENSOR:
            raise ShapeError(
                f"a tensor of shape {list(dims)} needs {needs:,} bytes, must be at most {LARGEST_TENSOR:,}"
            )
        self._root._bytes += needs
        if self._root._bytes > LARGEST_GRAPH:
            raise ShapeError(
                f"the tensors up to here need {self._root._bytes:,} bytes together, must be at most {LARGEST_GRAPH:,}"
            )

    # Shapes as values

    def sizes(self, value: ir.Value, start: int = 0, end: int | None = None) -> ir.Value:
        """Return some of a value's sizes as an int64 vector: a constant where they are known, else a Shape node."""
        known = shape(value)[start:end]
        if None not in known:
            return self.constant(np.array(known, np.int64), "sizes")
        return self.op("Shape", value, start=start, end=end)

    def reshape(self, value: ir.Value, *parts: int | Sequence[int] | ir.Value) -> ir.Value:
        """Reshape a value to sizes given as numbers, sequences and int64 vectors in a row; one may be -1."""
        vectors = [self._vector(part) for part in parts]
        if all(vector.const_value is not None for vector in vectors):
            target = np.concatenate([vector.const_value.numpy() for vector in vectors])  # type: ignore[union-attr]
            target = resolve(target.astype(np.int64), shape(value))
            if tuple(target) == shape(value):
                return value
            known = small_constant(value)
            if known is not None:
                return self.constant(known.reshape(target), "reshaped")
            return self.op("Reshape", value, self.constant(target, "shape"), allowzero=1)
        reshaped = self.op("Reshape", value, self.op("Concat", *vectors, axis=0), allowzero=1)
        # Inference follows constants alone, and would lose the sizes that are known.
        reshaped.shape = ir.Shape([dim for vector in vectors for dim in elements(vector)])
        return reshaped

    def _vector(self, part: int | Sequence[int] | ir.Value) -> ir.Value:
        if isinstance(part, ir.Value):
            return part
        return self.constant(np.atleast_1d(np.array(part, np.int64)), "sizes")

    # Rank 4 views. Core ML takes any rank from 3, [*batch, C, H, W]; most ONNX operators rank 4 only.

    def planes(self, value: ir.Value) -> ir.Value:
        """Return [*batch, C, H, W] as [N, C, H, W]; free of nodes where the value came from ``restore``."""
        if len(shape(value)) == 4:
            return value
        if value not in self._planes:
            batch = shape(value)[:-3]
            lead: list[int] = [-1] if None in batch else [math.prod(batch)]  # type: ignore[arg-type]
            self._planes[value] = self.reshape(value, lead, self.sizes(value, -3))
        return self._planes[value]

    def known_planes(self, value: ir.Value) -> ir.Value | None:
        """Return the rank 4 view of a value if it has one already, itself if it is of rank 4."""
        return value if len(shape(value)) == 4 else self._planes.get(value)

    def set_planes(self, value: ir.Value, planes: ir.Value) -> None:
        """Say that ``planes`` is the rank 4 view of a value."""
        self._planes[value] = planes

    def same_lead(self, values: Sequence[ir.Value]) -> bool:
        """Whether values have the same rank and the same axes before [C, H, W], however long these are at run time."""
        if len({len(shape(value)) for value in values}) > 1 or len({shape(value)[:-3] for value in values}) > 1:
            return False
        if len(values) == 1 or None not in shape(values[0])[:-3]:
            return True
        leads = {self._leads.get(value) for value in values}
        return len(leads) == 1 and None not in leads

    def restore(self, value: ir.Value, like: ir.Value) -> ir.Value:
        """Give [N, C, H, W] the leading axes of ``like`` again; the inverse of ``planes``."""
        if len(shape(like)) == 4:
            return value
        # One vector for all that have these axes: a Shape of each would keep each alive.
        if like not in self._leads:
            self._leads[like] = self.sizes(like, 0, len(shape(like)) - 3)
        lead = self._leads[like]
        restored = self.reshape(value, lead, self.sizes(value, 1))
        self._planes[restored] = value
        self._leads[restored] = lead
        return restored


def build_model(graph: ir.Graph) -> ir.Model:
    """Wrap a finished graph into an ONNX model."""
    return ir.Model(graph, ir_version=10, producer_name="windfall")


def _short(error: Exception) -> str:
    """Return the first line of ONNX's message without the names of its source files."""
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return text.split("] ", 1)[-1]
