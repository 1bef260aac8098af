"""Tensors of random numbers.

Source: ``random.py`` among coremltools' operator definitions. The numbers are not those that Core ML draws, whose
generator is not published; their distribution is. A model that is loaded anew draws the same numbers again where it
has a seed, a further prediction of a loaded model draws others.
"""

from collections.abc import Callable, Mapping
from typing import Any

from windfall.lowering.ml_program.context import OperationContext, Value
from windfall.lowering.ml_program.shapes import wanted_shape
from windfall.lowering.seeds import draw_normal, onnx_seed


def _zeros(ctx: OperationContext, shape: Value) -> Value:
    """Return a tensor of a shape that may be computed."""
    return ctx.op("ConstantOfShape", wanted_shape(ctx, shape))


def lower_random_normal(
    ctx: OperationContext, shape: Value, mean: float = 0.0, stddev: float = 1.0, seed: int = -1
) -> Value:
    """Draw from the normal distribution.

    Args:
        ctx: The operation and the graph being built.
        shape: int32 [K], the output's shape.
        mean: The distribution's mean.
        stddev: Its standard deviation.
        seed: Repeats the numbers where a model is loaded anew; -1 for others in each process.

    Raises:
        LoweringError: ``stddev`` is below 0.
    """
    if not stddev >= 0:
        raise ctx.error("stddev", "must be at least 0", value=stddev)
    return draw_normal(ctx, _zeros(ctx, shape), mean, stddev, seed)


def lower_random_uniform(
    ctx: OperationContext, shape: Value, low: float = 0.0, high: float = 1.0, seed: int = -1
) -> Value:
    """Draw evenly from an interval.

    Args:
        ctx: The operation and the graph being built.
        shape: int32 [K], the output's shape.
        low: The interval's start, which may be drawn.
        high: Its end, which is not drawn.
        seed: Repeats the numbers where a model is loaded anew; -1 for others in each process.

    Raises:
        LoweringError: ``low`` is above ``high``.
    """
    if not low <= high:
        raise ctx.error("low", f"must be at most high, {high}", value=low)
    return ctx.op("RandomUniformLike", _zeros(ctx, shape), low=low, high=high, seed=onnx_seed(seed))


def lower_random_bernoulli(ctx: OperationContext, shape: Value, prob: float = 0.5, seed: int = -1) -> Value:
    """Draw 1 with a probability, else 0.

    Args:
        ctx: The operation and the graph being built.
        shape: int32 [K], the output's shape.
        prob: The probability.
        seed: Repeats the numbers where a model is loaded anew; -1 for others in each process.

    Raises:
        LoweringError: ``prob`` is not 0 to 1.
    """
    if not 0 <= prob <= 1:
        raise ctx.error("prob", "must be 0 to 1", value=prob)
    draws = ctx.op("RandomUniformLike", _zeros(ctx, shape), low=0.0, high=1.0, seed=onnx_seed(seed))
    return ctx.op("Cast", ctx.op("Less", draws, ctx.floats(prob)), to=ctx.graph_type)


def lower_random_categorical(
    ctx: OperationContext, x: Value, mode: str = "logits", size: int = 1, seed: int = -1
) -> Value:
    """Draw classes, with the probabilities that a tensor holds along its last axis.

    Args:
        ctx: The operation and the graph being built.
        x: [..., C].
        mode: ``logits`` or ``probs``: whether x holds logarithms of probabilities.
        size: How many are drawn.
        seed: Repeats the numbers where a model is loaded anew; -1 for others in each process.

    Returns:
        [..., size], numbers of classes.

    Raises:
        LoweringError: There is no such mode, or ``size`` is below 1.
    """
    if mode not in ("logits", "probs"):
        raise ctx.error("mode", "must be 'logits' or 'probs'", value=repr(mode))
    if size < 1:
        raise ctx.error("size", "must be at least 1", value=size)
    logits = ctx.op("Log", x) if mode == "probs" else x
    rows = ctx.reshape(logits, -1, ctx.sizes(x, ctx.rank(x) - 1))  # [..., C] -> [N, C]
    drawn = ctx.op("Multinomial", rows, sample_size=size, seed=onnx_seed(seed))
    return ctx.op("Cast", ctx.reshape(drawn, ctx.sizes(x, 0, ctx.rank(x) - 1), [size]), to=ctx.graph_type)


LOWERINGS: Mapping[str, Callable[..., Any]] = {
    "random_bernoulli": lower_random_bernoulli,
    "random_categorical": lower_random_categorical,
    "random_normal": lower_random_normal,
    "random_uniform": lower_random_uniform,
}
