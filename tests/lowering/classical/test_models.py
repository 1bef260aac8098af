"""Every type of model is accounted for, and what the documentation says of classical models is so."""

import re
import shlex
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scripts.generate_docs import MODEL_GROUPS, emitted, files_testing_model, model_cells

import windfall
from tests.cli.conftest import runner
from windfall.cli.main import cli
from windfall.lowering.classical.models import LOWERINGS
from windfall.lowering.gaps import BUILT_IN, unsupported
from windfall.spec.pipelines import CLASSICAL, PIPELINES
from windfall.spec.proto import NEURAL_NETWORK_TYPES, Model_pb2

ROOT = Path(__file__).parents[3]
TYPES = [field.name for field in Model_pb2.Model.DESCRIPTOR.oneofs_by_name["Type"].fields]
GROUPS = {
    "networks": NEURAL_NETWORK_TYPES,
    "ML programs": ("mlProgram",),
    "pipelines": PIPELINES,
    "classical": CLASSICAL,
    "built in": BUILT_IN,
    "elsewhere": ("linkedModel", "serializedModel"),
    "not yet": ("customModel",),
}


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_is_in_one_group(kind: str) -> None:
    assert [name for name, kinds in GROUPS.items() if kind in kinds] in [[name] for name in GROUPS]
    assert len([kinds for kinds, _ in MODEL_GROUPS if kind in kinds]) == 1


def test_the_groups_have_no_other_types() -> None:
    assert sorted(kind for kinds in GROUPS.values() for kind in kinds) == sorted(TYPES)
    assert sorted(kind for kinds, _ in MODEL_GROUPS for kind in kinds) == sorted(TYPES)


def test_every_classical_type_is_lowered() -> None:
    assert LOWERINGS.keys() == set(CLASSICAL)


@pytest.mark.parametrize("kind", TYPES)
def test_the_page_says_of_a_type_what_the_code_says(kind: str) -> None:
    spec = Model_pb2.Model()
    getattr(spec, kind).SetInParent()
    # A serialized model without bytes is one that cannot be unpacked.
    has_gap = any(unsupported(spec)) and kind != "serializedModel"
    assert (model_cells(kind)[0] != "yes") == has_gap


@pytest.mark.parametrize("kind", CLASSICAL)
def test_every_classical_type_has_tests(kind: str) -> None:
    assert files_testing_model(kind)


@pytest.mark.parametrize(
    ("kind", "operators"),
    [
        ("treeEnsembleRegressor", {"TreeEnsemble"}),
        ("treeEnsembleClassifier", {"TreeEnsemble", "ArgMax"}),
        ("categoricalMapping", {"LabelEncoder"}),
        ("nonMaximumSuppression", {"NonMaxSuppression"}),
    ],
)
def test_operators_of_models(kind: str, operators: set[str]) -> None:
    assert operators <= set(emitted(LOWERINGS[kind], kind))


# What the documentation shows


def section(page: str, title: str) -> str:
    """Return the text below a heading, up to the next one of its level."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def examples(text: str) -> list[str]:
    """Return the Python examples in a text."""
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def promised(blocks: list[str]) -> list[str]:
    """Return what examples say, in comments, that they print."""
    return re.findall(r"^(?:print|model\.predict_batch)\(.*\)  # (.+)$", "".join(blocks), re.MULTILINE)


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the models that the examples of the guide save there."""
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of coremltools: its native libraries are missing
        for block in examples(section("docs/getting-started.md", GUIDE)):
            exec(block, SCOPE)  # noqa: S102  # our own example
    return tmp_path


GUIDE = "Tables, text and dictionaries"
SCOPE: dict[str, Any] = {}


@pytest.mark.usefixtures("shown")
def test_the_examples_of_the_guide_print_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = examples(section("docs/getting-started.md", GUIDE))
    assert len(promised(blocks)) == 5
    for block in blocks:
        exec(block, SCOPE)  # noqa: S102  # our own example
    assert capsys.readouterr().out.splitlines()[-5:] == promised(blocks)


@pytest.mark.usefixtures("shown")
def test_the_commands_of_the_guide_print_what_it_says() -> None:
    text = section("docs/getting-started.md", GUIDE)
    commands = re.findall(r"^\$ windfall (.+)\n((?:(?!\$|```).*\n)+)", text, re.MULTILINE)
    assert len(commands) == 2
    for command, printed in commands:
        result = runner().invoke(cli, shlex.split(command), prog_name="windfall")
        assert result.output == printed


@pytest.mark.usefixtures("shown")
def test_the_table_in_the_readme_is_what_the_model_gives() -> None:
    (block,) = (block for block in examples((ROOT / "README.md").read_text(encoding="utf-8")) if "houses" in block)
    (expected,) = promised([block])
    scope: dict[str, Any] = {"windfall": windfall}
    exec(block.replace("model.predict_batch", "found = model.predict_batch"), scope)  # noqa: S102  # our own example
    assert repr(scope["found"]) == expected


@pytest.mark.usefixtures("shown")
def test_the_tree_in_the_numerical_notes_goes_the_way_of_doubles(capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    blocks = examples(section("docs/numerics.md", "Classical models are computed in doubles"))
    for block in blocks:
        exec(block, {})  # noqa: S102  # our own example
    assert capsys.readouterr().out.splitlines() == promised(blocks) == ["{'y': 1.0}"]
    assert np.float32(0.100000001) == np.float32(0.1)
