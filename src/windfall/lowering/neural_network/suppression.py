"""The best of boxes that overlap.

Source: ``NonMaximumSuppressionLayerParams`` in NeuralNetwork.proto.
"""

from collections.abc import Sequence

from windfall.lowering.neural_network.axes import whole
from windfall.lowering.neural_network.casts import as_floats
from windfall.lowering.neural_network.context import LayerContext, Value
from windfall.lowering.suppression import MOST_BOXES, suppressed


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
    least = score_threshold if score_threshold is not None else ctx.floats([ctx.params.scoreThreshold])
    iou = iou_threshold if iou_threshold is not None else ctx.floats([ctx.params.iouThreshold])
    most = ctx.integers([ctx.params.maxBoxes]) if max_boxes is None else whole(ctx, max_boxes)
    per_class = bool(ctx.params.perClassSuppression)
    kept = suppressed(ctx, boxes, scores, iou=iou, least=least, most=most, per_class=per_class)
    return [*kept[:2], *(as_floats(ctx, numbers) for numbers in kept[2:])]


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
    if numbers[2] is None and not 1 <= ctx.params.maxBoxes <= MOST_BOXES:
        raise ctx.error("maxBoxes", f"must be 1 to {MOST_BOXES}")


LOWERINGS = {"NonMaximumSuppression": lower_non_maximum_suppression}
