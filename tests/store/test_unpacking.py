"""Zip files of strangers: the model in them comes out byte by byte, or nothing does."""

import contextlib
import io
import re
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_LZMA, ZIP_STORED, ZipFile, ZipInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from windfall.errors import FormatError
from windfall.store import unpacking
from windfall.store.unpacking import is_zip, unpack

PACKAGE = {
    "city.mlpackage/Manifest.json": b"{}",
    "city.mlpackage/Data/model.mlmodel": b"model",
    "city.mlpackage/Data/weights/weight.bin": b"w" * 1000,
}


def zipped(files: Mapping[str, bytes], method: int = ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with ZipFile(buffer, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def unpacked(data: bytes, tmp_path: Path, largest: int = 10**9) -> tuple[str, dict[str, bytes]]:
    """Return the name of the model, and all files that were written."""
    path = tmp_path / "x.zip"
    path.write_bytes(data)
    folder = tmp_path / "out"
    folder.mkdir()
    model = unpack(path, "x.zip", folder, "x", largest)
    assert model.parent == folder
    files = {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    return model.name, files


def refused(data: bytes, tmp_path: Path, text: str, largest: int = 10**9) -> None:
    before = {path for path in tmp_path.parent.rglob("*") if tmp_path not in path.parents}
    with pytest.raises(FormatError, match=f"^{re.escape(text)}"):
        unpacked(data, tmp_path, largest)
    assert {path for path in tmp_path.parent.rglob("*") if tmp_path not in path.parents} == before
    assert [path for path in tmp_path.rglob("*") if path.is_symlink()] == []


@pytest.mark.parametrize("method", [ZIP_STORED, ZIP_DEFLATED])
def test_a_package(tmp_path: Path, method: int) -> None:
    assert unpacked(zipped(PACKAGE, method), tmp_path) == ("city.mlpackage", PACKAGE)


def test_a_package_among_other_things(tmp_path: Path) -> None:
    inner = {f"models/v1/{name}": data for name, data in PACKAGE.items()}
    other = {
        "README.md": b"read",
        "__MACOSX/models/v1/._city.mlpackage": b"x",
        "models/v1/city.mlpackage/.DS_Store": b"x",
        "models/._y.mlmodel": b"x",
        "models/": b"",
    }
    assert unpacked(zipped(other | inner), tmp_path) == ("city.mlpackage", PACKAGE)


@pytest.mark.parametrize(("mark", "name"), [("Manifest.json", "x.mlpackage"), ("model.mil", "x.mlmodelc")])
def test_a_folder_without_itself_around_it(tmp_path: Path, mark: str, name: str) -> None:
    files = {mark: b"1", "weights/weight.bin": b"2"}
    assert unpacked(zipped(files), tmp_path) == (name, {f"{name}/{path}": data for path, data in files.items()})


def test_a_single_file(tmp_path: Path) -> None:
    assert unpacked(zipped({"a/b.mlmodel": b"model"}), tmp_path) == ("b.mlmodel", {"b.mlmodel": b"model"})


def test_models_do_not_start_as_zip_files_do(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"\x08\x04PK\x03\x04")
    assert not is_zip(path)
    path.write_bytes(zipped(PACKAGE))
    assert is_zip(path)


@pytest.mark.parametrize(
    "path",
    ["../evil", "city.mlpackage/../../evil", "/evil", "city.mlpackage/a\\..\\evil", "C:/evil", "city.mlpackage/c:evil"],
)
def test_paths_that_lead_out(tmp_path: Path, path: str) -> None:
    refused(
        zipped(PACKAGE | {path: b"x"}), tmp_path, f"x.zip has the path {path!r}, which must lie inside its folder; "
    )


def special(name: str, mode: int, data: bytes = b"../../etc/passwd") -> bytes:
    buffer = io.BytesIO(zipped(PACKAGE))
    with ZipFile(buffer, "a") as archive:
        entry = ZipInfo(name)
        entry.create_system = 3
        entry.external_attr = mode << 16
        archive.writestr(entry, data)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("mode", "text"),
    [
        (stat.S_IFLNK | 0o777, "a link"),
        (stat.S_IFIFO | 0o644, "a device, or a folder that is called a file"),
        (stat.S_IFCHR | 0o644, "a device, or a folder that is called a file"),
        (stat.S_IFDIR | 0o755, "a device, or a folder that is called a file"),
    ],
)
def test_what_is_no_file(tmp_path: Path, mode: int, text: str) -> None:
    name = "city.mlpackage/Data/w"
    refused(special(name, mode), tmp_path, f"x.zip has {name!r}, which is {text}, must be a file; ")


@pytest.mark.parametrize(
    "name",
    [
        "city.mlpackage/data/x",
        "city.mlpackage/Manifest.JSON",
        "city.mlpackage/Manifest.json.",
        "city.mlpackage/Manifest.json/x",
        "city.mlpackage/Data",
    ],
)
def test_names_that_clash(tmp_path: Path, name: str) -> None:
    text = f"x.zip has {name!r} and another entry of that name; download or convert it again"
    refused(zipped(PACKAGE | {name: b"x"}), tmp_path, text)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_the_same_name_twice(tmp_path: Path) -> None:
    buffer = io.BytesIO(zipped(PACKAGE))
    with ZipFile(buffer, "a") as archive:
        archive.writestr("city.mlpackage/Manifest.json", b"other")
    refused(buffer.getvalue(), tmp_path, "x.zip has 'city.mlpackage/Manifest.json' and another entry of that name")


def test_the_same_folder_twice_is_no_clash(tmp_path: Path) -> None:
    files = {"city.mlpackage/": b"", "city.mlpackage/Data/": b""} | PACKAGE
    assert unpacked(zipped(files), tmp_path) == ("city.mlpackage", PACKAGE)


def test_several_models_and_none(tmp_path: Path) -> None:
    refused(
        zipped({"a.mlmodel": b"", "b/c.mlpackage/Manifest.json": b""}),
        tmp_path,
        "x.zip holds the models 'a.mlmodel', 'b/c.mlpackage', must hold one .mlmodel, .mlpackage or .mlmodelc; unpack",
    )
    (tmp_path / "out").rmdir()
    refused(zipped({"a.txt": b""}), tmp_path, "x.zip holds no model, must hold one .mlmodel, ")


def test_a_bomb(tmp_path: Path) -> None:
    data = zipped({"a.mlmodel": bytes(2 * 10**8)})
    assert len(data) < 10**6
    refused(data, tmp_path, "x.zip unpacks to 200.0 MB, may have 19.")


def test_a_model_that_is_too_large(tmp_path: Path) -> None:
    refused(zipped(PACKAGE), tmp_path, "x.zip unpacks to 1.0 kB, may have 100 bytes; ", largest=100)


def test_more_than_is_said(tmp_path: Path) -> None:
    """The sizes in the directory of the archive are lies: the file is larger than it says."""
    data = zipped({"a.mlmodel": bytes(10**6)})
    at = data.rindex(b"PK\x01\x02") + 24
    refused(data[:at] + (10).to_bytes(4, "little") + data[at + 4 :], tmp_path, "x.zip is a damaged zip file: ")


def test_too_many_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "MOST_ENTRIES", 2)
    refused(zipped(PACKAGE), tmp_path, "x.zip has 3 entries, may have 2; ")


def test_a_directory_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "LARGEST_DIRECTORY", 150)
    refused(zipped(PACKAGE), tmp_path, "x.zip is a damaged zip file: its directory has 237 bytes, may have 150 bytes; ")


