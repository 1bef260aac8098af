"""Activation functions.

Source: ``activation.py`` among coremltools' operator definitions.
"""

from collections.abc import Callable, Mapping
from typing import Any

from windfall.lowering.ml_program.context import Array, OperationContext, Value


def lower_clamped_relu(ctx: OperationContext, x: Value, alpha: float, beta: float) -> Value:
    """Compute ``min(beta, x if x >= 0 else alpha * x)``.

    Args:
        ctx: The operation and the graph being built.
        x: Any shape.
        alpha: The slope below 0.
        beta: The upper bound.
    """
    return ctx.op("Min", ctx.op("LeakyRelu", x, alpha=alpha), ctx.floats(beta))


def lower_elu(ctx: OperationContext, x: Value, alpha: float) -> Value:
    """Compute ``x if x > 0 else alpha * (exp(x) - 1)``.

    Args:
        ctx: The operation and the graph being built.
        x: Any shape.
        alpha: Minus the lower bound.
    """
    return ctx.op("Elu", x, alpha=alpha)


def lower_gelu(ctx: OperationContext, x: Value, mode: str = "EXACT") -> Value:
    """Compute x times the distribution function of the standard normal distribution, or an approximation.

    Args:
        ctx: The operation and the graph being built.
        x: Any shape.
        mode: ``EXACT``; ``TANH_APPROXIMATION``; ``SIGMOID_APPROXIMATION``, ``x * sigmoid(1.702 * x)``.

    Raises:
        LoweringError: There is no such mode.
    """
    if mode == "SIGMOID_APPROXIMATION":
        return ctx.op("Mul", x, ctx.op("Sigmoid", ctx.op("Mul", x, ctx.floats(1.702))))
    if mode not in _GELU:
        raise ctx.error("mode", f"must be {', '.join(_GELU)} or SIGMOID_APPROXIMATION", value=repr(mode))
    return ctx.op("Gelu", x, approximate=_GELU[mode])


_GELU = {"EXACT": "none", "TANH_APPROXIMATION": "tanh"}


def lower_leaky_relu(ctx: OperationContext, x: Value, alpha: float) -> Value:
    """Compute ``x if x >= 0 else alpha * x``.

    Args:
        ctx: The operation and the graph being built.
        x: Any shape.
        alpha: The slope below 0.
    """
    return ctx.op("LeakyRelu", x, alpha=alpha)


def lower_linear_activation(ctx: OperationContext, x: Value, alpha: float, beta: float) -> Value:
    """Compute ``alpha * x + beta``.

    Args:
        ctx: The operation and the graph being built.
        x: Any shape.
        alpha: The slope.
        beta: The value at 0.
    """
    scaled = ctx.op("Mul", x, ctx.floats(alpha))
    return ctx.op("Add", scaled, ctx.floats(beta)) if beta else scaled


def _per_channel(ctx: OperationContext, argument: str, numbers: Array, x: Value) -> Value:
    """Return one number for each channel, shaped to be broadcast against [B, C, ...]."""
    rank = ctx.rank(x)
    if rank < 2:
        raise ctx.error("x", f"has rank {rank}, must have channels as axis 1")
    channels = ctx.shape(x)[1]
    if numbers.ndim != 1 or channels not in (None, numbers.size):
        count = "" if channels is None else f", [{channels}]"
        raise ctx.error(
            argument, f"must have one value for each channel{count}", value=f"of shape {list(numbers.shape)}"
        )
    return ctx.floats(numbers.reshape(-1, *[1] * (rank - 2)), argument)


def lower_prelu(ctx: OperationContext, x: Value, alpha: Array) -> Value:
    """Compute ``x if x > 0 else alpha * x``, with a slope for each channel.

    Args:
        ctx: The operation and the graph being built.
        x: [B, C, ...].
        alpha: [C].

    Raises:
        LoweringError: There is not one slope for each channel.
    """
    return ctx.op("PRelu", x, _per_channel(ctx, "alpha", alpha, x))


def lower_relu(ctx: OperationContext, x: Value) -> Value:
    """Compute ``max(x, 0)``.

    Args:
        ctx: The operation and the graph being built.
        x: Any shape.
    """
    return ctx.op("Relu", x)


