"""The best of boxes that overlap."""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from windfall.graph.limits import LARGEST_TENSOR
from windfall.lowering.context import GraphContext, Value
from windfall.lowering.indices import counted

_NEVER = -np.inf
_LOWEST = np.finfo(np.float32).min

MOST_BOXES = LARGEST_TENSOR // 16
"""No model may ask for more boxes; each is four float32."""


def suppressed(
    ctx: GraphContext,
    boxes: Value,
    scores: Value,
    *,
    iou: Value,
    least: Value | None,
    most: Value,
    per_class: bool,
) -> Sequence[Value]:
    """Keep the boxes with the best scores, none of which overlaps a better one by more than a threshold.

    A box's score is that of its best class. The boxes kept come in the order of their scores, and where none is, the
    best one is kept: so coremltools' tests of the layer and of the operator have it.

    Args:
        ctx: The graph being built.
        boxes: [B, N, 4], each (x of the center, y of the center, width, height).
        scores: [B, N, C]; C must be known for ``per_class``.
        iou: float32 [1], the intersection over union up to which two boxes are both kept.
        least: float32 [1], the least score; None for none.
        most: int64 [1], how many boxes to keep, K.
        per_class: Whether a box suppresses boxes of its own class alone.

    Returns:
        The boxes kept [B, K, 4], their scores [B, K, C], their indices, int64 [B, K], and how many there are, int64
        [B]. Where there are fewer, zeros follow, and -1 after the indices.
    """
    best = ctx.op("ReduceMax", scores, ctx.integers([2]), keepdims=0)  # [B, N, C] -> [B, N]
    allowed = best
    if least is not None:
        allowed = ctx.op("Where", ctx.op("GreaterOrEqual", best, least), best, ctx.floats(_NEVER))
    iou = ctx.op("Min", ctx.op("Max", iou, ctx.floats([0])), ctx.floats([1]))
    rivals = by_class(ctx, scores, allowed) if per_class else ctx.op("Unsqueeze", allowed, ctx.integers([1]))
    chosen = ctx.op("NonMaxSuppression", boxes, rivals, most, iou, ctx.floats([_LOWEST]), center_point_box=1)
    return _outputs(ctx, boxes, scores, _kept(ctx, best, chosen), most)


def by_class(ctx: GraphContext, scores: Value, allowed: Value) -> Value:
    """Return [B, C, N], each box's score for the class whose boxes it may suppress."""
    rows = ctx.op("Unsqueeze", allowed, ctx.integers([1]))  # [B, N] -> [B, 1, N]
    classes = ctx.shape(scores)[2]
    assert classes is not None, scores
    own = ctx.op("Unsqueeze", ctx.op("ArgMax", scores, axis=2, keepdims=0), ctx.integers([1]))
    is_own = ctx.op("Equal", own, ctx.op("Unsqueeze", counted(ctx, classes), ctx.integers([1])))
    return ctx.op("Where", is_own, rows, ctx.floats(_NEVER))


def _kept(ctx: GraphContext, best: Value, chosen: Value) -> Value:
    """Return [B, N], the score of each box that is kept, which is at least one of each batch; else minus infinity."""
    places = ctx.op("Gather", chosen, ctx.integers([0, 2]), axis=1)  # [S, (batch, class, box)] -> [S, (batch, box)]
    nothing = ctx.op("Expand", ctx.floats([_NEVER]), ctx.sizes(best))
    kept = ctx.op("ScatterND", nothing, places, ctx.op("GatherND", best, places))
    none = ctx.op("Equal", ctx.op("ReduceMax", kept, ctx.integers([1])), ctx.floats(_NEVER))  # [B, 1]
    first = ctx.op("ArgMax", best, axis=1, keepdims=1)
    alone = ctx.op("ScatterElements", nothing, first, ctx.op("GatherElements", best, first, axis=1), axis=1)
    return ctx.op("Where", none, alone, kept)


def _outputs(ctx: GraphContext, boxes: Value, scores: Value, kept: Value, most: Value) -> Sequence[Value]:
    count = ctx.op("Min", most, ctx.sizes(kept, 1, 2))
    values, indices = ctx.ops("TopK", kept, count, outputs=2, axis=1)
    valid = ctx.op("Greater", values, ctx.floats(_NEVER))
    missing = ctx.op("Sub", most, count)
    return [
        _rows(ctx, boxes, indices, valid, missing),
        _rows(ctx, scores, indices, valid, missing),
        _padded(ctx, ctx.op("Where", valid, indices, ctx.integers(-1)), missing, ctx.integers(-1)),
        ctx.op("ReduceSum", ctx.op("Cast", valid, to=ir.DataType.INT64), ctx.integers([1]), keepdims=0),
    ]


def _rows(ctx: GraphContext, table: Value, indices: Value, valid: Value, missing: Value) -> Value:
    """Return the rows of [B, N, C] that [B, k] names, zeros where they are not valid, as [B, K, C]."""
    places = ctx.op("Unsqueeze", indices, ctx.integers([2]))
    wide = ctx.op("Concat", ctx.integers([1, 1]), ctx.sizes(table, 2), axis=0)
    rows = ctx.op("GatherElements", table, ctx.op("Expand", places, wide), axis=1)
    rows = ctx.op("Where", ctx.op("Unsqueeze", valid, ctx.integers([2])), rows, ctx.floats(0))
    return _padded(ctx, rows, missing, ctx.floats(0))


def _padded(ctx: GraphContext, x: Value, missing: Value, value: Value) -> Value:
    """Add entries at the end of axis 1."""
    pads = ctx.op("Concat", ctx.integers([0]), missing, axis=0)
    return ctx.op("Pad", x, pads, value, ctx.integers([1]))
