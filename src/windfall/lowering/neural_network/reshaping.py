"""The same values in another shape or order.

Source: ``ReshapeLayerParams`` to ``ReorganizeDataLayerParams``, ``SequenceRepeatLayerParams`` in NeuralNetwork.proto.
"""

import math

from windfall.lowering.neural_network.context import LayerContext, Value
from windfall.lowering.neural_network.views import on_planes


@on_planes
def lower_flatten(ctx: LayerContext, x: Value) -> Value:
    """Put all values of an instance into the channel axis.

    Source: ``FlattenLayerParams``.

    Args:
        ctx: The layer and the graph being built.
        x: [*batch, C, H, W], rank 3 or more.

    Returns:
        [*batch, C*H*W, 1, 1]; with CHANNEL_LAST the channel varies fastest.
    """
    if ctx.params.mode == ctx.params.CHANNEL_LAST:
        x = ctx.op("Transpose", x, perm=[0, 2, 3, 1])  # [N, C, H, W] -> [N, H, W, C]
    return _join(ctx, x)


def _join(ctx: LayerContext, x: Value) -> Value:
    """Reshape [N, a, b, c] to [N, a*b*c, 1, 1], where one factor of each may be unknown."""
    rows, *inner = ctx.shape(x)
    if None not in inner:
        return ctx.reshape(x, -1 if rows is None else rows, math.prod(d for d in inner if d is not None), 1, 1)
    return ctx.reshape(x, ctx.sizes(x, 0, 1), -1, 1, 1)


LOWERINGS = {"flatten": lower_flatten}
