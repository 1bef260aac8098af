"""Bayesian probit regression.

Source: ``BayesianProbitRegressor`` in BayesianProbitRegressor.proto.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from windfall.graph.checks import require
from windfall.lowering.classical.context import ModelContext, Value
from windfall.lowering.classical.forms import Form, Forms
from windfall.lowering.classical.normal import normal_cdf, normal_quantile
from windfall.lowering.seeds import onnx_seed

_MOST_FEATURES = 2**24
# Inputs are int32: they never name larger ids and values.
_BEYOND_INT32 = 2**31
_SEED = 0


def lower_bayesian_probit_regressor(ctx: ModelContext) -> Forms:
    """Add up the weights of all features' values, which are normally distributed, and apply the link function.

    - mean: the bias' mean and those of the weights; variance: likewise, 1 / precision each. A value that has no weight
      adds nothing.
    - the predicted feature: P(y|x,w) = Phi(mean / beta). The message has no field for beta, so it is 1.
    - pessimistic: Phi(mean + optimism * stdev).
    - sampled: Phi(m), m drawn from the normal distribution with the deviation samplingScale * stdev, cut off at
      samplingTruncation times that from the mean. A model that is loaded anew draws the same numbers again, a further
      prediction draws others.

    What is not given is an optimism of 0, a scale of 1, and no truncation.

    Source: ``BayesianProbitRegressor``. The input is either a value for each feature, [rows, numberOfFeatures], or
    pairs of a feature and its value, [rows, pairs, 2].

    Returns:
        double [rows] for each output.

    Raises:
        LoweringError: The input has another shape; a feature is beyond numberOfFeatures or has two weights for a
            value; a precision is not above 0; or an output is none of those above.
    """
    mean, variance = _posterior(ctx, _keys(ctx))
    values = _Values(ctx, mean, variance)
    names = _output_names(ctx)
    found: dict[str, Form] = {}
    for feature in ctx.description.output:
        if feature.name not in names:
            rule = f"is none of those that the model gives: {[name for name in names if name]}"
            raise ctx.error("output", rule, value=repr(feature.name))
        found[feature.name] = ctx.declared(feature.name, names[feature.name](values))
    return found


class _Values:
    """What the outputs are computed from.

    Attributes:
        ctx: The model and the graph being built.
        mean: double [rows].
        variance: double [rows].
    """

    def __init__(self, ctx: ModelContext, mean: Value, variance: Value) -> None:
        self.ctx, self.mean, self.variance = ctx, mean, variance

    def probability(self) -> Value:
        return normal_cdf(self.ctx, self.mean)

    def pessimistic(self) -> Value:
        ctx = self.ctx
        shift = ctx.op("Mul", _option(ctx, "optimismInputFeatureName", 0.0), ctx.op("Sqrt", self.variance))
        return normal_cdf(ctx, ctx.op("Add", self.mean, shift))

    def sampled(self) -> Value:
        ctx = self.ctx
        scale = _not_negative(ctx, _option(ctx, "samplingScaleInputFeatureName", 1.0))
        bound = _not_negative(ctx, _option(ctx, "samplingTruncationInputFeatureName", math.inf))
        shift = ctx.op("Mul", _draw(ctx, self.mean, bound), ctx.op("Mul", scale, ctx.op("Sqrt", self.variance)))
        return normal_cdf(ctx, ctx.op("Add", self.mean, shift))


def _output_names(ctx: ModelContext) -> Mapping[str, Callable[[_Values], Value]]:
    """Return what each output is, by its name; the one without a field of its own is the prediction."""
    params = ctx.params
    names: dict[str, Callable[[_Values], Value]] = {
        params.meanOutputFeatureName: lambda values: values.mean,
        params.varianceOutputFeatureName: lambda values: values.variance,
        params.pessimisticProbabilityOutputFeatureName: _Values.pessimistic,
        params.sampledProbabilityOutputFeatureName: _Values.sampled,
    }
    predicted = ctx.description.predictedFeatureName
    others = [feature.name for feature in ctx.description.output if feature.name not in names]
    if not predicted and len(others) == 1:
        predicted = others[0]
    names.setdefault(predicted, _Values.probability)
    return {name: value for name, value in names.items() if name}


def _keys(ctx: ModelContext) -> Value:
    """Return feature * 2^32 + value for each of the row's values, int64 [rows, values]."""
    name = _regression_input(ctx)
    ctx.input_type(name, "multiArrayType")
    x = ctx.op("Cast", ctx.tensor(name), to=ir.DataType.INT64)
    dims = ctx.shape(x)[1:]
    count = int(ctx.params.numberOfFeatures)
    if not 1 <= count <= _MOST_FEATURES:
        raise ctx.error("numberOfFeatures", f"must be 1 to {_MOST_FEATURES:,}", value=count)
    if len(dims) == 2 and dims[1] == 2:
        ids, values = (ctx.op("Gather", x, ctx.integers(column), axis=2) for column in (0, 1))
    elif dims == (count,):
        ids, values = ctx.integers(np.arange(count), "features"), x
    else:
        rule = f"must have the shape [{count}], a value for each of numberOfFeatures, or [pairs, 2]"
        raise ctx.error("input", rule, value=f"{name!r} of shape {list(dims)}")
    return ctx.op("Add", ctx.op("Mul", ids, ctx.integers(2**32)), values)


