"""Elements in order, and by their places.

Source: ``topk``, ``argsort``, ``non_zero``, ``band_part``, ``cumsum`` in ``tensor_operation.py`` among coremltools'
operator definitions.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import onnx_ir as ir

from windfall.lowering.ml_program.context import OperationContext, Value

_INDEX_TYPES = {"int32": ir.DataType.INT32, "uint16": ir.DataType.UINT16}


def lower_topk(  # noqa: PLR0913, PLR0917 - the operator's own parameters
    ctx: OperationContext,
    x: Value,
    k: int = 1,
    axis: int = -1,
    ascending: bool = False,
    sort: bool = True,
    return_indices: bool = True,
    output_indices_dtype: str = "int32",
) -> Value | Sequence[Value]:
    """Find the k largest elements along an axis, or the k smallest; of equal ones the first.

    Args:
        ctx: The operation and the graph being built.
        x: Any shape with at least one axis; numbers of any type.
        k: How many, or -1 for all of them.
        axis: The axis.
        ascending: Whether the smallest are wanted.
        sort: Whether they must come in order. They always do.
        return_indices: Whether their indices are wanted, too.
        output_indices_dtype: The type of the indices.

    Returns:
        The elements, and their indices: the shape of x with k along the axis.

    Raises:
        LoweringError: ``axis`` is no axis of x, ``k`` is beyond its size, or there is no such type for indices.
    """
    del sort
    if output_indices_dtype not in _INDEX_TYPES:
        allowed = " or ".join(map(repr, _INDEX_TYPES))
        raise ctx.error("output_indices_dtype", f"must be {allowed}", value=repr(output_indices_dtype))
    place = ctx.axis("axis", axis, ctx.rank(x))
    size = ctx.shape(x)[place]
    if k < -1 or (size is not None and k > size):
        raise ctx.error("k", f"must be 0 to {'the size' if size is None else size} of axis {place}, or -1", value=k)
    count = ctx.sizes(x, place, place + 1) if k == -1 else ctx.integers([k])
    values, indices = _sorted(ctx, x, count, place, ascending)
    return [values, ctx.cast(indices, _INDEX_TYPES[output_indices_dtype])] if return_indices else values


def lower_argsort(ctx: OperationContext, x: Value, axis: int = -1, ascending: bool = False) -> Value:
    """Give the indices that sort the elements along an axis; equal ones stay in their order.

    Args:
        ctx: The operation and the graph being built.
        x: Any shape with at least one axis; numbers of any type.
        axis: The axis.
        ascending: Whether the smallest come first.

    Returns:
        int32, the shape of x.

    Raises:
        LoweringError: ``axis`` is no axis of x.
    """
    place = ctx.axis("axis", axis, ctx.rank(x))
    _, indices = _sorted(ctx, x, ctx.sizes(x, place, place + 1), place, ascending)
    indices.shape = x.shape
    return ctx.cast(indices, ir.DataType.INT32)


def _sorted(ctx: OperationContext, x: Value, count: Value, axis: int, ascending: bool) -> tuple[Value, Value]:
    """Return the first of the sorted elements along an axis and their indices."""
    # ONNX Runtime has no TopK of uint16.
    wide = ctx.cast(x, ir.DataType.INT32) if x.dtype == ir.DataType.UINT16 else x
    values, indices = ctx.ops("TopK", wide, count, outputs=2, axis=axis, largest=not ascending)
    assert x.dtype is not None, x
    return ctx.cast(values, x.dtype), indices


def lower_non_zero(ctx: OperationContext, x: Value) -> Value:
    """List the indices of the elements that are not 0.

    Args:
        ctx: The operation and the graph being built.
        x: Any shape and type.

    Returns:
        int32 [N, R], for N such elements of a tensor of rank R.
    """
    # ONNX Runtime has no NonZero of most narrow types.
    kinds = (ir.DataType.FLOAT, ir.DataType.INT32)
    places = ctx.op("NonZero", x if x.dtype in kinds else ctx.cast(x, ir.DataType.BOOL))
    return ctx.cast(ctx.op("Transpose", places, perm=[1, 0]), ir.DataType.INT32)


def lower_band_part(ctx: OperationContext, x: Value, lower: int = -1, upper: int = -1) -> Value:
    """Set all but some diagonals around the main one to 0.

    Args:
        ctx: The operation and the graph being built.
        x: [..., M, N], rank 2 or more; float, int32 or bool.
        lower: How many diagonals below the main one stay; negative for all of them.
        upper: How many above it.

    Returns:
        The same shape.

    Raises:
        LoweringError: The rank is below 2.
    """
    if ctx.rank(x) < 2:
        raise ctx.error("x", "must have rank 2 or more", value=f"of rank {ctx.rank(x)}")
    if lower >= 0:
        x = ctx.op("Trilu", x, ctx.integers(-lower), upper=1)
    return ctx.op("Trilu", x, ctx.integers(upper), upper=0) if upper >= 0 else x


def lower_cumsum(
    ctx: OperationContext, x: Value, axis: int = 0, exclusive: bool = False, reverse: bool = False
) -> Value:
    """Add up the elements along an axis, and keep every sum on the way.

    Args:
        ctx: The operation and the graph being built.
        x: Any shape with at least one axis; float or int32.
        axis: The axis.
        exclusive: Whether an element does not belong to its own sum; the first sum is then 0.
        reverse: Whether the sums start at the end.

    Returns:
        The same shape.

    Raises:
        LoweringError: ``axis`` is no axis of x.
    """
    place = ctx.integers(ctx.axis("axis", axis, ctx.rank(x)))
    return ctx.op("CumSum", x, place, exclusive=exclusive, reverse=reverse)


LOWERINGS: Mapping[str, Callable[..., Any]] = {
    "topk": lower_topk,
    "argsort": lower_argsort,
    "non_zero": lower_non_zero,
    "band_part": lower_band_part,
    "cumsum": lower_cumsum,
}
