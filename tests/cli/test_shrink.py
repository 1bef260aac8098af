import json
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image

import windfall
from tests.cli.conftest import Run, classifier_spec, saved
from tests.shrinking.support import picture_spec, sum_spec


@pytest.fixture
def photos(folder: Path) -> Path:
    """A folder of pictures of noise, for the network that is saved beside it."""
    saved(picture_spec(), folder / "large.mlmodel")
    (folder / "photos").mkdir()
    rng = np.random.default_rng(5)
    for number in range(6):
        Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8)).save(folder / f"photos/{number}.png")
    return folder / "photos"


def test_a_smaller_model_is_written_and_shown(run: Run, folder: Path, photos: Path) -> None:
    arguments = ["large.mlmodel", "small.mlmodel", "photos", "--keep", "psnr=32", "--curve", "curve.svg"]
    result = run("shrink", *arguments, "--threads", 1)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    for part in ("Layers", "first", "second", "Metrics, on 4 samples held out", "32.00 dB", "X the result"):
        assert part in result.output
    assert result.output.splitlines()[-1] == "written to small.mlmodel and curve.svg"
    assert all(line == line.rstrip() and len(line) <= 80 for line in result.output.splitlines())
    assert (folder / "small.mlmodel").stat().st_size < (folder / "large.mlmodel").stat().st_size
    assert ET.parse(folder / "curve.svg").getroot().tag.endswith("svg")  # noqa: S314  # our own file
    names = [photos / f"{number}.png" for number in range(6)]
    expected = windfall.shrink("large.mlmodel", names, {"psnr": 32})
    assert (folder / "small.mlmodel").read_bytes() == expected.model.spec.SerializeToString()
    (small,) = windfall.compare("large.mlmodel", "small.mlmodel", list(expected.held_out)).candidates
    assert small.score("PSNR").mean >= 32


def test_json(run: Run, folder: Path) -> None:
    saved(sum_spec(), folder / "large.mlmodel")
    rng = np.random.default_rng(7)
    for number in range(3):
        np.save(folder / f"{number}.npy", rng.normal(size=40).astype(np.float32))
    arguments = ["0.npy", "1.npy", "2.npy", "--keep", "snr=25", "--keep", "cosine=0.9", "--mode", "linear", "--json"]
    result = run("shrink", "large.mlmodel", "small.mlmodel", *arguments)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert result.stderr == "\nwritten to small.mlmodel\n"
    assert found["size_after"] == (folder / "small.mlmodel").stat().st_size
    assert found["held_out"] == ["0.npy", "2.npy"]
    assert [metric["name"] for metric in found["kept"]] == ["snr", "cosine"]
    assert found["kept"][0]["value"] >= 25
    assert {layer["mode"] for layer in found["layers"]} == {"linear"}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["no/small.mlmodel", "photos"], "cannot write 'no/small.mlmodel': there is no folder 'no'; make it first"),
        (["large.mlmodel", "photos"], "cannot write 'large.mlmodel': it is the model that is read; choose another"),
        (["photos", "photos"], "cannot write 'photos': it is a directory; give the name of a file in it"),
        (["small.mlmodel"], "there are no samples, must be at least one to measure on; better are eight and more"),
        (["small.mlmodel", "photos", "--curve", "c.png"], "cannot write 'c.png': the curve is an SVG picture"),
        (["small.mlmodel", "photos", "--keep", "snr=3"], "keep has 'snr', which does not fit the outputs of large"),
        (["small.mlmodel", "photos", "--keep", "accuracy=1"], "keep has 'accuracy', which needs the true class of"),
        (["small.mlmodel", "missing"], "cannot open missing: no such file"),
    ],
)
def test_errors(run: Run, folder: Path, photos: Path, arguments: list[str], expected: str) -> None:
    keep = [] if "--keep" in arguments else ["--keep", "psnr=30"]
    result = run("shrink", "large.mlmodel", *arguments, *keep)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {expected}")
    assert not (folder / "small.mlmodel").exists()


def test_a_model_without_weights_is_refused(run: Run, folder: Path) -> None:
    saved(classifier_spec(), folder / "classify.mlmodel")
    np.save(folder / "x.npy", np.ones(3, np.float32))
    result = run("shrink", "classify.mlmodel", "small.mlmodel", "x.npy", "--keep", "top1=1")
    assert result.exit_code == 1
    assert "has no weights that could take fewer bytes" in result.stderr


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("psnr", "'psnr' must be a metric, '=', and a number: 'psnr=30'."),
        ("psnr=good", "'psnr=good' must be a metric, '=', and a number: 'psnr=30'."),
        ("=3", "'=3' must be a metric, '=', and a number: 'psnr=30'."),
    ],
)
def test_bounds_that_are_none(run: Run, photos: Path, given: str, expected: str) -> None:
    result = run("shrink", "large.mlmodel", "small.mlmodel", "photos", "--keep", given)
    assert result.exit_code == 2
    assert expected in " ".join(result.stderr.split())


def test_a_bound_that_is_given_twice(run: Run, photos: Path) -> None:
    result = run("shrink", "large.mlmodel", "small.mlmodel", "photos", "--keep", "psnr=30", "--keep", "psnr=35")
    assert result.exit_code == 2
    assert "'psnr' is given twice; give it once." in " ".join(result.stderr.split())


def test_something_must_be_kept(run: Run, photos: Path) -> None:
    result = run("shrink", "large.mlmodel", "small.mlmodel", "photos")
    assert result.exit_code == 2
    assert "Missing option '--keep'" in result.stderr
