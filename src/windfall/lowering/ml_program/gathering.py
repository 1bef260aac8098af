"""Entries read from places that a tensor of indices names.

Source: ``gather``, ``gather_along_axis``, ``gather_nd`` in ``scatter_gather.py`` among coremltools' operator
definitions.

An index beyond its axis makes a prediction fail. Negative ones count from the end; from iOS 17 on they are undefined,
and with ``validate_indices`` they make a prediction fail, too.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from windfall.graph.shapes import Dim
from windfall.lowering.ml_program.context import OperationContext, Value

_INDEX_TYPES = (ir.DataType.INT32, ir.DataType.INT64)
_LARGEST_FOLDED = 4096


def lower_gather(
    ctx: OperationContext,
    x: Value,
    indices: Value,
    axis: int = 0,
    batch_dims: int = 0,
    validate_indices: bool = False,
) -> Value:
    """Take entries of one axis, others for each position along the first ``batch_dims`` axes.

    Args:
        ctx: The operation and the graph being built.
        x: [*batch, *before, D, *after] with D at ``axis``, any type.
        indices: Whole numbers, [*batch, *points].
        axis: The axis.
        batch_dims: The number of axes that both start with.
        validate_indices: Whether negative indices make a prediction fail.

    Returns:
        [*batch, *before, *points, *after].

    Raises:
        LoweringError: ``axis`` is no axis of x, ``batch_dims`` is beyond it or beyond the rank of ``indices``, or an
            index that is known and to be validated is no index of it.
    """
    place, dims = ctx.axis("axis", axis, ctx.rank(x)), ctx.shape(x)
    most = min(place, ctx.rank(indices))
    if not 0 <= batch_dims <= most:
        raise ctx.error("batch_dims", f"must be 0 to {most} for axis {place}", value=batch_dims)
    check_same(ctx, "indices", ctx.shape(indices)[:batch_dims], dims[:batch_dims])
    if validate_indices:
        indices = validated(ctx, indices, [dims[place]])
    if batch_dims:
        return _gather_batches(ctx, x, indices, place, batch_dims)
    folded = _folded(ctx, x, indices, place)
    return ctx.op("Gather", x, _index(ctx, indices), axis=place) if folded is None else folded


def _folded(ctx: OperationContext, x: Value, indices: Value, axis: int) -> Value | None:
    """Return small known entries as a constant: often they are sizes, which other operators must know beforehand."""
    if x.const_value is None or x.const_value.size > _LARGEST_FOLDED:
        return None
    numbers, places = x.const_value.numpy(), ctx.known(indices)
    size = numbers.shape[axis]
    if places is None or places.size * numbers.size > _LARGEST_FOLDED or ((places < -size) | (places >= size)).any():
        return None
    return ctx.constant(np.take(numbers, places, axis))


def _gather_batches(ctx: OperationContext, x: Value, indices: Value, axis: int, batch: int) -> Value:
    # GatherND takes indices of the first axis after the batch: [*batch, *before, D, *after]
    # -> [*batch, D, *before, *after]
    before, after = list(range(batch, axis)), list(range(axis + 1, ctx.rank(x)))
    if before:
        x = ctx.op("Transpose", x, perm=[*range(batch), axis, *before, *after])
    points = ctx.op("Unsqueeze", ctx.cast(indices, ir.DataType.INT64), ctx.integers([-1]))
    taken = ctx.op("GatherND", x, points, batch_dims=batch)
    if not before:
        return taken
    # [*batch, *points, *before, *after] -> [*batch, *before, *points, *after]
    start, end = ctx.rank(indices), ctx.rank(indices) + len(before)
    return ctx.op(
        "Transpose", taken, perm=[*range(batch), *range(start, end), *range(batch, start), *range(end, ctx.rank(taken))]
    )


def lower_gather_along_axis(
    ctx: OperationContext, x: Value, indices: Value, axis: int = 0, validate_indices: bool = False
) -> Value:
    """Take entries of one axis, others for each position along the other axes.

    Args:
        ctx: The operation and the graph being built.
        x: Any shape with at least one axis, any type.
        indices: Whole numbers; the same shape but for ``axis``.
        axis: The axis.
        validate_indices: Whether negative indices make a prediction fail.

    Returns:
        The shape of ``indices``.

    Raises:
        LoweringError: ``axis`` is no axis of x, the shapes differ elsewhere, or an index that is known and to be
            validated is no index of it.
    """
    place, dims = ctx.axis("axis", axis, ctx.rank(x)), ctx.shape(x)
    check_same(ctx, "indices", ctx.shape(indices), [*dims[:place], None, *dims[place + 1 :]])
    if validate_indices:
        indices = validated(ctx, indices, [dims[place]])
    return ctx.op("GatherElements", x, _index(ctx, indices), axis=place)


def lower_gather_nd(
    ctx: OperationContext, x: Value, indices: Value, batch_dims: int = 0, validate_indices: bool = False
) -> Value:
    """Take the entries, or parts, of a tensor that vectors of indices name.

    Args:
        ctx: The operation and the graph being built.
        x: [*batch, D_0, .., D_(r-1)], any type.
        indices: Whole numbers, [*batch, *points, k] with k at most r.
        batch_dims: The number of axes that both start with.
        validate_indices: Whether negative indices make a prediction fail.

    Returns:
        [*batch, *points, D_k, .., D_(r-1)].

    Raises:
        LoweringError: ``batch_dims`` is out of range, k is not 1 to r, or an index that is known and to be
            validated is beyond its axis.
    """
    dims, most = ctx.shape(x), min(ctx.rank(x), ctx.rank(indices)) - 1
    if not 0 <= batch_dims <= most:
        raise ctx.error("batch_dims", f"must be 0 to {most}", value=batch_dims)
    check_same(ctx, "indices", ctx.shape(indices)[:batch_dims], dims[:batch_dims])
    rest = len(ctx.declared().dims) - ctx.rank(indices) + 1
    indices, size = points(ctx, indices, ctx.rank(x) - batch_dims, rest)
    if validate_indices:
        indices = validated(ctx, indices, dims[batch_dims : batch_dims + size])
    return ctx.op("GatherND", x, ctx.cast(indices, ir.DataType.INT64), batch_dims=batch_dims)


def _index(ctx: OperationContext, indices: Value) -> Value:
    return indices if indices.dtype in _INDEX_TYPES else ctx.cast(indices, ir.DataType.INT64)


def check_same(ctx: OperationContext, argument: str, dims: Sequence[Dim], wanted: Sequence[Dim]) -> None:
    """Raise a LoweringError where the sizes of an argument are not the ones wanted; None fits any size."""
    fits = len(dims) == len(wanted) and all(None in (a, b) or a == b for a, b in zip(dims, wanted, strict=True))
    if not fits:
        raise ctx.error(argument, f"must have the sizes {list(wanted)}, None for any", value=f"of {list(dims)}")


def points(ctx: OperationContext, indices: Value, rank: int, rest: int) -> tuple[Value, int]:
    """Return the vectors of indices, [*points, k], and k, which is then a known size.

    Args:
        ctx: The operation and the graph being built.
        indices: Whole numbers, [*points, k].
        rank: The number of axes that may be indexed.
        rest: How many of them are not, by the ranks of the other tensors; this says what k is where it is open.

    Raises:
        LoweringError: k is not 1 to ``rank``.
    """
    dims = ctx.shape(indices)
    size = (rank - rest if dims[-1] is None else dims[-1]) if dims else 0
    if not 1 <= size <= rank:
        raise ctx.error("indices", f"must have a last size of 1 to {rank}", value=f"of {list(dims)}")
    return indices if dims[-1] is not None else ctx.reshape(indices, ctx.sizes(indices, 0, -1), size), size


def validated(ctx: OperationContext, indices: Value, sizes: Sequence[Dim]) -> Value:
    """Return indices that make a prediction fail where they are negative; the engine itself refuses larger ones.

    Args:
        ctx: The operation and the graph being built.
        indices: Whole numbers, any shape.
        sizes: The sizes of the axes that the last axis of ``indices`` runs over; or one for all indices.

    Raises:
        LoweringError: They are known, and one is no index of its axis.
    """
    known = ctx.known(indices)
    if known is None:
        wide = ctx.cast(indices, ir.DataType.INT64)
        return ctx.op("Where", ctx.op("Less", wide, ctx.integers(0)), ctx.integers(np.iinfo(np.int64).max), wide)
    limits = np.array([np.iinfo(np.int64).max if size is None else size for size in sizes])
    if ((known < 0) | (known >= limits)).any():
        below = ", ".join("any size" if size is None else str(size) for size in sizes)
        raise ctx.error("indices", f"must be at least 0 and below {below}", value=known.tolist())
    return indices


LOWERINGS: Mapping[str, Callable[..., Any]] = {
    "gather": lower_gather,
    "gather_along_axis": lower_gather_along_axis,
    "gather_nd": lower_gather_nd,
}
