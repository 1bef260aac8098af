import numpy as np
import pytest

import windfall
from tests.classical import array, described, model_spec, optional, pipeline_spec, predict
from windfall.errors import EngineError, FormatError
from windfall.spec.proto import FeatureTypes_pb2

NAMES = {
    "confidenceInputFeatureName": "c",
    "coordinatesInputFeatureName": "b",
    "confidenceOutputFeatureName": "confidence",
    "coordinatesOutputFeatureName": "coordinates",
}


def spec_of(boxes, classes, per_class=False, outputs=None, inputs=None, dtype="DOUBLE", **fields):
    shapes = {"c": array(boxes, classes, dtype=dtype), "b": array(boxes, 4, dtype=dtype)}
    outputs = outputs or {"confidence": array(dtype=dtype), "coordinates": array(dtype=dtype)}
    given = {"pickTop": {"perClass": per_class}, "iouThreshold": 0.5, "confidenceThreshold": 0.25, **NAMES, **fields}
    return model_spec("nonMaximumSuppression", {**shapes, **(inputs or {})}, outputs, given)


def ranged(least, most, size):
    return {"multiArrayType": {"dataType": "DOUBLE", "shapeRange": {"sizeRanges": [
        {"lowerBound": least, "upperBound": most}, {"lowerBound": size, "upperBound": size}]}}}  # fmt: skip


def overlap(one, other):
    """Intersection over union of (x of the centre, y of the centre, width, height)."""
    width, height = (
        max(0, min(one[axis] + one[axis + 2] / 2, other[axis] + other[axis + 2] / 2)
            - max(one[axis] - one[axis + 2] / 2, other[axis] - other[axis + 2] / 2))
        for axis in (0, 1)
    )  # fmt: skip
    both = width * height
    return both / (one[2] * one[3] + other[2] * other[3] - both)


def pick_top(confidence, boxes, iou, least, per_class):
    """The proto comment's algorithm."""
    best, label = confidence.max(axis=1), confidence.argmax(axis=1)
    left = [index for index in np.argsort(-best, kind="stable") if best[index] >= least]
    kept = []
    while left:
        top = left.pop(0)
        kept.append(top)
        left = [
            other
            for other in left
            if overlap(boxes[top], boxes[other]) <= iou or (per_class and label[top] != label[other])
        ]
    return confidence[kept], boxes[kept]


def scene(seed, count=40, classes=3):
    rng = np.random.default_rng(seed)
    boxes = np.concatenate([rng.uniform(0, 10, (count, 2)), rng.uniform(1, 6, (count, 2))], axis=1)
    return rng.uniform(0, 0.9, (count, classes)), boxes


@pytest.mark.parametrize("per_class", [False, True])
@pytest.mark.parametrize("dtype", ["DOUBLE", "FLOAT32"])
@pytest.mark.parametrize("seed", range(3))
def test_as_the_comment_has_it(seed, dtype, per_class):
    confidence, boxes = (x.astype(np.float64 if dtype == "DOUBLE" else np.float32) for x in scene(seed))
    got = predict(spec_of(40, 3, per_class, dtype=dtype, iouThreshold=0.3), c=confidence, b=boxes)
    expected = pick_top(confidence, boxes, 0.3, 0.25, per_class)
    assert 2 < len(expected[0]) < 40
    for value, want in zip((got["confidence"], got["coordinates"]), expected, strict=True):
        assert value.dtype == want.dtype
        np.testing.assert_array_equal(value, want[None] if value.ndim == 3 else want)


# Two boxes that overlap by a third, one apart from them.
BOXES = [[0.0, 0.0, 2.0, 2.0], [1.0, 0.0, 2.0, 2.0], [9.0, 9.0, 1.0, 1.0]]
CONFIDENCE = [[0.5, 0.1], [0.1, 0.75], [0.3, 0.1]]


def run(confidence=CONFIDENCE, boxes=BOXES, thresholds=None, **fields):
    confidence = np.array(confidence)
    return predict(spec_of(*confidence.shape, **fields), c=confidence, b=boxes, **(thresholds or {}))


