"""What every lowering sees of the graph it adds to, whatever kind of model it lowers a part of."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import ArrayLike

from windfall.graph.builder import GraphBuilder
from windfall.graph.shapes import Dim, shape

Value = ir.Value


class GraphContext:
    """The graph being built, with shortcuts for what lowerings do most.

    Attributes:
        graph: The graph being built; ``op`` and its neighbours here are shortcuts to it.
    """

    graph: GraphBuilder

    def op(self, op_type: str, *inputs: Value | None, name: str = "", **attributes: Any) -> Value:
        """Add a node with one output; see ``GraphBuilder.op``."""
        return self.graph.op(op_type, *inputs, name=name, **attributes)

    def ops(self, op_type: str, *inputs: Value | None, outputs: int, **attributes: Any) -> Sequence[Value]:
        """Add a node with several outputs; see ``GraphBuilder.ops``."""
        return self.graph.ops(op_type, *inputs, outputs=outputs, **attributes)

    def constant(self, array: ArrayLike, name: str = "const") -> Value:
        """Add an array as it is."""
        return self.graph.constant(array, name)

    def floats(self, array: ArrayLike, name: str = "const") -> Value:
        """Add numbers as float32, the type of every fractional number in a graph."""
        return self.graph.constant(np.asarray(array, np.float32), name)

    def integers(self, array: ArrayLike, name: str = "const") -> Value:
        """Add numbers as int64, the type of ONNX's shapes, axes and indices."""
        return self.graph.constant(np.asarray(array, np.int64), name)

    def shape(self, value: Value) -> tuple[Dim, ...]:
        """Return a value's shape, None for sizes that are known only at run time."""
        return shape(value)

    def rank(self, value: Value) -> int:
        """Return a value's rank."""
        return len(shape(value))

    def sizes(self, value: Value, start: int = 0, end: int | None = None) -> Value:
        """Return some of a value's sizes as an int64 vector; see ``GraphBuilder.sizes``."""
        return self.graph.sizes(value, start, end)

    def reshape(self, value: Value, *parts: int | Sequence[int] | Value) -> Value:
        """Reshape a value; see ``GraphBuilder.reshape``."""
        return self.graph.reshape(value, *parts)