@pytest.mark.parametrize("method", [ZIP_BZIP2, ZIP_LZMA])
def test_other_ways_to_compress(tmp_path: Path, method: int) -> None:
    text = (
        f"x.zip has 'a.mlmodel', which is compressed by method {method}, must be 0 or 8; unpack it and load the model"
    )
    refused(zipped({"a.mlmodel": b"x"}, method), tmp_path, text)


def test_an_encrypted_file(tmp_path: Path) -> None:
    data = bytearray(zipped({"a.mlmodel": b"x"}))
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    refused(bytes(data), tmp_path, "x.zip has 'a.mlmodel', which is encrypted; unpack it and load the model")


GOOD = zipped(PACKAGE)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_damaged_archive_gives_the_model_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    changed = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(GOOD) - 1))] = data.draw(st.sampled_from([0, 1, 8, 0x2F, 0x7F, 0xFF]))
    if data.draw(st.booleans()):
        del changed[data.draw(st.integers(0, len(GOOD))) :]
    files: dict[str, bytes] = {}
    with contextlib.suppress(FormatError):
        _, files = unpacked(bytes(changed), tmp_path_factory.mktemp("damaged"))
    # Names are not protected by a checksum, the contents are.
    assert set(files.values()) <= set(PACKAGE.values())


def test_zip_64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 2)
    assert unpacked(zipped(PACKAGE), tmp_path) == ("city.mlpackage", PACKAGE)