def test_the_threshold_is_the_overlap_up_to_which_boxes_are_kept():
    assert run(iouThreshold=0.34)["coordinates"].tolist() == [BOXES[1], BOXES[0], BOXES[2]]
    assert run(iouThreshold=0.33)["coordinates"].tolist() == [BOXES[1], BOXES[2]]
    assert run(iouThreshold=0.33, per_class=True)["coordinates"].tolist() == [BOXES[1], BOXES[0], BOXES[2]]
    assert run(boxes=[BOXES[0]] * 3, iouThreshold=1.0)["confidence"].tolist() == [[0.1, 0.75], [0.5, 0.1], [0.3, 0.1]]
    assert run(boxes=[BOXES[0]] * 3, iouThreshold=0.0)["confidence"].tolist() == [[0.1, 0.75]]


def test_boxes_below_the_confidence_threshold_are_discarded():
    assert run(confidenceThreshold=0.5, iouThreshold=1.0)["confidence"].tolist() == [[0.1, 0.75], [0.5, 0.1]]
    assert run(confidenceThreshold=0.76)["coordinates"].shape == (0, 4)


def test_confidences_that_float32_cannot_tell_apart():
    confidence = [[0.5], [0.5 + 1e-12], [0.5 + 2e-12]]
    assert run(confidence, [BOXES[0]] * 3)["confidence"].tolist() == confidence[2:]
    assert run(confidence, BOXES, confidenceThreshold=0.5 + 1e-12)["confidence"].tolist() == confidence[:0:-1]


def test_thresholds_as_inputs():
    options = {"inputs": {"iou": optional("double"), "least": optional("double")},
               "iouThresholdInputFeatureName": "iou", "confidenceThresholdInputFeatureName": "least"}  # fmt: skip
    assert len(run(**options)["confidence"]) == 3
    assert len(run(thresholds={"iou": 0.1}, **options)["confidence"]) == 2
    assert len(run(thresholds={"least": 0.6}, **options)["confidence"]) == 1
    assert len(run(thresholds={"iou": 1.0, "least": 0.0}, **options)["confidence"]) == 3
    # A name without an input is that of none.
    assert len(run(iouThresholdInputFeatureName="iou")["confidence"]) == 3


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        ({"confidence": array(2, 2), "coordinates": array(2, 4)}, 2),
        ({"confidence": array(5, 2), "coordinates": array(5, 4)}, 5),
        ({"confidence": array(5, 2), "coordinates": array()}, 5),
        ({"confidence": array(), "coordinates": array(1, 4)}, 1),
        ({"confidence": ranged(0, -1, 2), "coordinates": ranged(0, -1, 4)}, 3),
        ({"confidence": ranged(0, 2, 2), "coordinates": ranged(0, 2, 4)}, 2),
        ({"confidence": ranged(4, 6, 2), "coordinates": ranged(4, 6, 4)}, 4),
        ({"confidence": ranged(4, -1, 2), "coordinates": array()}, 4),
    ],
)
def test_how_many_boxes_the_outputs_have(outputs, expected):
    got = run(outputs=outputs)
    order = [1, 0, 2]
    for name, rows, size in (("confidence", CONFIDENCE, 2), ("coordinates", BOXES, 4)):
        want = np.zeros((max(expected, 3), size))
        want[:3] = np.array(rows)[order]
        np.testing.assert_array_equal(got[name], want[:expected])


def test_a_number_of_boxes_that_is_not_declared():
    spec = spec_of(1, 2)
    for feature in spec.description.input:
        size = feature.type.multiArrayType.shape[1]
        feature.type.CopyFrom(FeatureTypes_pb2.FeatureType())
        feature.type.multiArrayType.dataType = FeatureTypes_pb2.ArrayFeatureType.DOUBLE
        ranges = feature.type.multiArrayType.shapeRange.sizeRanges
        ranges.add(lowerBound=0, upperBound=-1)
        ranges.add(lowerBound=size, upperBound=size)
    model = windfall.load(spec)
    for count in (3, 1, 0):
        got = model.predict(
            {"c": np.reshape(CONFIDENCE[:count], (count, 2)), "b": np.reshape(BOXES[:count], (count, 4))}
        )
        assert got["confidence"].shape == (count, 2)
        assert got["coordinates"].shape == (count, 4)


