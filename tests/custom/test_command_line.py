"""What the command line says of models that need something from outside."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

import windfall
from tests.custom.support import photo_pipeline, scaled
from tests.custom.test_linked import link
from windfall.cli.main import cli


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_functions_need_python(folder: Path) -> None:
    windfall.load(photo_pipeline()).save("photos.mlmodel")
    Image.new("RGB", (8, 6)).save("cat.png")
    result = CliRunner().invoke(cli, ["predict", "photos.mlmodel", "cat.png"])
    assert result.exit_code == 1
    assert "needs a model that is part of Apple's operating systems, whose weights are not in the file" in result.output
    assert "in Python, load(..., feature_extractor=FUNCTION) takes a function of yours in its place" in result.output


def test_linked_models_come_from_the_folder_that_is_allowed(folder: Path) -> None:
    double = scaled("x", 2.0)
    (folder / "links").mkdir()
    windfall.load(double).save("links/double.mlmodel")
    windfall.load(link("double.mlmodel", double)).save("app.mlmodel")
    refused = CliRunner().invoke(cli, ["predict", "app.mlmodel", "x=[1,2,3]", "--json"])
    assert refused.exit_code == 1
    assert "needs the model file 'double.mlmodel'; allow its folder: " in refused.output
    assert "linked_models=FOLDER) or --linked-models FOLDER" in refused.output
    result = CliRunner().invoke(cli, ["predict", "app.mlmodel", "x=[1,2,3]", "--json", "--linked-models", "links"])
    assert '"values": [2.0, 4.0, 6.0]' in result.output
    for options, shown in (([], True), (["--linked-models", "links"], False)):
        inspected = CliRunner().invoke(cli, ["inspect", "app.mlmodel", *options])
        assert "double.mlmodel" in inspected.output
        assert ("Not supported here" in inspected.output) == shown
