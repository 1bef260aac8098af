"""Blocks inside operations: branches and loops.

Source: ``cond`` and ``while_loop`` among coremltools' operator definitions (``control_flow.py``).

A state that a block writes becomes one more output of the branch or the loop.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from windfall.graph.limits import MOST_ITERATIONS
from windfall.graph.shapes import common_shape
from windfall.lowering.limits import within_limit
from windfall.lowering.ml_program.constants import Constant
from windfall.lowering.ml_program.context import OperationContext, Value
from windfall.spec.programs import state_outputs

if TYPE_CHECKING:
    from windfall.lowering.ml_program.scope import Scope


def lower_const(ctx: OperationContext, val: Constant) -> Constant:
    """Hold a value; nothing is computed.

    Args:
        ctx: The operation and the graph being built.
        val: The value, an attribute of the operation.
    """
    del ctx
    return val


def lower_cond(ctx: OperationContext, pred: Value) -> Sequence[Value]:
    """Compute one of two blocks.

    Args:
        ctx: The operation and the graph being built.
        pred: bool, rank 0: whether it is the first block.

    Returns:
        The outputs of the block that was computed.

    Raises:
        LoweringError: There are not two blocks with the same number of outputs.
    """
    blocks = _blocks(ctx)
    scopes = [ctx.scope.nested(ctx, ctx.graph.subgraph(name)) for name in ("then", "else")]
    results = [scope.lower_block(block) for scope, block in zip(scopes, blocks, strict=True)]
    ctx.graph.prefix = ctx.name
    if len({len(outputs) for outputs in results}) > 1:
        raise ctx.error("blocks", f"have {len(results[0])} and {len(results[1])} outputs, must have the same number")
    states = dict.fromkeys(name for scope in scopes for name in scope.states)
    for scope, outputs in zip(scopes, results, strict=True):
        outputs += [_state(ctx, scope, name) for name in states]
        for output in outputs:
            scope.graph.add_result(output)
    chosen = _branch(ctx, pred, scopes, results)
    count = len(chosen) - len(states)
    ctx.scope.states.update(zip(states, chosen[count:], strict=True))
    return chosen[:count]


def _branch(
    ctx: OperationContext, pred: Value, scopes: Sequence["Scope"], results: Sequence[Sequence[Value]]
) -> Sequence[Value]:
    pairs = list(zip(*results, strict=True))
    for index, (one, other) in enumerate(pairs):
        if one.dtype != other.dtype:
            raise ctx.error("blocks", f"give different types as output {index + 1}, must give the same")
    return ctx.graph.control(
        "If",
        [ctx.reshape(pred, ())],
        {"then_branch": scopes[0].graph, "else_branch": scopes[1].graph},
        [(one.dtype or ir.DataType.FLOAT, common_shape(one.shape, other.shape)) for one, other in pairs],
    )


def _blocks(ctx: OperationContext) -> Sequence[Any]:
    blocks = ctx.operation.blocks
    if len(blocks) != 2:
        raise ctx.error("blocks", "must be 2", value=len(blocks))
    return list(blocks)


def _state(ctx: OperationContext, scope: "Scope", name: str) -> Value:
    value = scope.find_state(name)
    if value is None:
        raise ctx.error("blocks", "must write states of the model", value=f"writing {name!r}")
    return value


def lower_while_loop(ctx: OperationContext, loop_vars: Sequence[Value]) -> Sequence[Value]:
    """Compute a block as long as another one says so.

    Args:
        ctx: The operation and the graph being built.
        loop_vars: The values at the start, one for each input of the blocks.

    Returns:
        The values at the end.

    Raises:
        LoweringError: There are not two blocks of one input for each loop variable, the first gives no condition, or
            the second writes what is no state.
    """
    return _Loop(ctx, loop_vars).lower()


class _Loop:
    """A loop that is being lowered; its states are carried as if they were loop variables."""

    def __init__(self, ctx: OperationContext, start: Sequence[Value]) -> None:
        self.ctx = ctx
        self.condition, self.body = _blocks(ctx)
        self.count = len(start)
        self.names = [[block_input.name for block_input in block.inputs] for block in (self.condition, self.body)]
        for names in self.names:
            if len(names) != self.count:
                raise ctx.error("blocks", f"have {len(names)} inputs, must have one for each of {self.count} loop_vars")
        if len(self.condition.outputs) != 1 or len(self.body.outputs) != self.count:
            raise ctx.error("blocks", "must give one condition, and a value for each loop variable")
        self.states = state_outputs(self.body)
        self.start = [*start, *(_state(ctx, ctx.scope, name) for name in self.states)]

    def lower(self) -> Sequence[Value]:
        """Add the Loop node and return the values at the end."""
        ctx = self.ctx
        goes_on = self._condition(ctx.scope.nested(ctx, ctx.graph), self.start)
        body, shapes = self._settle([value.shape for value in self.start])
        trips = ctx.integers(MOST_ITERATIONS + 1)
        types = [(value.dtype or ir.DataType.FLOAT, dims) for value, dims in zip(self.start, shapes, strict=True)]
        outputs = ctx.graph.control("Loop", [trips, goes_on, *self.start], {"body": body}, types)
        ctx.scope.states.update(zip(self.states, outputs[self.count :], strict=True))
        return outputs[: self.count]

    def _condition(self, scope: "Scope", values: Sequence[Value]) -> Value:
        """Lower the condition for some values of the loop variables."""
        self._enter(scope, self.names[0], values)
        (result,) = scope.lower_block(self.condition)
        scope.graph.prefix = self.ctx.name
        return scope.graph.reshape(result, ())

    def _enter(self, scope: "Scope", names: Sequence[str], values: Sequence[Value]) -> None:
        scope.values.update(zip(names, values[: self.count], strict=True))
        scope.states.update(zip(self.states, values[self.count :], strict=True))

    def _settle(self, shapes: Sequence[ir.Shape | None]) -> tuple[Any, Sequence[ir.Shape | None]]:
        """Lower the body, anew while a shape does not stay as it was; returns its graph and the shapes that stay."""
        while True:
            graph, after = self._lower_body(shapes)
            stay = [common_shape(one, other) for one, other in zip(shapes, after, strict=True)]
            if stay == list(shapes):
                return graph, shapes
            graph.discard()
            shapes = stay

    def _lower_body(self, shapes: Sequence[ir.Shape | None]) -> tuple[Any, list[ir.Shape | None]]:
        ctx = self.ctx
        graph = ctx.graph.subgraph("body")
        prefix = graph.graph.name
        iteration = graph.input(f"{prefix}:iteration", ir.DataType.INT64, [])
        graph.input(f"{prefix}:condition", ir.DataType.BOOL, [])
        values = [
            graph.input(f"{prefix}:{index}", value.dtype or ir.DataType.FLOAT, dims)
            for index, (value, dims) in enumerate(zip(self.start, shapes, strict=True))
        ]
        scope = ctx.scope.nested(ctx, graph)
        self._enter(scope, self.names[1], values)
        results = [*scope.lower_block(self.body), *(_state(ctx, scope, name) for name in self.states)]
        self._check_types(results)
        goes_on = self._condition(scope.nested(ctx, graph), results)
        limit = within_limit(graph, iteration, MOST_ITERATIONS)
        graph.add_result(graph.op("And", goes_on, limit))
        for result in results:
            graph.add_result(result)
        return graph, [result.shape for result in results]

    def _check_types(self, results: Sequence[Value]) -> None:
        for index, (before, after) in enumerate(zip(self.start, results, strict=True)):
            if before.dtype != after.dtype:
                raise self.ctx.error("blocks", f"change the type of loop variable {index + 1}, must keep it")


LOWERINGS: Mapping[str, Callable[..., Any]] = {
    "const": lower_const,
    "cond": lower_cond,
    "while_loop": lower_while_loop,
}
