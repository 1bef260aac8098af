"""Normalization: by stored or computed statistics, of channels, of neighbouring channels, of everything.

Source: ``BatchnormLayerParams``, ``MeanVarianceNormalizeLayerParams``, ``L2NormalizeLayerParams``, ``LRNLayerParams``,
``SoftmaxLayerParams`` in NeuralNetwork.proto.
"""

from windfall.lowering.neural_network.context import LayerContext, Value
from windfall.lowering.neural_network.views import elementwise, on_planes
from windfall.lowering.normalization import (
    centred,
    divided_by_length,
    divided_by_neighbours,
    standardized,
    standardized_instances,
)


@on_planes
def lower_batchnorm(ctx: LayerContext, x: Value) -> Value:
    """Compute ``gamma * (x - mean) / sqrt(variance + epsilon) + beta`` for each channel.

    Source: ``BatchnormLayerParams``. Mean and variance are stored, or with ``computeMeanVar`` computed: of each
    channel of each instance with ``instanceNormalization``, else of each channel over the whole batch.

    Args:
        ctx: The layer and the graph being built.
        x: [*batch, C, H, W], rank 3 or more.

    Returns:
        The same shape.

    Raises:
        LoweringError: The input does not have ``channels`` channels, or a weight does not have as many values.
    """
    params = ctx.params
    channels = ctx.shape(x)[-3]
    if channels not in (params.channels, None):
        raise ctx.error("channels", f"must be the input's number of channels, {channels}")
    epsilon = params.epsilon or 1e-5
    gamma, beta = (ctx.weight(field, (params.channels,)) for field in ("gamma", "beta"))
    if not params.computeMeanVar:
        mean, variance = (ctx.weight(field, (params.channels,)) for field in ("mean", "variance"))
        return ctx.op("BatchNormalization", x, gamma, beta, mean, variance, epsilon=epsilon)
    if params.instanceNormalization or ctx.shape(x)[0] == 1:
        return ctx.op("InstanceNormalization", x, gamma, beta, epsilon=epsilon)
    scaled = ctx.op("Mul", standardized(ctx, x, (0, 2, 3), epsilon), ctx.reshape(gamma, params.channels, 1, 1))
    return ctx.op("Add", scaled, ctx.reshape(beta, params.channels, 1, 1))


@on_planes
def lower_mvn(ctx: LayerContext, x: Value) -> Value:
    """Subtract the mean and, with ``normalizeVariance``, divide by the standard deviation.

    Source: ``MeanVarianceNormalizeLayerParams``, which gives no formula: it is (x - mean) / sqrt(variance + epsilon),
    as coremltools converts a layer norm into this layer with its epsilon unchanged.

    Args:
        ctx: The layer and the graph being built.
        x: [*batch, C, H, W], rank 3 or more. The statistics are those of each [H, W], with ``acrossChannels`` of each
            [C, H, W].

    Returns:
        The same shape.

    Raises:
        LoweringError: The rank is below 3.
    """
    params = ctx.params
    if not params.normalizeVariance:
        return centred(ctx, x, (1, 2, 3) if params.acrossChannels else (2, 3))
    epsilon = params.epsilon or 1e-6
    if params.acrossChannels:
        whole = ctx.reshape(x, ctx.sizes(x, 0, 1), 1, ctx.sizes(x, 1, 2), -1)  # [N, C, H, W] -> [N, 1, C, H*W]
        return ctx.reshape(standardized_instances(ctx, whole, epsilon), ctx.sizes(x))
    return standardized_instances(ctx, x, epsilon)


@elementwise
def lower_l2_normalize(ctx: LayerContext, x: Value) -> Value:
    """Divide by ``sqrt(sum of squares + epsilon)``, the sum over a whole [C, H, W].

    Source: ``L2NormalizeLayerParams``.

    Args:
        ctx: The layer and the graph being built.
        x: [*batch, C, H, W], rank 3 or more.

    Returns:
        The same shape.

    Raises:
        LoweringError: The rank is below 3.
    """
    _check_rank(ctx, x)
    return divided_by_length(ctx, x, ctx.params.epsilon or 1e-6)


@on_planes
def lower_lrn(ctx: LayerContext, x: Value) -> Value:
    """Divide by ``(k + alpha / localSize * sum of squares) ** beta``, the sum over a window of channels.

    Source: ``LRNLayerParams``.

    Args:
        ctx: The layer and the graph being built.
        x: [*batch, C, H, W], rank 3 or more; channels beyond the ends count as 0.

    Returns:
        The same shape.

    Raises:
        LoweringError: ``localSize`` is 0 or ``k`` is negative.
    """
    params = ctx.params
    if params.localSize < 1:
        raise ctx.error("localSize", "must be at least 1")
    if params.k < 0:
        raise ctx.error("k", "must be positive, or 0 for the default of 1")
    return divided_by_neighbours(ctx, x, size=params.localSize, alpha=params.alpha, beta=params.beta, k=params.k or 1.0)


@elementwise
def lower_softmax(ctx: LayerContext, x: Value) -> Value:
    """Divide ``exp(x)`` by its sum over the channels.

    Source: ``SoftmaxLayerParams``.

    Args:
        ctx: The layer and the graph being built.
        x: [*batch, C, H, W], rank 3 or more.

    Returns:
        The same shape.

    Raises:
        LoweringError: The rank is below 3.
    """
    _check_rank(ctx, x)
    return ctx.op("Softmax", x, axis=ctx.rank(x) - 3)


def _check_rank(ctx: LayerContext, x: Value) -> None:
    if ctx.rank(x) < 3:
        raise ctx.error("input", f"has rank {ctx.rank(x)}, must have rank 3 or more", value=None)


LOWERINGS = {
    "batchnorm": lower_batchnorm,
    "mvn": lower_mvn,
    "l2normalize": lower_l2_normalize,
    "lrn": lower_lrn,
    "softmax": lower_softmax,
}
