"""The text of each error."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import windfall
from tests.comparison.support import brighter, classifier, rows, times
from tests.shrinking.support import SIDE, matrix, samples, sum_model
from windfall.comparison import Measure


def message(make: Callable[[], object], kind: type[Exception] = windfall.WindfallError) -> str:
    """The text of the error that is raised."""
    with pytest.raises(windfall.WindfallError) as error:
        make()
    assert type(error.value) is kind
    assert "\n" not in str(error.value)
    return str(error.value)


def of_keep(keep: Any, **options: Any) -> str:
    return message(lambda: windfall.shrink(sum_model(), samples(3), keep, **options))


def test_a_bound_that_nothing_smaller_meets_names_the_best_that_was_reached() -> None:
    text = of_keep({"snr": 150})
    start = "cannot keep snr at least 150 in a smaller file: the best that was reached is snr "
    assert text.startswith(start)
    half = windfall.quantize_weights(sum_model(), 16, select={"loud": None})
    cases = [samples(3)[number] for number in (0, 2)]
    best = windfall.compare(sum_model(), half, cases).candidates[0].score("signal-to-noise ratio").mean
    assert float(text.removeprefix(start).partition(" dB")[0]) == pytest.approx(best, abs=0.01)
    assert text.endswith(f"kB of {sum_model()._file.size / 1000:.1f} kB; choose another bound")


def test_a_bound_that_the_model_itself_does_not_meet() -> None:
    names = [f"class {number}" for number in range(SIDE)]
    model = classifier(np.eye(SIDE) + 0.02 * matrix(4), names)
    cases = rows(*np.eye(SIDE)[:3])
    text = message(lambda: windfall.shrink(model, cases, {"accuracy": 0.5}, labels=["class 39"] * 3))
    assert text == (
        "cannot keep accuracy at least 0.5: the model itself has 0.0 % on the samples held out; choose another bound"
    )


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        ({}, "keep is {}, must be a dictionary of bounds by name, such as {'psnr': 30}"),
        (30, "keep is 30, must be a dictionary of bounds by name, such as {'psnr': 30}"),
        ({"snr": "30"}, "keep has '30' for 'snr', must have a number"),
        ({"snr": float("nan")}, "keep has nan for 'snr', must have a number"),
        ({"cosin": 1}, "keep has 'cosin', which is not measured; there are cosine, snr"),
        (
            {"psnr": 30},
            "keep has 'psnr', which does not fit the outputs of the model; those that do are snr, cosine, error",
        ),
        ({"cosine": 1.5}, "keep has 1.5 for 'cosine', which is at most 1"),
        ({"error": -1}, "keep has -1 for 'error', which is at least 0"),
        ({"accuracy": 0.5}, "keep has 'accuracy', which needs the true class of each sample; give labels"),
    ],
)
def test_what_is_to_be_kept(keep: Any, expected: str) -> None:
    assert of_keep(keep).replace(sum_model()._file.name, "the model") == expected


def test_functions_of_ones_own() -> None:
    def one(_reference: Any, _candidate: Any) -> float:
        return 1.0

    assert of_keep({"mine": 1}, metrics={"mine": one}) == (
        "metric 'mine' does not say which numbers are better; "
        "give windfall.comparison.Measure(function, better='higher') or 'lower'"
    )
    assert of_keep({"snr": 1}, metrics={"mine": Measure(one, "higher")}) == (
        "metrics has 'mine', for which keep has no bound; give one, or leave it out"
    )


def test_top_5_of_few_classes() -> None:
    model = classifier(matrix(1, 3, 200), ["a", "b", "c"])
    cases = rows(*matrix(2, 3, 200))
    text = message(lambda: windfall.shrink(model, cases, {"top5": 1}))
    assert text == "keep has 'top5', which needs more classes than output 'scores' has"


def test_samples() -> None:
    def of_samples(given: Any, **options: Any) -> str:
        return message(lambda: windfall.shrink(sum_model(), given, {"snr": 1}, **options), windfall.FeatureError)

    assert of_samples([]) == "there are no samples, must be at least one to measure on; better are eight and more"
    assert "must be a list of dictionaries or pictures, or a folder" in of_samples(3)
    assert "does not fit" in of_samples([{"x9": np.zeros(SIDE)}])
    assert of_samples(samples(), fit="tight") == ("fit is 'tight', must be one of: centerCrop, scaleFit, scaleFill")


def test_modes() -> None:
    def of_modes(modes: Any) -> str:
        def run() -> object:
            return windfall.shrink(sum_model(), samples(), {"snr": 1}, modes=modes)

        return message(run, windfall.UnsupportedError)

    assert of_modes("custom_lut") == "modes has 'custom_lut', must have some of kmeans, linear, linear_symmetric"
    assert of_modes([]) == "modes has nothing, must have some of kmeans, linear, linear_symmetric"


def test_a_model_without_weights() -> None:
    text = message(lambda: windfall.shrink(times(2), rows(np.ones((2, 3))), {"snr": 1}), windfall.UnsupportedError)
    assert text.endswith("has no weights that could take fewer bytes; biases, vectors and small weights stay")
    picture = Image.new("RGB", (16, 12))
    message(lambda: windfall.shrink(brighter(1), [picture], {"psnr": 1}), windfall.UnsupportedError)


def test_a_model_that_is_quantized_already() -> None:
    small = windfall.quantize_weights(sum_model(), 8)
    text = message(lambda: windfall.shrink(small, samples(), {"snr": 1}), windfall.FormatError)
    assert "is quantized to 8 bits already" in text
    result = windfall.shrink(small, samples(), {"snr": 10}, requantize=True)
    assert result.size_after < small._file.size


def test_the_curve(tmp_path: Path) -> None:
    result = windfall.shrink(sum_model(), samples(2), {"snr": 10})
    assert message(lambda: result.save_curve(tmp_path / "curve.png")).endswith(
        "the curve is an SVG picture; let its name end in .svg"
    )
    text = message(lambda: result.save_curve(tmp_path / "no" / "curve.svg"))
    assert "there is no folder" in text
    assert result.save_curve(str(tmp_path / "curve.svg")).exists()
