"""Columns of a stored matrix, looked up by their indices."""

import numpy as np

from windfall.lowering.neural_network.context import LayerContext, Value


def look_up_columns(ctx: LayerContext, c_out: int, count: int, indices: Value) -> Value:
    """Look up columns of ``weights``, and add ``bias``.

    Args:
        ctx: A layer with these fields, and ``hasBias``.
        c_out: The size of a column.
        count: The number of columns.
        indices: int64 [*points], 0 to ``count`` - 1.

    Returns:
        [*points, c_out].

    Raises:
        LoweringError: A weight does not fit.
    """
    if ctx.is_quantized("weights"):
        # A bias in the table would be different numbers, which it could no longer be stored as.
        rows = ctx.op("Gather", ctx.columns("weights", (c_out, count)), indices, axis=0)
        return ctx.op("Add", rows, ctx.constant(ctx.weights("bias", (c_out,)))) if ctx.params.hasBias else rows
    table = ctx.weights("weights", (c_out, count)).T
    if ctx.params.hasBias:
        table = table + ctx.weights("bias", (c_out,))
    return ctx.op("Gather", ctx.constant(np.ascontiguousarray(table), "table"), indices, axis=0)