def test_in_a_pipeline():
    kinds = {"confidence": array(3, 2), "coordinates": array(3, 4)}
    member = described({"confidence": kinds["confidence"], "coordinates": kinds["coordinates"]},
                       {"c": array(3, 2), "b": array(3, 4)})  # fmt: skip
    member.identity.SetInParent()
    last = spec_of(3, 2)
    spec = pipeline_spec([member, last], kinds, {"confidence": array(), "coordinates": array()})
    assert predict(spec, confidence=CONFIDENCE, coordinates=BOXES)["confidence"].shape == (3, 2)


@pytest.mark.parametrize(
    ("threshold", "text"),
    [
        ({"iou": 1.5}, "has an IoU threshold that is not 0 to 1; give one from 0 to 1"),
        ({"iou": -0.1}, "has an IoU threshold that is not 0 to 1; give one from 0 to 1"),
        ({"least": -0.1}, "has a confidence threshold that is below 0 or no number; give one of at least 0"),
    ],
)
def test_thresholds_out_of_range_as_inputs(threshold, text):
    options = {"inputs": {"iou": optional("double"), "least": optional("double")},
               "iouThresholdInputFeatureName": "iou", "confidenceThresholdInputFeatureName": "least"}  # fmt: skip
    with pytest.raises(EngineError) as error:
        run(thresholds=threshold, **options)
    assert str(error.value) == f"'nonMaximumSuppression' {text}"


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"iouThreshold": 1.5}, "iouThreshold is 1.5, must be 0 to 1"),
        ({"iouThreshold": float("nan")}, "iouThreshold is nan, must be 0 to 1"),
        ({"confidenceThreshold": -1.0}, "confidenceThreshold is -1, must be at least 0"),
        ({"stringClassLabels": {"vector": ["a"]}}, ("ClassLabels is 1 labels, must be 2, one for each class of the "
                                                   "confidences")),
        ({"confidenceInputFeatureName": "z"}, "input is 'z', must be one of ['c', 'b']"),
        ({"coordinatesInputFeatureName": "c"},
         "coordinatesInputFeatureName is 'c' of shape [3, 2], must be an array of shape [N, 4]"),
        ({"coordinatesOutputFeatureName": "z"},
         ("output is ['confidence', 'coordinates'], must be confidenceOutputFeatureName and "
         "coordinatesOutputFeatureName, ['confidence', 'z']")),
        ({"outputs": {"confidence": ranged(5, -1, 2), "coordinates": ranged(0, 3, 4)}},
         "output is declared with at least 5 boxes, must be at most 3"),
        ({"outputs": {"confidence": array(2**40, 2), "coordinates": array()}},
         "output is declared with at least 1,099,511,627,776 boxes, must be at most 268,435,456"),
    ],
)  # fmt: skip
def test_damaged_models(fields, text):
    with pytest.raises(FormatError) as error:
        run(**fields)
    assert str(error.value) == f"cannot lower the model (nonMaximumSuppression): {text}"


def test_boxes_that_are_not_as_many_as_confidences():
    spec = spec_of(3, 2)
    spec.description.input[1].type.multiArrayType.shape[0] = 2
    with pytest.raises(
        FormatError, match=r"coordinatesInputFeatureName is 2 boxes, must be 3, as there are confidences for so many$"
    ):
        predict(spec, c=CONFIDENCE, b=BOXES[:2])


def test_a_method_that_is_not_set():
    spec = spec_of(3, 2)
    spec.nonMaximumSuppression.ClearField("pickTop")
    with pytest.raises(FormatError, match=r"SuppressionMethod is not set, must be pickTop$"):
        predict(spec, c=CONFIDENCE, b=BOXES)


def test_outputs_with_enumerated_shapes():
    shapes = {"multiArrayType": {"dataType": "DOUBLE", "enumeratedShapes": {"shapes": [{"shape": [1, 2]}]}}}
    with pytest.raises(
        FormatError, match=r"output is 'confidence', has enumeratedShapes, must have one shape or a range$"
    ):
        run(outputs={"confidence": shapes, "coordinates": array()})
