"""Build an ONNX graph node by node, with the type and shape of every value known as soon as it exists."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import ArrayLike, NDArray

from windfall.graph.inference import infer

OPSET = 21
"""The version of ONNX's default domain: the newest that ONNX Runtime and OpenVINO both take in full."""
ML_OPSET = 5

LARGEST_TENSOR = 2**32
"""No tensor of a graph may need more bytes. Core ML models run on phones; more is a damaged or hostile file."""

Dim = int | None
"""One size of a shape; None where it is known only at run time."""


class ShapeError(ValueError):
    """A node's inputs do not fit each other, or its output would be too large."""


class GraphBuilder:
    """An ONNX graph under construction.

    Attributes:
        graph: The graph.
        prefix: Goes before the name of every value and node that is made; lowerings set it to the layer's name.
    """

    def __init__(self, name: str) -> None:
        self.graph = ir.Graph([], [], nodes=[], opset_imports={"": OPSET}, name=name)
        self.prefix = ""
        self._names: dict[str, int] = {}
        self._constants: dict[tuple[str, tuple[int, ...], bytes], ir.Value] = {}
        self._planes: dict[ir.Value, ir.Value] = {}
        # Values that still have a name of ours and not one of the model's.
        self._unnamed: set[ir.Value] = set()

    def input(self, name: str, dtype: ir.DataType, shape: Sequence[int | str]) -> ir.Value:
        """Add an input to the graph; a size given as a string is symbolic."""
        value = ir.Value(name=self.unique(name), shape=ir.Shape(shape), type=ir.TensorType(dtype))
        self.graph.inputs.append(value)
        return value

    def constant(self, array: ArrayLike, name: str = "const") -> ir.Value:
        """Add an array as an initializer; equal small arrays become one."""
        array = np.asarray(array)
        key = None
        if array.nbytes <= 64:
            key = (array.dtype.str, array.shape, array.tobytes())
            if key in self._constants:
                return self._constants[key]
        tensor = ir.tensor(array)
        value = ir.Value(
            name=self.unique(self._scoped(name)), shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype)
        )
        value.const_value = tensor
        self.graph.register_initializer(value)
        if key is not None:
            self._constants[key] = value
        return value

    def op(self, op_type: str, *inputs: ir.Value | None, name: str = "", **attributes: Any) -> ir.Value:
        """Add a node with one output and return that.

        Args:
            op_type: An operator of ONNX's default domain.
            inputs: Its inputs, None for an optional one that is left out.
            name: The name of the output within the layer; the operator's by default.
            attributes: The node's attributes; those that are None are left out.

        Raises:
            ShapeError: The inputs do not fit each other, or the output would be too large.
        """
        return self.ops(op_type, *inputs, outputs=1, name=name, **attributes)[0]

    def ops(
        self, op_type: str, *inputs: ir.Value | None, outputs: int, name: str = "", **attributes: Any
    ) -> Sequence[ir.Value]:
        """Add a node with several outputs and return them; see ``op``."""
        node = ir.node(
            op_type,
            list(inputs),
            attributes={key: value for key, value in attributes.items() if value is not None},
            num_outputs=outputs,
            name=self.unique(self._scoped(name or op_type)),
        )
        for index, output in enumerate(node.outputs):
            output.name = self.unique(f"{node.name}:{index}")
        try:
            infer(node, OPSET)
        except Exception as error:
            raise ShapeError(_short(error)) from error
        for output in node.outputs:
            self._check_size(output)
        self.graph.append(node)
        self._unnamed.update(node.outputs)
        return node.outputs

    def rename(self, value: ir.Value, name: str) -> ir.Value:
        """Give a value a name of the model; returns the value that carries it.

        A graph input, an initializer, or a value that already has a name of the model gets an Identity.
        """
        if value not in self._unnamed:
            value = self.op("Identity", value)
        self._unnamed.remove(value)
        value.name = self.unique(name)
        return value

    def unique(self, name: str) -> str:
        """Return the name, with a number behind it where it is taken."""
        count = self._names.get(name, 0)
        self._names[name] = count + 1
        return self.unique(f"{name}~{count}") if count else name

    def _scoped(self, name: str) -> str:
        return f"{self.prefix}.{name}" if self.prefix else name

    @staticmethod
    def _check_size(value: ir.Value) -> None:
        dims = shape(value)
        if value.shape is None or None in dims:
            return
        needs = math.prod(dims) * (value.dtype.itemsize if value.dtype else 4)  # type: ignore[arg-type]
        if needs > LARGEST_TENSOR:
            raise ShapeError(
                f"a tensor of shape {list(dims)} needs {needs:,} bytes, must be at most {LARGEST_TENSOR:,}"
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
            target = _resolve(target.astype(np.int64), shape(value))
            if tuple(target) == shape(value):
                return value
            return self.op("Reshape", value, self.constant(target, "shape"), allowzero=1)
        return self.op("Reshape", value, self.op("Concat", *vectors, axis=0), allowzero=1)

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

    def restore(self, value: ir.Value, like: ir.Value) -> ir.Value:
        """Give [N, C, H, W] the leading axes of ``like`` again; the inverse of ``planes``."""
        if len(shape(like)) == 4:
            return value
        restored = self.reshape(value, self.sizes(like, 0, len(shape(like)) - 3), self.sizes(value, 1))
        self._planes[restored] = value
        return restored


def shape(value: ir.Value) -> tuple[Dim, ...]:
    """Return a value's shape with None for sizes that are known only at run time.

    Raises:
        ShapeError: Not even the rank is known.
    """
    if value.shape is None:
        raise ShapeError(f"the rank of {value.name!r} is known only at run time")
    return tuple(dim if isinstance(dim, int) else None for dim in value.shape)


def _resolve(target: NDArray[np.int64], dims: tuple[Dim, ...]) -> NDArray[np.int64]:
    """Check that a shape holds as many elements as another, and work out its -1, where all sizes are known."""
    if None in dims:
        return target
    count = math.prod(dims)  # type: ignore[arg-type]
    rest = math.prod(int(size) for size in target if size != -1)
    fits = rest > 0 and count % rest == 0 if -1 in target else rest == count
    if not fits:
        raise ShapeError(f"a tensor of shape {list(dims)} cannot be reshaped to {target.tolist()}")
    return np.where(target == -1, count // max(rest, 1), target)


def constant_array(value: ir.Value) -> NDArray[Any] | None:
    """Return the array of an initializer, None for any other value."""
    return None if value.const_value is None else value.const_value.numpy()


def build_model(graph: ir.Graph, metadata: Mapping[str, str] | None = None) -> ir.Model:
    """Wrap a finished graph into an ONNX model."""
    return ir.Model(graph, ir_version=10, producer_name="windfall", metadata_props=dict(metadata or {}))


def _short(error: Exception) -> str:
    """Return the first line of ONNX's message without the names of its source files."""
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return text.split("] ", 1)[-1]
