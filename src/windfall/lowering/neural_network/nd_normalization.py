"""Normalization of tensors of any rank.

Source: ``LayerNormalizationLayerParams`` in NeuralNetwork.proto.
"""

from windfall.lowering.neural_network.context import LayerContext, Value


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
    inner = ctx.shape(x)[-len(dims) :]
    if (
        not dims
        or any(have not in (None, want) for have, want in zip(inner, dims, strict=False))
        or len(inner) < len(dims)
    ):
        raise ctx.error("normalizedShape", f"must be the last sizes of the input's shape {list(ctx.shape(x))}")
    gamma, beta = ctx.weight("gamma", dims), ctx.weight("beta", dims)
    return ctx.op("LayerNormalization", x, gamma, beta, axis=-len(dims), epsilon=ctx.params.eps)


LOWERINGS = {"layerNormalization": lower_layer_normalization}
