"""Entries written to places that a tensor of indices names.

Source: ``scatter``, ``scatter_along_axis``, ``scatter_nd`` in ``scatter_gather.py`` among coremltools' operator
definitions. Several updates of one place all count, or the last one with ``update``.

Up to iOS 16 negative indices count from the end, and one beyond its axis makes a prediction fail. From iOS 17 on both
are beyond the axis. They make a prediction fail with ``validate_indices``; without, what happens is undefined:
``scatter`` and ``scatter_nd`` leave the update out, and ``scatter_along_axis`` does as before.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from windfall.graph.shapes import Dim
from windfall.lowering.ml_program.context import OperationContext, Value
from windfall.lowering.ml_program.gathering import check_same, points, validated
from windfall.lowering.scattering import MODES, part_numbers, scatter_parts, scatter_rows

_IOS17 = 7


def lower_scatter(
    ctx: OperationContext,
    data: Value,
    indices: Value,
    updates: Value,
    axis: int = 0,
    mode: str = "add",
    validate_indices: bool = False,
) -> Value:
    """Combine entries of one axis with updates.

    Args:
        ctx: The operation and the graph being built.
        data: [*before, D, *after] with D at ``axis``; float or int32.
        indices: Whole numbers, [N].
        updates: [*before, N, *after].
        axis: The axis.
        mode: update, add, sub, mul, div, max or min.
        validate_indices: Whether an index that is not 0 to D - 1 makes a prediction fail.

    Returns:
        The shape of ``data``.

    Raises:
        LoweringError: ``axis`` is no axis of ``data``, there is no such mode, a shape does not fit, or an index that is
            known and to be validated is no index of the axis.
    """
    place, dims = ctx.axis("axis", axis, ctx.rank(data)), ctx.shape(data)
    _check_mode(ctx, mode)
    check_same(ctx, "indices", ctx.shape(indices), [None])
    check_same(ctx, "updates", ctx.shape(updates), [*dims[:place], *ctx.shape(indices), *dims[place + 1 :]])
    if validate_indices:
        indices = validated(ctx, indices, [dims[place]])
    numbers = ctx.cast(indices, ir.DataType.INT64)
    if not validate_indices and _may_leave(ctx, numbers, [dims[place]]):
        numbers, updates = _inside(ctx, numbers, updates, place, ctx.sizes(data, place, place + 1))
    return scatter_rows(ctx, mode, data, numbers, updates, place)


def lower_scatter_along_axis(
    ctx: OperationContext,
    data: Value,
    indices: Value,
    updates: Value,
    axis: int = 0,
    mode: str = "add",
    validate_indices: bool = False,
) -> Value:
    """Combine entries of one axis with updates, others for each position along the other axes.

    Args:
        ctx: The operation and the graph being built.
        data: Any shape with at least one axis; float or int32.
        indices: Whole numbers; the same shape but for ``axis``.
        updates: The shape of ``indices``.
        axis: The axis.
        mode: update, add, sub, mul, div, max or min.
        validate_indices: Whether an index that is below 0 makes a prediction fail.

    Returns:
        The shape of ``data``.

    Raises:
        LoweringError: ``axis`` is no axis of ``data``, there is no such mode, a shape does not fit, or an index that is
            known and to be validated is no index of the axis.
    """
    place, dims = ctx.axis("axis", axis, ctx.rank(data)), ctx.shape(data)
    _check_mode(ctx, mode)
    check_same(ctx, "indices", ctx.shape(indices), [*dims[:place], None, *dims[place + 1 :]])
    check_same(ctx, "updates", ctx.shape(updates), ctx.shape(indices))
    if validate_indices:
        indices = validated(ctx, indices, [dims[place]])
    return MODES[mode](ctx, data, ctx.cast(indices, ir.DataType.INT64), updates, place)


def lower_scatter_nd(
    ctx: OperationContext,
    data: Value,
    indices: Value,
    updates: Value,
    mode: str = "add",
    validate_indices: bool = False,
) -> Value:
    """Combine the entries, or parts, of a tensor that vectors of indices name with updates.

    Args:
        ctx: The operation and the graph being built.
        data: [D_0, .., D_(r-1)]; float or int32.
        indices: Whole numbers, [*points, k] with k at most r.
        updates: [*points, D_k, .., D_(r-1)].
        mode: update, add, sub, mul, div, max or min.
        validate_indices: Whether an index beyond its axis makes a prediction fail.

    Returns:
        The shape of ``data``.

    Raises:
        LoweringError: k is not 1 to r, there is no such mode, a shape does not fit, or
            an index that is known and to be validated is beyond its axis.
    """
    _check_mode(ctx, mode)
    indices, size = points(ctx, indices, ctx.rank(data), ctx.rank(updates) - ctx.rank(indices) + 1)
    dims, lead = ctx.shape(data), ctx.shape(indices)[:-1]
    check_same(ctx, "updates", ctx.shape(updates), [*lead, *dims[size:]])
    leaves = not validate_indices and _may_leave(ctx, indices, dims[:size])
    if validate_indices:
        indices = validated(ctx, indices, dims[:size])
    named = ctx.reshape(ctx.cast(indices, ir.DataType.INT64), -1, size)
    numbers = part_numbers(ctx, data, named, size, from_end=ctx.opset < _IOS17)
    rows = ctx.op("Flatten", updates, axis=len(lead))  # [N, D_k * ..]
    if leaves:
        numbers, rows = _inside(ctx, numbers, rows, 0, ctx.op("ReduceProd", ctx.sizes(data, 0, size)))
    return scatter_parts(ctx, mode, data, numbers, rows, size)


def _check_mode(ctx: OperationContext, mode: str) -> None:
    if mode not in MODES:
        raise ctx.error("mode", f"must be one of {', '.join(MODES)}", value=repr(mode))


def _may_leave(ctx: OperationContext, indices: Value, sizes: Sequence[Dim]) -> bool:
    """Whether an index may be one that is left out: below 0, or not below the size of its axis, from iOS 17 on."""
    known = ctx.known(indices)
    if ctx.opset < _IOS17 or known is None or None in sizes:
        return ctx.opset >= _IOS17
    return bool(((known < 0) | (known >= np.array(sizes))).any())


def _inside(ctx: OperationContext, numbers: Value, rows: Value, axis: int, end: Value) -> tuple[Value, Value]:
    """Leave out the updates whose number is not 0 to end - 1.

    Args:
        ctx: The operation and the graph being built.
        numbers: int64 [N].
        rows: [*before, N, *after] with N at ``axis``.
        axis: The axis.
        end: int64 [1].
    """
    least = ctx.op("GreaterOrEqual", numbers, ctx.integers(0))
    kept = ctx.op("And", least, ctx.op("Less", numbers, end))
    return ctx.op("Compress", numbers, kept, axis=0), ctx.op("Compress", rows, kept, axis=axis)


LOWERINGS: Mapping[str, Callable[..., Any]] = {
    "scatter": lower_scatter,
    "scatter_along_axis": lower_scatter_along_axis,
    "scatter_nd": lower_scatter_nd,
}
