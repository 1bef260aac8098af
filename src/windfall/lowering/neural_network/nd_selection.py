"""Sorting and finding elements of tensors of any rank.

Source: ``TopKLayerParams``, ``ArgSortLayerParams``, ``WhereNonZeroLayerParams``, ``OneHotLayerParams``,
``MatrixBandPartLayerParams`` to ``LowerTriangularLayerParams`` in NeuralNetwork.proto.
"""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from windfall.lowering.neural_network.axes import one_axis, whole
from windfall.lowering.neural_network.casts import as_floats, whole_scalar
from windfall.lowering.neural_network.context import LayerContext, Value


def lower_top_k(ctx: LayerContext, x: Value, count: Value | None = None) -> Sequence[Value]:
    """Find the K largest elements along an axis, or the K smallest; of equal ones the first.

    Source: ``TopKLayerParams``.

    Args:
        ctx: The layer and the graph being built.
        x: Any shape.
        count: One element; takes the place of the parameter ``K``.

    Returns:
        The elements, sorted, and their indices: the shape of x, with K along the axis.

    Raises:
        LoweringError: ``axis`` is no axis of x, or ``K`` is not 1 to its size.
    """
    axis = one_axis(ctx, "axis", ctx.params.axis, ctx.rank(x))
    if count is not None:
        return _sorted(ctx, x, ctx.reshape(whole(ctx, count), 1), axis, not ctx.params.useBottomK)
    size, wanted = ctx.shape(x)[axis], ctx.params.K
    if wanted < 1 or (size is not None and wanted > size):
        known = "which is known only at run time" if size is None else size
        raise ctx.error("K", f"must be 1 to the size of axis {axis}, {known}")
    return _sorted(ctx, x, ctx.integers([wanted]), axis, not ctx.params.useBottomK)


def lower_arg_sort(ctx: LayerContext, x: Value) -> Value:
    """Give the indices that sort the elements along an axis; equal ones stay in their order. The shape stays.

    Source: ``ArgSortLayerParams``.

    Raises:
        LoweringError: ``axis`` is no axis of x, or negative, which the specification does not allow here.
    """
    rank, axis = ctx.rank(x), ctx.params.axis
    if not 0 <= axis < rank:
        raise ctx.error("axis", f"must be 0 to {rank - 1} for an input of rank {rank}")
    _, indices = _sorted(ctx, x, ctx.sizes(x, axis, axis + 1), axis, ctx.params.descending)
    indices.shape = x.shape
    return indices


def _sorted(ctx: LayerContext, x: Value, count: Value, axis: int, largest: bool) -> Sequence[Value]:
    """Return the first of the sorted elements along an axis and their indices."""
    values, indices = ctx.ops("TopK", x, count, outputs=2, axis=axis, largest=largest)
    found = [values, as_floats(ctx, indices)]
    assert x.shape is not None
    if count.const_value is None:
        # Inference then knows the rank alone.
        dims = [ir.SymbolicDim(None) if i == axis else dim for i, dim in enumerate(x.shape)]
        for value in found:
            value.shape = ir.Shape(dims)
    return found


def lower_where_non_zero(ctx: LayerContext, x: Value) -> Value:
    """List the indices of the elements that are not 0.

    Source: ``WhereNonZeroLayerParams``.

    Returns:
        [N, R], for N such elements of a tensor of rank R.
    """
    return as_floats(ctx, ctx.op("Transpose", ctx.op("NonZero", x), perm=[1, 0]))


def lower_one_hot(ctx: LayerContext, x: Value, size: Value | None = None) -> Value:
    """Put ``onValue`` at the index that each element gives, along a new axis, and ``offValue`` elsewhere.

    Source: ``OneHotLayerParams``.

    Args:
        ctx: The layer and the graph being built.
        x: Any shape. Elements that are no index give ``offValue`` everywhere, also negative ones.
        size: One element; takes the place of the parameter ``oneHotVectorSize``.

    Returns:
        The shape of x, with that size inserted as ``axis``.

    Raises:
        LoweringError: ``axis`` is no axis of the output.
    """
    axis = one_axis(ctx, "axis", ctx.params.axis, ctx.rank(x) + 1)
    indices = as_floats(ctx, _counted(ctx, size))
    column = ctx.reshape(indices, -1, [1] * (ctx.rank(x) - axis))
    found = ctx.op("Equal", ctx.op("Unsqueeze", x, ctx.integers([axis])), column)
    return ctx.op("Where", found, ctx.floats(ctx.params.onValue), ctx.floats(ctx.params.offValue))


def _counted(ctx: LayerContext, size: Value | None) -> Value:
    """Return 0, 1, ... up to the size of a one hot vector."""
    end = ctx.integers(np.int64(ctx.params.oneHotVectorSize)) if size is None else whole_scalar(ctx, size)
    return ctx.op("Range", ctx.integers(0), end, ctx.integers(1))


def lower_matrix_band_part(ctx: LayerContext, x: Value) -> Value:
    """Set all but ``numLower`` diagonals below and ``numUpper`` above the main one to 0; negative: all of that side.

    Source: ``MatrixBandPartLayerParams``.

    Args:
        ctx: The layer and the graph being built.
        x: [..., M, N], rank 2 or more.

    Returns:
        The same shape.

    Raises:
        LoweringError: The rank is below 2.
    """
    _check_matrix(ctx, x)
    lower, upper = ctx.params.numLower, ctx.params.numUpper
    if lower >= 0:
        x = ctx.op("Trilu", x, ctx.integers(-lower), upper=1)
    return ctx.op("Trilu", x, ctx.integers(upper), upper=0) if upper >= 0 else x


def lower_upper_triangular(ctx: LayerContext, x: Value) -> Value:
    """Set the elements below diagonal ``k`` to 0.

    Source: ``UpperTriangularLayerParams``. Shapes and errors are those of ``lower_matrix_band_part``.
    """
    _check_matrix(ctx, x)
    return ctx.op("Trilu", x, ctx.integers(ctx.params.k), upper=1)


def lower_lower_triangular(ctx: LayerContext, x: Value) -> Value:
    """Set the elements above diagonal ``k`` to 0.

    Source: ``LowerTriangularLayerParams``. Shapes and errors are those of ``lower_matrix_band_part``.
    """
    _check_matrix(ctx, x)
    return ctx.op("Trilu", x, ctx.integers(ctx.params.k), upper=0)


def _check_matrix(ctx: LayerContext, x: Value) -> None:
    if ctx.rank(x) < 2:
        raise ctx.error("input", f"has rank {ctx.rank(x)}, must have rank 2 or more", value=None)


LOWERINGS = {
    "topK": lower_top_k,
    "argSort": lower_arg_sort,
    "whereNonZero": lower_where_non_zero,
    "oneHot": lower_one_hot,
    "matrixBandPart": lower_matrix_band_part,
    "upperTriangular": lower_upper_triangular,
    "lowerTriangular": lower_lower_triangular,
}
