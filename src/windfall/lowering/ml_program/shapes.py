"""The same values in another shape or order.

Source: ``reshape``, ``reshape_like``, ``expand_dims``, ``squeeze``, ``transpose`` in ``tensor_transformation.py`` and
``shape``, ``flatten2d``, ``identity`` in ``tensor_operation.py`` among coremltools' operator definitions.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from windfall.graph.shapes import Dim
from windfall.lowering.ml_program.context import Array, Ints, OperationContext, Value
from windfall.lowering.ml_program.types import tensor_type

_IOS17 = 7
# NumPy has no more.
_LARGEST_RANK = 64


def lower_identity(ctx: OperationContext, x: Value) -> Value:
    """Return a tensor as it is.

    Args:
        ctx: The operation and the graph being built.
        x: Any shape and type.
    """
    del ctx
    return x


def lower_shape(ctx: OperationContext, x: Value) -> Value:
    """Return the sizes of a tensor.

    Args:
        ctx: The operation and the graph being built.
        x: Any shape and type.

    Returns:
        int32 [rank of x].
    """
    return ctx.cast(ctx.sizes(x), ctx.graph_type)


def lower_reshape(ctx: OperationContext, x: Value, shape: Value) -> Value:
    """Reshape to given sizes; one of them may be -1, which takes what is left, and 0 stands for the size that x has.

    That is the size of the same axis; from iOS 17 on axes are counted from the last one, and 0 is 1 where x has none.

    Args:
        ctx: The operation and the graph being built.
        x: Any shape and type.
        shape: [rank of the output], whole numbers.

    Returns:
        The sizes in ``shape``.

    Raises:
        LoweringError: ``shape`` is no vector, or its known sizes cannot be those of a tensor.
    """
    wanted = wanted_shape(ctx, shape)
    known = ctx.known(wanted)
    if known is not None:
        return ctx.reshape(x, *_known_target(ctx, x, known), ())
    (count,) = ctx.shape(wanted)
    if count is None:
        raise ctx.error("shape", "must be as long as the declared rank, which is not known")
    own = [_own_size(ctx, x, axis, count) for axis in range(count)]
    own_sizes = ctx.op("Concat", ctx.integers([]), *own, axis=0)
    return ctx.reshape(x, ctx.op("Where", ctx.op("Equal", wanted, ctx.integers(0)), own_sizes, wanted))


def wanted_shape(ctx: OperationContext, shape: Value) -> Value:
    """Return an argument that is the shape of the output as int64; its length is known if the declared rank is.

    Raises:
        LoweringError: It is no vector.
    """
    dims = ctx.shape(shape)
    if len(dims) != 1:
        raise ctx.error("shape", "must be a vector", value=f"of shape {list(dims)}")
    sizes = ctx.cast(shape, ir.DataType.INT64)
    declared = tensor_type(ctx.operation.outputs[0].type)
    return ctx.reshape(sizes, len(declared.dims)) if dims[0] is None and declared else sizes


def _known_target(ctx: OperationContext, x: Value, shape: Array) -> list[int | Value]:
    target = [int(size) for size in shape]
    if any(size < -1 for size in target) or target.count(-1) > 1:
        raise ctx.error("shape", "must have sizes of at least 0, one of them may be -1", value=target)
    if 0 in target and len(target) != ctx.rank(x) and ctx.opset < _IOS17:
        raise ctx.error("shape", f"must have {ctx.rank(x)} sizes, the rank of x, if one of them is 0", value=target)
    return [_own_size(ctx, x, axis, len(target)) if size == 0 else size for axis, size in enumerate(target)]


def _own_size(ctx: OperationContext, x: Value, axis: int, count: int) -> Value:
    """Return the size that 0 stands for at some axis of a shape of ``count`` sizes."""
    own = axis + ctx.rank(x) - count if ctx.opset >= _IOS17 else axis
    return ctx.sizes(x, own, own + 1) if 0 <= own < ctx.rank(x) else ctx.integers([1])


def lower_reshape_like(
    ctx: OperationContext,
    x: Value,
    ref_tensors: Sequence[Value],
    begins: Sequence[Value],
    ends: Sequence[Value],
    end_masks: Sequence[Value],
) -> Value:
    """Reshape to sizes of other tensors, one after the other.

    Args:
        ctx: The operation and the graph being built.
        x: Any shape and type.
        ref_tensors: The tensors whose sizes are taken.
        begins: The first axis of each that counts.
        ends: The axis of each before which that ends.
        end_masks: Whether, instead, all further axes count.

    Returns:
        The sizes ``ref_tensors[i].shape[begins[i]:ends[i]]`` for each i in a row.

    Raises:
        LoweringError: There are not as many of each, or one is not known.
    """
    counts = [len(ref_tensors), len(begins), len(ends), len(end_masks)]
    if len(set(counts)) > 1:
        raise ctx.error("ref_tensors", "begins, ends and end_masks must be as many of each", value=counts)
    parts = []
    for ref, begin, end, mask in zip(ref_tensors, begins, ends, end_masks, strict=True):
        stop = None if _number(ctx, "end_masks", mask) else _number(ctx, "ends", end)
        axes = range(ctx.rank(ref))[_number(ctx, "begins", begin) : stop]
        if axes:
            parts.append(ctx.sizes(ref, axes.start, axes.stop))
    return ctx.reshape(x, *parts, ())


def _number(ctx: OperationContext, argument: str, value: Value) -> int:
    known = ctx.known(value)
    if known is None or known.size != 1:
        raise ctx.error(argument, "must be numbers that are known before the program runs")
    return int(known.item())


def lower_expand_dims(ctx: OperationContext, x: Value, axes: Ints) -> Value:
    """Insert axes of size 1.

    Args:
        ctx: The operation and the graph being built.
        x: Any shape and type.
        axes: Where they stand in the output; negative ones count from its end.

    Returns:
        The shape of x with size 1 at ``axes``.

    Raises:
        LoweringError: ``axes`` are no axes of the output, or one is named twice.
    """
    rank = ctx.rank(x) + len(axes)
    places = [ctx.axis("axes", axis, rank) for axis in axes]
    if len(set(places)) < len(places):
        raise ctx.error("axes", "must name each axis once", value=list(axes))
    return ctx.op("Unsqueeze", x, ctx.integers(places)) if places else x


def lower_squeeze(ctx: OperationContext, x: Value, axes: Ints | None = None) -> Value:
    """Remove axes of size 1; those named that have another size stay.

    Args:
        ctx: The operation and the graph being built.
        x: Any shape and type.
        axes: The axes; None for all of size 1.

    Returns:
        The shape of x without these axes, which may leave rank 0.

    Raises:
        LoweringError: ``axes`` are no axes of x, or the declared output cannot be had by removing some of them.
    """
    dims = ctx.shape(x)
    named = range(len(dims)) if axes is None else sorted({ctx.axis("axes", axis, len(dims)) for axis in axes})
    removed = _squeezed(ctx, dims, [axis for axis in named if dims[axis] in (1, None)])
    return ctx.op("Squeeze", x, ctx.integers(removed)) if removed else x


def _squeezed(ctx: OperationContext, dims: Sequence[Dim], axes: Sequence[int]) -> Sequence[int]:
    """Return those of the axes that the declared output lacks.

    Which they are shows in the sizes; but one that was not known when the program was made stayed, even if it is 1.
    """
    declared = ctx.declared().dims
    if len(dims) > _LARGEST_RANK:
        raise ctx.error("x", f"must have at most {_LARGEST_RANK} axes", value=f"of rank {len(dims)}")
    for removable in ([axis for axis in axes if dims[axis] == 1], axes):
        removed = _leaving(dims, declared, removable)
        if removed is not None:
            return removed
    raise ctx.error("axes", f"of {_shown(dims)} must leave the declared {_shown(declared)}", value=list(axes))


def _leaving(dims: Sequence[Dim], declared: Sequence[Dim], removable: Sequence[int]) -> list[int] | None:
    """Return the first axes whose removal leaves the declared sizes, None if there are none."""
    # Whether the sizes from one on can become the declared ones from another on.
    fits = np.zeros((len(dims) + 1, len(declared) + 1), np.bool_)
    fits[-1, -1] = True
    for i in reversed(range(len(dims))):
        same = [None in (dims[i], dim) or dims[i] == dim for dim in declared]
        fits[i, :-1] = fits[i + 1, 1:] & np.array(same, np.bool_)
        fits[i] |= fits[i + 1] & (i in removable)
    if not fits[0, 0]:
        return None
    removed: list[int] = []
    for i in range(len(dims)):
        if i in removable and fits[i + 1, i - len(removed)]:
            removed.append(i)
    return removed


def _shown(dims: Sequence[Dim]) -> str:
    return str(["?" if dim is None else dim for dim in dims]).replace("'", "")


def lower_transpose(ctx: OperationContext, x: Value, perm: Ints) -> Value:
    """Reorder the axes.

    Args:
        ctx: The operation and the graph being built.
        x: Any shape and type.
        perm: For each axis of the output which one of x it is.

    Returns:
        The shape whose axis i is the axis ``perm[i]`` of x.

    Raises:
        LoweringError: ``perm`` does not name each axis of x once.
    """
    rank = ctx.rank(x)
    order = [ctx.axis("perm", axis, rank) for axis in perm]
    if sorted(order) != list(range(rank)):
        raise ctx.error("perm", f"must be 0 to {rank - 1} in any order for an x of rank {rank}", value=list(perm))
    return ctx.op("Transpose", x, perm=order) if order != list(range(rank)) else x


def lower_flatten2d(ctx: OperationContext, x: Value, axis: int = 1) -> Value:
    """Join the axes before one to one axis, and the others to another.

    Args:
        ctx: The operation and the graph being built.
        x: Any shape and type.
        axis: The first of the others; as in NumPy's slices, beyond the last axis it stands for none.

    Returns:
        [product of the sizes before ``axis``, product of the others].
    """
    rank = ctx.rank(x)
    first = len(range(rank)[:axis])
    return ctx.op("Flatten", x, axis=first) if rank else ctx.reshape(x, 1, 1)


LOWERINGS: Mapping[str, Callable[..., Any]] = {
    "identity": lower_identity,
    "shape": lower_shape,
    "reshape": lower_reshape,
    "reshape_like": lower_reshape_like,
    "expand_dims": lower_expand_dims,
    "squeeze": lower_squeeze,
    "transpose": lower_transpose,
    "flatten2d": lower_flatten2d,
}
