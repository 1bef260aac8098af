"""Reductions of one, two or all three inner axes to size 1.

Source: ``ReduceLayerParams`` in NeuralNetwork.proto.
"""

from collections.abc import Callable, Sequence

import onnx_ir as ir

from windfall.lowering.neural_network.context import LayerContext, Value
from windfall.lowering.neural_network.views import elementwise

Reduction = Callable[[LayerContext, Value, Sequence[int]], Value]


@elementwise
def lower_reduce(ctx: LayerContext, x: Value) -> Value:
    """Apply one of ten reductions.

    Source: ``ReduceLayerParams``.

    Args:
        ctx: The layer and the graph being built.
        x: [..., C, H, W]; the rank must reach the axes.

    Returns:
        The same rank, with size 1 along the axes reduced.

    Raises:
        LoweringError: ``mode`` or ``axis`` is unknown, the input has too few axes, or ARGMAX is asked for two or more.
    """
    params = ctx.params
    axes = _AXES.get(params.axis)
    if axes is None or ctx.rank(x) < -min(axes):
        raise ctx.error("axis", f"must be 0 to 4 for CHW, HW, C, H or W, and of the input of rank {ctx.rank(x)}")
    reduction = _REDUCTIONS.get(params.mode)
    if reduction is None:
        raise ctx.error("mode", f"must be 0 to {len(_REDUCTIONS) - 1}")
    return reduction(ctx, x, axes)


def _plain(op_type: str) -> Reduction:
    def lower(ctx: LayerContext, x: Value, axes: Sequence[int]) -> Value:
        return ctx.op(op_type, x, ctx.integers(axes))

    return lower


def _log_sum(ctx: LayerContext, x: Value, axes: Sequence[int]) -> Value:
    # sum(log(x + epsilon)); ONNX's ReduceLogSum is log(sum(x)).
    logarithm = ctx.op("Log", ctx.op("Add", x, ctx.floats(ctx.params.epsilon or 1e-6)))
    return ctx.op("ReduceSum", logarithm, ctx.integers(axes))


def _arg_max(ctx: LayerContext, x: Value, axes: Sequence[int]) -> Value:
    if len(axes) > 1:
        raise ctx.error("axis", "must be 2, 3 or 4 (C, H or W) for ARGMAX")
    return ctx.op("Cast", ctx.op("ArgMax", x, axis=axes[0]), to=ir.DataType.FLOAT)


# By the numbers of ReduceLayerParams.ReduceAxis: CHW, HW, C, H, W.
_AXES: dict[int, tuple[int, ...]] = {0: (-3, -2, -1), 1: (-2, -1), 2: (-3,), 3: (-2,), 4: (-1,)}

# By the numbers of ReduceLayerParams.ReduceOperation.
_REDUCTIONS: dict[int, Reduction] = {
    0: _plain("ReduceSum"),
    1: _plain("ReduceMean"),
    2: _plain("ReduceProd"),
    3: _log_sum,
    4: _plain("ReduceSumSquare"),
    5: _plain("ReduceL1"),
    6: _plain("ReduceL2"),
    7: _plain("ReduceMax"),
    8: _plain("ReduceMin"),
    9: _arg_max,
}

LOWERINGS = {"reduce": lower_reduce}
