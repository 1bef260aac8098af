"""The normal distribution in doubles; ONNX Runtime has no ``Erf`` of them."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from windfall.lowering.context import GraphContext, Value

_STEP = 0.5
# exp(-(n + 1/2)^2 h^2) is below 1e-17 for the next n.
_POINTS = ((np.arange(13) + 0.5) * _STEP) ** 2
_HEIGHTS = np.exp(-_POINTS)
# The tail beyond is 0 in doubles; further out, infinity times 0 would be NaN.
_FARTHEST = 40.0


def _doubles(ctx: GraphContext, array: ArrayLike) -> Value:
    return ctx.constant(np.asarray(array, np.float64))


def normal_cdf(ctx: GraphContext, x: Value) -> Value:
    """Return the distribution function of the standard normal distribution, to some 1e-15 of its value.

    The upper tail is erfc(z) / 2 for z = |x| / sqrt(2), and the integral of erfc is summed at points h apart, with
    what the sum of a function with a pole lacks:

        erfc(z) = 2 h z exp(-z^2) / pi * sum_n exp(-t_n^2) / (t_n^2 + z^2) + 2 / (1 + exp(2 pi z / h)),

    t_n = (n + 1/2) h, the last term only for z < pi / h. What remains is exp(-pi^2 / h^2) of the result.

    Args:
        ctx: The graph being built.
        x: double, any shape.
    """
    z = ctx.op("Min", ctx.op("Mul", ctx.op("Abs", x), _doubles(ctx, math.sqrt(0.5))), _doubles(ctx, _FARTHEST))
    square = ctx.op("Mul", z, z)
    wide = ctx.op("Unsqueeze", square, ctx.integers([-1]))  # [...] -> [..., 1]
    terms = ctx.op("Reciprocal", ctx.op("Add", wide, _doubles(ctx, _POINTS)))
    # No ReduceSum: of [0, 13] ONNX Runtime 1.30 and 1.31 make [0, 13].
    total = ctx.op("Squeeze", ctx.op("MatMul", terms, _doubles(ctx, _HEIGHTS[:, None])), ctx.integers([-1]))
    factor = ctx.op("Mul", ctx.op("Mul", z, ctx.op("Exp", ctx.op("Neg", square))), _doubles(ctx, _STEP / math.pi))
    pole = ctx.op("Exp", ctx.op("Mul", z, _doubles(ctx, 2 * math.pi / _STEP)))
    rest = ctx.op("Div", _doubles(ctx, 1), ctx.op("Add", pole, _doubles(ctx, 1)))
    near = ctx.op("Where", ctx.op("Less", z, _doubles(ctx, math.pi / _STEP)), rest, _doubles(ctx, 0))
    tail = ctx.op("Add", ctx.op("Mul", factor, total), near)
    above = ctx.op("Greater", x, _doubles(ctx, 0))
    return ctx.op("Where", above, ctx.op("Sub", _doubles(ctx, 1), tail), tail)


# Acklam's rational approximations of the inverse, good to 1e-9 of its value.
_MIDDLE = (
    (
        -3.969683028665376e01, 2.209460984245205e02, -2.759285104469687e02,
        1.383577518672690e02, -3.066479806614716e01, 2.506628277459239e00,
    ),
    (
        -5.447609879822406e01, 1.615858368580409e02, -1.556989798598866e02,
        6.680131188771972e01, -1.328068155288572e01, 1.0,
    ),
)  # fmt: skip
_TAIL = (
    (
        -7.784894002430293e-03, -3.223964580411365e-01, -2.400758277161838e00,
        -2.549732539343734e00, 4.374664141464968e00, 2.938163982698783e00,
    ),
    (7.784695709041462e-03, 3.224671290700398e-01, 2.445134137142996e00, 3.754408661907416e00, 1.0),
)  # fmt: skip
_TAIL_BELOW = 0.02425


def normal_quantile(ctx: GraphContext, p: Value) -> Value:
    """Return the inverse of ``normal_cdf``, to 1e-9: enough for numbers that are drawn.

    Args:
        ctx: The graph being built.
        p: double, any shape, above 0 and below 1.
    """
    half = ctx.op("Sub", p, _doubles(ctx, 0.5))
    middle = ctx.op("Mul", half, _ratio(ctx, _MIDDLE, ctx.op("Mul", half, half)))
    beyond = ctx.op("Min", p, ctx.op("Sub", _doubles(ctx, 1), p))
    root = ctx.op("Sqrt", ctx.op("Mul", ctx.op("Log", beyond), _doubles(ctx, -2)))
    # below 0, for the lower tail
    tail = ctx.op("Mul", _ratio(ctx, _TAIL, root), ctx.op("Neg", ctx.op("Sign", half)))
    return ctx.op("Where", ctx.op("Less", beyond, _doubles(ctx, _TAIL_BELOW)), tail, middle)


def _ratio(ctx: GraphContext, polynomials: Sequence[Sequence[float]], x: Value) -> Value:
    above, below = (_polynomial(ctx, coefficients, x) for coefficients in polynomials)
    return ctx.op("Div", above, below)


def _polynomial(ctx: GraphContext, coefficients: Sequence[float], x: Value) -> Value:
    """Return a polynomial, its highest coefficient first."""
    value = ctx.op("Mul", x, _doubles(ctx, coefficients[0]))
    for coefficient in coefficients[1:-1]:
        value = ctx.op("Mul", ctx.op("Add", value, _doubles(ctx, coefficient)), x)
    return ctx.op("Add", value, _doubles(ctx, coefficients[-1]))
