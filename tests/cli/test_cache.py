import json
import os
from datetime import datetime
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.cli.test_compile import kept  # noqa: F401  # a fixture
from windfall.runtime import cache
from windfall.text import bytes_text


@pytest.fixture
def filled(run: Run, kept: Path) -> Path:  # noqa: F811  # the fixture
    for number, name in enumerate(("array", "classify")):
        assert run("compile", f"{name}.mlmodel").exit_code == 0
        for entry in kept.glob("*.onnx"):
            os.utime(entry, (1000 - number, 1000 - number))
    for entry in kept.glob("*.onnx"):
        if b"classify" in entry.read_bytes():
            os.utime(entry, (2000, 2000))
    return kept


def test_list(run: Run, filled: Path) -> None:
    sizes = {entry.stat().st_size for entry in filled.glob("*.onnx")}
    listed = json.loads(run("cache", "list", "--json").stdout)
    assert (listed["folder"], listed["largest"]) == (str(filled), cache.LARGEST)
    assert [Path(entry["model"]).name for entry in listed["entries"]] == ["classify.mlmodel", "array.mlmodel"]
    assert {entry["size"] for entry in listed["entries"]} == sizes
    assert [datetime.fromisoformat(entry["used"]).timestamp() for entry in listed["entries"]] == [2000, 999]
    assert {Path(entry["path"]) for entry in listed["entries"]} == set(filled.glob("*.onnx"))
    lines = [line.split() for line in run("cache", "list").stdout.splitlines()]
    assert lines[0] == ["Model", "Kind", "Size", "Last", "used"]
    assert {entry["kind"] for entry in listed["entries"]} == {"graph"}
    total = sum(entry.stat().st_size for entry in filled.glob("*.onnx"))
    assert " ".join(lines[-1]) == f"{filled}: {bytes_text(total)} of 1.0 GB"


def test_a_damaged_entry_is_listed_as_such(run: Run, filled: Path) -> None:
    for entry in filled.glob("*.onnx"):
        entry.write_bytes(b"\x08\x0a")
    assert {entry["model"] for entry in json.loads(run("cache", "list", "--json").stdout)["entries"]} == {None}
    assert "damaged, or of another version" in " ".join(run("cache", "list").stdout.split())


def test_entries_of_other_kinds_are_listed(run: Run, filled: Path) -> None:
    first = next(filled.glob("*.onnx"))
    first.with_suffix(".int8").write_bytes(b'{"model": "/a.mlmodel"}\n{}')
    first.with_suffix(".openvino").write_bytes(b'windfall openvino 1\n{"model": "/b.mlmodel"}\n')
    listed = json.loads(run("cache", "list", "--json").stdout)["entries"]
    found = {entry["kind"]: entry["model"] for entry in listed if entry["kind"] != "graph"}
    assert found == {"8-bit plan": "/a.mlmodel", "OpenVINO's": "/b.mlmodel"}
    assert len(listed) == 4


def test_clear_removes_what_the_cache_wrote_and_nothing_else(run: Run, filled: Path) -> None:
    size = sum(entry.stat().st_size for entry in filled.iterdir())
    (entry, _) = filled.glob("*.onnx")
    (filled / f".{entry.name}.{'a' * 32}").write_bytes(b"12345")
    (filled / f"{'0' * 64}.engine").write_bytes(b"{}")
    (filled / f"{'1' * 64}-cuda.engine").write_bytes(b"{}")
    (filled / f"{'2' * 64}.openvino").write_bytes(b"123")
    (filled / "mine.onnx").write_bytes(b"x")
    result = run("cache", "clear")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{filled}: {bytes_text(size + 12)} removed\n"
    assert [path.name for path in filled.iterdir()] == ["mine.onnx"]
    assert run("cache", "clear").stdout == f"{filled}: 0 bytes removed\n"


def test_a_file_that_cannot_be_removed(run: Run, filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", fail)
    result = run("cache", "clear")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: cannot remove '")
    assert result.stderr.endswith("': Permission denied; check its rights\n")


def test_a_cache_that_is_off_or_not_there(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for command in ("list", "clear"):
        assert run("cache", command).stdout == "The cache is off.\n"
    monkeypatch.setenv(cache.VARIABLE, str(folder / "none"))
    assert run("cache", "list").stdout == f"{folder / 'none'}: 0 bytes of 1.0 GB\n"
    assert json.loads(run("cache", "list", "--json").stdout)["entries"] == []


@pytest.mark.parametrize("command", ["list", "clear"])
def test_each_has_help_with_an_example(run: Run, command: str) -> None:
    assert f"windfall cache {command}" in run("cache", command, "--help").stdout.partition("Example")[2]
