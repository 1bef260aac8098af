"""The best of boxes that overlap.

Source: ``NonMaximumSuppressionLayerParams`` in NeuralNetwork.proto.
"""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from windfall.graph.limits import LARGEST_TENSOR
from windfall.lowering.neural_network.axes import counted, whole
from windfall.lowering.neural_network.context import LayerContext, Value

_NEVER = -np.inf
_LOWEST = np.finfo(np.float32).min
# Of four float32 each.
_LARGEST = LARGEST_TENSOR // 16


def lower_non_maximum_suppression(
    ctx: LayerContext,
    boxes: Value,
    scores: Value,
    iou_threshold: Value | None = None,
    score_threshold: Value | None = None,
    max_boxes: Value | None = None,
) -> Sequence[Value]:
    """Keep the boxes with the best scores, none of which overlaps a better one by more than a threshold.

    Source: ``NonMaximumSuppressionLayerParams``. A box's score is that of its best class. The boxes kept come in the
    order of their scores: so coremltools' test of the layer has it.

    Args:
        ctx: The layer and the graph being built.
        boxes: [B, N, 4], each (x of the center, y of the center, width, height).
        scores: [B, N, C].
        iou_threshold: [1]; ``iouThreshold`` by default.
        score_threshold: [1]; ``scoreThreshold`` by default.
        max_boxes: [1]; ``maxBoxes`` by default.

    Returns:
        The boxes kept [B, maxBoxes, 4], their scores [B, maxBoxes, C], their indices [B, maxBoxes], and how many there
        are, [B]. Where there are fewer, zeros follow, and -1 after the indices. Where there is none, the best one is
        kept.

    Raises:
        LoweringError: The inputs have other shapes, or ``iouThreshold`` or ``maxBoxes`` is out of range.
    """
    _check(ctx, boxes, scores, (iou_threshold, score_threshold, max_boxes))
    best = ctx.op("ReduceMax", scores, ctx.integers([2]), keepdims=0)  # [B, N, C] -> [B, N]
    least = score_threshold if score_threshold is not None else ctx.floats([ctx.params.scoreThreshold])
    allowed = ctx.op("Where", ctx.op("GreaterOrEqual", best, least), best, ctx.floats(_NEVER))
    iou = iou_threshold if iou_threshold is not None else ctx.floats([ctx.params.iouThreshold])
    iou = ctx.op("Min", ctx.op("Max", iou, ctx.floats([0])), ctx.floats([1]))
    most = ctx.integers([ctx.params.maxBoxes]) if max_boxes is None else whole(ctx, max_boxes)
    by_class = _by_class(ctx, scores, allowed)
    chosen = ctx.op("NonMaxSuppression", boxes, by_class, most, iou, ctx.floats([_LOWEST]), center_point_box=1)
    return _outputs(ctx, boxes, scores, _kept(ctx, best, chosen), most)


def _check(ctx: LayerContext, boxes: Value, scores: Value, numbers: Sequence[Value | None]) -> None:
    dims, score_dims = ctx.shape(boxes), ctx.shape(scores)
    if len(dims) != 3 or len(score_dims) != 3 or dims[2] != 4:
        rule = f"has the shapes {list(dims)} and {list(score_dims)}, must be [B, N, 4] and [B, N, C]"
        raise ctx.error("input", rule, value=None)
    if ctx.params.perClassSuppression and score_dims[2] is None:
        raise ctx.error("perClassSuppression", "needs a number of classes that is known when the model is loaded")
    for value in numbers:
        if value is not None and ctx.shape(value) not in ((1,), (None,)):
            raise ctx.error("input", f"for a threshold has shape {list(ctx.shape(value))}, must be [1]", value=None)
    if numbers[0] is None and not ctx.params.iouThreshold >= 0:
        raise ctx.error("iouThreshold", "must be at least 0")
    if numbers[2] is None and not 1 <= ctx.params.maxBoxes <= _LARGEST:
        raise ctx.error("maxBoxes", f"must be 1 to {_LARGEST}")


def _by_class(ctx: LayerContext, scores: Value, allowed: Value) -> Value:
    """Return [B, classes, N], each box's score for the classes that it may suppress boxes of."""
    rows = ctx.op("Unsqueeze", allowed, ctx.integers([1]))  # [B, N] -> [B, 1, N]
    classes = ctx.shape(scores)[2]
    if not ctx.params.perClassSuppression or classes is None:
        return rows
    own = ctx.op("Unsqueeze", ctx.op("ArgMax", scores, axis=2, keepdims=0), ctx.integers([1]))
    is_own = ctx.op("Equal", own, ctx.op("Unsqueeze", counted(ctx, classes), ctx.integers([1])))
    return ctx.op("Where", is_own, rows, ctx.floats(_NEVER))


def _kept(ctx: LayerContext, best: Value, chosen: Value) -> Value:
    """Return [B, N], the score of each box that is kept, which is at least one of each batch; else minus infinity."""
    places = ctx.op("Gather", chosen, ctx.integers([0, 2]), axis=1)  # [S, (batch, class, box)] -> [S, (batch, box)]
    nothing = ctx.op("Expand", ctx.floats([_NEVER]), ctx.sizes(best))
    kept = ctx.op("ScatterND", nothing, places, ctx.op("GatherND", best, places))
    none = ctx.op("Equal", ctx.op("ReduceMax", kept, ctx.integers([1])), ctx.floats(_NEVER))  # [B, 1]
    first = ctx.op("ArgMax", best, axis=1, keepdims=1)
    alone = ctx.op("ScatterElements", nothing, first, ctx.op("GatherElements", best, first, axis=1), axis=1)
    return ctx.op("Where", none, alone, kept)


def _outputs(ctx: LayerContext, boxes: Value, scores: Value, kept: Value, most: Value) -> Sequence[Value]:
    count = ctx.op("Min", most, ctx.sizes(kept, 1, 2))
    values, indices = ctx.ops("TopK", kept, count, outputs=2, axis=1)
    valid = ctx.op("Greater", values, ctx.floats(_NEVER))
    missing = ctx.op("Sub", most, count)
    numbers = ctx.op("Cast", indices, to=ir.DataType.FLOAT)
    return [
        _rows(ctx, boxes, indices, valid, missing),
        _rows(ctx, scores, indices, valid, missing),
        _padded(ctx, ctx.op("Where", valid, numbers, ctx.floats(-1)), missing, -1),
        ctx.op("ReduceSum", ctx.op("Cast", valid, to=ir.DataType.FLOAT), ctx.integers([1]), keepdims=0),
    ]


def _rows(ctx: LayerContext, table: Value, indices: Value, valid: Value, missing: Value) -> Value:
    """Return the rows of [B, N, C] that [B, k] names, zeros where they are not valid, as [B, maxBoxes, C]."""
    places = ctx.op("Unsqueeze", indices, ctx.integers([2]))
    wide = ctx.op("Concat", ctx.integers([1, 1]), ctx.sizes(table, 2), axis=0)
    rows = ctx.op("GatherElements", table, ctx.op("Expand", places, wide), axis=1)
    rows = ctx.op("Where", ctx.op("Unsqueeze", valid, ctx.integers([2])), rows, ctx.floats(0))
    return _padded(ctx, rows, missing, 0)


def _padded(ctx: LayerContext, x: Value, missing: Value, value: float) -> Value:
    """Add entries at the end of axis 1."""
    pads = ctx.op("Concat", ctx.integers([0]), missing, axis=0)
    return ctx.op("Pad", x, pads, ctx.floats(value), ctx.integers([1]))


LOWERINGS = {"NonMaximumSuppression": lower_non_maximum_suppression}
