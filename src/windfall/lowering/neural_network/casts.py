"""Tensors as other types: every tensor of a neural network is float32, also truth values and whole numbers."""

import onnx_ir as ir

from windfall.lowering.neural_network.axes import whole
from windfall.lowering.neural_network.context import LayerContext, Value


def as_floats(ctx: LayerContext, x: Value) -> Value:
    """Return truth values or whole numbers as float32; true is 1."""
    return ctx.op("Cast", x, to=ir.DataType.FLOAT)


def as_booleans(ctx: LayerContext, x: Value) -> Value:
    """Return which elements differ from 0."""
    return ctx.op("Cast", x, to=ir.DataType.BOOL)


def scalar(ctx: LayerContext, x: Value) -> Value:
    """Return an input of one element as a tensor without axes."""
    return ctx.reshape(x, [])


def whole_scalar(ctx: LayerContext, x: Value) -> Value:
    """Return an input of one element as an int64 without axes."""
    return scalar(ctx, whole(ctx, x))
