"""Elementwise functions of one, two or three tensors of any rank.

Source: ``EqualLayerParams`` to ``LogicalNotLayerParams``, ``SinLayerParams`` to ``Exp2LayerParams``,
``CeilLayerParams`` to ``ClipLayerParams`` and the messages named ``...BroadcastableLayerParams`` in
NeuralNetwork.proto. Shapes broadcast as in NumPy.
"""

from collections.abc import Callable

from windfall.lowering.neural_network.casts import as_booleans, as_floats
from windfall.lowering.neural_network.context import LayerContext, Value
from windfall.lowering.neural_network.views import elementwise

Unary = Callable[[LayerContext, Value], Value]
Binary = Callable[[LayerContext, Value, Value], Value]


def _plain(op_type: str, does: str) -> Unary:
    @elementwise
    def lower(ctx: LayerContext, x: Value) -> Value:
        return ctx.op(op_type, x)

    lower.__doc__ = f"{does}.\n\nLowers to ONNX's {op_type}; the shape stays."
    return lower


# Layer type: ONNX operator, what it computes.
_PLAIN = {
    "ceil": ("Ceil", "Round up to a whole number"),
    "floor": ("Floor", "Round down to a whole number"),
    "round": ("Round", "Round to the nearest whole number, halves to the even one"),
    "sign": ("Sign", "Tell the sign: 1, 0 or -1"),
    "sin": ("Sin", "Compute the sine"),
    "cos": ("Cos", "Compute the cosine"),
    "tan": ("Tan", "Compute the tangent"),
    "asin": ("Asin", "Compute the inverse of the sine"),
    "acos": ("Acos", "Compute the inverse of the cosine"),
    "atan": ("Atan", "Compute the inverse of the tangent"),
    "sinh": ("Sinh", "Compute the hyperbolic sine"),
    "cosh": ("Cosh", "Compute the hyperbolic cosine"),
    "tanh": ("Tanh", "Compute the hyperbolic tangent"),
    "asinh": ("Asinh", "Compute the inverse of the hyperbolic sine"),
    "acosh": ("Acosh", "Compute the inverse of the hyperbolic cosine"),
    "atanh": ("Atanh", "Compute the inverse of the hyperbolic tangent"),
    "erf": ("Erf", "Compute the Gauss error function"),
}


@elementwise
def lower_exp2(ctx: LayerContext, x: Value) -> Value:
    """Raise 2 to the power of each element; the shape stays.

    Source: ``Exp2LayerParams``.
    """
    return ctx.op("Pow", ctx.floats(2), x)


@elementwise
def lower_clip(ctx: LayerContext, x: Value) -> Value:
    """Clip to ``minVal`` and ``maxVal``; the shape stays.

    Source: ``ClipLayerParams``.

    Raises:
        LoweringError: ``minVal`` is above ``maxVal``.
    """
    params = ctx.params
    if params.minVal > params.maxVal:
        raise ctx.error("minVal", f"must be at most maxVal, {params.maxVal}")
    return ctx.op("Clip", x, ctx.floats(params.minVal), ctx.floats(params.maxVal))


@elementwise
def lower_clamped_relu(ctx: LayerContext, x: Value) -> Value:
    """Scale negative elements by ``alpha``, then cut off all above ``beta``; the shape stays.

    Source: ``ClampedReLULayerParams``.
    """
    return ctx.op("Min", ctx.op("LeakyRelu", x, alpha=ctx.params.alpha), ctx.floats(ctx.params.beta))


@elementwise
def lower_gelu(ctx: LayerContext, x: Value) -> Value:
    """Apply the Gaussian error linear unit, exactly or by one of two approximations; the shape stays.

    Source: ``GeluLayerParams``.

    Raises:
        LoweringError: ``mode`` is unknown.
    """
    function = _GELU.get(ctx.params.mode)
    if function is None:
        raise ctx.error("mode", "must be 0 to 2 for EXACT, TANH_APPROXIMATION or SIGMOID_APPROXIMATION")
    return function(ctx, x)


def _sigmoid_gelu(ctx: LayerContext, x: Value) -> Value:
    # x * sigmoid(1.702 * x)
    return ctx.op("Mul", x, ctx.op("Sigmoid", ctx.op("Mul", x, ctx.floats(1.702))))


# By the numbers of GeluLayerParams.GeluMode.
_GELU: dict[int, Unary] = {
    0: lambda ctx, x: ctx.op("Gelu", x, approximate="none"),
    1: lambda ctx, x: ctx.op("Gelu", x, approximate="tanh"),
    2: _sigmoid_gelu,
}


@elementwise
def lower_logical_not(ctx: LayerContext, x: Value) -> Value:
    """Give 1 where an element is 0, else 0; the shape stays.

    Source: ``LogicalNotLayerParams``.
    """
    return as_floats(ctx, ctx.op("Not", as_booleans(ctx, x)))


