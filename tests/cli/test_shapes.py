import json
from pathlib import Path

import pytest

import windfall
from tests.cli.conftest import Run, saved
from tests.shapes.models import mobile, random_image, sizes
from tests.shapes.test_mending import attention, reshaped
from tests.shapes.test_setting import painter, two_inputs


@pytest.fixture
def models(folder: Path) -> Path:
    saved(painter(), folder / "painter.mlmodel")
    saved(mobile(pooled=False), folder / "classifier.mlmodel")
    saved(two_inputs(), folder / "two.mlmodel")
    saved(attention(6, 8), folder / "attention.mlmodel")
    return folder


def lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


@pytest.mark.usefixtures("models")
def test_alone_it_shows_what_the_model_takes(run: Run) -> None:
    result = run("shapes", "painter.mlmodel")
    assert result.exit_code == 0, result.output
    assert lines(result.output)[0] == "Name Type"
    shown = [line.replace("\N{MULTIPLICATION SIGN}", "x") for line in lines(result.output)]
    assert shown[2:] == ["Input image Image (RGB 24 x 16)", "Output painted Image (RGB 48 x 32)"]
    found = json.loads(run("shapes", "painter.mlmodel", "--json").output)
    assert found["inputs"][0]["type"]["width"] == 24


@pytest.mark.usefixtures("models")
def test_a_range(run: Run) -> None:
    result = run("shapes", "painter.mlmodel", "--range", "image=8..64x4..", "-o", "flexible.mlmodel")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    shown = result.output.replace("\N{MULTIPLICATION SIGN}", "x")
    assert "Image (RGB 48 x 32, flexible 16..128 x 8..)" in shown
    model = windfall.load("flexible.mlmodel")
    assert model.predict({"image": random_image(60, 5)})["painted"].size == (120, 10)
    cleared = run("shapes", "flexible.mlmodel", "--clear", "image", "-o", "fixed.mlmodel")
    assert "flexible" not in cleared.output
    assert sizes(windfall.load("fixed.mlmodel").description.inputs[0]) == "24 x 16"


@pytest.mark.usefixtures("models")
def test_a_list(run: Run) -> None:
    result = run("shapes", "painter.mlmodel", "--enumerate", "image=24x16,10x20", "-o", "two_sizes.mlmodel", "--json")
    assert json.loads(result.output)["outputs"][0]["type"]["sizes"] == [[48, 32], [20, 40]]
    assert windfall.load("two_sizes.mlmodel").predict({"image": random_image(10, 20)})["painted"].size == (20, 40)


@pytest.mark.usefixtures("models")
def test_arrays_and_several_inputs_at_once(run: Run) -> None:
    result = run("shapes", "two.mlmodel", "--range", "x,y=2x4..8x8", "-o", "flexible.mlmodel")
    assert result.exit_code == 0, result.output
    assert [sizes(one) for one in windfall.load("flexible.mlmodel").description.inputs] == [
        "2 x 8 x 8, flexible 2 x 4..8 x 8"
    ] * 2


@pytest.mark.usefixtures("models")
def test_layers_that_are_rewritten_are_told(run: Run) -> None:
    result = run("shapes", "attention.mlmodel", "--range", "x=1x4x1..9x8", "-o", "flexible.mlmodel")
    assert lines(result.output)[-1] == "Rewritten: rows (reshapeStatic): reshapeStatic to [1, 4, -1]"


@pytest.mark.usefixtures("models")
def test_check(run: Run) -> None:
    result = run("shapes", "classifier.mlmodel", "--check")
    assert result.exit_code == 0, result.output
    assert "image width 32 25..32 at 24: fc1" in lines(result.output)[2]
    assert all(line == line.rstrip() and len(line) <= 100 for line in result.output.splitlines())
    found = json.loads(run("shapes", "classifier.mlmodel", "--check", "--json").output)
    assert [axis["least"] for axis in found["axes"]] == [25, 25]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (
            ["--range", "image=8..64"],
            2,
            "Give --output to write the changed model, or --check to see what becomes",
        ),
        (["-o", "new.mlmodel"], 2, "Give --range, --enumerate or --clear with --output: there is nothing to write."),
        (["--range", "64..128", "-o", "n.mlmodel"], 2, "'64..128' must be an input, '=', and sizes: image=64..2048x64"),
        (
            ["--range", "image=8..xx4", "-o", "n.mlmodel"],
            2,
            "'' must be a size, or a least and a greatest one",
        ),
        (
            ["--range", "image=8-9x4", "-o", "n.mlmodel"],
            2,
            "'8-9' must be a size, or a least and a greatest one",
        ),
        (["--enumerate", "image=8", "-o", "n.mlmodel"], 1, "Error: 'image' has (width, height), not (8,)"),
        (["--enumerate", "image=ax4", "-o", "n.mlmodel"], 2, "'ax4' must be sizes with an x between: 512x384, for an"),
        (
            ["--clear", "photo", "-o", "n.mlmodel"],
            1,
            "Error: painter.mlmodel has no input 'photo'; its images and",
        ),
        (["--range", "image=64..8x4", "-o", "n.mlmodel"], 1, "Error: width of 'image' is 64..8, which is upside down"),
        (
            ["--clear", "image", "-o", "painter.mlmodel"],
            1,
            "Error: cannot write 'painter.mlmodel': it is the model",
        ),
    ],
)
@pytest.mark.usefixtures("models")
def test_errors(run: Run, arguments: list[str], status: int, message: str) -> None:
    result = run("shapes", "painter.mlmodel", *arguments)
    assert result.exit_code == status, result.output
    assert message in result.stderr
    assert not Path("n.mlmodel").exists()


@pytest.mark.usefixtures("models")
def test_a_layer_in_the_way_is_named(run: Run, folder: Path) -> None:
    saved(reshaped("CHANNEL_FIRST")(6, 8), folder / "rows.mlmodel")
    result = run("shapes", "classifier.mlmodel", "--range", "image=32..64x32", "-o", "n.mlmodel")
    assert result.exit_code == 1
    assert "classifier.mlmodel cannot take 'image' of 64x32: layer 'fc1' (innerProduct): inputChannels" in result.stderr
