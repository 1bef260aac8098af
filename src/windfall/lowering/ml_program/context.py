"""What a lowering sees of the operation it lowers and of the graph it adds to."""

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from windfall.errors import LoweringError
from windfall.graph.builder import GraphBuilder
from windfall.lowering.context import GraphContext, Value
from windfall.lowering.ml_program.constants import Constant
from windfall.lowering.ml_program.types import TensorType, tensor_type
from windfall.spec.modelfile import ModelFile
from windfall.text import one_line

if TYPE_CHECKING:
    from windfall.lowering.ml_program.scope import Scope

__all__ = ["Array", "Constant", "Ints", "OperationContext", "Value"]

Ints = tuple[int, ...]
"""A parameter that is a vector of integers, known before the program runs."""
Array = NDArray[Any]
"""A parameter of any shape, known before the program runs."""


class OperationContext(GraphContext):
    """One operation and the graph being built.

    Attributes:
        operation: The ``Operation`` message.
        operator: Its type, e.g. ``conv``.
        file: The model that it is part of.
        graph: The graph being built; ``op`` and its neighbours here are shortcuts to it.
        scope: The values that the operation may use; only operations that hold blocks look at it.
    """

    def __init__(self, operation: Any, scope: "Scope") -> None:
        self.operation = operation
        self.operator: str = operation.type
        self.scope = scope
        self.file: ModelFile = scope.file
        self.graph: GraphBuilder = scope.graph
        self.name = operation_name(operation)

    @property
    def opset(self) -> int:
        """The version of the program's operators: 5 for CoreML5, the one of iOS 15, and so on."""
        return self.scope.opset

    def declared(self, index: int = 0) -> TensorType:
        """Return what the program says of one of the operation's outputs.

        Raises:
            LoweringError: It says nothing, or the output is no tensor of known rank.
        """
        outputs = self.operation.outputs
        found = tensor_type(outputs[index].type) if index < len(outputs) else None
        if found is None or found.graph_type is None:
            raise self.error("outputs", f"must declare a tensor of known rank as number {index + 1}", value=None)
        return found

    @property
    def graph_type(self) -> ir.DataType:
        """The type in the graph of the first output as it is declared."""
        return self.declared().graph_type or ir.DataType.FLOAT

    def known(self, value: Value) -> Array | None:
        """Return a value's elements where they are known before the program runs, else None."""
        return None if value.const_value is None else value.const_value.numpy()

    def cast(self, value: Value, dtype: ir.DataType) -> Value:
        """Convert a value; free where it is of that type already, or is known."""
        if value.dtype == dtype:
            return value
        known = self.known(value)
        if known is not None:
            with np.errstate(over="ignore", invalid="ignore"):  # numbers that the type cannot hold are the model's own
                return self.constant(known.astype(dtype.numpy()), "cast")
        return self.op("Cast", value, to=dtype)

    def axis(self, argument: str, axis: int, rank: int) -> int:
        """Return an axis counted from the front.

        Raises:
            LoweringError: There is no such axis.
        """
        if not -rank <= axis < rank:
            raise self.error(argument, f"must be {-rank} to {rank - 1}", value=axis)
        return axis % rank

    def scalar(self, number: float, like: Value) -> Value:
        """Add a number of the type of another value."""
        assert like.dtype is not None, like
        return self.constant(np.asarray(number, like.dtype.numpy()))

    def error(self, argument: str, rule: str, value: object = ...) -> LoweringError:
        """Return the error for an argument that breaks a rule.

        Args:
            argument: Its name in the operator's definition.
            rule: What is wrong, e.g. "must be at least 2".
            value: The value it has; None or left out to say nothing of it.
        """
        shown = "" if value is None or value is ... else f" is {one_line(value, 60)},"
        return LoweringError(
            f"cannot lower operation {self.name!r} ({self.operator}) of {self.file.name}: "
            f"{one_line(argument, 60)}{shown} {rule}"
        )


def operation_name(operation: Any) -> str:
    """Return what an operation is called: by its first output, or by its attribute where it has none."""
    if operation.outputs:
        return str(operation.outputs[0].name)
    given = operation.attributes["name"].immediateValue.tensor.strings.values if "name" in operation.attributes else []
    return str(given[0]) if given else str(operation.type)
