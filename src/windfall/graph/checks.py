"""Checks in a graph: a prediction fails, in words, where a value breaks a rule that only the running graph can see."""

import numpy as np
import onnx_ir as ir

from windfall.graph.builder import GraphBuilder
from windfall.graph.rules import CHECKS, MARK


def require(graph: GraphBuilder, value: ir.Value, holds: ir.Value, code: str) -> ir.Value:
    """Return a value as it is; fail at run time where a condition does not hold.

    Nothing in ONNX raises an error, but a Gather whose index is out of range does: its index is the number of elements
    that break the rule, and of the one shape to gather all others are out of range. The node's name has the code.

    Args:
        graph: The graph being built.
        value: What may not be used if the condition does not hold; of any type and of known rank.
        holds: bool, any shape, none of its sizes needs to be known; what is empty holds.
        code: A key of ``CHECKS``.

    Raises:
        KeyError: There is no such code.
    """
    if code not in CHECKS:
        raise KeyError(code)
    wrong = graph.op("Cast", graph.op("Not", holds), to=ir.DataType.INT64)
    count = graph.op("ReduceSum", wrong, keepdims=0)
    # [rank] -> [1, rank] -> [rank]
    sizes = graph.op("Unsqueeze", graph.sizes(value), graph.constant(np.array([0], np.int64)))
    checked = graph.op("Gather", sizes, count, name=f"{MARK}{code}")
    result = graph.op("Reshape", value, checked, allowzero=1)
    # Inference cannot follow it.
    result.shape = value.shape
    return result
