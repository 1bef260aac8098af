"""Whole comparisons: what is measured for each type of output, over samples of every kind."""

import gc
import json
import math
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import windfall
from tests.classical import described, model_spec
from tests.comparison.support import brighter, classifier, rows, times
from tests.lowering.ml_program.test_program import classifier as program_classifier
from tests.lowering.ml_program.test_states import X, accumulator
from windfall.comparison import Comparison, Measure, Score
from windfall.comparison.measures import ssim
from windfall.comparison.outputs import paired

RANDOM = np.random.default_rng(3)
EYE = np.eye(3)
NOISE = Image.fromarray(RANDOM.integers(0, 200, (12, 16, 3)).astype(np.uint8))


def only(comparison: Comparison) -> dict[str, Score]:
    """The scores of the only candidate by measure."""
    (candidate,) = comparison.candidates
    return {score.measure: score for score in candidate.scores}


# What is measured


def test_arrays() -> None:
    a, b = RANDOM.normal(size=(2, 2, 3)).astype(np.float32)
    found = only(windfall.compare(times(1), times(1, 0.25), rows(a, b)))
    errors = [np.full((2, 3), 0.25), np.full((2, 3), 0.25)]
    expected = [10 * np.log10(np.sum(x**2) / np.sum(e**2)) for x, e in zip((a, b), errors, strict=True)]
    ratio = found["signal-to-noise ratio"]
    assert ratio.mean == pytest.approx(np.mean(expected), rel=1e-5)
    assert ratio.worst == pytest.approx(min(expected), rel=1e-5)
    assert ratio.worst_sample == f"sample {1 + int(np.argmin(expected))}"
    assert found["largest error"].worst == pytest.approx(0.25, rel=1e-5)
    cosines = [np.sum(x * (x + 0.25)) / np.linalg.norm(x) / np.linalg.norm(x + 0.25) for x in (a, b)]
    assert found["cosine"].mean == pytest.approx(np.mean(cosines), rel=1e-5)
    assert found["cosine"].worst == pytest.approx(min(cosines), rel=1e-5)


def test_pictures() -> None:
    found = only(windfall.compare(brighter(0), brighter(5), [NOISE, NOISE.rotate(180)]))
    assert list(found) == ["PSNR", "SSIM"]
    assert found["PSNR"].mean == pytest.approx(20 * math.log10(255 / 5))
    pixels = np.asarray(NOISE, np.float64)
    turned = pixels[::-1, ::-1]
    expected = [ssim(x, x + 5) for x in (pixels, turned)]
    assert found["SSIM"].mean == pytest.approx(np.mean(expected))
    assert found["SSIM"].worst == pytest.approx(min(expected))


def test_equal_pictures_have_an_infinite_psnr_which_the_mean_leaves_out() -> None:
    white, gray = Image.new("RGB", (16, 12), "white"), Image.new("RGB", (16, 12), "gray")
    found = only(windfall.compare(brighter(0), brighter(5), [white, gray, white]))["PSNR"]
    assert (found.mean, found.worst) == pytest.approx((20 * math.log10(255 / 5),) * 2)
    assert (found.most, found.equal, found.worst_sample) == (math.inf, 2, "sample 2")
    same = only(windfall.compare(brighter(0), brighter(0), [white]))["PSNR"]
    assert (same.mean, same.worst, same.equal) == (math.inf, math.inf, 1)


def test_floating_point_pictures_are_measured_by_the_range_of_the_reference() -> None:
    ramp = Image.fromarray(np.linspace(0, 2, 16 * 12).reshape(12, 16).astype(np.float32))
    gray = "GRAYSCALE_FLOAT16"
    found = only(windfall.compare(brighter(0, gray), brighter(0.5, gray), [ramp]))
    assert found["PSNR"].mean == pytest.approx(20 * math.log10(2 / 0.5), abs=0.01)
    black = Image.new("F", (16, 12))
    assert only(windfall.compare(brighter(0, gray), brighter(0, gray), [black]))["PSNR"].mean == math.inf
    hole = Image.fromarray(np.full((12, 16), np.nan, np.float32))
    same = only(windfall.compare(brighter(0, gray), brighter(0, gray), [hole]))
    assert (same["PSNR"].mean, same["SSIM"].mean) == (math.inf, 1)


