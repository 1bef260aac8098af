"""Non-maximum suppression against a NumPy version of the specification's description."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import windfall
from tests.lowering.neural_network.strategies import few, random, seeds
from tests.support import run_layer

Arrays = list[NDArray[Any]]


def overlap(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Return the intersection over union of two boxes (x, y, width, height)."""
    low = np.maximum(a[:2] - a[2:] / 2, b[:2] - b[2:] / 2)
    high = np.minimum(a[:2] + a[2:] / 2, b[:2] + b[2:] / 2)
    inner = np.clip(high - low, 0, None).prod()
    return float(inner / (a[2:].prod() + b[2:].prod() - inner))


def suppressed(boxes: NDArray[Any], scores: NDArray[Any], iou: float, least: float, most: int, apart: bool) -> Arrays:
    """Return the four outputs for one element of the batch."""
    best, classes = scores.max(axis=1), scores.argmax(axis=1)
    kept: list[int] = []
    for i in np.argsort(-best):
        rivals = [j for j in kept if not apart or classes[j] == classes[i]]
        if best[i] >= least and all(overlap(boxes[i], boxes[j]) <= iou for j in rivals):
            kept.append(int(i))
    kept = (kept or [int(best.argmax())])[:most]
    missing = [(0, most - len(kept)), (0, 0)]
    numbers = np.pad(np.array(kept, np.float32), missing[0], constant_values=-1)
    return [np.pad(boxes[kept], missing), np.pad(scores[kept], missing), numbers, np.array(len(kept))]


@few
@given(
    count=st.integers(1, 12), classes=st.integers(1, 3), most=st.integers(1, 15), least=st.sampled_from([-1, 0.5, 2]),
    iou=st.sampled_from([0.05, 0.2, 0.5, 1]), apart=st.booleans(), seed=seeds,
)  # fmt: skip
def test_the_best_boxes_are_kept(
    count: int, classes: int, most: int, least: float, iou: float, apart: bool, seed: int
) -> None:
    boxes, scores = random(seed, (2, count, 4), 0.1, 1), random(seed + 1, (2, count, classes), 0, 1)
    expected = [np.stack(column) for column in zip(
        *(suppressed(b, s, iou, least, most, apart) for b, s in zip(boxes, scores, strict=True)), strict=True
    )]  # fmt: skip
    stored = {"iouThreshold": iou, "scoreThreshold": least, "maxBoxes": most}
    for inputs, fields in ([[], stored], [[[iou], [least], [most]], {}]):
        results = run_layer(
            "NonMaximumSuppression", boxes, scores, *inputs, outputs=4, perClassSuppression=apart, **fields
        )
        for result, wanted in zip(results, expected, strict=True):
            np.testing.assert_allclose(result, wanted, rtol=1e-6)


@pytest.mark.parametrize(
    ("dims", "fields", "message"),
    [
        ([(1, 2, 3), (1, 2, 1)], {}, r"input has the shapes \[1, 2, 3\] and \[1, 2, 1\], must be \[B, N, 4\] and"),
        ([(1, 2, 4), (1, 2, 1)], {"iouThreshold": -1}, "iouThreshold is -1.0, must be at least 0"),
        ([(1, 2, 4), (1, 2, 1)], {}, "maxBoxes is 0, must be 1 to 268435456"),
        ([(1, 2, 4), (1, 2, 1), (2,)], {}, r"input for a threshold has shape \[2\], must be \[1\]"),
    ],
)
def test_what_does_not_fit_is_refused(dims: list[tuple[int, ...]], fields: dict[str, Any], message: str) -> None:
    with pytest.raises(windfall.LoweringError, match=message):
        run_layer("NonMaximumSuppression", *map(np.ones, dims), outputs=4, **fields)
