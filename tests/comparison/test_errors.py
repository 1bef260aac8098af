"""The text of each error."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import windfall
from tests.classical import model_spec
from tests.comparison.support import brighter, classifier, rows, times
from tests.support import layer_spec
from windfall.comparison import Measure

ONES = rows(np.ones((2, 3)))
PICTURE = Image.new("RGB", (16, 12))
EYE = np.eye(3)


def message(make: Callable[[], object], kind: type[Exception] = windfall.WindfallError) -> str:
    """The text of the error that is raised."""
    with pytest.raises(windfall.WindfallError) as error:
        make()
    assert type(error.value) is kind
    assert "\n" not in str(error.value)
    return str(error.value)


def of_samples(samples: Any, **options: Any) -> str:
    return message(lambda: windfall.compare(times(1), times(2), samples, **options), windfall.FeatureError)


def of_metrics(metrics: Any) -> str:
    return message(lambda: windfall.compare(times(1), times(2), ONES, metrics=metrics))


# Samples


@pytest.mark.parametrize("samples", [[], iter(())])
def test_no_samples(samples: Any) -> None:
    assert of_samples(samples) == "there are no samples, must be at least one to compare the models on"


def test_samples_of_another_type() -> None:
    what = "must be a list of dictionaries or pictures, or a folder"
    assert of_samples({"x0": 1}) == f"the samples are of type dict, {what}"
    assert of_samples(PICTURE) == f"the samples are of type Image, {what}"
    assert of_samples(3) == f"the samples are of type int, {what}"
    assert of_samples([3]) == ("sample 1 is of type int, must be a dictionary of inputs, a picture or the path of one")


def test_samples_that_do_not_fit() -> None:
    assert of_samples([{"x0": np.ones(4)}]) == (
        "sample 1 does not fit the model: input 'x0' has shape [4], must be [2, 3]; reshape it"
    )
    assert of_samples([{"x1": 1}]) == (
        "sample 1 does not fit the model: the model has no input 'x1'; its inputs are 'x0'"
    )


def test_a_sample_that_fits_the_reference_alone() -> None:
    text = message(lambda: windfall.compare(times(1), times(2, shape=(4,)), ONES), windfall.FeatureError)
    assert text == "sample 1 does not fit the model (2): input 'x0' has shape [2, 3], must be [4]; reshape it"


def test_pictures_for_a_model_of_other_inputs() -> None:
    assert of_samples([PICTURE]) == (
        "sample 1 is a picture, and the model is not a model of one image input; give dictionaries, its inputs are "
        "'x0' (array)"
    )


def test_folders_without_pictures(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    suffixes = ".bmp, .gif, .jpeg, .jpg, .png, .tif, .tiff, .webp"
    assert of_samples(tmp_path) == (
        f"{tmp_path} has no pictures ({suffixes}) in its folders, must have one folder of them for each class, or "
        "pictures of its own"
    )
    missing = tmp_path / "missing.png"
    text = message(lambda: windfall.compare(brighter(0), brighter(1), missing), windfall.FeatureError)
    assert text == f"cannot open {missing}: No such file or directory; check the path"


def test_the_fit() -> None:
    assert of_samples(ONES, fit="crop") == "fit is 'crop', must be one of: centerCrop, scaleFit, scaleFill"


# Labels


def test_labels_where_the_output_is_no_classifiers() -> None:
    assert of_samples(ONES, labels=["a"]) == "labels are given, and the model is not a classifier; leave them out"


def test_labels_of_another_number() -> None:
    assert of_samples(ONES * 2, labels=[]) == "there are 0 labels for more samples, must be one for each"
    models = classifier(EYE, ["a", "b", "c"]), classifier(EYE, ["a", "b", "c"])
    text = message(lambda: windfall.compare(*models, rows([1, 2, 3]), labels="ab"), windfall.FeatureError)
    assert text == "labels is 'ab', must be a list with the class of each sample"
    text = message(lambda: windfall.compare(*models, rows([1, 2, 3]), labels=["a", "b"]), windfall.FeatureError)
    assert text == "there are more labels than samples, must be one for each"


def test_labels_that_are_no_classes() -> None:
    models = classifier(EYE, ["a", "b", "c"]), classifier(EYE, ["a", "b", "c"])
    text = message(lambda: windfall.compare(*models, rows([1, 2, 3]), labels=["d"]), windfall.FeatureError)
    assert text == "the label 'd' of sample 1 is not a class of the model; its classes are 'a', 'b', 'c'"
    text = message(lambda: windfall.compare(*models, rows([1, 2, 3]), labels=[1.5]), windfall.FeatureError)
    assert text == "labels has 1.5, must have texts or integers"


def test_labels_and_folders_of_classes(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    PICTURE.save(tmp_path / "a" / "1.png")
    text = message(lambda: windfall.compare(brighter(0), brighter(1), tmp_path, labels=["a"]), windfall.FeatureError)
    assert text == "labels are given, and the samples lie in a folder for each class; leave labels out"


# Models


def test_no_candidates() -> None:
    text = message(lambda: windfall.compare(times(1), [], ONES))
    assert text == "there are no candidates, must be at least one model to compare with the reference"


def test_outputs_of_other_names() -> None:
    two = windfall.load(layer_spec("split", np.zeros((2, 3)), outputs=2, nOutputs=2))
    assert message(lambda: windfall.compare(times(1), two, ONES)) == (
        "the model and the model (2) cannot be compared: 'y1' is an output of the model (2) alone, must be one of "
        "both; the model gives 'y0'"
    )
    assert message(lambda: windfall.compare(times(1), brighter(0), ONES)) == (
        "the model and the model (2) cannot be compared: 'y0' is an output of the model alone, must be one of both; "
        "the model (2) gives 'styled'"
    )


def test_outputs_of_other_types() -> None:
    start = "the model and the model (2) cannot be compared: output"
    text = message(lambda: windfall.compare(brighter(0), brighter(0, "GRAYSCALE"), [PICTURE]))
    assert text == (
        f"{start} 'styled' is of type image (RGB) in the one and image (grayscale) in the other, must be of one type"
    )
    number = windfall.load(
        model_spec("glmRegressor", {"x0": "double"}, {"y0": "double"}, {"weights": [{"value": [1]}], "offset": [0]})
    )
    text = message(lambda: windfall.compare(times(1), number, ONES))
    assert text == f"{start} 'y0' is of type array in the one and number in the other, must be of one type"


def test_outputs_of_other_shapes_and_classes() -> None:
    start = "the model and the model (2) cannot be compared: output"
    flat = windfall.load(layer_spec("flattenTo2D", np.zeros((2, 3, 4)), axis=1))
    same = times(1, shape=(2, 3, 4))
    text = message(lambda: windfall.compare(same, flat, rows(np.ones((2, 3, 4)))))
    assert text == f"{start} 'y0' of sample 1 has the shape [2, 3, 4] and [2, 12], must have the same"
    text = message(lambda: windfall.compare(brighter(0), brighter(0, size=(8, 8)), [PICTURE]))
    assert text == f"{start} 'styled' of sample 1 has the size 16x12 and 8x8, must have the same"
    models = classifier(EYE, ["a", "b", "c"]), classifier(EYE, ["a", "b", "d"])
    text = message(lambda: windfall.compare(*models, rows([1, 2, 3])))
    assert text == (f"{start} 'scores' of sample 1 has the class 'c' in one of them alone, must have the same classes")


# Metrics


def test_a_metric_that_raises() -> None:
    def broken(_reference: Any, _candidate: Any) -> float:
        raise KeyError("lpips")

    assert of_metrics({"perceptual": broken}) == (
        "metric 'perceptual' failed on sample 1: KeyError: 'lpips'; mend the function"
    )


@pytest.mark.parametrize("value", [None, "0.5", [1], np.ones(1), 1j])
def test_a_metric_that_returns_no_number(value: Any) -> None:
    text = of_metrics({"perceptual": lambda _a, _b: value})
    assert text == f"metric 'perceptual' returned {value!r} for sample 1, must return a number"


@pytest.mark.parametrize("value", [2, 2.0, np.float32(2), np.array(2), True + 1])
def test_a_metric_that_returns_a_number(value: Any) -> None:
    found = windfall.compare(times(1), times(2), ONES, metrics={"two": lambda _a, _b: value})
    assert found.candidates[0].scores[0].mean == 2


def test_metrics_that_are_none() -> None:
    assert of_metrics({}) == "metrics is {}, must be a dictionary of functions by name"
    assert of_metrics([max]).startswith("metrics is [<built-in function max>], must be")
    assert of_metrics({"psnr": 3}) == "metric 'psnr' is 3, must be a function"
    assert of_metrics({"psnr": Measure(max, "best")}) == (
        "metric 'psnr' has better='best', must be 'higher' or 'lower'"
    )


# The page


def test_a_page_that_cannot_be_written(tmp_path: Path) -> None:
    comparison = windfall.compare(times(1), times(2), ONES)
    text = tmp_path / "page.txt"
    assert message(lambda: comparison.save(text)) == (
        f"cannot write {str(text)!r}: the report is a web page; let its name end in .html"
    )
    lost = tmp_path / "none" / "page.html"
    assert message(lambda: comparison.save(lost)) == (
        f"cannot write {str(lost)!r}: there is no folder {str(lost.parent)!r}; make it first"
    )
    folder = tmp_path / "folder.html"
    folder.mkdir()
    assert message(lambda: comparison.save(folder)) == (
        f"cannot write {str(folder)!r}: it is a directory; give the name of a file in it"
    )