def test_probabilities() -> None:
    mixed = np.array([[0.8, 0.1, 0.1], [0.1, 0.3, 0.6], [0.1, 0.6, 0.3]])
    x = [0.7, 0.2, 0.1], [0.1, 0.5, 0.4]
    comparison = windfall.compare(classifier(EYE, ["a", "b", "c"]), classifier(mixed, ["a", "b", "c"]), rows(*x))
    found = only(comparison)
    assert list(found) == ["agreement", "top-1 agreement", "KL divergence"]  # three classes have no top five
    assert (found["agreement"].mean, found["top-1 agreement"].mean) == (0.5, 0.5)
    assert found["top-1 agreement"].worst_sample == "sample 2"
    divergences = [np.sum(p * np.log(p / (mixed @ p))) for p in map(np.array, x)]
    assert found["KL divergence"].mean == pytest.approx(np.mean(divergences), rel=1e-4)
    assert comparison.reference.accuracy is None


def test_accuracy_of_all_models() -> None:
    shift = np.roll(np.eye(7), 1, axis=0)
    names = list("abcdefg")
    samples = rows(*(np.eye(7) + 0.1))
    comparison = windfall.compare(
        classifier(np.eye(7), names), [classifier(shift, names)], samples, labels=["a", "b", "c", "d", "e", "f", "a"]
    )
    candidate = comparison.candidates[0]
    assert comparison.reference.accuracy == pytest.approx(6 / 7)
    assert candidate.accuracy == pytest.approx(1 / 7)
    # Equal scores rank in the order of the classes: a to d, behind the best.
    assert candidate.top_5_accuracy == pytest.approx(5 / 7)
    assert only(comparison)["top-5 agreement"].mean == pytest.approx(4 / 7)
    assert "Accuracy" in str(comparison)
    assert "85.7 %" in str(comparison)


@pytest.mark.parametrize(("label", "scores"), [("label", ""), ("", "scores"), ("label", "scores")])
def test_labels_are_integers_too_and_either_output_suffices(label: str, scores: str) -> None:
    models = [classifier(EYE, [3, 5, 7], label, scores) for _ in range(2)]
    x = rows([0.5, 0.3, 0.2], [0.1, 0.8, 0.1])
    comparison = windfall.compare(*models, x, labels=np.array([3, 7]))
    assert comparison.reference.accuracy == comparison.candidates[0].accuracy == 0.5


def test_classifiers_that_are_ml_programs() -> None:
    models = [windfall.load(program_classifier(["cat", "dog", "owl"])) for _ in range(2)]
    (name,) = (feature.name for feature in models[0].description.inputs)
    samples = [{name: np.array([0.2, 0.7, 0.1], np.float32)}]
    comparison = windfall.compare(*models, samples, labels=["dog"])
    assert comparison.reference.accuracy == 1
    assert only(comparison)["top-1 agreement"].mean == 1


def regressor(weight: float, kind: str = "double") -> Any:
    fields = {"weights": [{"value": [weight]}], "offset": [0.0]}
    return windfall.load(model_spec("glmRegressor", {"x": "double"}, {"y": kind}, fields, predicted="y"))


def test_numbers() -> None:
    found = only(windfall.compare(regressor(2), regressor(2.5), [{"x": 1.0}, {"x": 4.0}]))
    assert list(found) == ["signal-to-noise ratio", "largest error"]
    assert (found["largest error"].mean, found["largest error"].worst) == pytest.approx((1.25, 2))
    assert found["signal-to-noise ratio"].mean == pytest.approx(20 * math.log10(4))