def _logical(op_type: str, when: str) -> Binary:
    @elementwise
    def lower(ctx: LayerContext, x: Value, y: Value) -> Value:
        return as_floats(ctx, ctx.op(op_type, as_booleans(ctx, x), as_booleans(ctx, y)))

    lower.__doc__ = f"Give 1 where {when} differ from 0, else 0.\n\nLowers to ONNX's {op_type}; shapes broadcast."
    return lower


def _comparison(compare: Binary, sign: str) -> Callable[..., Value]:
    @elementwise
    def lower(ctx: LayerContext, x: Value, y: Value | None = None) -> Value:
        return as_floats(ctx, compare(ctx, x, ctx.floats(ctx.params.alpha) if y is None else y))

    lower.__doc__ = f"Give 1 where x {sign} y, else 0; y is ``alpha`` if there is one input.\n\nShapes broadcast."
    return lower


def _two(op_type: str) -> Binary:
    def lower(ctx: LayerContext, x: Value, y: Value) -> Value:
        return ctx.op(op_type, x, y)

    return lower


def _unequal(ctx: LayerContext, x: Value, y: Value) -> Value:
    return ctx.op("Not", ctx.op("Equal", x, y))


_COMPARISONS = {
    "equal": (_two("Equal"), "=="),
    "notEqual": (_unequal, "!="),
    "lessThan": (_two("Less"), "<"),
    "lessEqual": (_two("LessOrEqual"), "<="),
    "greaterThan": (_two("Greater"), ">"),
    "greaterEqual": (_two("GreaterOrEqual"), ">="),
}


def _broadcastable(op_type: str, does: str) -> Binary:
    @elementwise
    def lower(ctx: LayerContext, x: Value, y: Value) -> Value:
        return ctx.op(op_type, x, y)

    lower.__doc__ = f"{does}.\n\nLowers to ONNX's {op_type}; shapes broadcast."
    return lower


# Layer type: ONNX operator, what it computes.
_BROADCASTABLE = {
    "addBroadcastable": ("Add", "Add two tensors"),
    "subtractBroadcastable": ("Sub", "Subtract a tensor from another one"),
    "multiplyBroadcastable": ("Mul", "Multiply two tensors"),
    "divideBroadcastable": ("Div", "Divide a tensor by another one"),
    "powBroadcastable": ("Pow", "Raise a tensor to the power of another one"),
    "maxBroadcastable": ("Max", "Take the larger of two elements"),
    "minBroadcastable": ("Min", "Take the smaller of two elements"),
}


@elementwise
def lower_floor_div(ctx: LayerContext, x: Value, y: Value) -> Value:
    """Divide, and round the float32 quotient down. Shapes broadcast.

    Source: ``FloorDivBroadcastableLayerParams``. NumPy's ``floor_divide`` differs by 1 where only the rounding to
    float32 made the quotient whole, as in 1 / 0.1.
    """
    return ctx.op("Floor", ctx.op("Div", x, y))


@elementwise
def lower_mod(ctx: LayerContext, x: Value, y: Value) -> Value:
    """Give the remainder of a division, with the sign of the divisor. Shapes broadcast.

    Source: ``ModBroadcastableLayerParams``, which does not tell the sign: coremltools compares the layer with
    ``numpy.mod``.
    """
    remainder = ctx.op("Mod", x, y, fmod=1)  # exact, with the sign of x
    # The product itself could be too small for a float32.
    opposite = ctx.op("Less", ctx.op("Mul", ctx.op("Sign", remainder), ctx.op("Sign", y)), ctx.floats(0))
    return ctx.op("Where", opposite, ctx.op("Add", remainder, y), remainder)


@elementwise
def lower_where(ctx: LayerContext, condition: Value, x: Value, y: Value) -> Value:
    """Take elements of x where the condition is not 0, else elements of y. Shapes broadcast.

    Source: ``WhereBroadcastableLayerParams``.
    """
    return ctx.op("Where", as_booleans(ctx, condition), x, y)


LOWERINGS = {
    **{layer_type: _plain(*row) for layer_type, row in _PLAIN.items()},
    "exp2": lower_exp2,
    "clip": lower_clip,
    "clampedReLU": lower_clamped_relu,
    "gelu": lower_gelu,
    "logicalNot": lower_logical_not,
    "logicalAnd": _logical("And", "both elements"),
    "logicalOr": _logical("Or", "one or both elements"),
    "logicalXor": _logical("Xor", "one but not both elements"),
    **{layer_type: _comparison(*row) for layer_type, row in _COMPARISONS.items()},
    **{layer_type: _broadcastable(*row) for layer_type, row in _BROADCASTABLE.items()},
    "floorDivBroadcastable": lower_floor_div,
    "modBroadcastable": lower_mod,
    "whereBroadcastable": lower_where,
}
