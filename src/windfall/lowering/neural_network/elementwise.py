"""Elementwise arithmetic: sums and products of tensors, with constants, and functions of one tensor.

Source: ``AddLayerParams`` to ``LoadConstantLayerParams`` in NeuralNetwork.proto.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from windfall.lowering.neural_network.context import LayerContext, Value
from windfall.lowering.neural_network.views import elementwise


@elementwise
def lower_add(ctx: LayerContext, x: Value, *others: Value) -> Value:
    """Add tensors, or ``alpha`` to a single one.

    Source: ``AddLayerParams``.

    Args:
        ctx: The layer and the graph being built.
        x: Any shape.
        others: Shapes that broadcast with it: each axis is 1 or the size of the output.

    Returns:
        The broadcast shape.
    """
    if not others:
        return ctx.op("Add", x, ctx.floats(ctx.params.alpha))
    return _fold(ctx, "Add", [x, *others])


@elementwise
def lower_multiply(ctx: LayerContext, x: Value, *others: Value) -> Value:
    """Multiply tensors, or a single one by ``alpha``; shapes as for ``lower_add``.

    Source: ``MultiplyLayerParams``. An ``alpha`` that is not set is 0, and so is the product.
    """
    if not others:
        return ctx.op("Mul", x, ctx.floats(ctx.params.alpha))
    return _fold(ctx, "Mul", [x, *others])


def _fold(ctx: LayerContext, op_type: str, inputs: Sequence[Value]) -> Value:
    """Apply an operator of two inputs from left to right."""
    result, *others = inputs
    for other in others:
        result = ctx.op(op_type, result, other)
    return result


def _variadic(op_type: str) -> Callable[..., Value]:
    @elementwise
    def lower(ctx: LayerContext, x: Value, *others: Value) -> Value:
        return ctx.op(op_type, x, *others)

    lower.__doc__ = f"""Lower to ONNX's {op_type}, which takes any number of tensors; shapes as for ``lower_add``."""
    return lower


@elementwise
def lower_unary(ctx: LayerContext, x: Value) -> Value:
    """Apply one of eight functions to ``scale * x + shift``.

    Source: ``UnaryFunctionLayerParams``.

    Args:
        ctx: The layer and the graph being built.
        x: Any shape.

    Returns:
        The same shape.

    Raises:
        LoweringError: ``type`` is none of the eight.
    """
    params = ctx.params
    function = _UNARY.get(params.type)
    if function is None:
        raise ctx.error("type", f"must be 0 to {len(_UNARY) - 1}")
    if params.scale not in (0, 1):  # 0 stands for the default, 1
        x = ctx.op("Mul", x, ctx.floats(params.scale))
    if params.shift:
        x = ctx.op("Add", x, ctx.floats(params.shift))
    return function(ctx, x)


def _plain(op_type: str) -> Callable[[LayerContext, Value], Value]:
    def lower(ctx: LayerContext, x: Value) -> Value:
        return ctx.op(op_type, x)

    return lower


def _guarded(ctx: LayerContext, x: Value) -> Value:
    """Return x + epsilon."""
    return ctx.op("Add", x, ctx.floats(ctx.params.epsilon or 1e-6))


def _rsqrt(ctx: LayerContext, x: Value) -> Value:
    # 1 / sqrt(x + epsilon)
    return ctx.op("Reciprocal", ctx.op("Sqrt", _guarded(ctx, x)))


def _inverse(ctx: LayerContext, x: Value) -> Value:
    # 1 / (x + epsilon)
    return ctx.op("Reciprocal", _guarded(ctx, x))


def _log(ctx: LayerContext, x: Value) -> Value:
    """Return log(x + epsilon), as Core ML does by coremltools' own tests; the proto's formula leaves epsilon out."""
    return ctx.op("Log", _guarded(ctx, x) if ctx.params.epsilon else x)


def _power(ctx: LayerContext, x: Value) -> Value:
    return ctx.op("Pow", x, ctx.floats(ctx.params.alpha))


def _threshold(ctx: LayerContext, x: Value) -> Value:
    # max(alpha, x)
    return ctx.op("Max", x, ctx.floats(ctx.params.alpha))


# By the numbers of UnaryFunctionLayerParams.Operation.
_UNARY: dict[int, Callable[[LayerContext, Value], Value]] = {
    0: _plain("Sqrt"),
    1: _rsqrt,
    2: _inverse,
    3: _power,
    4: _plain("Exp"),
    5: _log,
    6: _plain("Abs"),
    7: _threshold,
}


@elementwise
def lower_bias(ctx: LayerContext, x: Value) -> Value:
    """Add a constant that is broadcast to the input.

    Source: ``BiasLayerParams``.

    Args:
        ctx: The layer and the graph being built.
        x: [*batch, C, H, W], rank 3 or more.

    Returns:
        The same shape.

    Raises:
        LoweringError: ``shape`` does not fit the input, or ``bias`` does not fit ``shape``.
    """
    return ctx.op("Add", x, _stored(ctx, x, "bias", "shape"))


@elementwise
def lower_scale(ctx: LayerContext, x: Value) -> Value:
    """Multiply by a constant and add another one, both broadcast to the input; shapes as for ``lower_bias``.

    Source: ``ScaleLayerParams``.
    """
    scaled = ctx.op("Mul", x, _stored(ctx, x, "scale", "shapeScale"))
    return ctx.op("Add", scaled, _stored(ctx, x, "bias", "shapeBias")) if ctx.params.hasBias else scaled


def _stored(ctx: LayerContext, x: Value, field: str, shape_field: str) -> Value:
    """Return a stored tensor of shape [1], [C], [1, H, W] or [C, H, W] with three axes."""
    if ctx.rank(x) < 3:
        raise ctx.error("input", f"has rank {ctx.rank(x)}, must have rank 3 or more", value=None)
    dims = tuple(getattr(ctx.params, shape_field))
    if len(dims) not in (1, 3):
        raise ctx.error(shape_field, "must have 1 or 3 sizes")
    full = (*dims, 1, 1)[:3]
    inner = ctx.shape(x)[-3:]
    # A size other than 1 that met a 1 would broadcast the input, whose shape the output must keep.
    if any(have not in (1, want) for have, want in zip(full, inner, strict=True) if want is not None):
        raise ctx.error(shape_field, f"must be 1 or the input's size along each axis of {list(inner)}")
    return ctx.constant(ctx.weights(field, dims).reshape(full), field)


def lower_load_constant(ctx: LayerContext) -> Value:
    """Provide a stored tensor.

    Source: ``LoadConstantLayerParams``.

    Returns:
        [1, 1, C, H, W], for ``shape`` [C, H, W].

    Raises:
        LoweringError: ``shape`` does not have three sizes, or ``data`` does not fit it.
    """
    dims = tuple(ctx.params.shape)
    if len(dims) != 3:
        raise ctx.error("shape", "must have 3 sizes, [C, H, W]")
    data: NDArray[np.float32] = ctx.weights("data", dims)
    value = ctx.constant(data.reshape(1, 1, *dims), "data")
    ctx.graph.set_planes(value, ctx.constant(data.reshape(1, *dims), "planes"))
    return value


LOWERINGS = {
    "add": lower_add,
    "multiply": lower_multiply,
    "average": _variadic("Mean"),
    "max": _variadic("Max"),
    "min": _variadic("Min"),
    "unary": lower_unary,
    "bias": lower_bias,
    "scale": lower_scale,
    "loadConstant": lower_load_constant,
}
