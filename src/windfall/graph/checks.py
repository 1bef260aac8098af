"""Checks in a graph: a prediction fails, in words, where a value breaks a rule that only the running graph can see."""

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from windfall.graph.builder import GraphBuilder

MARK = "check_"
"""In the name of the node that fails, before the check's code."""

CHECKS: Mapping[str, str] = {
    "category": "has an input that is none of its categories, must be one of them, as handleUnknown is ErrorOnUnknown",
    "mapping": "has an input that its map does not contain; give one that it has, or set a value for unknown inputs",
    "integer": "gives a number that int64 cannot hold without loss; round the input, or declare the output as Double",
    "index": "has a dictionary with an index that is below 0 or beyond its inputDimensions, must be 0 to the last",
    "missing": "has an input that is missing and that has no value in its place; give the input",
    "overlap": "has an IoU threshold that is not 0 to 1; give one from 0 to 1",
    "confidence": "has a confidence threshold that is below 0 or no number; give one of at least 0",
    "recommendations": "has a number of recommendations below 0, must be at least 0",
    "sampling": "has a samplingScale or a samplingTruncation below 0, must be at least 0",
}
"""What is wrong, by the check's code; it follows the name of the model or layer."""


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