def text(word: str) -> Any:
    """A model that calls any number by the same word."""
    spec = model_spec("categoricalMapping", {"x": "int64"}, {"y": "string"}, {"strValue": word})
    spec.categoricalMapping.int64ToStringMap.map[5] = "five"
    return windfall.load(spec)


def test_texts() -> None:
    found = only(windfall.compare(text("one"), text("two"), [{"x": 1}, {"x": 5}]))["agreement"]
    assert (found.mean, found.worst, found.worst_sample) == (0.5, 0, "sample 1")


def test_dictionaries_are_arrays_whose_missing_keys_are_zeros() -> None:
    x, y = paired("dictionary", {"a": 1.0, "b": 2.0}, {"b": 2.5, "c": 4.0})
    np.testing.assert_array_equal((x, y), [[1, 2, 0], [0, 2.5, 4]])
    assert paired("sequence", ["a"], ["b"]) == (["a"], ["b"])


def test_a_model_that_keeps_states_goes_on_from_sample_to_sample() -> None:
    models = [windfall.load(accumulator()) for _ in range(2)]
    seen: list[float] = []

    def total(reference: Any, _candidate: Any) -> float:
        seen.append(float(np.sum(reference["after"])))
        return 0

    windfall.compare(*models, [{"x": X}] * 3, metrics={"total": total})
    state = models[0].make_state()
    assert seen == [float(np.sum(models[0].predict({"x": X}, state)["after"])) for _ in range(3)]


# Functions of the user's


def test_metrics_of_the_users_own_take_the_place_of_the_others() -> None:
    def difference(reference: Any, candidate: Any) -> Any:
        return np.mean(candidate["y0"] - reference["y0"])

    comparison = windfall.compare(
        times(1), [times(2), times(3)], rows(np.ones((2, 3)), np.zeros((2, 3))), metrics={"difference": difference}
    )
    scores = [candidate.scores for candidate in comparison.candidates]
    assert [[(s.measure, s.mean, s.least, s.most, s.worst) for s in some] for some in scores] == [
        [("difference", 0.5, 0, 1, None)],
        [("difference", 1, 0, 2, None)],
    ]
    assert "0 to 2" in str(comparison)
    assert comparison.candidates[0].worst == ()


def test_a_measure_says_which_numbers_are_better() -> None:
    measure = Measure(lambda a, b: float(np.max(b["y0"] - a["y0"])), better="lower", unit="mm")
    samples = rows(np.ones((2, 3)), np.full((2, 3), 4))
    comparison = windfall.compare(times(1), times(2), samples, metrics={"apart": measure})
    (score,) = comparison.candidates[0].scores
    assert (score.worst, score.worst_sample) == (4, "sample 2")
    assert [worst.sample for worst in comparison.candidates[0].worst] == ["sample 2", "sample 1"]
    assert "4 mm" in str(comparison)


# Samples


def test_pictures_are_fitted_to_each_model() -> None:
    found = windfall.compare(brighter(0), brighter(1), [Image.new("RGB", (90, 40), "navy")])
    assert only(found)["PSNR"].mean == pytest.approx(20 * math.log10(255))


def save(path: Path, color: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 20), color).save(path)
    return path


def test_paths_and_folders_of_pictures(tmp_path: Path) -> None:
    first, second = save(tmp_path / "b.PNG", "white"), save(tmp_path / "a.jpg", "gray")
    (tmp_path / "notes.txt").write_text("no picture")
    save(tmp_path / ".hidden.png", "red")
    models = brighter(0), brighter(1)
    folder = windfall.compare(*models, tmp_path)
    assert folder.samples == 2
    assert only(folder)["PSNR"].worst_sample == str(second)
    assert windfall.compare(*models, first).samples == 1
    assert windfall.compare(*models, [str(first), second, NOISE]).samples == 3


