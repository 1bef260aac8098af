"""Loops that may not end."""

import numpy as np
import onnx_ir as ir

from windfall.graph.builder import GraphBuilder
from windfall.graph.limits import ITERATIONS_MARK


def within_limit(body: GraphBuilder, iteration: ir.Value, most: int) -> ir.Value:
    """Return true; fail in the iteration after the last that is allowed.

    Nothing in ONNX raises an error, but a Gather whose index is out of range does. Its name says which it is.

    Args:
        body: The subgraph of the loop's body.
        iteration: int64, rank 0: the number of the iteration.
        most: How many there may be.
    """
    last = body.constant(np.asarray(most, np.int64))
    beyond = body.op("Cast", body.op("Equal", iteration, last), to=ir.DataType.INT64)
    name = f"{ITERATIONS_MARK.removeprefix('.')}{most}"
    return body.op("Gather", body.constant(np.array([True])), beyond, name=name)
