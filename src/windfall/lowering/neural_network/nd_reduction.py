"""Reductions of tensors of any rank over any axes.

Source: ``ReduceL1LayerParams`` to ``ReduceLogSumExpLayerParams``, ``ArgMaxLayerParams``, ``ArgMinLayerParams`` and
``CumSumLayerParams`` in NeuralNetwork.proto.
"""

from collections.abc import Callable

from windfall.lowering.neural_network.axes import at_least_vector, each_axis, one_axis
from windfall.lowering.neural_network.casts import as_floats, whole_scalar
from windfall.lowering.neural_network.context import LayerContext, Value


def _reduction(op_type: str, what: str) -> Callable[[LayerContext, Value], Value]:
    def lower(ctx: LayerContext, x: Value) -> Value:
        params, rank = ctx.params, ctx.rank(x)
        axes = range(rank) if params.reduceAll else each_axis(ctx, "axes", params.axes, rank)
        reduced = ctx.op(op_type, x, ctx.integers(list(axes)), keepdims=params.keepDims)
        return at_least_vector(ctx, reduced)

    lower.__doc__ = f"""Reduce to {what}, along ``axes`` or all axes.

    The axes become 1 with ``keepDims``, else they go; [1] is left where none would be.

    Raises:
        LoweringError: ``axes`` are not axes of x, without ``reduceAll``.
    """
    return lower


_REDUCTIONS = {
    "reduceL1": ("ReduceL1", "the sum of the absolute values"),
    "reduceL2": ("ReduceL2", "the square root of the sum of the squares"),
    "reduceMax": ("ReduceMax", "the largest element"),
    "reduceMin": ("ReduceMin", "the smallest element"),
    "reduceSum": ("ReduceSum", "the sum"),
    "reduceProd": ("ReduceProd", "the product"),
    "reduceMean": ("ReduceMean", "the mean"),
    # Not the sum of the logarithms, as the mode LOGSUM of the layer ``reduce`` is: coremltools' tests of both say so.
    "reduceLogSum": ("ReduceLogSum", "the logarithm of the sum"),
    "reduceSumSquare": ("ReduceSumSquare", "the sum of the squares"),
    "reduceLogSumExp": ("ReduceLogSumExp", "the logarithm of the sum of the exponentials"),
}


def _arg(op_type: str, which: str) -> Callable[[LayerContext, Value], Value]:
    def lower(ctx: LayerContext, x: Value) -> Value:
        rank = ctx.rank(x)
        axis = one_axis(ctx, "axis", ctx.params.axis, rank)
        keep = rank == 1 or not ctx.params.removeDim
        return as_floats(ctx, ctx.op(op_type, x, axis=axis, keepdims=keep))

    lower.__doc__ = f"""Find the {which} element along an axis; of equal ones the first.

    The axis becomes 1; with ``removeDim`` it goes, but for the only one.

    Raises:
        LoweringError: ``axis`` is no axis of x.
    """
    return lower


def lower_cum_sum(ctx: LayerContext, x: Value, axis: Value | None = None) -> Value:
    """Sum up the elements up to each one along an axis; the shape stays.

    Source: ``CumSumLayerParams``.

    Args:
        ctx: The layer and the graph being built.
        x: Any shape.
        axis: One element; takes the place of the parameter ``axis``.

    Raises:
        LoweringError: The parameter is no axis of x.
    """
    params = ctx.params
    along = ctx.integers(one_axis(ctx, "axis", params.axis, ctx.rank(x))) if axis is None else whole_scalar(ctx, axis)
    return ctx.op("CumSum", x, along, exclusive=params.excludeFinalSum, reverse=params.reverse)


LOWERINGS = {
    **{layer_type: _reduction(*row) for layer_type, row in _REDUCTIONS.items()},
    "argMax": _arg("ArgMax", "largest"),
    "argMin": _arg("ArgMin", "smallest"),
    "cumSum": lower_cum_sum,
}
