"""Non-maximum suppression of boxes, of one picture at a time.

Source: ``NonMaximumSuppression`` in NonMaximumSuppression.proto, NonMaximumSuppressionValidator.cpp.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from windfall.features.arrays import size_ranges
from windfall.graph.checks import require
from windfall.lowering.classical.context import ModelContext, Value
from windfall.lowering.classical.forms import Form, Forms, Tensor
from windfall.lowering.classical.outputs import as_declared
from windfall.lowering.suppression import MOST_BOXES, by_class
from windfall.spec.pipelines import declared_labels

_LOWEST = np.finfo(np.float32).min
_NEVER = -np.inf
Range = tuple[int, int | None]


def lower_non_maximum_suppression(ctx: ModelContext) -> Forms:
    """Keep the boxes with the best confidences, none of which overlaps a better one by more than a threshold.

    A box's confidence is that of its best class; below the threshold it is discarded. Boxes come in the order of their
    confidences, of equal ones the first. Coordinates and confidences are those of the input to the last digit;
    overlaps are computed in float32.

    Source: ``NonMaximumSuppression``. The inputs are the confidences [1, N, C] and the coordinates [1, N, 4], each
    (x of the centre, y of the centre, width, height); thresholds are optional inputs.

    Returns:
        The confidences [1, M, C] and coordinates [1, M, 4] of the boxes kept. Where the outputs declare how many there
        are to be, those with the least confidence are cut off, or zeros follow.

    Raises:
        LoweringError: The inputs or outputs are not those, or do not fit each other or the labels; a threshold is out
            of range.
    """
    confidence = _boxes(ctx, "confidenceInputFeatureName", None)
    coordinates = _boxes(ctx, "coordinatesInputFeatureName", 4)
    _check_counts(ctx, confidence, coordinates)
    confidence, coordinates = _in_order(ctx, confidence, coordinates)
    kept = _kept(ctx, confidence, coordinates)
    least, most = _allowed_counts(ctx)
    if most is not None:
        kept = ctx.op("Slice", kept, ctx.integers([0]), ctx.integers([most]), ctx.integers([0]))
    missing = ctx.op("Max", ctx.op("Sub", ctx.integers([least]), ctx.op("Shape", kept)), ctx.integers([0]))
    return {
        name: _output(ctx, name, table, kept, missing)
        for name, table in zip(_output_names(ctx), (confidence, coordinates), strict=True)
    }


def _boxes(ctx: ModelContext, field: str, columns: int | None) -> Value:
    """Return an input as [N, columns], in its own type."""
    name = getattr(ctx.params, field)
    ctx.input_type(name, "multiArrayType")
    value = ctx.tensor(name)
    dims = ctx.shape(value)
    if len(dims) < 3 or any(dim not in (1, None) for dim in dims[:-2]) or columns not in (None, dims[-1]):
        rule = f"must be an array of shape [N, {columns or 'C'}]"
        raise ctx.error(field, rule, value=f"{name!r} of shape {list(dims[1:])}")
    if not dims[-1]:
        raise ctx.error(field, "must have a known number of classes, at least 1", value=repr(name))
    return ctx.reshape(value, ctx.sizes(value, len(dims) - 2))


def _check_counts(ctx: ModelContext, confidence: Value, coordinates: Value) -> None:
    boxes, classes = ctx.shape(confidence)
    others = ctx.shape(coordinates)[0]
    if None not in (boxes, others) and boxes != others:
        rule = f"must be {boxes}, as there are confidences for so many"
        raise ctx.error("coordinatesInputFeatureName", rule, value=f"{others} boxes")
    labels = len(declared_labels(ctx.params))
    if labels and labels != classes:
        rule = f"must be {classes}, one for each class of the confidences"
        raise ctx.error("ClassLabels", rule, value=f"{labels} labels")
    if ctx.params.WhichOneof("SuppressionMethod") is None:
        raise ctx.error("SuppressionMethod", "is not set, must be pickTop")


def _in_order(ctx: ModelContext, confidence: Value, coordinates: Value) -> tuple[Value, Value]:
    """Return the boxes in the order of their best confidences."""
    best = ctx.op("ReduceMax", confidence, ctx.integers([1]), keepdims=0)
    order = ctx.ops("TopK", best, ctx.sizes(confidence, 0, 1), outputs=2, axis=0)[1]
    return ctx.op("Gather", confidence, order), ctx.op("Gather", coordinates, order)


def _kept(ctx: ModelContext, confidence: Value, coordinates: Value) -> Value:
    """Return the places of the boxes that are kept, int64 [M], for boxes in order."""
    count = ctx.sizes(confidence, 0, 1)
    # The operator compares float32, in which the confidences may be equal; ranks are not.
    numbers = ctx.op("Range", ctx.integers(0), ctx.reshape(count, ()), ctx.integers(1))
    ranks = ctx.op("Neg", ctx.op("Cast", numbers, to=ir.DataType.FLOAT))
    threshold = _threshold(ctx, "confidenceThreshold", None, "confidence")
    best = ctx.op("Cast", ctx.op("ReduceMax", confidence, ctx.integers([1]), keepdims=0), to=ir.DataType.DOUBLE)
    allowed = ctx.op("Where", ctx.op("GreaterOrEqual", best, threshold), ranks, ctx.floats(_NEVER))
    allowed = ctx.op("Unsqueeze", allowed, ctx.integers([0]))  # [N] -> [1, N]
    scores = ctx.op("Unsqueeze", confidence, ctx.integers([0]))
    per_class = ctx.params.pickTop.perClass
    # [1, N] -> [1, C, N] or [1, 1, N]
    rivals = by_class(ctx, scores, allowed) if per_class else ctx.op("Unsqueeze", allowed, ctx.integers([1]))
    boxes = ctx.op("Unsqueeze", ctx.op("Cast", coordinates, to=ir.DataType.FLOAT), ctx.integers([0]))
    overlap = ctx.op("Cast", _threshold(ctx, "iouThreshold", 1.0, "overlap"), to=ir.DataType.FLOAT)
    chosen = ctx.op("NonMaxSuppression", boxes, rivals, count, overlap, ctx.floats([_LOWEST]), center_point_box=1)
    # [M, (batch, class, box)] -> [M], which is to be in order over all classes
    places = ctx.reshape(ctx.op("Gather", chosen, ctx.integers([2]), axis=1), -1)
    return ctx.ops("TopK", places, ctx.op("Shape", places), outputs=2, axis=0, largest=0)[0]


def _threshold(ctx: ModelContext, field: str, most: float | None, code: str) -> Value:
    """Return a threshold, double [1]: that of an input where it is given, else the model's own."""
    default = getattr(ctx.params, field)
    if not (default >= 0 and (most is None or default <= most)):
        rule = "must be at least 0" if most is None else f"must be 0 to {most:g}"
        raise ctx.error(field, rule, value=f"{default:g}")
    name = getattr(ctx.params, f"{field}InputFeatureName")
    if name not in ctx.inputs:
        return ctx.doubles([default])
    ctx.input_type(name, "doubleType")
    given = ctx.numbers(name)
    value = ctx.op("Where", ctx.op("IsNaN", given), ctx.doubles(default), given)
    holds = ctx.op("GreaterOrEqual", value, ctx.doubles(0))
    if most is not None:
        holds = ctx.op("And", holds, ctx.op("LessOrEqual", value, ctx.doubles(most)))
    return require(ctx.graph, value, holds, code)


