"""Whole numbers in a graph: sizes, axes and indices, which ONNX wants as int64."""

import numpy as np
from numpy.typing import NDArray

from windfall.lowering.context import GraphContext, Value

# Larger constants are no shapes or indices that are worth reading ahead.
_LARGEST_KNOWN = 4096
# Fractional numbers from here on, and those that are none, do not fit into int64.
_BEYOND = 2.0**63


def known_numbers(x: Value) -> NDArray[np.int64] | None:
    """Return the whole numbers in a small stored tensor, also under a name of the model; None for other values."""
    node = x.producer()
    while node is not None and node.op_type == "Identity" and node.inputs[0] is not None:
        x = node.inputs[0]
        node = x.producer()
    if x.const_value is None or x.const_value.size > _LARGEST_KNOWN:
        return None
    numbers = x.const_value.numpy()
    return numbers.astype(np.int64) if np.all(np.abs(numbers) < _BEYOND) else None


def counted(ctx: GraphContext, count: int) -> Value:
    """Return 0 to ``count`` - 1; by a node, whose size is checked before there is anything so large."""
    return ctx.op("Range", *(ctx.integers(number) for number in (0, count, 1)))
