"""Compiled graphs on disk: used where they are valid, and nowhere else."""

import errno
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import windfall
from tests.support import FullDisk, layer_spec
from windfall.runtime import cache
from windfall.runtime.serialized import SerializedModel

X = np.random.default_rng(0).normal(size=(1, 40)).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return save(tmp_path / "model.mlmodel", scale=1)


def save(path: Path, scale: float) -> Path:
    weights = np.arange(30 * 40, dtype=np.float32) * scale
    spec = layer_spec("innerProduct", X, inputChannels=40, outputChannels=30, weights=weights)
    return windfall.load(spec).save(path)


def predict(path: Path) -> np.ndarray:
    return windfall.load(path).predict({"x0": X})["y0"]


def expected(scale: float) -> np.ndarray:
    return X @ (np.arange(30 * 40, dtype=np.float32) * scale).reshape(30, 40).T


def forbid_lowering(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("the model was lowered again")

    monkeypatch.setattr(windfall.Model, "_lower", fail)


def test_the_second_start_lowers_nothing(folder: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = predict(path)
    np.testing.assert_allclose(first, expected(1), rtol=1e-4)
    (entry,) = folder.glob("*.onnx")
    assert entry.stat().st_size < 2000  # the weights stay in the model file
    forbid_lowering(monkeypatch)
    np.testing.assert_array_equal(predict(path), first)


def test_a_model_written_over_the_first_is_another_one(folder: Path, path: Path) -> None:
    predict(path)
    save(path, scale=3)
    np.testing.assert_allclose(predict(path), expected(3), rtol=1e-4)


def test_other_outputs_and_shapes_are_other_entries(folder: Path, path: Path) -> None:
    predict(path)
    inner = windfall.load(path).predict({"x0": X}, outputs=["x0", "y0"])
    np.testing.assert_array_equal(inner["x0"], X)
    assert len(list(folder.glob("*.onnx"))) == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:20],
        lambda data: data[:-40],
        lambda data: data[:-1],
        lambda data: data + b"x",
        lambda data: data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :],
        lambda data: data[:-1] + bytes([data[-1] ^ 128]),
        lambda data: data.replace(b"windfall graph 1", b"windfall graph 0"),
        lambda data: b"graph" + hashlib.sha256(b"graph").digest(),
    ],
)
def test_a_damaged_entry_is_made_again(folder: Path, path: Path, damage: Callable[[bytes], bytes]) -> None:
    predict(path)
    (entry,) = folder.glob("*.onnx")
    good = entry.read_bytes()
    entry.write_bytes(damage(good))
    np.testing.assert_allclose(predict(path), expected(1), rtol=1e-4)
    assert entry.read_bytes() == good


def test_no_changed_byte_is_missed(tmp_path: Path) -> None:
    entries = cache.CompileCache(tmp_path)
    entries.put("a", SerializedModel(b"some graph", {}, None), "/model")
    file = tmp_path / "a.onnx"
    good = file.read_bytes()
    found = entries.get("a", tmp_path)
    assert found is not None
    assert found.proto == b"some graph"
    for place in range(len(good)):
        file.write_bytes(good[:place] + bytes([good[place] ^ 0x10]) + good[place + 1 :])
        assert entries.get("a", tmp_path) is None
        file.write_bytes(good[:place])
        assert entries.get("a", tmp_path) is None


def test_an_entry_under_the_name_of_another_is_not_taken(folder: Path, path: Path, tmp_path: Path) -> None:
    predict(path)
    other = save(tmp_path / "other.mlmodel", scale=5)
    (first,) = folder.glob("*.onnx")
    predict(other)
    (second,) = (entry for entry in folder.glob("*.onnx") if entry != first)
    second.write_bytes(first.read_bytes())
    np.testing.assert_allclose(predict(other), expected(5), rtol=1e-4)


