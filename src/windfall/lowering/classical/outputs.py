"""The type and shape that an output of a classical model is declared with.

Source: ``FeatureType`` in FeatureTypes.proto.
"""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from windfall.spec.proto import FeatureTypes_pb2

if TYPE_CHECKING:
    from windfall.lowering.classical.context import ModelContext, Value

_ArrayType = FeatureTypes_pb2.ArrayFeatureType
_DATA_TYPES: Mapping[int, ir.DataType] = {
    _ArrayType.DOUBLE: ir.DataType.DOUBLE,
    _ArrayType.FLOAT32: ir.DataType.FLOAT,
    _ArrayType.FLOAT16: ir.DataType.FLOAT,  # computed in float32
    _ArrayType.INT32: ir.DataType.INT32,
    _ArrayType.INT8: ir.DataType.INT8,
}


def as_declared(ctx: "ModelContext", value: "Value", feature: Any) -> "Value":
    """Return a value in the type that a feature is declared with, and in its shape where it has as many elements.

    Args:
        ctx: The model and the graph being built.
        value: [rows, *dims].
        feature: The ``FeatureDescription`` message.

    Raises:
        LoweringError: A value of that type cannot be an output of the feature's.
    """
    kind = feature.type.WhichOneof("Type")
    convert = _CONVERSIONS.get(kind)
    if convert is None or (value.dtype == ir.DataType.STRING) != (kind == "stringType"):
        what = "text" if value.dtype == ir.DataType.STRING else "numbers"
        raise ctx.error("output", f"has the type {kind}, which the {what} that the model gives cannot have",
                        value=repr(feature.name))  # fmt: skip
    return convert(ctx, value, feature)


def _number(dtype: ir.DataType) -> "Callable[[ModelContext, Value, Any], Value]":
    def convert(ctx: "ModelContext", value: "Value", feature: Any) -> "Value":
        if ctx.count(value) != 1:
            rule = f"is declared as one number, but the model gives {ctx.count(value)} of them"
            raise ctx.error("output", rule, value=repr(feature.name))
        return ctx.reshape(_cast(ctx, value, dtype), -1) if ctx.rank(value) > 1 else _cast(ctx, value, dtype)

    return convert


def _array(ctx: "ModelContext", value: "Value", feature: Any) -> "Value":
    array = feature.type.multiArrayType
    value = _cast(ctx, value, _DATA_TYPES.get(array.dataType, ir.DataType.DOUBLE))
    if ctx.rank(value) == 1:
        value = ctx.op("Unsqueeze", value, ctx.integers([1]))
    declared, dims = list(array.shape), ctx.shape(value)[1:]
    if declared and None not in dims and declared != list(dims) and math.prod(declared) == ctx.count(value):
        return ctx.reshape(value, ctx.sizes(value, 0, 1), declared)
    return value


def _cast(ctx: "ModelContext", value: "Value", dtype: ir.DataType) -> "Value":
    return value if value.dtype == dtype else ctx.op("Cast", value, to=dtype)


_CONVERSIONS: "Mapping[str | None, Callable[[ModelContext, Value, Any], Value]]" = {
    "doubleType": _number(ir.DataType.DOUBLE),
    "int64Type": _number(ir.DataType.INT64),
    "stringType": lambda _ctx, value, _feature: value,
    "multiArrayType": _array,
}
"""How an output gets its declared type, by the member of the oneof ``Type`` of ``FeatureType``."""
