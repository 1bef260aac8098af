"""Unpack the one model in a zip file of a stranger.

What is written are the files of that model and nothing else. Before the first of them is, all their names, kinds and
sizes are checked.
"""

import io
import shutil
import stat
import unicodedata
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from windfall.errors import FormatError
from windfall.spec.openfile import AGAIN, path_parts, shown
from windfall.spec.package import MANIFEST, SUFFIX
from windfall.text import bytes_text

START = b"PK\x03\x04"
FOLDERS = (SUFFIX, ".mlmodelc")
SINGLE = ".mlmodel"
MOST_ENTRIES = 10_000
MOST_RATIO = 100
"""How many times the size of the zip file its model may have; weights shrink to a half at most, often not at all."""
_SMALL = 2**24
"""Bytes that a model may always have."""
LARGEST_DIRECTORY = 2**24
_COPIED_AT_ONCE = 2**20
_ENCRYPTED = 1
_MARKS_OF_COMPILED = ("model.mil", "coremldata.bin")
_NOT_A_MODEL = "__MACOSX"
_Taken = dict[tuple[str, ...], tuple[tuple[str, ...], bool]]
"""By the path of an entry as the least careful file system compares it: the path, and whether it is a folder."""


class _Source(io.FileIO):
    """A zip file whose directory of entries is not read if it is large, as all of it would be in memory at once."""

    def read(self, size: int | None = -1, /) -> Any:
        if size is not None and size > LARGEST_DIRECTORY:
            raise BadZipFile(f"its directory has {bytes_text(size)}, may have {bytes_text(LARGEST_DIRECTORY)}")
        return super().read(-1 if size is None else size)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        if not -(2**63) <= offset < 2**63 or (whence == 0 and offset < 0):
            raise BadZipFile("an entry is said to lie outside of it")
        return super().seek(offset, whence)


def is_zip(path: Path) -> bool:
    """Tell whether a file starts as zip files do; models never start so."""
    with path.open("rb") as file:
        return file.read(len(START)) == START


def unpack(path: Path, source: str, folder: Path, name: str, largest: int) -> Path:
    """Unpack the model in a zip file.

    Args:
        path: The zip file.
        source: What messages call it.
        folder: Where the model goes; an empty folder.
        name: What the model is called where the zip file has no folder around it: without its ending.
        largest: The most bytes that the model may have.

    Returns:
        The path of the model.

    Raises:
        FormatError: It has no model or several, is damaged, or holds what no model has.
    """
    try:
        with _Source(path) as file, ZipFile(file) as archive:
            root, title = _root(archive, source, name)
            entries = dict(_entries(archive, root, source))
            _check_sizes(list(entries.values()), source, path.stat().st_size, largest)
            for parts, entry in entries.items():
                with archive.open(entry) as packed:
                    _write(packed, folder.joinpath(title, *parts), entry.file_size)
    except (BadZipFile, EOFError, NotImplementedError, ValueError, RuntimeError, UnicodeError, zlib.error) as error:
        raise FormatError(f"{source} is a damaged zip file: {error or 'it is cut short'}; {AGAIN}") from error
    return folder / title


def _root(archive: ZipFile, source: str, name: str) -> tuple[tuple[str, ...], str]:
    """Return the parts of the path of the model inside the archive, and the name that it gets."""
    if len(archive.infolist()) > MOST_ENTRIES:
        raise FormatError(f"{source} has {len(archive.infolist())} entries, may have {MOST_ENTRIES}; {AGAIN}")
    paths = {tuple(path_parts(entry.filename, source)) for entry in archive.infolist() if entry.filename.strip("/.")}
    found = {model for path in paths if path[0] != _NOT_A_MODEL and (model := _model_in(path))}
    if len(found) == 1:
        (root,) = found
        return root, root[-1]
    if not found and (MANIFEST,) in paths:
        return (), f"{name}{SUFFIX}"
    if not found and any((mark,) in paths for mark in _MARKS_OF_COMPILED):
        return (), f"{name}.mlmodelc"
    names = ", ".join(shown("/".join(model)) for model in sorted(found)[:5])
    raise FormatError(
        f"{source} holds {f'the models {names}' if found else 'no model'}, must hold one .mlmodel, {SUFFIX} or "
        ".mlmodelc; unpack it and load the model"
    )


def _model_in(path: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the outermost part of a path that is a model."""
    for count, part in enumerate(path, 1):
        hidden = part.startswith(".")
        ending = Path(part).suffix.lower()
        if not hidden and (ending in FOLDERS or (ending == SINGLE and count == len(path))):
            return path[:count]
    return None


def _entries(archive: ZipFile, root: tuple[str, ...], source: str) -> Iterator[tuple[tuple[str, ...], ZipInfo]]:
    """Give the files of the model, with the parts of their paths inside it."""
    taken: _Taken = {}
    for entry in archive.infolist():
        parts = tuple(path_parts(entry.filename, source)) if entry.filename.strip("/.") else ()
        if parts[: len(root)] != root or _NOT_A_MODEL in parts or (parts and parts[-1] == ".DS_Store"):
            continue
        _check_kind(entry, source)
        _check_clash(parts, taken, entry, source)
        if not entry.is_dir():
            yield parts[len(root) :], entry


def _check_kind(entry: ZipInfo, source: str) -> None:
    kind = stat.S_IFMT(entry.external_attr >> 16)
    expected = stat.S_IFDIR if entry.is_dir() else stat.S_IFREG
    if kind not in (0, expected):
        what = "a link" if kind == stat.S_IFLNK else "a device, or a folder that is called a file"
        raise FormatError(f"{source} has {shown(entry.filename)}, which is {what}, must be a file; {AGAIN}")
    if entry.flag_bits & _ENCRYPTED:
        raise FormatError(f"{source} has {shown(entry.filename)}, which is encrypted; unpack it and load the model")
    if entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        raise FormatError(
            f"{source} has {shown(entry.filename)}, which is compressed by method {entry.compress_type}, must be 0 or "
            "8; unpack it and load the model"
        )


def _check_clash(parts: tuple[str, ...], taken: _Taken, entry: ZipInfo, source: str) -> None:
    """Refuse two entries that some file system takes for one, and a file in the place of a folder."""
    folded = tuple(unicodedata.normalize("NFC", part).casefold().rstrip(". ") for part in parts)
    for count in range(1, len(parts) + 1):
        this = parts[:count], count < len(parts) or entry.is_dir()
        is_new = folded[:count] not in taken
        if taken.setdefault(folded[:count], this) != this or not (is_new or this[1]):
            raise FormatError(f"{source} has {shown(entry.filename)} and another entry of that name; {AGAIN}")


def _check_sizes(entries: list[ZipInfo], source: str, packed: int, largest: int) -> None:
    total = sum(entry.file_size for entry in entries)
    most = min(largest, max(_SMALL, MOST_RATIO * packed))
    if total > most:
        raise FormatError(f"{source} unpacks to {bytes_text(total)}, may have {bytes_text(most)}; {AGAIN}")


def _write(packed: IO[bytes], target: Path, size: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as file:
        shutil.copyfileobj(packed, file, _COPIED_AT_ONCE)
        if file.tell() != size:
            raise BadZipFile(f"{shown(target.name)} has {file.tell()} bytes, should have {size}")
