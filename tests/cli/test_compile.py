from pathlib import Path

import pytest

import windfall
from tests.cli.conftest import Run
from windfall.runtime import cache


@pytest.fixture
def kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(cache.VARIABLE, str(folder / "cache"))
    return folder / "cache"


def test_what_is_compiled_is_in_the_cache(run: Run, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run("compile", "array.mlmodel")
    assert result.exit_code == 0, result.output
    (entry,) = kept.glob("*.onnx")
    assert result.stdout.startswith("array.mlmodel: compiled in ")
    assert result.stdout.endswith(f" s, {entry.stat().st_size} bytes kept in {kept}\n")

    def fail(*_: object) -> None:
        raise AssertionError("the model was lowered again")

    monkeypatch.setattr(windfall.Model, "_lower", fail)
    assert run("predict", "array.mlmodel", "x0=[[1, 2, 3], [4, 5, 6]]").exit_code == 0
    assert "kept in" in run("compile", "array.mlmodel").stdout


def test_where_nothing_can_be_kept_it_says_why(run: Run, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.write_bytes(b"in the way")
    result = run("compile", "array.mlmodel")
    assert result.exit_code == 0
    assert result.stdout.endswith(
        f"nothing kept in {kept}: it cannot be written, or over 16 MB of the weights must be decoded\n"
    )
    monkeypatch.setenv(cache.VARIABLE, "off")
    assert run("compile", "array.mlmodel").stdout.endswith(" s, nothing kept, as the cache is off\n")


def test_errors(run: Run, kept: Path) -> None:
    result = run("compile", "none.mlmodel")
    assert result.stderr == "Error: cannot open none.mlmodel: No such file or directory; check the path\n"
    assert run("compile", "array.mlmodel", "--function", "f").exit_code == 1


def test_all_listed_sizes_are_compiled(run: Run, kept: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = windfall.shapes.enumerate(windfall.load(folder / "array.mlmodel"), "x0", [(2, 3), (4, 5)])
    model.save(folder / "listed.mlmodel")
    assert run("compile", "listed.mlmodel").exit_code == 0
    assert len(list(kept.glob("*.onnx"))) == 2  # of the default size, and of all

    def fail(*_: object) -> None:
        raise AssertionError("the model was lowered again")

    monkeypatch.setattr(windfall.Model, "_lower", fail)
    assert run("predict", "listed.mlmodel", "x0=[[1, 2, 3], [4, 5, 6]]").exit_code == 0
