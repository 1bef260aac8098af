"""Generalized linear models.

Source: ``GLMRegressor`` in GLMRegressor.proto, LinearModelValidator.cpp.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from windfall.lowering.classical.context import ModelContext, Value
from windfall.spec.proto import GLMRegressor_pb2


def lower_glm_regressor(ctx: ModelContext, features: Value) -> Value:
    """Compute a linear function of the features, and the inverse of the link function.

    Source: ``GLMRegressor``.

    Args:
        ctx: The model and the graph being built.
        features: double [N], all inputs in a row.

    Returns:
        double [M], a number for each row of weights. Probit is computed in float32: engines have no ``Erf`` of doubles.

    Raises:
        LoweringError: The rows of weights differ in length or from the number of features, or there is not one offset
            for each of them.
    """
    rows = [list(row.value) for row in ctx.params.weights]
    count = ctx.shape(features)[0]
    if not rows or any(len(row) != count for row in rows):
        lengths = ", ".join(map(str, sorted({len(row) for row in rows}))) or "0"
        raise ctx.error(
            "weights", f"must be {count}, as the inputs have that many values", value=f"of length {lengths}"
        )
    if len(ctx.params.offset) != len(rows):
        rule = f"must be {len(rows)}, one for each row of weights"
        raise ctx.error("offset", rule, value=f"of length {len(ctx.params.offset)}")
    sums = ctx.op("Add", ctx.op("MatMul", ctx.doubles(np.array(rows)), features), ctx.doubles(list(ctx.params.offset)))
    transform = _TRANSFORMS.get(ctx.params.postEvaluationTransform)
    if transform is None:
        raise ctx.error("postEvaluationTransform", "must be 0, 1 or 2", value=ctx.params.postEvaluationTransform)
    return transform(ctx, sums)


def _identity(_ctx: ModelContext, x: Value) -> Value:
    return x


def _logit(ctx: ModelContext, x: Value) -> Value:
    return ctx.op("Sigmoid", x)


def _probit(ctx: ModelContext, x: Value) -> Value:
    """``(1 + erf(x / sqrt(2))) / 2``, the distribution function of the standard normal distribution."""
    scaled = ctx.op("Cast", ctx.op("Mul", x, ctx.doubles(math.sqrt(0.5))), to=ir.DataType.FLOAT)
    error = ctx.op("Cast", ctx.op("Erf", scaled), to=ir.DataType.DOUBLE)
    return ctx.op("Mul", ctx.op("Add", error, ctx.doubles(1.0)), ctx.doubles(0.5))


_TRANSFORMS: Mapping[int, Callable[[ModelContext, Value], Value]] = {
    GLMRegressor_pb2.GLMRegressor.NoTransform: _identity,
    GLMRegressor_pb2.GLMRegressor.Logit: _logit,
    GLMRegressor_pb2.GLMRegressor.Probit: _probit,
}

LOWERINGS: Mapping[str, Callable[..., Any]] = {"glmRegressor": lower_glm_regressor}
