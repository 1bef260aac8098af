"""Tensors joined, and split.

Source: ``concat``, ``split``, ``stack`` in ``tensor_operation.py`` among coremltools' operator definitions.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from windfall.lowering.joining import interleaved, stacked
from windfall.lowering.ml_program.context import Ints, OperationContext, Value


def lower_concat(ctx: OperationContext, values: Sequence[Value], axis: int, interleave: bool = False) -> Value:
    """Join tensors along an axis; with ``interleave`` their entries take turns.

    Args:
        ctx: The operation and the graph being built.
        values: Tensors of one type whose shapes differ along ``axis`` at most, and with ``interleave`` not even there.
        axis: The axis.
        interleave: Whether the entries take turns.

    Returns:
        The same rank, that axis as long as all of them together; a vector for tensors of rank 0.

    Raises:
        LoweringError: The ranks differ, or ``axis`` is no axis of the tensors.
    """
    rank = _same_rank(ctx, values)
    place = ctx.axis("axis", axis, max(rank, 1))
    if rank == 0:
        return stacked(ctx, values, place)
    if interleave:
        return interleaved(ctx, values, place)
    return ctx.op("Concat", *values, axis=place)


def lower_stack(ctx: OperationContext, values: Sequence[Value], axis: int) -> Value:
    """Join tensors along a new axis.

    Args:
        ctx: The operation and the graph being built.
        values: Tensors of one type and shape.
        axis: Where the new axis stands in the output.

    Returns:
        The shape of the tensors with their number at ``axis``.

    Raises:
        LoweringError: The ranks differ, or ``axis`` is no axis of the output.
    """
    return stacked(ctx, values, ctx.axis("axis", axis, _same_rank(ctx, values) + 1))


def _same_rank(ctx: OperationContext, values: Sequence[Value]) -> int:
    ranks = [ctx.rank(value) for value in values]
    if len(set(ranks)) > 1:
        raise ctx.error("values", "must all have the same rank", value=f"tensors of ranks {ranks}")
    return ranks[0]


def lower_split(
    ctx: OperationContext, x: Value, axis: int, num_splits: int | None = None, split_sizes: Ints | None = None
) -> Sequence[Value]:
    """Cut an axis into parts of given sizes, or into equal ones.

    Args:
        ctx: The operation and the graph being built.
        x: Any shape with at least one axis, any type.
        axis: The axis.
        num_splits: The number of parts.
        split_sizes: The size of each part; None for equal ones.

    Returns:
        A tensor for each part: the shape of x but for that axis.

    Raises:
        LoweringError: ``axis`` is no axis of x, or the parts are not one for each output and the whole axis together.
    """
    place, outputs = ctx.axis("axis", axis, ctx.rank(x)), len(ctx.operation.outputs)
    count = num_splits if split_sizes is None else len(split_sizes)
    argument = "num_splits" if split_sizes is None else "split_sizes"
    if count != outputs or not outputs or num_splits not in (None, count):
        raise ctx.error(argument, f"must stand for the {outputs} outputs of the operation", value=split_sizes or count)
    size = ctx.shape(x)[place]
    if split_sizes is None:
        sizes = _equal_parts(ctx, x, place, outputs)
    elif min(split_sizes) < 0 or size not in (None, sum(split_sizes)):
        raise ctx.error(argument, f"must be sizes that are {size} together", value=list(split_sizes))
    else:
        sizes = ctx.integers(split_sizes)
    return ctx.ops("Split", x, sizes, outputs=outputs, axis=place)


def _equal_parts(ctx: OperationContext, x: Value, axis: int, count: int) -> Value:
    """Return the sizes of equal parts; an axis that they do not fill makes a prediction fail."""
    size = ctx.shape(x)[axis]
    if size is None:
        part = ctx.op("Div", ctx.sizes(x, axis, axis + 1), ctx.integers(count))
        return ctx.op("Expand", part, ctx.integers([count]))
    if size % count:
        raise ctx.error("num_splits", f"must divide {size}, the size of axis {axis}", value=count)
    return ctx.integers([size // count] * count)


LOWERINGS: Mapping[str, Callable[..., Any]] = {
    "concat": lower_concat,
    "stack": lower_stack,
    "split": lower_split,
}
