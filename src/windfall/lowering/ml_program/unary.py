"""Functions of one tensor, element by element.

Source: ``elementwise_unary.py`` among coremltools' operator definitions.
"""

from collections.abc import Callable, Mapping
from typing import Any

from windfall.lowering.ml_program.context import OperationContext, Value
from windfall.lowering.ml_program.elementwise import lower_pow


def _unary(op_type: str, what: str) -> Callable[[OperationContext, Value], Value]:
    def lower(ctx: OperationContext, x: Value) -> Value:
        return ctx.op(op_type, x)

    lower.__doc__ = f"""Compute {what} of each element.

    Args:
        ctx: The operation and the graph being built.
        x: Any shape.
    """
    return lower


_FUNCTIONS = {
    "abs": ("Abs", "the absolute value"),
    "acos": ("Acos", "the inverse cosine"),
    "asin": ("Asin", "the inverse sine"),
    "atan": ("Atan", "the inverse tangent"),
    "atanh": ("Atanh", "the inverse hyperbolic tangent"),
    "ceil": ("Ceil", "the next whole number above"),
    "cos": ("Cos", "the cosine"),
    "cosh": ("Cosh", "the hyperbolic cosine"),
    "erf": ("Erf", "the error function"),
    "exp": ("Exp", "the exponential"),
    "floor": ("Floor", "the next whole number below"),
    "logical_not": ("Not", "the negation"),
    "round": ("Round", "the nearest whole number, halves to even ones,"),
    "sign": ("Sign", "the sign"),
    "sin": ("Sin", "the sine"),
    "sinh": ("Sinh", "the hyperbolic sine"),
    "sqrt": ("Sqrt", "the square root"),
    "tan": ("Tan", "the tangent"),
    "tanh": ("Tanh", "the hyperbolic tangent"),
}


def lower_square(ctx: OperationContext, x: Value) -> Value:
    """Compute the square of each element.

    Args:
        ctx: The operation and the graph being built.
        x: Any shape.
    """
    return ctx.op("Mul", x, x)


def lower_exp2(ctx: OperationContext, x: Value) -> Value:
    """Compute 2 to the power of each element; of int32 as ``pow`` does.

    Args:
        ctx: The operation and the graph being built.
        x: float or int32, any shape.
    """
    return lower_pow(ctx, ctx.scalar(2, x), x)


def lower_inverse(ctx: OperationContext, x: Value, epsilon: float = 1e-4) -> Value:
    """Compute ``1 / (x + epsilon)``.

    Args:
        ctx: The operation and the graph being built.
        x: float, any shape.
        epsilon: Keeps the divisor from 0.
    """
    return ctx.op("Reciprocal", ctx.op("Add", x, ctx.floats(epsilon)))


def lower_log(ctx: OperationContext, x: Value, epsilon: float = 1e-45) -> Value:
    """Compute ``log(x + epsilon)``, the natural logarithm.

    Args:
        ctx: The operation and the graph being built.
        x: float, any shape.
        epsilon: Keeps the logarithm from minus infinity.
    """
    return ctx.op("Log", ctx.op("Add", x, ctx.floats(epsilon)) if epsilon else x)


def lower_rsqrt(ctx: OperationContext, x: Value, epsilon: float = 1e-12) -> Value:
    """Compute ``1 / sqrt(x + epsilon)``.

    Args:
        ctx: The operation and the graph being built.
        x: float, any shape.
        epsilon: Keeps the divisor from 0.
    """
    return ctx.op("Reciprocal", ctx.op("Sqrt", ctx.op("Add", x, ctx.floats(epsilon))))


def lower_clip(ctx: OperationContext, x: Value, alpha: float, beta: float) -> Value:
    """Raise elements to a lower bound, and lower them to an upper one.

    Args:
        ctx: The operation and the graph being built.
        x: float, any shape.
        alpha: The lower bound.
        beta: The upper bound; it wins where it is below the lower one.
    """
    if alpha <= beta:
        # Engines compute it along with a convolution before it, unlike the two below.
        return ctx.op("Clip", x, ctx.floats(alpha), ctx.floats(beta))
    # Unlike Clip, these two say which bound wins.
    return ctx.op("Min", ctx.op("Max", x, ctx.floats(alpha)), ctx.floats(beta))


def lower_threshold(ctx: OperationContext, x: Value, alpha: float) -> Value:
    """Raise elements to a lower bound.

    Args:
        ctx: The operation and the graph being built.
        x: float or int32, any shape.
        alpha: The bound.
    """
    return ctx.op("Max", x, ctx.scalar(alpha, x))


LOWERINGS: Mapping[str, Callable[..., Any]] = {
    **{operator: _unary(*function) for operator, function in _FUNCTIONS.items()},
    "clip": lower_clip,
    "exp2": lower_exp2,
    "inverse": lower_inverse,
    "log": lower_log,
    "rsqrt": lower_rsqrt,
    "square": lower_square,
    "threshold": lower_threshold,
}
