"""Rows that are computed some at a time, so that what lies between does not take much memory."""

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from windfall.graph.builder import GraphBuilder
from windfall.lowering.context import GraphContext, Value

Body = Callable[[GraphContext, Value], Sequence[Value]]


def within(graph: GraphBuilder) -> GraphContext:
    """Return a context for a subgraph."""
    ctx = GraphContext()
    ctx.graph = graph
    return ctx


def in_chunks(ctx: GraphContext, x: Value, most: int, body: Body) -> Sequence[Value]:
    """Compute a function of rows for some of them at a time.

    Chunks have one size, as ONNX asks of what a loop puts together: the last one is filled up with zeros.

    Args:
        ctx: The graph being built.
        x: [rows, *dims]; dims must be known.
        most: How many rows a chunk may have, at least 1.
        body: What computes the chunk [n, *dims] in its own graph; gives tensors [n, *dims] with known dims.

    Returns:
        What ``body`` gives, for all rows: [rows, *dims] each.
    """
    rows = ctx.sizes(x, 0, 1)
    times = _ceiling(ctx, rows, ctx.integers([most]))
    size = _ceiling(ctx, rows, ctx.op("Max", times, ctx.integers([1])))
    total = ctx.op("Mul", times, size)
    pads = ctx.op("Concat", ctx.integers([0]), ctx.op("Sub", total, rows), axis=0)
    zero = ctx.constant(np.zeros((), x.dtype.numpy()))  # type: ignore[union-attr]
    padded = ctx.op("Pad", x, pads, zero, ctx.integers([0]))
    graph = ctx.graph.subgraph("chunk")
    iteration, going = graph.input("iteration", ir.DataType.INT64, ()), graph.input("going", ir.DataType.BOOL, ())
    inner = within(graph)
    start = inner.op("Mul", iteration, size)
    part = inner.op("Slice", padded, start, inner.op("Add", start, size), inner.integers([0]))
    part.shape = ir.Shape([None, *x.shape[1:]])  # type: ignore[index]
    results = body(inner, part)
    for value in (going, *results):
        graph.add_result(value)
    shapes = [ir.Shape([None, *value.shape]) for value in results]  # type: ignore[misc]
    outputs = [(value.dtype or ir.DataType.FLOAT, dims) for value, dims in zip(results, shapes, strict=True)]
    stacked = ctx.graph.control(
        "Loop", [ctx.reshape(times, ()), ctx.constant(np.array(True))], {"body": graph}, outputs
    )
    # [chunks, n, *dims] -> [rows, *dims]
    merged = [ctx.reshape(value, total, ctx.sizes(value, 2)) for value in stacked]
    return [ctx.op("Slice", value, ctx.integers([0]), rows, ctx.integers([0])) for value in merged]


def _ceiling(ctx: GraphContext, above: Value, below: Value) -> Value:
    """Return above / below, rounded up."""
    return ctx.op("Div", ctx.op("Sub", ctx.op("Add", above, below), ctx.integers([1])), below)
