"""Normalization: by stored or computed statistics, of channels, of neighbouring channels, of everything.

Source: ``BatchnormLayerParams``, ``MeanVarianceNormalizeLayerParams``, ``L2NormalizeLayerParams``, ``LRNLayerParams``,
``SoftmaxLayerParams`` in NeuralNetwork.proto.
"""

from collections.abc import Sequence

from windfall.lowering.neural_network.context import LayerContext, Value
from windfall.lowering.neural_network.views import elementwise, on_planes


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
    gamma, beta = (ctx.constant(ctx.weights(field, (params.channels,)), field) for field in ("gamma", "beta"))
    if not params.computeMeanVar:
        mean, variance = (ctx.constant(ctx.weights(f, (params.channels,)), f) for f in ("mean", "variance"))
        return ctx.op("BatchNormalization", x, gamma, beta, mean, variance, epsilon=epsilon)
    if params.instanceNormalization or ctx.shape(x)[0] == 1:
        return ctx.op("InstanceNormalization", x, gamma, beta, epsilon=epsilon)
    scaled = ctx.op("Mul", _standardize(ctx, x, (0, 2, 3), epsilon), ctx.reshape(gamma, params.channels, 1, 1))
    return ctx.op("Add", scaled, ctx.reshape(beta, params.channels, 1, 1))


def _centre(ctx: LayerContext, x: Value, axes: Sequence[int]) -> Value:
    return ctx.op("Sub", x, ctx.op("ReduceMean", x, ctx.integers(axes), name="mean"), name="centred")


def _standardize(ctx: LayerContext, x: Value, axes: Sequence[int], epsilon: float) -> Value:
    """Return (x - mean) / sqrt(variance + epsilon), the variance that of all values, divided by their number."""
    centred = _centre(ctx, x, axes)
    variance = ctx.op("ReduceMean", ctx.op("Mul", centred, centred), ctx.integers(axes), name="variance")
    return ctx.op("Div", centred, ctx.op("Sqrt", ctx.op("Add", variance, ctx.floats(epsilon)), name="deviation"))


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
    "softmax": lower_softmax,
}
