"""Numbers shifted, scaled and normalized.

Source: Scaler.proto, Normalizer.proto; what is valid, ScalarValidator.cpp, NormalizerValidator.cpp.
"""

from collections.abc import Callable, Mapping

import onnx_ir as ir

from windfall.graph.checks import require
from windfall.lowering.classical.context import ModelContext, Value
from windfall.lowering.classical.dictionaries import only_output
from windfall.lowering.classical.forms import Forms
from windfall.spec.proto import FeatureTypes_pb2, Normalizer_pb2

_ArrayType = FeatureTypes_pb2.ArrayFeatureType
_INTEGER_ARRAYS: Mapping[int, int] = {_ArrayType.INT32: 32, _ArrayType.INT8: 8}


def lower_scaler(ctx: ModelContext) -> Forms:
    """``scaleValue * (x + shiftValue)``, in doubles.

    Source: ``Scaler``. The input is a number or an array.

    Returns:
        The input's shape, in the declared type. Where that is an integer, a number that it cannot hold fails.

    Raises:
        LoweringError: There are shifts or scales that are neither one nor as many as the input has elements.
    """
    name = ctx.input_name("doubleType", "int64Type", "multiArrayType")
    x = ctx.numbers(name)
    for field, operator in (("shiftValue", "Add"), ("scaleValue", "Mul")):
        values = list(getattr(ctx.params, field))
        if len(values) > 1 and (len(values) != ctx.count(x) or ctx.rank(x) > 2):
            size = " x ".join(map(str, ctx.shape(x)[1:])) or "1"
            raise ctx.error(
                field, f"must be none, 1 or {size}, as many as the input has", value=f"{len(values)} values"
            )
        if values:
            x = ctx.op(operator, x, ctx.doubles(values[0] if len(values) == 1 else values))
    bits = _integer_bits(ctx)
    return ctx.output(x if bits is None else _lossless(ctx, x, bits))


def _integer_bits(ctx: ModelContext) -> int | None:
    """Return the size of the integers that the output has, None if it has others."""
    kind = only_output(ctx).type
    if kind.HasField("multiArrayType"):
        return _INTEGER_ARRAYS.get(kind.multiArrayType.dataType)
    return 64 if kind.HasField("int64Type") else None


def _lossless(ctx: ModelContext, x: Value, bits: int) -> Value:
    """Fail where integers of some size cannot hold a number; NaN equals none."""
    whole = ctx.op("Cast", ctx.op("Cast", x, to=ir.DataType.INT64), to=ir.DataType.DOUBLE)
    end = 2.0 ** (bits - 1)
    holds = ctx.op("And", ctx.op("Less", x, ctx.doubles(end)), ctx.op("GreaterOrEqual", x, ctx.doubles(-end)))
    return require(ctx.graph, x, ctx.op("And", holds, ctx.op("Equal", whole, x)), "integer")


def lower_normalizer(ctx: ModelContext) -> Forms:
    """Divide an array by its norm; one whose norm is zero stays as it is.

    ``LMax`` divides by the largest element, with its sign: the format gives ``max(x_i)`` without the bars that it
    writes for L1. So did scikit-learn when Core ML appeared; since version 0.24 it takes the largest absolute value.
    Dividing by a norm of 1 in the place of 0 is scikit-learn's.

    Source: ``Normalizer``. The input is an array of any shape.

    Returns:
        The input's shape, in the declared type.

    Raises:
        LoweringError: ``normType`` is none that there is.
    """
    norm = _NORMS.get(ctx.params.normType)
    if norm is None:
        raise ctx.error("normType", "must be 0, 1 or 2", value=ctx.params.normType)
    name = ctx.input_name("multiArrayType")
    x = ctx.numbers(name)
    # [rows, elements] -> [rows, 1]
    divisor = norm(ctx, ctx.vector(name))
    divisor = ctx.op("Where", ctx.op("Equal", divisor, ctx.doubles(0.0)), ctx.doubles(1.0), divisor)
    if ctx.rank(x) != 2:
        divisor = ctx.reshape(divisor, ctx.sizes(x, 0, 1), [1] * (ctx.rank(x) - 1))
    return ctx.output(ctx.op("Div", x, divisor))


def _reduced(operator: str) -> Callable[[ModelContext, Value], Value]:
    return lambda ctx, x: ctx.op(operator, x, ctx.integers([1]), keepdims=1)


_NORMS: Mapping[int, Callable[[ModelContext, Value], Value]] = {
    Normalizer_pb2.Normalizer.LMax: _reduced("ReduceMax"),
    Normalizer_pb2.Normalizer.L1: _reduced("ReduceL1"),
    Normalizer_pb2.Normalizer.L2: _reduced("ReduceL2"),
}

LOWERINGS: Mapping[str, Callable[[ModelContext], Forms]] = {
    "scaler": lower_scaler,
    "normalizer": lower_normalizer,
}
