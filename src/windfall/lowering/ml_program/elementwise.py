"""Operators of two tensors, element by element, with NumPy's broadcasting.

Source: ``elementwise_binary.py`` and ``select`` of ``control_flow.py`` among coremltools' operator definitions.
"""

from collections.abc import Callable, Mapping
from typing import Any

import onnx_ir as ir

from windfall.lowering.ml_program.casting import to_whole
from windfall.lowering.ml_program.context import OperationContext, Value

_FLOAT, _INT32, _INT64 = ir.DataType.FLOAT, ir.DataType.INT32, ir.DataType.INT64


def _matched(ctx: OperationContext, x: Value, y: Value) -> tuple[Value, Value]:
    """Return two tensors of one type: float where one of them is."""
    if x.dtype == y.dtype:
        return x, y
    common = _FLOAT if _FLOAT in (x.dtype, y.dtype) else _INT32
    return ctx.cast(x, common), ctx.cast(y, common)


def _binary(op_type: str, what: str) -> Callable[[OperationContext, Value, Value], Value]:
    def lower(ctx: OperationContext, x: Value, y: Value) -> Value:
        return ctx.op(op_type, *_matched(ctx, x, y))

    lower.__doc__ = f"""Compute {what}, element by element.

    Args:
        ctx: The operation and the graph being built.
        x: Any shape.
        y: Of the same type; its shape and that of x are broadcast against each other.
    """
    return lower


def lower_not_equal(ctx: OperationContext, x: Value, y: Value) -> Value:
    """Tell whether x and y differ, element by element.

    Args:
        ctx: The operation and the graph being built.
        x: Any shape.
        y: Of the same type; its shape and that of x are broadcast against each other.
    """
    return ctx.op("Not", ctx.op("Equal", *_matched(ctx, x, y)))


def lower_real_div(ctx: OperationContext, x: Value, y: Value) -> Value:
    """Compute the quotient, element by element; of int32 its fraction is cut off, and anything by 0 is 0.

    Args:
        ctx: The operation and the graph being built.
        x: float or int32.
        y: Of the same type; its shape and that of x are broadcast against each other.
    """
    x, y = _matched(ctx, x, y)
    if x.dtype == _FLOAT:
        return ctx.op("Div", x, y)
    wide, divisor, zero = _for_division(ctx, x, y)
    return _undefined_is_zero(ctx, ctx.op("Div", wide, divisor), zero)


def lower_floor_div(ctx: OperationContext, x: Value, y: Value) -> Value:
    """Compute the largest whole number that is at most the quotient, as NumPy does; of int32 anything by 0 is 0.

    Args:
        ctx: The operation and the graph being built.
        x: float or int32.
        y: Of the same type; its shape and that of x are broadcast against each other.
    """
    x, y = _matched(ctx, x, y)
    if x.dtype == _FLOAT:
        return _float_floor_div(ctx, x, y)
    wide, divisor, zero = _for_division(ctx, x, y)
    rest = ctx.op("Mod", wide, divisor)
    return _undefined_is_zero(ctx, ctx.op("Div", ctx.op("Sub", wide, rest), divisor), zero)


def lower_mod(ctx: OperationContext, x: Value, y: Value) -> Value:
    """Compute what is left of a division, with the sign of the divisor, as NumPy does; of int32 anything by 0 leaves 0.

    Args:
        ctx: The operation and the graph being built.
        x: float or int32.
        y: Of the same type; its shape and that of x are broadcast against each other.
    """
    x, y = _matched(ctx, x, y)
    if x.dtype == _FLOAT:
        return _float_mod(ctx, x, y)
    wide, divisor, zero = _for_division(ctx, x, y)
    return _undefined_is_zero(ctx, ctx.op("Mod", wide, divisor), zero)


def _float_mod(ctx: OperationContext, x: Value, y: Value) -> Value:
    rest, mends = _rest(ctx, x, y)
    return ctx.op("Where", mends, ctx.op("Add", rest, y), rest)


