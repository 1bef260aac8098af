"""Labels by their confidence."""

from typing import Any

import numpy as np
import pytest

import windfall
from tests.classical import array, model_spec, predict


def curve(values: Any = (0.1, 0.2), thresholds: Any = (0.0, 0.5), **more: Any) -> Any:
    vectors = {
        "precisionValues": values,
        "precisionConfidenceThresholds": thresholds,
        "recallValues": (0.5,),
        "recallConfidenceThresholds": (0.25,),
        **more,
    }
    return {field: {"vector": list(vector)} for field, vector in vectors.items()}


def thresholding(curves: Any, inputs: Any = (3,), output: Any = (2, 3)) -> Any:
    return model_spec("classConfidenceThresholding", {"x": inputs}, {"y": output}, {"precisionRecallCurves": curves})


@pytest.mark.parametrize("curves", [[], [curve()] * 3])
@pytest.mark.parametrize("dtype", ["DOUBLE", "FLOAT32", "FLOAT16"])
def test_all_classes_are_taken(curves: Any, dtype: str) -> None:
    model = windfall.load(thresholding(curves, array(3, dtype=dtype), array(2, 3, dtype=dtype)))
    kind = {"DOUBLE": np.float64, "FLOAT32": np.float32, "FLOAT16": np.float16}[dtype]
    x = np.array([[0.1, 0.9, 0], [1, 0.3, 0.2]], kind)
    found = model.predict({"x": x[0]})["y"]
    assert found.dtype == kind
    np.testing.assert_array_equal(found, [x[0], np.ones(3)])
    np.testing.assert_array_equal(model.predict_batch({"x": x})["y"], [[row, np.ones(3)] for row in x])


def test_no_rows() -> None:
    assert windfall.load(thresholding([])).predict_batch({"x": np.zeros((0, 3))})["y"].shape == (0, 2, 3)
    np.testing.assert_array_equal(predict(thresholding([]), x=[1, 2, 3])["y"], [[1, 2, 3], [1, 1, 1]])


MANY = "of curve 1 must be as many as its precisionConfidenceThresholds, and at least one"
BAD = "of curve 1 and its thresholds must be finite and not below 0"


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (thresholding([curve()]), "precisionRecallCurves is 1 curves, must be 3, one for each class"),
        (thresholding([], (3, 1)), "input is 'x', must have one axis, the classes"),
        (thresholding([], "double"), "input is 'x', has the type doubleType, must have multiArrayType"),
        (thresholding([curve(), curve((1,)), curve()]), f"precisionValues is 1 and 2 values, {MANY}"),
        (thresholding([curve(), curve((), ()), curve()]), f"precisionValues is 0 and 0 values, {MANY}"),
        (
            thresholding([curve(), curve(recallValues=()), curve()]),
            "recallValues is 0 and 1 values, " + MANY.replace("precision", "recall"),
        ),
        (thresholding([curve(), curve((-1, 0)), curve()]), f"precisionValues is -1.0, {BAD}"),
        (
            thresholding([curve(), curve(recallConfidenceThresholds=(np.nan,)), curve()]),
            f"recallValues is nan, {BAD}",
        ),
    ],
)
def test_damaged_models(spec: Any, text: str) -> None:
    with pytest.raises(windfall.FormatError) as error:
        _ = windfall.load(spec).compiled
    assert str(error.value) == f"cannot lower the model (classConfidenceThresholding): {text}"
