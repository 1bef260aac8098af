"""Normalization of tensors of any rank.

Source: ``SoftmaxNDLayerParams`` and ``LayerNormalizationLayerParams`` in NeuralNetwork.proto.
"""

from windfall.lowering.neural_network.axes import one_axis
from windfall.lowering.neural_network.context import LayerContext, Value


def lower_softmax_nd(ctx: LayerContext, x: Value) -> Value:
    """Normalize to a sum of 1 along one axis.

    Source: ``SoftmaxNDLayerParams``.

    Args:
        ctx: The layer and the graph being built.
        x: Any shape with at least one axis.

    Returns:
        The same shape.

    Raises:
        LoweringError: ``axis`` is no axis of x.
    """
    return ctx.op("Softmax", x, axis=one_axis(ctx, "axis", ctx.params.axis, ctx.rank(x)))


def lower_layer_normalization(ctx: LayerContext, x: Value) -> Value:
    """Subtract the mean of the last axes, divide by ``sqrt(variance + eps)``, then scale and shift each element.

    Source: ``LayerNormalizationLayerParams``.

    Args:
        ctx: The layer and the graph being built.
        x: [..., *normalizedShape]; ``gamma`` and ``beta`` have the shape ``normalizedShape``.

    Returns:
        The same shape.

    Raises:
        LoweringError: ``normalizedShape`` is not the end of x's shape, or a weight does not fit it.
    """
    dims = tuple(ctx.params.normalizedShape)
    shape = ctx.shape(x)
    fits = all(have in (None, want) for have, want in zip(shape[-len(dims) :], dims, strict=False))
    if not 0 < len(dims) <= len(shape) or not fits:
        raise ctx.error("normalizedShape", f"must be the last sizes of the input's shape {list(shape)}")
    gamma, beta = ctx.weight("gamma", dims), ctx.weight("beta", dims)
    return ctx.op("LayerNormalization", x, gamma, beta, axis=-len(dims), epsilon=ctx.params.eps)


LOWERINGS = {"softmaxND": lower_softmax_nd, "layerNormalization": lower_layer_normalization}
