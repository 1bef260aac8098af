"""Activations: elementwise functions with a few parameters.

Source: ``ActivationParams`` in NeuralNetwork.proto.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windfall.lowering.neural_network.context import LayerContext, Value
from windfall.lowering.neural_network.views import elementwise


@elementwise
def lower_activation(ctx: LayerContext, x: Value) -> Value:
    """Apply one of thirteen activation functions.

    Source: ``ActivationParams``; the formula of each is on its message.

    Args:
        ctx: The layer and the graph being built.
        x: Any shape; PReLU and parametric softplus need rank 3 or more, [*batch, C, H, W].

    Returns:
        The same shape.

    Raises:
        LoweringError: No function is chosen, or a per-channel parameter does not have 1 or C values.
    """
    kind = ctx.params.WhichOneof("NonlinearityType")
    if kind is None:
        raise ctx.error("NonlinearityType", "must be set", value="not set")
    return _ACTIVATIONS[kind](ctx, x, getattr(ctx.params, kind))


def _linear(ctx: LayerContext, x: Value, params: Any) -> Value:
    # alpha * x + beta
    if params.alpha != 1:
        x = ctx.op("Mul", x, ctx.floats(params.alpha))
    return ctx.op("Add", x, ctx.floats(params.beta)) if params.beta else ctx.op("Identity", x)


def _leaky_relu(ctx: LayerContext, x: Value, params: Any) -> Value:
    return ctx.op("LeakyRelu", x, alpha=params.alpha)


def _thresholded_relu(ctx: LayerContext, x: Value, params: Any) -> Value:
    # x where x >= alpha, else 0; ONNX's ThresholdedRelu drops x == alpha.
    return ctx.op("Where", ctx.op("GreaterOrEqual", x, ctx.floats(params.alpha)), x, ctx.floats(0))


def _prelu(ctx: LayerContext, x: Value, params: Any) -> Value:
    return ctx.op("PRelu", x, ctx.constant(_per_channel(ctx, x, params, "alpha"), "alpha"))


def _scaled_tanh(ctx: LayerContext, x: Value, params: Any) -> Value:
    # alpha * tanh(beta * x)
    inner = ctx.op("Tanh", ctx.op("Mul", x, ctx.floats(params.beta)))
    return ctx.op("Mul", inner, ctx.floats(params.alpha))


def _sigmoid_hard(ctx: LayerContext, x: Value, params: Any) -> Value:
    return ctx.op("HardSigmoid", x, alpha=params.alpha, beta=params.beta)


def _elu(ctx: LayerContext, x: Value, params: Any) -> Value:
    return ctx.op("Elu", x, alpha=params.alpha)


def _parametric_softplus(ctx: LayerContext, x: Value, params: Any) -> Value:
    # alpha * log(1 + exp(beta * x))
    alpha = ctx.constant(_per_channel(ctx, x, params, "alpha"), "alpha")
    beta = ctx.constant(_per_channel(ctx, x, params, "beta"), "beta")
    return ctx.op("Mul", ctx.op("Softplus", ctx.op("Mul", x, beta)), alpha)


def _plain(op_type: str) -> Callable[[LayerContext, Value, Any], Value]:
    def lower(ctx: LayerContext, x: Value, _params: Any) -> Value:
        return ctx.op(op_type, x)

    return lower


def _per_channel(ctx: LayerContext, x: Value, params: Any, field: str) -> NDArray[np.float32]:
    """Return a parameter of 1 or C values, shaped [C, 1, 1] to follow axis -3."""
    if ctx.rank(x) < 3:
        raise ctx.error("input", f"has rank {ctx.rank(x)}, {field} per channel needs rank 3 or more", value=None)
    channels = ctx.shape(x)[-3]
    counts = [1] if channels is None else [channels, 1]
    return ctx.vector(field, counts, message=params).reshape(-1, 1, 1)


_ACTIVATIONS: dict[str, Callable[[LayerContext, Value, Any], Value]] = {
    "linear": _linear,
    "ReLU": _plain("Relu"),
    "leakyReLU": _leaky_relu,
    "thresholdedReLU": _thresholded_relu,
    "PReLU": _prelu,
    "tanh": _plain("Tanh"),
    "scaledTanh": _scaled_tanh,
    "sigmoid": _plain("Sigmoid"),
    "sigmoidHard": _sigmoid_hard,
    "ELU": _elu,
    "softsign": _plain("Softsign"),
    "softplus": _plain("Softplus"),
    "parametricSoftplus": _parametric_softplus,
}

LOWERINGS = {"activation": lower_activation}
