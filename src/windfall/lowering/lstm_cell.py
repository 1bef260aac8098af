"""The computation of an LSTM whose parameters have been read.

ONNX's LSTM does not limit c_t. Where no c_t can reach the limit, as in most models, the layer becomes an LSTM node.
Where that depends on the values of the initial state, both ways are in the graph and these values decide. Else it goes
step by step in a Scan.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from windfall.graph.builder import GraphBuilder
from windfall.graph.shapes import shape
from windfall.lowering.context import GraphContext, Value
from windfall.lowering.recurrence import Activation, fused_attributes


@dataclass(frozen=True)
class LstmCell:
    """The parameters of an LSTM in D directions, D being 1 or 2.

    Attributes:
        size: The size of the state, C below; I is that of an input.
        activations: f, g and h.
        limit: What bounds c_t, None for no limit.
        gate_limit: What bounds the inputs of f and g, None for no limit.
        coupled: Whether the forget gate is 1 - i_t.
        backward: For each direction, whether it begins at the end.
        weights: W, [D, 4*C, I].
        recursion: R, [D, 4*C, C].
        bias: b and as many zeros, [D, 8*C].
        peepholes: p_i, p_o and p_f, [D, 3*C].
    """

    size: int
    activations: Sequence[Activation]
    limit: float | None
    gate_limit: float | None
    coupled: bool
    backward: tuple[bool, ...]
    weights: Value
    recursion: Value
    bias: Value | None
    peepholes: Value | None

    @property
    def direction(self) -> str:
        """The directions as ONNX calls them."""
        if len(self.backward) == 2:
            return "bidirectional"
        return "reverse" if self.backward[0] else "forward"

    @property
    def growth(self) -> float | None:
        """By how much |c_t| can grow in one step, None if that depends on c_t."""
        f, g, _ = self.activations
        positive = f.name in ("Sigmoid", "HardSigmoid")
        gate_limit = math.inf if self.gate_limit is None else self.gate_limit
        of_f, of_g = f.bound(gate_limit), g.bound(gate_limit)
        forget = 1 + of_f if self.coupled and not positive else of_f
        return of_f * of_g if forget <= 1 and math.isfinite(of_g) else None


def compute(ctx: GraphContext, cell: LstmCell, x: Value, h: Value | None, c: Value | None) -> Sequence[Value]:
    """Return what ONNX's LSTM gives, with c_t limited.

    Args:
        ctx: The layer and the graph being built.
        cell: The LSTM.
        x: [Seq, Batch, I].
        h: [D, Batch, C] or None for zeros.
        c: Likewise.

    Returns:
        All outputs in the order of the inputs, [Seq, D, Batch, C]; the last y and the last c, [D, Batch, C].
    """
    fused = cell.limit is None or _limit_is_beyond_reach(ctx, cell, cell.limit, x, c)
    if fused is True or cell.limit is None:
        return _fused(ctx.graph, cell, x, h, c)
    steps = _StepByStep(ctx, cell, cell.limit, x, h, c)
    if fused is False:
        return steps.add_to(ctx.graph)
    at_once, one_by_one = ctx.graph.subgraph("fused"), ctx.graph.subgraph("steps")
    at_once.graph.outputs.extend(_fused(at_once, cell, x, h, c))
    one_by_one.graph.outputs.extend(steps.add_to(one_by_one))
    return ctx.ops("If", fused, outputs=3, then_branch=at_once.graph, else_branch=one_by_one.graph)


def _limit_is_beyond_reach(ctx: GraphContext, cell: LstmCell, limit: float, x: Value, c: Value | None) -> bool | Value:
    """Return whether |c_0| + Seq * growth stays within the limit, as a value where that is known only at run time."""
    steps = ctx.shape(x)[0]
    if cell.growth is None or (steps is not None and steps * cell.growth > limit):
        return False
    if steps is not None:
        if c is None or _bound(c) + steps * cell.growth <= limit:
            return True
        grown = ctx.floats(steps * cell.growth)
    else:
        count = ctx.op("Squeeze", ctx.sizes(x, 0, 1), ctx.integers([0]))
        grown = ctx.op("Mul", ctx.op("Cast", count, to=int(ir.DataType.FLOAT)), ctx.floats(cell.growth))
    if c is not None:
        grown = ctx.op("Add", ctx.op("ReduceMax", ctx.op("Abs", c), keepdims=0), grown)
    return ctx.op("LessOrEqual", grown, ctx.floats(limit))


_PARTS = frozenset({"Expand", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"})


def _bound(x: Value) -> float:
    """Return what the absolute values of a tensor do not exceed; infinity if it is not made of stored ones."""
    pending, seen, bound = [x], {x}, 0.0
    while pending:
        value = pending.pop()
        node = value.producer()
        if node is not None and (node.op_type == "Concat" or node.op_type in _PARTS):
            sources = node.inputs if node.op_type == "Concat" else node.inputs[:1]
            new = {source for source in sources if source is not None} - seen
            pending.extend(new)
            seen |= new
        elif value.const_value is None:
            return math.inf
        else:
            bound = float(np.max(np.abs(value.const_value.numpy()), initial=bound))
    return bound


def _fused(graph: GraphBuilder, cell: LstmCell, x: Value, h: Value | None, c: Value | None) -> Sequence[Value]:
    """Add an LSTM node."""
    inputs = [x, cell.weights, cell.recursion, cell.bias, None, h, c, cell.peepholes]
    while inputs[-1] is None:
        inputs.pop()
    f, g, h_activation = cell.activations
    return graph.ops(
        "LSTM",
        *inputs,
        outputs=3,
        hidden_size=cell.size,
        direction=cell.direction,
        input_forget=int(cell.coupled) or None,
        **fused_attributes([f, g], h_activation, limit=cell.gate_limit, directions=len(cell.backward)),
    )


class _StepByStep:
    """An LSTM as a Scan whose body is one step of all directions.

    It computes with columns, W x rather than x W': so the weights are used as the LSTM node has them, and exist once
    where both are in the graph. C stands for the size of the state, D for the number of directions.
    """

    def __init__(
        self, ctx: GraphContext, cell: LstmCell, limit: float, x: Value, h: Value | None, c: Value | None
    ) -> None:
        self.cell = cell
        self.x, self.h, self.c = x, h, c
        self.clip = None if cell.gate_limit is None else (ctx.floats(-cell.gate_limit), ctx.floats(cell.gate_limit))
        self.limit = ctx.floats(-limit), ctx.floats(limit)
        self.zero, self.one = ctx.floats(0), ctx.floats(1)
        self.first = ctx.integers([1])
        self.state_sizes = ctx.integers([len(cell.backward)]), ctx.sizes(x, 1, 2), ctx.integers([cell.size])
        self.bias_shape = ctx.integers([len(cell.backward), 2, 4 * cell.size, 1])
        self.peephole_shape = ctx.integers([len(cell.backward), 3 * cell.size, 1])

    def add_to(self, graph: GraphBuilder) -> list[Value]:
        """Add the nodes; returns what ``compute`` does."""
        state = [self._columns(graph, self.h), self._columns(graph, self.c)]
        body, directions = graph.subgraph("step"), [int(backward) for backward in self.cell.backward]
        parts, peepholes = self._weighted(graph), self._peepholes(graph)
        finals = graph.ops(
            "Scan",
            *state,
            *parts,
            outputs=2 + len(parts),
            body=self._step(body, peepholes),
            num_scan_inputs=len(parts),
            scan_input_directions=directions,
            # What began at the end is put together from the end, too.
            scan_output_directions=directions,
        )
        # D of [Seq, 1, C, Batch] -> [Seq, D, Batch, C]
        every = graph.op("Transpose", graph.op("Concat", *finals[2:], axis=1), perm=[0, 1, 3, 2])
        return [every, *(graph.op("Transpose", final, perm=[0, 2, 1]) for final in finals[:2])]

    def _columns(self, graph: GraphBuilder, state: Value | None) -> Value:
        """Return a state as [D, C, Batch]."""
        if state is None:
            state = graph.op("Expand", self.zero, graph.op("Concat", *self.state_sizes, axis=0))
        return graph.op("Transpose", state, perm=[0, 2, 1])

    def _weighted(self, graph: GraphBuilder) -> Sequence[Value]:
        """Return W x + b of all steps, [Seq, 1, 4*C, Batch] for each direction."""
        # [Seq, Batch, I] -> [Seq, 1, I, Batch]; [D, 4*C, I] times that -> [Seq, D, 4*C, Batch]
        columns = graph.op("Unsqueeze", graph.op("Transpose", self.x, perm=[0, 2, 1]), self.first)
        weighted = graph.op("MatMul", self.cell.weights, columns)
        if self.cell.bias is not None:
            # [D, 8*C] -> [D, 2, 4*C, 1] -> [D, 4*C, 1]
            bias = graph.op("ReduceSum", graph.op("Reshape", self.cell.bias, self.bias_shape), self.first, keepdims=0)
            weighted = graph.op("Add", weighted, bias)
        count = len(self.cell.backward)
        return graph.ops("Split", weighted, outputs=count, axis=1, num_outputs=count) if count > 1 else [weighted]

    def _step(self, body: GraphBuilder, peepholes: Sequence[Value | None]) -> ir.Graph:
        """Return the graph of one step: (y, c, one part for each direction) to (y, c, y for each direction)."""
        name = body.graph.name
        batch = shape(self.x)[1]
        columns = f"{name}.batch" if batch is None else batch

        def parameter(letter: str, *rows: int) -> Value:
            return body.input(f"{name}.{letter}", ir.DataType.FLOAT, (*rows, columns))

        directions, size = len(self.cell.backward), self.cell.size
        y, c = parameter("y", directions, size), parameter("c", directions, size)
        given = [parameter("x", 1, 4 * size) for _ in range(directions)]
        weighted = body.op("Concat", *given, axis=0) if len(given) > 1 else given[0]
        gates = body.op("Add", weighted, body.op("MatMul", self.cell.recursion, y))
        y, c = self._gates(body, gates, peepholes, c)
        y, c = body.op("Identity", y), body.op("Identity", c)
        every = body.ops("Split", y, outputs=directions, axis=0, num_outputs=directions)
        body.graph.outputs.extend([y, c, *every])
        return body.graph

    def _gates(
        self, body: GraphBuilder, gates: Value, peepholes: Sequence[Value | None], c: Value
    ) -> tuple[Value, Value]:
        """Return y_t and c_t for the four gates before their activations, [D, 4*C, Batch], and c_{t-1}."""
        f, g, h = self.cell.activations
        i, o, forget, z = body.ops("Split", gates, outputs=4, axis=1, num_outputs=4)
        p_i, p_o, p_f = peepholes
        i = self._activate(body, f, i, p_i, c)
        z = self._activate(body, g, z, None, c)
        forget = body.op("Sub", self.one, i) if self.cell.coupled else self._activate(body, f, forget, p_f, c)
        c = body.op("Add", body.op("Mul", c, forget), body.op("Mul", i, z))
        c = body.op("Clip", c, *self.limit)
        o = self._activate(body, f, o, p_o, c)
        return body.op("Mul", h.apply(body, c), o), c

    def _peepholes(self, graph: GraphBuilder) -> Sequence[Value | None]:
        """Return p_i, p_o and p_f, [D, C, 1] each."""
        if self.cell.peepholes is None:
            return None, None, None
        columns = graph.op("Reshape", self.cell.peepholes, self.peephole_shape)
        return graph.ops("Split", columns, outputs=3, axis=1, num_outputs=3)

    def _activate(
        self, body: GraphBuilder, activation: Activation, gate: Value, peephole: Value | None, c: Value
    ) -> Value:
        if peephole is not None:
            gate = body.op("Add", gate, body.op("Mul", peephole, c))
        return activation.apply(body, gate if self.clip is None else body.op("Clip", gate, *self.clip))
