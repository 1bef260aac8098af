"""The documentation says what is so."""

import io
import re
from pathlib import Path

import click
import numpy as np
import pytest
from PIL import Image
from scripts.generate_docs import contexts, files_testing, operators, outdated

import windfall
from tests.support import run_layer
from windfall.lowering.neural_network.layers import LOWERINGS

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("examples/*/*.md"))]
COMMANDS = {context.command_path: context.command for context in contexts()}
MODEL = ROOT / "examples/style_transfer/models/city.mlmodel"


def blocks(page: Path) -> list[str]:
    """Return the Python examples of a page."""
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_generated_pages_are_up_to_date() -> None:
    assert outdated() == [], "run: make docs"


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        ("sin", ["Sin"]),  # of a table that all layers of one input share
        ("softmaxND", ["Softmax"]),
        ("reorganizeData", ["DepthToSpace", "SpaceToDepth"]),
        ("getShape", ["Cast", "Shape"]),
        ("squeeze", ["Reshape", "Squeeze"]),
        ("loopBreak", []),
    ],
)
def test_operators_of_layers(layer: str, expected: list[str]) -> None:
    assert operators(layer) == expected


def test_operators_inside_of_loops_and_of_reductions_are_found() -> None:
    assert {"Loop", "Gather"} <= set(operators("loop"))
    assert {"ReduceMax", "ArgMax", "Log"} <= set(operators("reduce"))


@pytest.mark.parametrize("layer", LOWERINGS)
def test_every_layer_that_runs_has_a_test(layer: str) -> None:
    assert files_testing(layer)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_the_first_example_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (300, 200), "orange").save(tmp_path / "photo.jpg")
    (tmp_path / MODEL.name).write_bytes(MODEL.read_bytes())
    monkeypatch.chdir(tmp_path)
    # As most scripts do, the example leaves closing the photo to the end of the program.
    monkeypatch.setattr(Image, "open", lambda path, unclosed=Image.open: unclosed(io.BytesIO(Path(path).read_bytes())))
    exec(blocks(ROOT / page)[0], {})  # noqa: S102  # our own example
    with Image.open("city.png") as picture:
        assert picture.size == (256, 256)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_examples_are_python_and_use_public_names(page: Path) -> None:
    for block in blocks(page):
        compile(block, page.name, "exec")
        used = set(re.findall(r"\bwindfall\.(\w+)", block))
        assert used <= {*windfall.__all__, "interop"}, block


def test_the_layer_in_the_contributing_guide_is_the_one_in_the_code() -> None:
    function = next(block for block in blocks(ROOT / "CONTRIBUTING.md") if block.startswith("def lower_"))
    source = ROOT / "src/windfall/lowering/neural_network/reshaping.py"
    assert function in source.read_text(encoding="utf-8")


def test_the_test_in_the_contributing_guide_passes() -> None:
    test = next(block for block in blocks(ROOT / "CONTRIBUTING.md") if block.startswith("def test_"))
    scope = {"np": np, "run_layer": run_layer}
    exec(test + "\ntest_sequence_repeat_repeats_the_sequence_as_a_whole()", scope)  # noqa: S102  # our own example
    assert callable(scope["test_sequence_repeat_repeats_the_sequence_as_a_whole"])


def test_the_output_in_the_readme_is_what_inspect_prints() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = readme.partition("$ windfall inspect city.mlmodel\n")[2].partition("```")[0]
    assert shown.strip() == str(windfall.load(MODEL).description).strip()


def test_every_room_of_the_house_is_on_the_plan() -> None:
    plan = (ROOT / "docs/design.md").read_text(encoding="utf-8")
    rooms = [
        path for path in (ROOT / "src/windfall").iterdir() if path.name != "__pycache__" and path.suffix in ("", ".py")
    ]
    assert [room.name for room in rooms if f"`{room.name}" not in plan and f"`{room.name}/" not in plan] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_has_help(name: str) -> None:
    command = COMMANDS[name]
    assert command.help
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    assert [option.name for option in options if not option.help] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_an_example(name: str) -> None:
    assert re.search(r"Examples?:", str(COMMANDS[name].help))