def _output_names(ctx: ModelContext) -> tuple[str, str]:
    names = (str(ctx.params.confidenceOutputFeatureName), str(ctx.params.coordinatesOutputFeatureName))
    described = sorted(feature.name for feature in ctx.description.output)
    if described != sorted(names):
        rule = f"must be confidenceOutputFeatureName and coordinatesOutputFeatureName, {list(names)}"
        raise ctx.error("output", rule, value=described)
    return names


def _allowed_counts(ctx: ModelContext) -> Range:
    """Return the least and the most boxes to give; None for any number. One of the outputs may leave it open."""
    least, most = 0, None
    for feature in ctx.description.output:
        found = _declared_count(ctx, feature)
        least = max(least, found[0])
        most = found[1] if most is None else most if found[1] is None else min(most, found[1])
    if least > MOST_BOXES or (most is not None and least > most):
        rule = f"must be at most {MOST_BOXES if most is None or least > MOST_BOXES else most:,}"
        raise ctx.error("output", rule, value=f"declared with at least {least:,} boxes")
    return least, most


def _declared_count(ctx: ModelContext, feature: Any) -> Range:
    array = feature.type.multiArrayType
    if array.HasField("enumeratedShapes"):
        raise ctx.error("output", "has enumeratedShapes, must have one shape or a range", value=repr(feature.name))
    if array.HasField("shapeRange"):
        ranges = size_ranges(array)
        return ranges[0] if ranges else (0, None)
    return (array.shape[0], array.shape[0]) if len(array.shape) > 1 else (0, None)


def _output(ctx: ModelContext, name: str, table: Value, kept: Value, missing: Value) -> Form:
    """Return the rows that are kept as a feature, with zeros behind them."""
    rows = ctx.op("Gather", table, kept)
    pads = ctx.op("Concat", ctx.integers([0]), missing, axis=0)
    padded = ctx.op("Pad", rows, pads, ctx.constant(np.zeros((), table.dtype.numpy())), ctx.integers([0]))  # type: ignore[union-attr]
    feature = next(feature for feature in ctx.description.output if feature.name == name)
    return Tensor(as_declared(ctx, ctx.op("Unsqueeze", padded, ctx.integers([0])), feature))


LOWERINGS: Mapping[str, Callable[[ModelContext], Forms]] = {
    "nonMaximumSuppression": lower_non_maximum_suppression,
}
