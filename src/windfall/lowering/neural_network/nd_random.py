"""Tensors of random numbers.

Source: ``RandomNormalLikeLayerParams`` to ``CategoricalDistributionLayerParams`` in NeuralNetwork.proto. The numbers
are not those that Core ML draws, whose generator is not published; their distribution is. A model that is loaded anew
draws the same numbers again, a further prediction of a loaded model draws others.
"""

from collections.abc import Callable

from windfall.lowering.neural_network.axes import vector
from windfall.lowering.neural_network.casts import as_floats
from windfall.lowering.neural_network.context import LayerContext, Value
from windfall.lowering.neural_network.nd_fill import filled, stored_shape
from windfall.lowering.seeds import draw_normal, onnx_seed

Draw = Callable[[LayerContext, Value], Value]


def _seed(ctx: LayerContext) -> float | None:
    return onnx_seed(ctx.params.seed)


def _normal(ctx: LayerContext, like: Value) -> Value:
    params = ctx.params
    if not params.stdDev >= 0:
        raise ctx.error("stdDev", "must be at least 0")
    return draw_normal(ctx, like, params.mean, params.stdDev, params.seed)


def _uniform(ctx: LayerContext, like: Value) -> Value:
    params = ctx.params
    if not params.minVal <= params.maxVal:  # NaN, too: ONNX Runtime ends the process at it
        raise ctx.error("minVal", f"must be at most maxVal, {params.maxVal}")
    return ctx.op("RandomUniformLike", like, low=params.minVal, high=params.maxVal, seed=_seed(ctx))


def _bernoulli(ctx: LayerContext, like: Value) -> Value:
    if not 0 <= ctx.params.prob <= 1:
        raise ctx.error("prob", "must be 0 to 1")
    draws = ctx.op("RandomUniformLike", like, low=0.0, high=1.0, seed=_seed(ctx))
    return as_floats(ctx, ctx.op("Less", draws, ctx.floats(ctx.params.prob)))


def _like(draw: Draw) -> Callable[[LayerContext, Value], Value]:
    def lower(ctx: LayerContext, x: Value) -> Value:
        return draw(ctx, x)

    return lower


def _static(draw: Draw) -> Callable[[LayerContext], Value]:
    def lower(ctx: LayerContext) -> Value:
        return draw(ctx, filled(ctx, stored_shape(ctx, "outputShape"), 0))

    return lower


def _dynamic(draw: Draw) -> Callable[[LayerContext, Value], Value]:
    def lower(ctx: LayerContext, sizes: Value) -> Value:
        return draw(ctx, filled(ctx, vector(ctx, "the shape", sizes), 0))

    return lower


_DISTRIBUTIONS: dict[str, tuple[Draw, str]] = {
    "randomNormal": (_normal, "Draw from the normal distribution with ``mean`` and ``stdDev``"),
    "randomUniform": (_uniform, "Draw evenly from ``minVal`` to ``maxVal``"),
    "randomBernoulli": (_bernoulli, "Draw 1 with probability ``prob``, else 0"),
}
_SHAPES: dict[str, tuple[Callable[[Draw], Callable[..., Value]], str]] = {
    "Like": (_like, "a tensor of the input's shape"),
    "Static": (_static, "a tensor of the shape ``outputShape``"),
    "Dynamic": (_dynamic, "a tensor of the shape that the input holds"),
}


def _each() -> dict[str, Callable[..., Value]]:
    """Return the lowerings of each distribution with each way to tell the shape."""
    lowerings = {}
    for distribution, (draw, does) in _DISTRIBUTIONS.items():
        for suffix, (lowering, shape) in _SHAPES.items():
            lower = lowering(draw)
            lower.__doc__ = f"{does}, {shape}."
            lowerings[distribution + suffix] = lower
    return lowerings


def lower_categorical_distribution(ctx: LayerContext, x: Value) -> Value:
    """Draw classes, with the probabilities that the input holds along its last axis.

    Source: ``CategoricalDistributionLayerParams``. An ``eps`` of 0 stands for 1e-10, a ``temperature`` of 0 for 1.

    Args:
        ctx: The layer and the graph being built.
        x: [..., C], probabilities up to a factor, or with ``isLogits`` their logarithms.

    Returns:
        [..., numSamples], numbers of classes.

    Raises:
        LoweringError: ``numSamples`` is below 1, or ``temperature`` below 0.
    """
    params = ctx.params
    if params.numSamples < 1:
        raise ctx.error("numSamples", "must be at least 1")
    if not params.temperature >= 0:
        raise ctx.error("temperature", "must be above 0")
    logits = x if params.isLogits else ctx.op("Log", ctx.op("Add", x, ctx.floats(params.eps or 1e-10)))
    if params.temperature not in (0, 1):
        logits = ctx.op("Div", logits, ctx.floats(params.temperature))
    rows = ctx.reshape(logits, -1, ctx.sizes(x, ctx.rank(x) - 1))  # [..., C] -> [N, C]
    drawn = as_floats(ctx, ctx.op("Multinomial", rows, sample_size=params.numSamples, seed=_seed(ctx)))
    return ctx.reshape(drawn, ctx.sizes(x, 0, ctx.rank(x) - 1), [params.numSamples])


LOWERINGS = {**_each(), "categoricalDistribution": lower_categorical_distribution}