def test_newer_code_does_not_take_older_entries(folder: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predict(path)
    monkeypatch.setattr(cache, "_code_stamp", lambda: ("later", 0))
    predict(path)
    assert len(list(folder.glob("*.onnx"))) == 2


def test_the_least_recently_used_entries_go_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "LARGEST", 1000)
    entries = cache.CompileCache(folder)
    folder.mkdir()
    for age, name in enumerate("abc"):
        (folder / f"{name}.onnx").write_bytes(bytes(400))
        os.utime(folder / f"{name}.onnx", (1000 - age, 1000 - age))
    entries.put("d", SerializedModel(b"graph", {}, None))
    assert sorted(path.stem for path in folder.glob("*.onnx")) == ["a", "b", "d"]


@pytest.mark.parametrize("kind", [".int8", ".openvino"])
def test_entries_of_all_kinds_count_for_the_size(folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(cache, "LARGEST", 1000)
    folder.mkdir()
    for name, age in ((f"old{kind}", 2), (f"new{kind}", 0), ("middle.onnx", 1)):
        (folder / name).write_bytes(bytes(400))
        os.utime(folder / name, (1000 - age, 1000 - age))
    cache.CompileCache(folder).put("d", SerializedModel(b"graph", {}, None))
    assert {path.name for path in folder.iterdir()} == {f"new{kind}", "middle.onnx", "d.onnx"}


def test_a_file_that_is_in_use_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "LARGEST", 300)
    folder.mkdir()
    for number, name in enumerate("ab"):
        (folder / f"{name}.openvino").write_bytes(bytes(200))
        os.utime(folder / f"{name}.openvino", (1000 + number, 1000 + number))
    unlink = Path.unlink

    def fail(path: Path, *, missing_ok: bool = False) -> None:
        if path.name == "a.openvino":
            raise PermissionError(errno.EACCES, "another process uses it")
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", fail)
    cache.CompileCache(folder).put("d", SerializedModel(b"graph", {}, None))
    assert {path.name for path in folder.iterdir()} == {"a.openvino", "d.onnx"}


def test_a_folder_that_cannot_be_written_does_no_harm(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "file"))
    np.testing.assert_allclose(predict(path), expected(1), rtol=1e-4)


def test_nothing_is_kept_when_switched_off(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.VARIABLE, "off")
    assert cache.cache_folder() is None
    predict(path)


