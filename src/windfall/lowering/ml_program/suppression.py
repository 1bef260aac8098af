"""The best of boxes that overlap.

Source: ``non_maximum_suppression`` in ``tensor_operation.py`` among coremltools' operator definitions.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import onnx_ir as ir

from windfall.lowering.ml_program.context import OperationContext, Value
from windfall.lowering.suppression import MOST_BOXES, suppressed

_IOS17 = 7


def lower_non_maximum_suppression(
    ctx: OperationContext,
    boxes: Value,
    scores: Value,
    iou_threshold: float,
    max_boxes: int,
    score_threshold: float | None = None,
    per_class_suppression: bool = False,
) -> Sequence[Value]:
    """Keep the boxes with the best scores, none of which overlaps a better one by more than a threshold.

    Args:
        ctx: The operation and the graph being built.
        boxes: float [n, B, 4], from iOS 17 on [n, 4, B]: the center and the size, x first.
        scores: float [n, B, K], from iOS 17 on [n, K, B], for K classes.
        iou_threshold: The intersection over union up to which two boxes are both kept.
        max_boxes: How many boxes to keep, M.
        score_threshold: The least score; None for none.
        per_class_suppression: Whether a box suppresses boxes of its own class alone.

    Returns:
        The boxes kept [n, M, 4], their scores [n, M, K], from iOS 17 on with the last two axes swapped; their indices,
        int32 [n, M]; and how many there are, int32 [n], before iOS 17. Where there are fewer, zeros follow, and -1
        after the indices.

    Raises:
        LoweringError: The inputs have other shapes, or a number is out of range.
    """
    swapped = ctx.opset >= _IOS17
    if swapped:
        boxes, scores = _swapped(ctx, boxes), _swapped(ctx, scores)
    _check(ctx, boxes, scores, per_class_suppression)
    if not iou_threshold >= 0:
        raise ctx.error("iou_threshold", "must be at least 0", value=iou_threshold)
    if not 1 <= max_boxes <= MOST_BOXES:
        raise ctx.error("max_boxes", f"must be 1 to {MOST_BOXES}", value=max_boxes)
    *rows, indices, counts = suppressed(
        ctx,
        boxes,
        scores,
        iou=ctx.floats([iou_threshold]),
        least=None if score_threshold is None else ctx.floats([score_threshold]),
        most=ctx.integers([max_boxes]),
        per_class=per_class_suppression,
    )
    numbers = [ctx.cast(value, ir.DataType.INT32) for value in (indices, counts)]
    return [*(_swapped(ctx, row) for row in rows), numbers[0]] if swapped else [*rows, *numbers]


def _swapped(ctx: OperationContext, x: Value) -> Value:
    if ctx.rank(x) != 3:
        raise ctx.error("boxes", "and scores must have rank 3", value=f"of rank {ctx.rank(x)}")
    return ctx.op("Transpose", x, perm=[0, 2, 1])


def _check(ctx: OperationContext, boxes: Value, scores: Value, per_class: bool) -> None:
    dims, score_dims = ctx.shape(boxes), ctx.shape(scores)
    if len(dims) != 3 or len(score_dims) != 3 or dims[2] not in (4, None):
        raise ctx.error("boxes", f"must be n times B times 4, and scores {list(score_dims)} as many", value=list(dims))
    if per_class and score_dims[2] is None:
        raise ctx.error("per_class_suppression", "needs a number of classes that is known before the program runs")


LOWERINGS: Mapping[str, Callable[..., Any]] = {"non_maximum_suppression": lower_non_maximum_suppression}