def picture_classifier() -> Any:
    """A classifier of pictures of one pixel, by their colour."""
    image = {"imageType": {"width": 1, "height": 1, "colorSpace": "RGB"}}
    outputs = {"label": "string", "scores": "string dictionary"}
    spec = described({"photo": image}, outputs, "label", "scores")
    spec.specificationVersion = 4
    model = classifier(EYE, ["red", "green", "blue"]).message
    spec.neuralNetworkClassifier.CopyFrom(model.neuralNetworkClassifier)
    spec.neuralNetworkClassifier.ClearField("arrayInputShapeMapping")
    spec.neuralNetworkClassifier.layers[0].input[:] = ["photo"]
    return windfall.load(spec)


def test_folders_are_classes(tmp_path: Path) -> None:
    for name, color in (("red", "red"), ("green", "lime"), ("blue", "yellow")):
        save(tmp_path / name / "1.png", color)
    comparison = windfall.compare(picture_classifier(), picture_classifier(), tmp_path)
    assert comparison.samples == 3
    assert comparison.reference.accuracy == pytest.approx(2 / 3)


def test_samples_are_taken_one_after_another_and_let_go() -> None:
    alive: list[weakref.ref[Any]] = []

    def stream() -> Iterator[dict[str, Any]]:
        for _ in range(6):
            array = np.ones((2, 3), np.float32)
            alive.append(weakref.ref(array))
            yield {"x0": array}
            del array
            gc.collect()
            assert sum(ref() is not None for ref in alive) <= 1

    assert windfall.compare(times(1), times(2), stream()).samples == 6


# Models


def test_models_are_paths_too_and_have_names_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    paths = [times(1).save(tmp_path / "a.mlmodel"), times(2).save(tmp_path / "small" / "a.mlmodel")]
    comparison = windfall.compare(str(paths[0]), [paths[1], times(1)], rows(np.ones((2, 3))))
    models = [comparison.reference, *comparison.candidates]
    assert [model.name for model in models] == ["a.mlmodel", "a.mlmodel (2)", "the model"]
    assert [model.size for model in models[:2]] == [path.stat().st_size for path in paths]
    assert all(model.seconds > 0 for model in models)


def test_the_same_comparison_gives_the_same_numbers() -> None:
    def once() -> Any:
        found = windfall.compare(brighter(0), [brighter(3), brighter(9)], [NOISE, NOISE.rotate(180)])
        return [(candidate.scores, candidate.worst) for candidate in found.candidates]

    assert once() == once()


def test_a_score_by_its_name() -> None:
    (candidate,) = windfall.compare(times(1), times(2), rows(np.ones((2, 3)))).candidates
    assert candidate.score("cosine").mean == pytest.approx(1)
    assert candidate.score("cosine", "y0") is candidate.score("cosine")
    with pytest.raises(windfall.WindfallError) as error:
        candidate.score("PSNR")
    assert str(error.value) == (
        "the model (2) has 0 scores 'PSNR', must be one; its scores are 'signal-to-noise ratio' of 'y0', "
        "'cosine' of 'y0', 'largest error' of 'y0'"
    )


def test_json_has_names_for_what_is_not_finite() -> None:
    comparison = windfall.compare(brighter(0), brighter(0), [NOISE])
    found = json.loads(json.dumps(comparison.to_dict(), allow_nan=False))
    score = found["candidates"][0]["scores"][0]
    assert (score["measure"], score["mean"], score["worst"]) == ("PSNR", "Infinity", "Infinity")
    assert found["samples"] == 1
    assert found["reference"]["name"] == "the model"


def test_the_table() -> None:
    white, gray = Image.new("RGB", (16, 12), "white"), Image.new("RGB", (16, 12), "gray")
    lines = str(windfall.compare(brighter(0), [brighter(5), brighter(0)], [white, gray])).splitlines()
    assert lines[0] == "the model and 2 other models, on 2 samples"
    text = "\n".join(lines)
    assert [line.split("  ")[0] for line in lines if line and not line.startswith(" ")][1:] == [
        "Models",
        "Output 'styled'",
    ]
    assert "34.15 dB (1 equal)   34.15 dB   sample 2" in text
    assert text.count("equal") == 3
