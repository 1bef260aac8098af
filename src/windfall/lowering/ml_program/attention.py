"""Attention.

Source: ``transformers.py`` (iOS 18) among coremltools' operator definitions.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from windfall.lowering.ml_program.context import OperationContext, Value

_LOWEST = np.finfo(np.float32).min


def lower_scaled_dot_product_attention(
    ctx: OperationContext, query: Value, key: Value, value: Value, attn_mask: Value | None = None
) -> Value:
    """Compute softmax(query * transpose(key) / sqrt(E) + mask) * value, the softmax along the last axis.

    Where a mask lets a query see nothing, the result is zeros, as with PyTorch, which the operator comes from.

    Args:
        ctx: The operation and the graph being built.
        query: float [*batch, L, E], rank 3 or more.
        key: float [*batch, S, E].
        value: float [*batch, S, V].
        attn_mask: Can be broadcast to [*batch, L, S]; bool, false for what a query must not see, or float, added.

    Returns:
        [*batch, L, V].

    Raises:
        LoweringError: The ranks or sizes do not fit each other.
    """
    _check(ctx, query, key, value, attn_mask)
    rank = ctx.rank(query)
    swapped = ctx.op("Transpose", key, perm=[*range(rank - 2), rank - 1, rank - 2])
    scores = ctx.op("MatMul", ctx.op("Mul", query, _scale(ctx, query, key)), swapped, name="scores")
    if attn_mask is None:
        return ctx.op("MatMul", ctx.op("Softmax", scores, axis=-1), value)
    complete = _is_complete(ctx, attn_mask)
    if attn_mask.dtype == ir.DataType.BOOL:
        scores = ctx.op("Where", attn_mask, scores, ctx.floats(_LOWEST))
    else:
        scores = ctx.op("Add", scores, attn_mask)
    attended = ctx.op("MatMul", ctx.op("Softmax", scores, axis=-1), value)
    return attended if complete else _cleared(ctx, attended, attn_mask)


def _is_complete(ctx: OperationContext, mask: Value) -> bool:
    """Tell whether it is known that every query sees something."""
    known = ctx.known(mask)
    if known is None:
        return False
    seen = known if known.dtype == np.bool_ else known > -np.inf
    return bool(seen.any(axis=-1).all())


def _scale(ctx: OperationContext, query: Value, key: Value) -> Value:
    """Return 1 / sqrt(E)."""
    size = next((dim for dim in (ctx.shape(query)[-1], ctx.shape(key)[-1]) if dim is not None), None)
    if size is not None:
        return ctx.floats(1 / math.sqrt(max(size, 1)))
    last = ctx.cast(ctx.sizes(query, ctx.rank(query) - 1), ir.DataType.FLOAT)
    return ctx.op("Reciprocal", ctx.op("Sqrt", last))


def _cleared(ctx: OperationContext, attended: Value, mask: Value) -> Value:
    """Return zeros for queries that see nothing, for which the softmax gave a mean or NaN."""
    seen = mask if mask.dtype == ir.DataType.BOOL else ctx.op("Greater", mask, ctx.floats(-np.inf))
    # Of whole numbers: engines do not take the maximum of bool. [.., S] -> [.., 1]
    flags = ctx.op("ReduceMax", ctx.cast(seen, ir.DataType.INT32), ctx.integers([-1]))
    return ctx.op("Where", ctx.cast(flags, ir.DataType.BOOL), attended, ctx.floats(0))


def _check(ctx: OperationContext, query: Value, key: Value, value: Value, mask: Value | None) -> None:
    dims = [ctx.shape(x) for x in (query, key, value)]
    if len({len(shape) for shape in dims}) > 1 or len(dims[0]) < 3:
        ranks = "of rank {}, key of {} and value of {}".format(*map(len, dims))
        raise ctx.error("query", "must all have the same rank of 3 or more", value=ranks)
    pairs = [("key", "E", dims[1][-1], dims[0][-1]), ("value", "S", dims[2][-2], dims[1][-2])]
    pairs += [("key", "batch", *pair) for pair in zip(dims[1][:-2], dims[0][:-2], strict=True)]
    pairs += [("value", "batch", *pair) for pair in zip(dims[2][:-2], dims[0][:-2], strict=True)]
    if mask is not None:
        if not 1 <= ctx.rank(mask) <= len(dims[0]):
            raise ctx.error("attn_mask", f"must have rank 1 to {len(dims[0])}", value=f"of rank {ctx.rank(mask)}")
        wanted = (*dims[0][:-1], dims[1][-2])[-ctx.rank(mask) :]
        pairs += [
            ("attn_mask", "[*batch, L, S]", *pair) for pair in zip(ctx.shape(mask), wanted, strict=True) if pair[0] != 1
        ]
    for argument, what, have, want in pairs:
        if None not in (have, want) and have != want:
            raise ctx.error(argument, f"must fit the others in {what}, which is {want}", value=f"of size {have} there")


LOWERINGS: Mapping[str, Callable[..., Any]] = {
    "scaled_dot_product_attention": lower_scaled_dot_product_attention,
}
