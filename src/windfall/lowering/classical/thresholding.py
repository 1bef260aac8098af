"""Labels by their confidence.

Source: ClassConfidenceThresholding.proto, ``PrecisionRecallCurve`` in DataStructures.proto; what is valid,
ClassConfidenceThresholdingValidator.cpp.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from windfall.lowering.classical.context import ModelContext
from windfall.lowering.classical.forms import Forms

_CURVES = {"precisionValues": "precisionConfidenceThresholds", "recallValues": "recallConfidenceThresholds"}


def lower_class_confidence_thresholding(ctx: ModelContext) -> Forms:
    """Return confidences, and below them a one for each class.

    The format says that all classes are taken for now. The curves are there for applications to read.

    Source: ``ClassConfidenceThresholding``. The input is an array of one axis.

    Returns:
        The declared type [rows, 2, classes].

    Raises:
        LoweringError: The input has several axes, or the curves are not one for each class, or damaged.
    """
    name = ctx.input_name("multiArrayType")
    x = ctx.numbers(name)
    if ctx.rank(x) != 2:
        raise ctx.error("input", "must have one axis, the classes", value=repr(name))
    curves = list(ctx.params.precisionRecallCurves)
    if curves and len(curves) != ctx.count(x):
        rule = f"must be {ctx.count(x)}, one for each class"
        raise ctx.error("precisionRecallCurves", rule, value=f"{len(curves)} curves")
    for index, curve in enumerate(curves):
        _check(ctx, index, curve)
    # [rows, classes] -> [rows, 1, classes] -> [rows, 2, classes]
    confidences = ctx.op("Unsqueeze", x, ctx.integers([1]))
    ones = ctx.op("Expand", ctx.doubles(1.0), ctx.sizes(confidences))
    ones.shape = confidences.shape
    return ctx.output(ctx.op("Concat", confidences, ones, axis=1))


def _check(ctx: ModelContext, index: int, curve: Any) -> None:
    for field, thresholds in _CURVES.items():
        values, places = list(getattr(curve, field).vector), list(getattr(curve, thresholds).vector)
        if not values or len(values) != len(places):
            rule = f"of curve {index} must be as many as its {thresholds}, and at least one"
            raise ctx.error(field, rule, value=f"{len(values)} and {len(places)} values")
        wrong = [value for value in (*values, *places) if not math.isfinite(value) or value < 0]
        if wrong:
            raise ctx.error(field, f"of curve {index} and its thresholds must be finite and not below 0", wrong[0])


LOWERINGS: Mapping[str, Callable[[ModelContext], Forms]] = {
    "classConfidenceThresholding": lower_class_confidence_thresholding,
}
