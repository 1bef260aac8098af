import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from tests.classical import model_spec
from tests.cli.conftest import Run, image_spec, saved
from tests.comparison.support import brighter, classifier, times
from windfall.cli import comparisons
from windfall.cli.progress import SlowProgress


@pytest.fixture
def models(folder: Path) -> Path:
    """The current folder, with two models of each kind."""
    brighter(0, size=(16, 8)).save(folder / "same.mlmodel")
    brighter(5, size=(16, 8)).save(folder / "brighter.mlmodel")
    times(1).save(folder / "once.mlmodel")
    times(2).save(folder / "twice.mlmodel")
    classifier(np.eye(3), ["cat", "dog", "owl"]).save(folder / "scores.mlmodel")
    return folder


def found(run: Run, *arguments: object) -> Any:
    """What --json prints."""
    result = run("compare", *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def scores(run: Run, *arguments: object) -> dict[str, float]:
    """The means of the first candidate."""
    return {score["measure"]: score["mean"] for score in found(run, *arguments)["candidates"][0]["scores"]}


def error(run: Run, *arguments: object) -> str:
    """The one line of an error."""
    result = run("compare", *arguments)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr.removeprefix("Error: ").rstrip("\n")


@pytest.mark.usefixtures("models")
def test_photos_in_a_table(run: Run) -> None:
    result = run("compare", "same.mlmodel", "brighter.mlmodel", "cat.png", "dog.png")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines[0] == "same.mlmodel and brighter.mlmodel, on 2 samples"
    assert "brighter.mlmodel PSNR 34.15 dB 34.15 dB" in lines
    assert "Output 'styled'" in lines


def test_models_and_inputs_may_stand_in_any_order(run: Run, models: Path) -> None:
    json_ = found(run, "cat.png", "same.mlmodel", "dog.png", "brighter.mlmodel", "same.mlmodel")
    assert json_["reference"]["name"] == "same.mlmodel"
    assert [candidate["name"] for candidate in json_["candidates"]] == ["brighter.mlmodel", "same.mlmodel (2)"]
    assert json_["samples"] == 2


def test_packages_are_models_with_a_slash_too(run: Run, models: Path) -> None:
    brighter(5, size=(16, 8)).save(models / "brighter.mlpackage")
    assert scores(run, "same.mlmodel", "brighter.mlpackage/", "cat.png")["PSNR"] == pytest.approx(34.1514, abs=1e-3)


def test_a_folder_of_photos(run: Run, models: Path) -> None:
    (models / "photos").mkdir()
    for name in ("cat.png", "dog.png"):
        (models / name).rename(models / "photos" / name)
    json_ = found(run, "same.mlmodel", "brighter.mlmodel", "photos")
    assert json_["samples"] == 2
    assert json_["candidates"][0]["scores"][0]["worst_sample"] == str(Path("photos/cat.png"))


def test_the_fit(run: Run, models: Path) -> None:
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[4:12] = 255  # all that a crop in the middle keeps; the model adds nothing to white
    Image.fromarray(pixels).save(models / "band.png")
    models_ = ("same.mlmodel", "brighter.mlmodel", "band.png")
    assert scores(run, *models_)["PSNR"] == "Infinity"
    assert scores(run, *models_, "--fit", "scale-fill")["PSNR"] != "Infinity"


def test_arrays_and_json(run: Run, models: Path) -> None:
    np.save(models / "x.npy", np.ones((2, 3), np.float32))
    (models / "x.json").write_text(json.dumps({"x0": [[1, 2, 3], [4, 5, 6]]}))
    result = scores(run, "once.mlmodel", "twice.mlmodel", "x.npy", "x.json")
    assert result == {"signal-to-noise ratio": 0, "cosine": pytest.approx(1), "largest error": 3.5}
    assert scores(run, "once.mlmodel", "twice.mlmodel", "x0=x.npy")["largest error"] == 1


def test_an_array_in_a_folder_that_has_a_dot_of_its_own_is_no_model(run: Run, models: Path) -> None:
    (models / "x.mlmodel.json").write_text(json.dumps({"x0": [[1, 2, 3], [4, 5, 6]]}))
    assert scores(run, "once.mlmodel", "twice.mlmodel", "x.mlmodel.json")["largest error"] == 6


def test_values_that_go_into_all_predictions(run: Run, models: Path) -> None:
    for name in ("a", "b"):
        saved(
            image_spec(strength={"multiArrayType": {"shape": [1], "dataType": "FLOAT32"}}), models / f"{name}.mlmodel"
        )
    assert scores(run, "a.mlmodel", "b.mlmodel", "cat.png", "strength=1")["PSNR"] == "Infinity"
    for name, weight in (("c", 2), ("d", 3)):
        fields = {"weights": [{"value": [weight]}], "offset": [0]}
        saved(model_spec("glmRegressor", {"x": "double"}, {"y": "double"}, fields), models / f"{name}.mlmodel")
    assert scores(run, "c.mlmodel", "d.mlmodel", "x=1.5") == {
        "signal-to-noise ratio": pytest.approx(20 * math.log10(2)),
        "largest error": 1.5,
    }


def test_folders_of_classes(run: Run, models: Path) -> None:
    from tests.comparison.test_compare import picture_classifier

    for name in ("a", "b"):
        picture_classifier().save(models / f"{name}.mlmodel")
    for name, color in (("red", "red"), ("green", "lime"), ("blue", "yellow")):
        (models / "set" / name).mkdir(parents=True)
        Image.new("RGB", (4, 4), color).save(models / "set" / name / "1.png")
    json_ = found(run, "a.mlmodel", "b.mlmodel", "set", "--classes")
    assert json_["reference"]["accuracy"] == pytest.approx(2 / 3)
    assert json_["samples"] == 3
    assert error(run, "a.mlmodel", "b.mlmodel", "set") == (
        "set has no pictures; if the folders in it are classes, say --classes"
    )


def test_the_report(run: Run, models: Path) -> None:
    result = run("compare", "same.mlmodel", "brighter.mlmodel", "cat.png", "--report", "page.html", "--threads", 1)
    assert result.stdout.endswith("\nwritten to page.html\n")
    page = (models / "page.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert page.count("data:image/png;base64,") == 4
    found(run, "same.mlmodel", "brighter.mlmodel", "cat.png", "--report", "other.html")
    assert (models / "other.html").exists()


def test_a_bar_for_what_takes_long(run: Run, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[SlowProgress] = []

    def slow(total: int) -> SlowProgress:
        times = iter([0.0, *[10.0] * total])
        made.append(SlowProgress(total, Console(stderr=True, force_terminal=True), lambda: next(times)))
        return made[-1]

    monkeypatch.setattr(comparisons, "SlowProgress", slow)
    result = run("compare", "same.mlmodel", "brighter.mlmodel", "cat.png", "dog.png", "cat.png")
    assert result.exit_code == 0
    assert made[0].shown
    assert "/3" in result.stderr


# Errors


@pytest.mark.usefixtures("models")
def test_models_that_are_missing(run: Run) -> None:
    rest = "among the arguments, must be two or more (.mlmodel, .mlpackage, .mlmodelc): the first is the reference"
    assert error(run) == f"there are no models {rest}"
    assert error(run, "same.mlmodel", "cat.png") == f"there is 1 model {rest}"
    assert error(run, "same.mlmodel", "none.mlmodel", "cat.png") == (
        "cannot open none.mlmodel: No such file or directory; check the path"
    )


@pytest.mark.usefixtures("models")
def test_samples_that_are_missing_or_wrong(run: Run) -> None:
    assert error(run, "same.mlmodel", "brighter.mlmodel") == (
        "there are no samples, must be at least one to compare the models on"
    )
    assert error(run, "same.mlmodel", "brighter.mlmodel", "none.png") == (
        "cannot open none.png: no such file; give a file, or name=value"
    )
    assert error(run, "once.mlmodel", "twice.mlmodel", "cat.png") == (
        "the model has no image input for cat.png; its inputs are 'x0', give name=value"
    )
    assert error(run, "once.mlmodel", "twice.mlmodel", "x0=[1, 2]") == (
        "the input does not fit once.mlmodel: input 'x0' has shape [2], must be [2, 3]; reshape it"
    )


@pytest.mark.usefixtures("models")
def test_other_errors_are_one_line(run: Run) -> None:
    assert error(run, "same.mlmodel", "once.mlmodel", "cat.png").startswith(
        "same.mlmodel and once.mlmodel cannot be compared: 'styled' is an output of same.mlmodel alone"
    )
    assert error(run, "same.mlmodel", "brighter.mlmodel", "cat.png", "--report", "none/page.html") == (
        "cannot write 'none/page.html': there is no folder 'none'; make it first"
    )
    assert error(run, "same.mlmodel", "brighter.mlmodel", "cat.png", "--report", "brighter.mlmodel") == (
        "cannot write 'brighter.mlmodel': the report is a web page; let its name end in .html"
    )


def test_classes_for_models_that_are_no_classifiers(run: Run, models: Path) -> None:
    (models / "set" / "a").mkdir(parents=True)
    (models / "cat.png").rename(models / "set" / "a" / "cat.png")
    assert error(run, "same.mlmodel", "brighter.mlmodel", "set", "--classes") == (
        "labels are given, and same.mlmodel is not a classifier; leave them out"
    )
