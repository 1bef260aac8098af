"""The values of a block by their names in the program, as far as they have been lowered.

Source: ``Block``, ``Operation`` in MIL.proto.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import onnx_ir as ir

from windfall.errors import FormatError
from windfall.graph.builder import GraphBuilder
from windfall.graph.limits import LARGEST_TENSOR
from windfall.graph.shapes import ShapeError, shape
from windfall.lowering.ml_program.arguments import Entry
from windfall.lowering.ml_program.constants import Constant
from windfall.lowering.ml_program.context import OperationContext
from windfall.lowering.ml_program.operators import LOWERINGS
from windfall.lowering.ml_program.types import tensor_type, type_name
from windfall.spec.modelfile import ModelFile

_MOST_NESTED = 16


class Scope:
    """The values that the operations of one block may use.

    A block inside an operation has a scope of its own: it sees those around it, and keeps what it makes.

    Attributes:
        file: The model.
        graph: The graph or subgraph that the operations are added to.
        opset: The version of the operators.
        values: What each name stands for that this block has made, or has been given.
        states: What each state holds now, by its name, as far as this block has written it.
    """

    def __init__(self, file: ModelFile, graph: GraphBuilder, opset: int, around: "Scope | None" = None) -> None:
        self.file = file
        self.graph = graph
        self.opset = opset
        self.values: dict[str, Entry] = {}
        self.states: dict[str, ir.Value] = {}
        self._around = around
        self._depth: int = 0 if around is None else around._depth + 1

    def nested(self, ctx: OperationContext, graph: GraphBuilder) -> "Scope":
        """Return the scope for a block inside an operation of this one.

        Raises:
            LoweringError: It lies in too many others.
        """
        if self._depth >= _MOST_NESTED:
            raise ctx.error("blocks", f"lie in {self._depth} others, must lie in at most {_MOST_NESTED}")
        return Scope(self.file, graph, self.opset, self)

    def find(self, name: str) -> Entry | None:
        """Return what a name stands for, None if there is nothing."""
        return next((scope.values[name] for scope in self._outwards() if name in scope.values), None)

    def find_state(self, name: str) -> ir.Value | None:
        """Return what a state holds now, None if there is no such state."""
        return next((scope.states[name] for scope in self._outwards() if name in scope.states), None)

    def _outwards(self) -> Iterator["Scope"]:
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope._around

    def lower_block(self, block: Any) -> list[ir.Value]:
        """Lower the operations of a block in order, and return its outputs.

        Raises:
            LoweringError: An operation breaks a rule.
            FormatError: An output of the block is made by none of them.
        """
        for operation in block.operations:
            self.lower_operation(operation)
        return [self.value(name) for name in block.outputs]

    def value(self, name: str) -> ir.Value:
        """Return what a name stands for as a value of the graph.

        Raises:
            FormatError: There is nothing of that name.
        """
        found = self.find(name)
        if found is None:
            raise FormatError(
                f"{self.file.name} has no value {name!r}, which a block gives as its output; convert the model again"
            )
        return found.value(self.graph, name) if isinstance(found, Constant) else found

    def lower_operation(self, operation: Any) -> None:
        """Lower one operation and keep its outputs."""
        ctx = OperationContext(operation, self)
        self.graph.prefix = ctx.name
        results = self._run(ctx)
        if len(results) < len(operation.outputs):
            raise ctx.error("outputs", f"must be {len(results)} names", value=len(operation.outputs))
        for output, result in zip(operation.outputs, results, strict=False):
            self._keep(ctx, output, result)

    @staticmethod
    def _run(ctx: OperationContext) -> Sequence[Entry]:
        lowering = LOWERINGS[ctx.operator]
        try:
            result = lowering.function(ctx, **lowering.bind(ctx))
        except ShapeError as error:
            raise ctx.error("arguments", f"do not fit the operator: {error}") from error
        except FormatError as error:
            text = str(error)
            raise (
                error if text.startswith("cannot lower") else ctx.error("arguments", f"are damaged: {text}")
            ) from error
        except (ArithmeticError, LookupError, MemoryError, TypeError, ValueError) as error:
            # Damaged arguments fail in more ways than a lowering can check one by one.
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
            raise ctx.error("arguments", f"have values that the operator cannot have ({reason})") from error
        return [result] if isinstance(result, ir.Value | Constant) else list(result)

    def _keep(self, ctx: OperationContext, output: Any, result: Entry) -> None:
        if not output.name or output.name in self.values:
            raise ctx.error("outputs", "must have a name that no other value has", value=repr(output.name))
        if isinstance(result, ir.Value):
            _check_declared(ctx, output, result)
        self.values[output.name] = result

    def named(self, name: str) -> ir.Value:
        """Return a value under its own name in the graph, as an output of the model."""
        value = self.value(name)
        return value if value.name == name and not value.is_graph_input() else self.graph.rename(value, name)


def _check_declared(ctx: OperationContext, output: Any, value: ir.Value) -> None:
    """Check a value against what the program says of it, and take over the sizes that were not known."""
    declared = tensor_type(output.type)
    if declared is None:
        return
    if value.dtype != declared.graph_type:
        computed = "nothing known" if value.dtype is None else value.dtype.name.lower()
        raise ctx.error("outputs", f"must be {computed}", value=f"declared as {type_name(declared.data_type)}")
    if any(dim is not None and dim > LARGEST_TENSOR for dim in declared.dims):
        raise ctx.error(
            "outputs", f"must have no size above {LARGEST_TENSOR:,}", value=f"declared as {_show(declared.dims)}"
        )
    if value.shape is None:
        value.shape = ir.Shape(declared.dims)
        return
    known, dims = shape(value), declared.dims
    if output.type.WhichOneof("type") == "listType":
        dims = (None, *dims[1:])  # the length declared is the one it was made with; it may have grown
    pairs = list(zip(known, dims, strict=False))
    if len(known) != len(dims) or any(None not in pair and pair[0] != pair[1] for pair in pairs):
        raise ctx.error("outputs", f"must be {_show(known)}", value=f"declared as {_show(dims)}")
    if None in known and value.const_value is None and not value.is_graph_input():
        value.shape = ir.Shape(
            [d if isinstance(s, ir.SymbolicDim) and d else s for s, d in zip(value.shape, dims, strict=True)]
        )


def _show(dims: Sequence[int | None]) -> str:
    return str(["?" if dim is None else dim for dim in dims]).replace("'", "")