def _float_floor_div(ctx: OperationContext, x: Value, y: Value) -> Value:
    # What is left is taken off first: the quotient itself may be rounded up to a whole number, as that of 1 by 0.1.
    rest, mends = _rest(ctx, x, y)
    whole = ctx.op("Round", ctx.op("Div", ctx.op("Sub", x, rest), y))
    floor = ctx.op("Sub", whole, ctx.op("Cast", mends, to=_FLOAT))
    return ctx.op("Where", ctx.op("Equal", y, ctx.floats(0)), ctx.op("Div", x, y), floor)


def _rest(ctx: OperationContext, x: Value, y: Value) -> tuple[Value, Value]:
    """Return the rest of a division with the sign of x, and where that of y differs."""
    rest, zero = ctx.op("Mod", x, y, fmod=1), ctx.floats(0)
    differ = ctx.op("Xor", ctx.op("Less", rest, zero), ctx.op("Less", y, zero))
    return rest, ctx.op("And", differ, ctx.op("Not", ctx.op("Equal", rest, zero)))


def _for_division(ctx: OperationContext, x: Value, y: Value) -> tuple[Value, Value, Value]:
    """Return integers that can be divided, and where the divisor was 0.

    ONNX Runtime refuses a divisor of 0; the smallest int32 by -1 would be too large, which ends the process on some
    processors.
    """
    zero = ctx.op("Equal", y, ctx.scalar(0, y))
    divisor = ctx.op("Where", zero, ctx.scalar(1, y), y)
    return ctx.cast(x, _INT64), ctx.cast(divisor, _INT64), zero


def _undefined_is_zero(ctx: OperationContext, result: Value, zero: Value) -> Value:
    return ctx.op("Cast", ctx.op("Where", zero, ctx.integers(0), result), to=_INT32)


def lower_pow(ctx: OperationContext, x: Value, y: Value) -> Value:
    """Raise x to the power of y, element by element.

    Of int32 a fraction is cut off, and what does not fit becomes the nearest number that does.

    Args:
        ctx: The operation and the graph being built.
        x: float or int32.
        y: Of the same type; its shape and that of x are broadcast against each other.
    """
    x, y = _matched(ctx, x, y)
    if x.dtype == _FLOAT:
        return ctx.op("Pow", x, y)
    # Doubles hold every int32, so the result is exact where it fits.
    wide = ctx.op("Pow", ctx.cast(x, ir.DataType.DOUBLE), ctx.cast(y, ir.DataType.DOUBLE))
    return to_whole(ctx, wide, _INT32)


def lower_select(ctx: OperationContext, cond: Value, a: Value, b: Value) -> Value:
    """Take the elements of one tensor where a condition holds, else those of another.

    Args:
        ctx: The operation and the graph being built.
        cond: bool, any shape.
        a: Any shape; the three shapes are broadcast against each other.
        b: Of the same type.
    """
    a, b = _matched(ctx, a, b)
    if a.dtype in (_FLOAT, _INT32):
        return ctx.op("Where", cond, a, b)
    # Engines choose between few types.
    chosen = ctx.op("Where", cond, ctx.cast(a, _INT32), ctx.cast(b, _INT32))
    return ctx.op("Cast", chosen, to=a.dtype)


LOWERINGS: Mapping[str, Callable[..., Any]] = {
    "add": _binary("Add", "the sum"),
    "equal": _binary("Equal", "whether x is y"),
    "floor_div": lower_floor_div,
    "greater": _binary("Greater", "whether x is greater than y"),
    "greater_equal": _binary("GreaterOrEqual", "whether x is at least y"),
    "less": _binary("Less", "whether x is less than y"),
    "less_equal": _binary("LessOrEqual", "whether x is at most y"),
    "logical_and": _binary("And", "whether both hold"),
    "logical_or": _binary("Or", "whether either holds"),
    "logical_xor": _binary("Xor", "whether one of the two holds"),
    "maximum": _binary("Max", "the larger one"),
    "minimum": _binary("Min", "the smaller one"),
    "mod": lower_mod,
    "mul": _binary("Mul", "the product"),
    "not_equal": lower_not_equal,
    "pow": lower_pow,
    "real_div": lower_real_div,
    "select": lower_select,
    "sub": _binary("Sub", "the difference"),
}