def lower_relu6(ctx: OperationContext, x: Value) -> Value:
    """Compute ``min(max(x, 0), 6)``.

    Args:
        ctx: The operation and the graph being built.
        x: Any shape.
    """
    return ctx.op("Clip", x, ctx.floats(0), ctx.floats(6))


def lower_scaled_tanh(ctx: OperationContext, x: Value, alpha: float, beta: float) -> Value:
    """Compute ``alpha * tanh(beta * x)``.

    Args:
        ctx: The operation and the graph being built.
        x: Any shape.
        alpha: The bound.
        beta: Scales x.
    """
    return ctx.op("Mul", ctx.op("Tanh", ctx.op("Mul", x, ctx.floats(beta))), ctx.floats(alpha))


def lower_sigmoid(ctx: OperationContext, x: Value) -> Value:
    """Compute ``1 / (1 + exp(-x))``.

    Args:
        ctx: The operation and the graph being built.
        x: Any shape.
    """
    return ctx.op("Sigmoid", x)


def lower_sigmoid_hard(ctx: OperationContext, x: Value, alpha: float, beta: float) -> Value:
    """Compute ``min(max(alpha * x + beta, 0), 1)``.

    Args:
        ctx: The operation and the graph being built.
        x: Any shape.
        alpha: The slope.
        beta: The value at 0.
    """
    return ctx.op("HardSigmoid", x, alpha=alpha, beta=beta)


def lower_silu(ctx: OperationContext, x: Value) -> Value:
    """Compute ``x * sigmoid(x)``.

    Args:
        ctx: The operation and the graph being built.
        x: Any shape.
    """
    return ctx.op("Mul", x, ctx.op("Sigmoid", x))


def lower_softplus(ctx: OperationContext, x: Value) -> Value:
    """Compute ``log(1 + exp(x))``.

    Args:
        ctx: The operation and the graph being built.
        x: Any shape.
    """
    return ctx.op("Softplus", x)


def lower_softplus_parametric(ctx: OperationContext, x: Value, alpha: Array, beta: Array) -> Value:
    """Compute ``alpha * log(1 + exp(beta * x))``, with two numbers for each channel.

    Args:
        ctx: The operation and the graph being built.
        x: [B, C, ...].
        alpha: [C].
        beta: [C].

    Raises:
        LoweringError: There are not as many numbers as channels.
    """
    scaled = ctx.op("Mul", x, _per_channel(ctx, "beta", beta, x))
    return ctx.op("Mul", ctx.op("Softplus", scaled), _per_channel(ctx, "alpha", alpha, x))


def lower_softmax(ctx: OperationContext, x: Value, axis: int = -1) -> Value:
    """Compute ``exp(x)``, divided by its sum along an axis.

    Args:
        ctx: The operation and the graph being built.
        x: Any shape.
        axis: The axis.

    Raises:
        LoweringError: There is no such axis.
    """
    return ctx.op("Softmax", x, axis=ctx.axis("axis", axis, ctx.rank(x)))


def lower_softsign(ctx: OperationContext, x: Value) -> Value:
    """Compute ``x / (1 + abs(x))``.

    Args:
        ctx: The operation and the graph being built.
        x: Any shape.
    """
    return ctx.op("Softsign", x)


def lower_thresholded_relu(ctx: OperationContext, x: Value, alpha: float) -> Value:
    """Compute ``x if x >= alpha else 0``.

    Args:
        ctx: The operation and the graph being built.
        x: Any shape.
        alpha: The threshold, which ONNX's own ``ThresholdedRelu`` does not count in.
    """
    return ctx.op("Where", ctx.op("GreaterOrEqual", x, ctx.floats(alpha)), x, ctx.floats(0))


LOWERINGS: Mapping[str, Callable[..., Any]] = {
    "clamped_relu": lower_clamped_relu,
    "elu": lower_elu,
    "gelu": lower_gelu,
    "leaky_relu": lower_leaky_relu,
    "linear_activation": lower_linear_activation,
    "prelu": lower_prelu,
    "relu": lower_relu,
    "relu6": lower_relu6,
    "scaled_tanh": lower_scaled_tanh,
    "sigmoid": lower_sigmoid,
    "sigmoid_hard": lower_sigmoid_hard,
    "silu": lower_silu,
    "softmax": lower_softmax,
    "softplus": lower_softplus,
    "softplus_parametric": lower_softplus_parametric,
    "softsign": lower_softsign,
    "thresholded_relu": lower_thresholded_relu,
}
