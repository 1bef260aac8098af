"""Tensors filled with one number, or with evenly spaced ones.

Source: ``FillLikeLayerParams`` to ``FillDynamicLayerParams``, ``RangeStaticLayerParams`` and
``RangeDynamicLayerParams`` in NeuralNetwork.proto.
"""

import math

import numpy as np
import onnx_ir as ir

from windfall.lowering.neural_network.axes import vector
from windfall.lowering.neural_network.casts import as_floats, scalar
from windfall.lowering.neural_network.context import LayerContext, Value


def filled(ctx: LayerContext, sizes: Value, number: float) -> Value:
    """Return a tensor of a shape that is given as an int64 vector, each element the number.

    Raises:
        LoweringError: The length of the vector is not known, and so neither is the rank.
    """
    if None in ctx.shape(sizes):
        raise ctx.error("input", "for the shape has a length known only at run time, must have a fixed one", value=None)
    return ctx.op("ConstantOfShape", sizes, value=ir.tensor(np.array([number], np.float32)))


def stored_shape(ctx: LayerContext, field: str) -> Value:
    """Return the shape in one field of the layer's parameters as an int64 vector.

    Raises:
        LoweringError: It is empty.
    """
    dims = getattr(ctx.params, field)
    if not dims:
        raise ctx.error(field, "must have at least one size")
    return ctx.integers(dims)


def lower_fill_like(ctx: LayerContext, x: Value) -> Value:
    """Fill a tensor of the input's shape with ``value``.

    Source: ``FillLikeLayerParams``.
    """
    like = filled(ctx, ctx.sizes(x), ctx.params.value)
    like.shape = x.shape
    return like


def lower_fill_static(ctx: LayerContext) -> Value:
    """Fill a tensor of the shape ``targetShape`` with ``value``.

    Source: ``FillStaticLayerParams``.

    Raises:
        LoweringError: ``targetShape`` is empty.
    """
    return filled(ctx, stored_shape(ctx, "targetShape"), ctx.params.value)


def lower_fill_dynamic(ctx: LayerContext, sizes: Value) -> Value:
    """Fill a tensor with ``value``; the input holds its shape.

    Source: ``FillDynamicLayerParams``.
    """
    return filled(ctx, vector(ctx, "the shape", sizes), ctx.params.value)


def lower_range_static(ctx: LayerContext) -> Value:
    """Count from ``startValue`` to before ``endValue`` by ``stepSizeValue``.

    Source: ``RangeStaticLayerParams``.

    Returns:
        [N], N = ceil((end - start) / step), at least 0.

    Raises:
        LoweringError: The step is 0, or the range has no end.
    """
    _check_step(ctx)
    params = ctx.params
    steps = (params.endValue - params.startValue) / params.stepSizeValue
    if not math.isfinite(steps):
        raise ctx.error("endValue", "must give a finite range")
    count = ctx.integers(max(0, math.ceil(steps)))
    return _spaced(ctx, ctx.floats(params.startValue), ctx.floats(params.stepSizeValue), count)


def lower_range_dynamic(ctx: LayerContext, end: Value, start: Value | None = None, step: Value | None = None) -> Value:
    """Count up to before a number that is known at run time; start and step may be inputs, too.

    Source: ``RangeDynamicLayerParams``.

    Args:
        ctx: The layer and the graph being built.
        end: One element, as are the other inputs.
        start: Takes the place of the parameter ``startValue``.
        step: Takes the place of ``stepSizeValue``.

    Returns:
        [N], as for ``lower_range_static``.

    Raises:
        LoweringError: ``stepSizeValue`` is 0, and there is no third input.
    """
    if step is None:
        _check_step(ctx)
    first = ctx.floats(ctx.params.startValue) if start is None else scalar(ctx, start)
    width = ctx.floats(ctx.params.stepSizeValue) if step is None else scalar(ctx, step)
    steps = ctx.op("Ceil", ctx.op("Div", ctx.op("Sub", scalar(ctx, end), first), width))
    return _spaced(ctx, first, width, ctx.op("Cast", steps, to=ir.DataType.INT64))


def _check_step(ctx: LayerContext) -> None:
    if ctx.params.stepSizeValue == 0:
        raise ctx.error("stepSizeValue", "must not be 0")


def _spaced(ctx: LayerContext, start: Value, step: Value, count: Value) -> Value:
    # start + i * step. ONNX's Range of float32 would add up the step, and its rounding error with it.
    indices = as_floats(ctx, ctx.op("Range", ctx.integers(0), count, ctx.integers(1)))
    return ctx.op("Add", start, ctx.op("Mul", indices, step))


LOWERINGS = {
    "fillLike": lower_fill_like,
    "fillStatic": lower_fill_static,
    "fillDynamic": lower_fill_dynamic,
    "rangeStatic": lower_range_static,
    "rangeDynamic": lower_range_dynamic,
}
