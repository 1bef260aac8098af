"""Lists of tensors of one shape.

Source: ``make_list``, ``list_length``, ``list_write``, ``list_read``, ``list_gather``, ``list_scatter`` in
``control_flow.py`` among coremltools' operator definitions.

In the graph a list is one tensor: axis 0 is the index, the other axes are those of the elements. A size of the elements
that the program leaves open is 0 until the first of them is written. An index beyond the list makes a prediction fail,
or the list longer where it is written; one below 0 always makes it fail.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from windfall.lowering.ml_program.context import Constant, OperationContext, Value
from windfall.lowering.ml_program.gathering import validated
from windfall.lowering.scattering import scatter_rows

_TYPES: Mapping[str, ir.DataType] = {
    "bool": ir.DataType.BOOL,
    "fp16": ir.DataType.FLOAT,
    "fp32": ir.DataType.FLOAT,
    "int32": ir.DataType.INT32,
}


def lower_make_list(
    ctx: OperationContext,
    elem_shape: Sequence[Constant] | None = None,
    init_length: Value | None = None,
    dynamic_length: bool = True,
    dtype: str = "fp32",
) -> Value:
    """Make a list of zeros.

    Args:
        ctx: The operation and the graph being built.
        elem_shape: The sizes of the elements; a name stands for one that is open. None for what the output declares.
        init_length: The length, a whole number; 1 by default.
        dynamic_length: Whether writing beyond the end makes the list longer. It does in any case: what is written to
            is a value, which does not say where it comes from.
        dtype: bool, fp16, fp32 or int32.

    Returns:
        [init_length, *elem_shape].

    Raises:
        LoweringError: There is no such type, or a size is below 0.
    """
    del dynamic_length
    if dtype not in _TYPES:
        raise ctx.error("dtype", f"must be one of {', '.join(_TYPES)}", value=repr(dtype))
    sizes = ctx.declared().dims[1:] if elem_shape is None else [_size(ctx, size) for size in elem_shape]
    length = ctx.integers([1]) if init_length is None else ctx.cast(ctx.reshape(init_length, 1), ir.DataType.INT64)
    known = ctx.known(length)
    elements = ctx.integers([size or 0 for size in sizes])
    if known is not None:
        dims = ctx.integers([*known, *(size or 0 for size in sizes)])
    else:
        dims = ctx.op("Concat", length, elements, axis=0)
    return ctx.op("Expand", ctx.constant(np.zeros((1,) * (len(sizes) + 1), _TYPES[dtype].numpy())), dims)


def _size(ctx: OperationContext, size: Constant) -> int | None:
    """Return a size of the elements, None for one that is open."""
    if size.array.dtype.kind == "O":
        return None
    if size.size != 1 or size.array.dtype.kind not in "iu" or size.array.item() < 0:
        raise ctx.error("elem_shape", "must be sizes of at least 0, or names", value=size.array.tolist())
    return int(size.array.item())


def lower_list_length(ctx: OperationContext, ls: Value) -> Value:
    """Return the length of a list.

    Args:
        ctx: The operation and the graph being built.
        ls: [L, *element].

    Returns:
        int32, rank 0.
    """
    return ctx.cast(ctx.reshape(ctx.sizes(ls, 0, 1), ()), ir.DataType.INT32)


def lower_list_read(ctx: OperationContext, ls: Value, index: Value) -> Value:
    """Return an element of a list.

    Args:
        ctx: The operation and the graph being built.
        ls: [L, *element].
        index: A whole number, rank 0.

    Returns:
        [*element].

    Raises:
        LoweringError: The index is known, and is none of the list.
    """
    place = validated(ctx, ctx.reshape(index, ()), [ctx.shape(ls)[0]])
    return ctx.op("Gather", ls, place, axis=0)


def lower_list_gather(ctx: OperationContext, ls: Value, indices: Value) -> Value:
    """Return some elements of a list, stacked.

    Args:
        ctx: The operation and the graph being built.
        ls: [L, *element].
        indices: Whole numbers, [N].

    Returns:
        [N, *element].

    Raises:
        LoweringError: An index is known, and is none of the list.
    """
    return ctx.op("Gather", ls, validated(ctx, indices, [ctx.shape(ls)[0]]), axis=0)


def lower_list_write(ctx: OperationContext, ls: Value, index: Value, value: Value) -> Value:
    """Put an element into a list, which grows where it is not as long.

    Args:
        ctx: The operation and the graph being built.
        ls: [L, *element].
        index: A whole number, rank 0.
        value: [*element].

    Returns:
        [the greater of L and index + 1, *element].

    Raises:
        LoweringError: ``value`` has another rank or type than the elements, or the index is known and below 0.
    """
    return _written(ctx, ls, ctx.reshape(index, 1), ctx.op("Unsqueeze", value, ctx.integers([0])))


def lower_list_scatter(ctx: OperationContext, ls: Value, indices: Value, value: Value) -> Value:
    """Put several elements into a list, which grows where it is not as long.

    Args:
        ctx: The operation and the graph being built.
        ls: [L, *element].
        indices: Whole numbers, [N].
        value: [N, *element].

    Returns:
        [the greater of L and all of the indices + 1, *element].

    Raises:
        LoweringError: ``value`` has another rank or type than the elements, or an index is known and below 0.
    """
    return _written(ctx, ls, indices, value)


def _written(ctx: OperationContext, ls: Value, indices: Value, rows: Value) -> Value:
    if ctx.rank(rows) != ctx.rank(ls) or rows.dtype != ls.dtype:
        rank, kind = ctx.rank(ls) - 1, "nothing" if ls.dtype is None else ls.dtype.name.lower()
        raise ctx.error("value", f"must be {kind} elements of rank {rank}, as those of the list are")
    numbers = ctx.cast(indices, ir.DataType.INT64)
    grown = _grown(ctx, ls, numbers, rows)
    numbers = validated(ctx, numbers, [ctx.shape(grown)[0]])
    if ctx.shape(numbers) == (1,):
        return ctx.op("ScatterND", grown, ctx.reshape(numbers, 1, 1), rows)
    return scatter_rows(ctx, "update", grown, numbers, rows, 0)


def _grown(ctx: OperationContext, ls: Value, numbers: Value, rows: Value) -> Value:
    """Return a list that is as long as some indices ask for, its open sizes those of the rows to be written."""
    dims, known = ctx.shape(ls), ctx.known(numbers)
    long_enough = dims[0] is not None and known is not None and (known < dims[0]).all()
    if long_enough and all(size for size in dims[1:]):
        return ls
    have = ctx.sizes(ls)
    last = ctx.op("Sub", ctx.sizes(ls, 0, 1), ctx.integers([1]))
    length = ctx.op("Add", ctx.op("ReduceMax", ctx.op("Concat", last, numbers, axis=0)), ctx.integers([1]))
    sizes = ctx.sizes(ls, 1)
    if not all(dims[1:]):
        sizes = ctx.op("Where", ctx.op("Equal", sizes, ctx.integers(0)), ctx.sizes(rows, 1), sizes)
    wanted = ctx.op("Concat", length, sizes, axis=0)
    before = ctx.integers([0] * len(dims))
    return ctx.op("Pad", ls, ctx.op("Concat", before, ctx.op("Sub", wanted, have), axis=0))


LOWERINGS: Mapping[str, Callable[..., Any]] = {
    "make_list": lower_make_list,
    "list_length": lower_list_length,
    "list_read": lower_list_read,
    "list_gather": lower_list_gather,
    "list_write": lower_list_write,
    "list_scatter": lower_list_scatter,
}