def test_a_start_from_the_cache_imports_no_onnx(folder: Path, path: Path) -> None:
    predict(path)
    code = (
        "import sys, numpy as np, windfall\n"
        f"windfall.load({str(path)!r}).predict({{'x0': np.zeros((1, 40))}})\n"
        "print([name for name in ('onnx', 'onnx_ir', 'PIL', 'rich') if name in sys.modules])"
    )
    shown = subprocess.run(  # noqa: S603  # our own interpreter and code
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert shown.strip() == "[]"


def test_a_cache_that_may_only_be_read_is_used(folder: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = predict(path)

    def fail(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "utime", fail)
    monkeypatch.setattr(Path, "mkdir", fail)
    forbid_lowering(monkeypatch)
    np.testing.assert_array_equal(predict(path), first)


def test_a_full_disk_does_no_harm(folder: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Path.open
    full: list[Path] = []

    def limited(path: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        file = opened(path, mode, *arguments, **options)
        if folder not in path.parents or mode != "xb":
            return file
        full.append(path)
        return FullDisk(file)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", limited)
        np.testing.assert_allclose(predict(path), expected(1), rtol=1e-4)
    assert full
    assert [*folder.glob("*.onnx"), *folder.glob(".*")] == []
    predict(path)
    assert len(list(folder.glob("*.onnx"))) == 1


def test_a_user_without_a_home_has_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    import platformdirs

    monkeypatch.delenv(cache.VARIABLE)
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda *_, **__: Path("~/.cache/windfall"))
    assert cache.cache_folder() is None


def test_entries_that_another_process_removes_meanwhile(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "LARGEST", 300)
    folder.mkdir()
    for number, name in enumerate("abc"):
        (folder / f"{name}.onnx").write_bytes(bytes(200))
        os.utime(folder / f"{name}.onnx", (1000 + number, 1000 + number))
    stat = Path.stat

    def gone(path: Path, **options: Any) -> os.stat_result:
        if path.name == "b.onnx":
            path.unlink(missing_ok=True)
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", gone)
    cache.CompileCache(folder).put("d", SerializedModel(b"graph", {}, None))
    assert sorted(path.name for path in folder.iterdir()) == ["c.onnx", "d.onnx"]


def test_what_killed_processes_left_is_removed_after_an_hour(folder: Path, path: Path) -> None:
    folder.mkdir()
    left = [folder / f".{'0' * 64}.onnx.{letter * 32}" for letter in "ab"]
    for file in left:
        file.write_bytes(b"half")
    hour_ago = time.time() - 3601
    os.utime(left[0], (hour_ago, hour_ago))
    predict(path)
    assert [file.exists() for file in left] == [False, True]


CODE = """
import sys, numpy as np, windfall
x = np.load(sys.argv[2])
sys.stdout.buffer.write(windfall.load(sys.argv[1]).predict({"x0": x})["y0"].tobytes())
"""
STOPPING = """
import sys, time
from pathlib import Path
def stop(*_):
    print("here", flush=True)
    time.sleep(60)
Path.replace = stop
"""


def start(code: str, path: Path) -> subprocess.Popen[bytes]:
    inputs = path.with_name("x.npy")
    np.save(inputs, X)
    return subprocess.Popen(  # noqa: S603  # our own interpreter and code
        [sys.executable, "-c", code, str(path), str(inputs)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def test_processes_that_compile_the_same_at_once(folder: Path, path: Path) -> None:
    processes = [start(CODE, path) for _ in range(3)]
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert err == b""
        np.testing.assert_allclose(np.frombuffer(out, np.float32).reshape(1, 30), expected(1), rtol=1e-4)
    assert len(list(folder.glob("*.onnx"))) == 1
    assert list(folder.glob(".*")) == []


@pytest.mark.skipif(os.name == "nt", reason="there is no kill -9")
def test_a_process_that_is_killed_before_the_entry_is_in_its_place(folder: Path, path: Path) -> None:
    process = start(STOPPING + CODE, path)
    assert process.stdout is not None
    assert process.stdout.readline() == b"here\n"
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert len(list(folder.glob(".*"))) == 1
    np.testing.assert_allclose(predict(path), expected(1), rtol=1e-4)
    assert len(list(folder.glob("*.onnx"))) == 1


@pytest.mark.skipif(os.name == "nt", reason="there is no kill -9")
def test_a_process_that_is_killed_at_any_moment(folder: Path, path: Path) -> None:
    for delay in (0.3, 0.6, 0.9):
        process = start(CODE, path)
        time.sleep(delay)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        np.testing.assert_allclose(predict(path), expected(1), rtol=1e-4)
        for entry in folder.glob("*.onnx"):
            entry.unlink()


@pytest.mark.parametrize(("parent", "is_other"), [("src", True), ("site-packages", False)])
def test_a_change_of_the_code_makes_other_entries(
    parent: str, is_other: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / parent / "windfall"
    package.mkdir(parents=True)
    for number, name in enumerate(("__init__.py", "other.py")):
        (package / name).touch()
        os.utime(package / name, (number, number))
    monkeypatch.setattr(windfall, "__file__", str(package / "__init__.py"))
    code_stamp = cache._code_stamp.__wrapped__
    before = code_stamp()
    os.utime(package / "other.py", (2, 2))
    assert (code_stamp() != before) == is_other
    # As pip does when it installs another version.
    os.utime(package / "__init__.py", (3, 3))
    assert code_stamp() != before