def _regression_input(ctx: ModelContext) -> str:
    name = str(ctx.params.regressionInputFeatureName)
    return name if name or len(ctx.inputs) != 1 else next(iter(ctx.inputs))


def _posterior(ctx: ModelContext, keys: Value) -> tuple[Value, Value]:
    """Return the mean and the variance, double [rows]."""
    weights = _weights(ctx)
    bias = _moments(ctx, "bias", ctx.params.bias) if ctx.params.HasField("bias") else (0.0, 0.0)
    sums = []
    for index in (0, 1):
        found = ctx.lookup(keys, list(weights), [moments[index] for moments in weights.values()], 0.0)
        total = ctx.op("ReduceSum", found, ctx.integers([1]), keepdims=0)
        sums.append(ctx.op("Add", total, ctx.doubles(bias[index])))
    return sums[0], sums[1]


def _weights(ctx: ModelContext) -> dict[int, tuple[float, float]]:
    """Return the mean and variance of each weight by feature * 2^32 + value."""
    found: dict[int, tuple[float, float]] = {}
    for feature in ctx.params.features:
        if feature.featureId >= ctx.params.numberOfFeatures:
            rule = f"must be below numberOfFeatures, {ctx.params.numberOfFeatures}"
            raise ctx.error("featureId", rule, value=feature.featureId)
        for weight in feature.weights:
            field = f"the weight of value {weight.featureValue} of feature {feature.featureId}"
            key = feature.featureId * 2**32 + weight.featureValue
            if key in found:
                raise ctx.error(field, "is there twice, must be there once")
            found[key] = _moments(ctx, field, weight.featureWeight)
    # A negative value of the feature behind would have the same key as one so large.
    return {key: moments for key, moments in found.items() if key % 2**32 < _BEYOND_INT32} or {-1: (0.0, 0.0)}


def _moments(ctx: ModelContext, field: str, gaussian: Any) -> tuple[float, float]:
    if not gaussian.precision > 0:
        raise ctx.error(field, f"has a precision of {gaussian.precision:g}, must be above 0")
    return gaussian.mean, 1 / gaussian.precision


def _option(ctx: ModelContext, field: str, default: float) -> Value:
    """Return an optional input, double [rows], or what stands for it where it is not given."""
    name = getattr(ctx.params, field)
    if not name:
        return ctx.doubles([default])
    ctx.input_type(name, "doubleType", "int64Type", "multiArrayType")
    value = ctx.vector(name) if ctx.rank(ctx.tensor(name)) > 1 else ctx.numbers(name)
    if ctx.count(value) != 1:
        raise ctx.error(field, "must name an input of one number", value=repr(name))
    value = ctx.reshape(value, -1)
    return ctx.op("Where", ctx.op("IsNaN", value), ctx.doubles(default), value)


def _not_negative(ctx: ModelContext, value: Value) -> Value:
    return require(ctx.graph, value, ctx.op("GreaterOrEqual", value, ctx.doubles(0.0)), "sampling")


def _draw(ctx: ModelContext, like: Value, bound: Value) -> Value:
    """Draw from the standard normal distribution between -bound and bound: where it is evenly drawn from 0 to 1."""
    low = normal_cdf(ctx, ctx.op("Neg", bound))
    evenly = ctx.op("RandomUniformLike", like, low=0.0, high=1.0, seed=onnx_seed(_SEED))
    width = ctx.op("Sub", ctx.doubles(1.0), ctx.op("Mul", low, ctx.doubles(2.0)))
    place = ctx.op("Add", low, ctx.op("Mul", width, evenly))
    # The quantiles of 0 and 1 are infinite.
    tiny = 2.0**-53
    drawn = normal_quantile(ctx, ctx.op("Min", ctx.op("Max", place, ctx.doubles(tiny)), ctx.doubles(1 - tiny)))
    # Quantiles are not exact to the last digit.
    return ctx.op("Min", ctx.op("Max", drawn, ctx.op("Neg", bound)), bound)


LOWERINGS: Mapping[str, Callable[[ModelContext], Forms]] = {
    "bayesianProbitRegressor": lower_bayesian_probit_regressor,
}
