"""Non-maximum suppression of programs; what is kept is tested with that of networks."""

from typing import Any

import numpy as np
import pytest

import windfall
from tests.lowering.neural_network.strategies import random
from tests.lowering.neural_network.test_suppression import suppressed
from tests.programs import Input, Output, check_operator, run_operator

BOXES = [Output(np.float32, (1, 2, 4)), Output(np.float32, (1, 2, 1)), Output(np.int32, (1, 2)), Output(np.int32, (1,))]


@pytest.mark.parametrize("per_class", [False, True])
@pytest.mark.parametrize(("most", "least"), [(3, -1), (9, 0.5), (9, 2)])
def test_the_best_boxes_are_kept(per_class: bool, most: int, least: float) -> None:
    boxes, scores = random(1, (2, 6, 4), 0.1, 1), random(2, (2, 6, 3), 0, 1)
    each = [suppressed(b, s, 0.2, least, most, per_class) for b, s in zip(boxes, scores, strict=True)]
    kept, best, indices, counts = (np.stack(column) for column in zip(*each, strict=True))
    numbers = {"iou_threshold": np.float32(0.2), "max_boxes": most, "per_class_suppression": per_class}
    expected = [kept, best, indices.astype(np.int32), counts.astype(np.int32)]
    # Which class a box has needs a known number of them.
    check_operator(
        "non_maximum_suppression", expected, opset=5, symbolic=not per_class, boxes=Input(boxes), scores=Input(scores),
        score_threshold=np.float32(least), **numbers,
    )  # fmt: skip
    if least > 0:
        return
    swapped = [kept.swapaxes(1, 2), best.swapaxes(1, 2), expected[2]]
    boxes, scores = boxes.swapaxes(1, 2), scores.swapaxes(1, 2)
    check_operator(
        "non_maximum_suppression", swapped, opset=7, symbolic=not per_class, boxes=Input(boxes), scores=Input(scores),
        **numbers,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"boxes": Input(np.ones((1, 3, 3)))},
            r"boxes is \[1, 3, 3\], must be n times B times 4, and scores \[1, 3, 1\]",
        ),
        ({"iou_threshold": np.float32(-1)}, "iou_threshold is -1.0, must be at least 0"),
        ({"max_boxes": 0}, "max_boxes is 0, must be 1 to 268435456"),
        (
            {"scores": Input(np.ones((1, 3, 1)), [1, 3, None]), "per_class_suppression": True},
            "per_class_suppression needs a number of classes that is known before the program runs",
        ),
    ],
)
def test_what_does_not_fit_is_refused(changed: dict[str, Any], message: str) -> None:
    arguments = {"boxes": Input(np.ones((1, 3, 4))), "scores": Input(np.ones((1, 3, 1))), "max_boxes": 2}
    numbers = {"iou_threshold": np.float32(0.2), "score_threshold": np.float32(0)}
    with pytest.raises(windfall.LoweringError, match=message):
        run_operator("non_maximum_suppression", BOXES, opset=5, **{**arguments, **numbers, **changed})


def test_swapped_boxes_have_three_axes() -> None:
    arguments = {"boxes": Input(np.ones((3, 4))), "scores": Input(np.ones((1, 3, 1))), "max_boxes": 2}
    with pytest.raises(windfall.LoweringError, match="boxes is of rank 2, and scores must have rank 3"):
        run_operator("non_maximum_suppression", BOXES, opset=7, iou_threshold=np.float32(0.2), **arguments)
