"""Loops of a finished graph: their variables, how often they run, and what is left when they are gone."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from onnx.shape_inference import InferenceError

from windfall.graph.inference import infer
from windfall.passes.nodes import dims_of
from windfall.passes.steps import Steps

_MOST_VARIABLES = 16
"""Loops of more variables are not looked at; the graph may be a hostile one."""
_ZERO, _TRUE = np.zeros((1, 1), np.int64), np.ones((1, 1), np.bool_)


@dataclass(frozen=True)
class Variable:
    """A variable of a loop.

    Attributes:
        first: What it is before the loop.
        before: What it is at the beginning of a step.
        after: What it is at the end of one.
        last: What it is after the loop.
    """

    first: ir.Value | None
    before: ir.Value
    after: ir.Value
    last: ir.Value

    @property
    def is_used(self) -> bool:
        """Whether anything uses what it is after the loop."""
        return bool(self.last.uses()) or self.last.is_graph_output()


def body_of(loop: ir.Node) -> ir.Graph:
    """Return what a loop does in a step."""
    return loop.attributes["body"].as_graph()


def variables_of(loop: ir.Node) -> Sequence[Variable]:
    """Return the variables of a loop; none if it also collects results, or there are very many."""
    body = body_of(loop)
    if len(loop.inputs) != len(loop.outputs) + 2 or len(loop.outputs) > _MOST_VARIABLES:
        return []
    ends = (loop.inputs[2:], body.inputs[2:], body.outputs[1:], loop.outputs)
    return [Variable(*each) for each in zip(*ends, strict=True)]


def steps_of(loop: ir.Node, count: int, lengths: Mapping[ir.Value, int]) -> Steps:
    """Return the steps of a loop, by all variables that count them.

    Args:
        loop: The loop.
        count: How many steps it may take.
        lengths: See ``Steps``.
    """
    counters = [body_of(loop).inputs[0]]
    for each in variables_of(loop):
        steps = Steps(count, lengths, [each.before])
        if each.before.dtype is not None and steps.equals(each.first, _ZERO) and steps.is_counting(each.after, 1):
            counters.append(each.before)
    return Steps(count, lengths, counters)


def takes(loop: ir.Node, steps: Steps) -> bool:
    """Whether a loop takes just these steps."""
    most, starts = loop.inputs[:2]
    goes_on = np.arange(1, steps.count + 1)[:, None] < steps.count
    limit = steps.numbers(most)
    return (
        (most is None or (limit is not None and bool(np.all(limit >= steps.count))))
        and (starts is None or steps.equals(starts, _TRUE))
        and steps.equals(body_of(loop).outputs[0], goes_on)
    )


def take_apart(loop: ir.Node) -> None:
    """Let a loop that is not needed any longer use nothing."""
    body = body_of(loop)
    body.outputs.clear()
    for node in ir.traversal.RecursiveGraphIterator(body):
        for index in range(len(node.inputs)):
            node.replace_input_with(index, None)


def learn_shapes(graph: ir.Graph) -> None:
    """Set the shapes that were not known behind a loop, and are where another node has taken its place."""
    for node in graph:
        is_plain = node.domain == "" and node.op_type not in ("If", "Loop", "Scan")
        unknown = [output for output in node.outputs if is_plain and dims_of(output) is None]
        if unknown and all(value is None or dims_of(value) is not None for value in node.inputs):
            before = [output.shape for output in unknown]
            # What does not fit is to fail where it is run, as it would without this.
            with suppress(InferenceError):
                infer(node, graph.opset_imports)
            for output, shape in zip(unknown, before, strict=True):
                output.shape = shape if dims_of(output) is None else output.shape
