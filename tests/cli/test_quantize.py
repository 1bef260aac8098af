import json
from pathlib import Path

import numpy as np

import windfall
from tests.cli.conftest import Run, saved
from tests.quantization.calibration.test_session import convolutions, photos
from tests.quantization.test_quantize import network, stored_as


def test_a_smaller_model_is_written_and_shown(run: Run, folder: Path) -> None:
    saved(network("conv1", "fc"), folder / "large.mlmodel")
    result = run("quantize", "large.mlmodel", "small.mlmodel", "--bits", 4, "--mode", "kmeans", "--select", "fc=none")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    lines = [" ".join(line.split()) for line in result.output.splitlines() if line.strip()]
    assert lines[0] == "Layer Values Before After Bits SNR"
    assert lines[2].startswith("conv1 600 2.4 kB 448 bytes 5.97 ")
    assert any(line.startswith("1 of 2 layers 1,200 4.8 kB 2.8 kB") for line in lines)
    assert lines[-1].startswith("small.mlmodel: ")
    assert all(line == line.rstrip() and len(line) <= 80 for line in result.output.splitlines())
    small = windfall.load("small.mlmodel")
    how = stored_as(windfall.load(small.spec))
    assert (how["conv1.weights"], how["fc.weights"]) == ("4", "floatValue")
    x = {"x0": np.ones(24, np.float32)}
    expected = windfall.quantize_weights(windfall.load("large.mlmodel"), 4, "kmeans", select={"fc": None})
    np.testing.assert_array_equal(small.predict(x)["y0"], expected.predict(x)["y0"])


def test_json(run: Run, folder: Path) -> None:
    saved(network("fc"), folder / "large.mlmodel")
    found = json.loads(run("quantize", "large.mlmodel", "small.mlmodel", "--json").output)
    assert found["size_after"] == (folder / "small.mlmodel").stat().st_size
    assert found["layers"][0]["layer"] == "fc"
    assert found["layers"][0]["snr"] > 30


def test_errors(run: Run, folder: Path) -> None:
    saved(network("fc"), folder / "large.mlmodel")
    for arguments, message in (
        (
            ["large.mlmodel", "no/small.mlmodel"],
            "cannot write 'no/small.mlmodel': there is no folder 'no'; make it first",
        ),
        (
            ["large.mlmodel", "large.mlmodel"],
            "cannot write 'large.mlmodel': it is the model that is read; choose another",
        ),
        (["large.mlmodel", "small.mlmodel", "--bits", "9"], "bits is 9, mode 'linear' has 1 to 8, or 16 for float16"),
        (["large.mlmodel", "small.mlmodel", "--select", "x=4"], "select has 'x', which no layer of large.mlmodel with"),
    ):
        result = run("quantize", *arguments)
        assert result.exit_code == 1
        assert result.stderr.replace("\\\\", "/").startswith(f"Error: {message}")
        assert not (folder / "small.mlmodel").exists()
    (folder / "taken").mkdir()
    result = run("quantize", "large.mlmodel", "taken")
    assert (result.exit_code, result.stderr.startswith("Error: cannot write 'taken': ")) == (1, True)
    for given in ("fc", "=4", "fc=four"):
        result = run("quantize", "large.mlmodel", "small.mlmodel", "--select", given)
        assert result.exit_code == 2
        assert f"{given!r} must be a layer or a pattern, '=', and bits or none" in " ".join(result.stderr.split())


def test_calibration_with_photos(run: Run, folder: Path) -> None:
    spec = convolutions()
    saved(spec, folder / "large.mlmodel")
    (folder / "photos").mkdir()
    photos(folder / "photos", 3)
    given = ["--bits", "3", "--mode", "kmeans", "--calibrate", "photos", "--calibrate", "photos/0.png"]
    result = run("quantize", "large.mlmodel", "small.mlmodel", *given)
    assert result.exit_code == 0, result.output
    assert "Calibrated" in result.output
    paths = [*sorted((folder / "photos").iterdir()), folder / "photos" / "0.png"]
    expected = windfall.quantize_weights(windfall.load("large.mlmodel"), 3, "kmeans", calibration=paths)
    assert windfall.load("small.mlmodel").spec == expected.spec
    found = json.loads(run("quantize", "large.mlmodel", "small.mlmodel", "--json", *given).output)
    assert [layer["calibration"] for layer in found["layers"]] == ["calibrated"] * 3
    (folder / "none").mkdir()
    result = run("quantize", "large.mlmodel", "small.mlmodel", "--calibrate", "none")
    assert result.exit_code == 1
    assert "none has no pictures" in result.stderr
