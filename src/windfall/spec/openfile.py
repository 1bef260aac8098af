"""Files of strangers, held open: they are read in pieces, and it is noticed when they change."""

import os
import shutil
import stat
import threading
import weakref
from io import FileIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from windfall.errors import FormatError

AGAIN = "download or convert it again"
_COPIED_AT_ONCE = 2**20
# Windows takes the first two for more than a name.
_NOT_IN_A_NAME = frozenset("\\:\0")
_MOST_SHOWN = 200


class Place(NamedTuple):
    """Where a weight's bytes lie: row-major, little-endian, as ONNX's external data wants them."""

    path: Path
    offset: int
    length: int


class OpenFile:
    """A file that is held open; it may be replaced meanwhile, but not written to.

    Attributes:
        path: Where it really lies: no part of the path is a link.
        handle: The open file.
        size: Its size in bytes.
    """

    def __init__(self, path: Path, handle: FileIO, owner: str) -> None:
        self.path = path
        self.handle = handle
        status = os.fstat(handle.fileno())
        self.size = status.st_size
        self._owner = owner
        self._stamp = short_stamp(status)
        self._lock = threading.Lock()
        weakref.finalize(self, handle.close)

    def read(self, offset: int, length: int) -> NDArray[np.uint8]:
        """Read a piece of the file into memory that is aligned for every data type.

        Raises:
            FormatError: The file was written to since it was opened.
        """
        values = np.empty(length, dtype=np.uint8)
        rest = values.data
        with self._lock:
            self.handle.seek(offset)
            # One call reads less than 2 GiB on some systems.
            while rest and (read := self.handle.readinto(rest)):
                rest = rest[read:]
        if rest or self.changed():
            raise changed_error(self._owner)
        return values

    def copy_to(self, target: Path) -> None:
        """Write all of the file to a new one.

        Raises:
            FormatError: The file was written to since it was opened.
            OSError: The new file cannot be written.
        """
        with target.open("xb") as copy, self._lock:
            self.handle.seek(0)
            shutil.copyfileobj(self.handle, copy, _COPIED_AT_ONCE)
            size = copy.tell()
        if size != self.size or self.changed():
            raise changed_error(self._owner)

    def changed(self) -> bool:
        """Tell whether the file was written to since it was opened."""
        return short_stamp(os.fstat(self.handle.fileno())) != self._stamp

    def stamp(self) -> tuple[object, ...] | None:
        """Tell this file from all others; None if it was written to since it was opened, or is no longer there."""
        try:
            now = self.path.stat()
        except OSError:
            return None
        if not os.path.samestat(os.fstat(self.handle.fileno()), now) or self.changed():
            return None
        return str(self.path), now.st_size, now.st_mtime_ns, now.st_ctime_ns


def short_stamp(status: os.stat_result) -> tuple[int, int]:
    """Return what tells that a file was written to: its size and the time of its last change."""
    return status.st_size, status.st_mtime_ns


def changed_error(owner: str) -> FormatError:
    """Return the error of a file that is no longer what was loaded."""
    return FormatError(f"{owner} changed on disk after it was loaded; load it again")


def open_file(path: Path, owner: str, name: str, kind: str = "a file") -> OpenFile:
    """Open a file for reading; what is no file is not opened, since a pipe would wait for its other end.

    Args:
        path: The file; links are followed.
        owner: The name of the model that it belongs to, for messages.
        name: Its own name.
        kind: What it must be.

    Raises:
        FormatError: It is missing, cannot be read or is no file.
    """
    not_a_file = FormatError(f"{name} is a pipe or a device, must be {kind}; copy it to a file first")
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise not_a_file
        real = path.resolve()
        handle = open(real, "rb", buffering=0, opener=_open_without_waiting)  # noqa: SIM115  # held open by OpenFile
    except OSError as error:
        raise FormatError(f"cannot open {path}: {error.strerror}; check the path") from error
    except ValueError as error:
        raise FormatError(
            f"cannot open {str(path)!r}: it has a character that no path may have; check the path"
        ) from error
    if not stat.S_ISREG(os.fstat(handle.fileno()).st_mode):
        handle.close()
        raise not_a_file
    return OpenFile(real, handle, owner)


def _open_without_waiting(path: str, flags: int) -> int:
    """Open a file; what has become a pipe since it was looked at does not stop us, a link is an error."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0))


def path_inside(folder: Path, path: str, source: str) -> Path:
    """Return a path that a file of a stranger gives, relative to a folder; it cannot lead out of it.

    Args:
        folder: The folder; it has no links in its own path.
        path: The path, its parts parted by ``/``.
        source: What gives the path, for messages.

    Raises:
        FormatError: It leads out of the folder, has a link in it, or nothing is there.
    """
    place = folder
    for part in path_parts(path, source):
        place = place / part
        if _is_link(place, source, path):
            raise FormatError(
                f"{source} has the path {shown(path)}, where {shown(part)} is a link, must be a file or a folder; "
                "copy what it points to into its place"
            )
    return place


def path_parts(path: str, source: str, first: str = "") -> list[str]:
    """Return the names in a path that a stranger gives; it cannot lead out of the folder that it is relative to.

    Args:
        path: The path, its parts parted by ``/``.
        source: What gives the path, for messages.
        first: What the first part must be.

    Raises:
        FormatError: It leads out of the folder, or ``first`` is not its first part.
    """
    parts = [part for part in path.split("/") if part not in ("", ".")]
    outside = path.startswith("/") or not parts or any(part == ".." or _NOT_IN_A_NAME & set(part) for part in parts)
    if outside or (first and parts[0] != first):
        where = f"the folder {first}" if first else "its folder"
        raise FormatError(f"{source} has the path {shown(path)}, which must lie inside {where}; {AGAIN}")
    return parts


def _is_link(place: Path, source: str, path: str) -> bool:
    try:
        return stat.S_ISLNK(place.lstat().st_mode)
    except PermissionError as error:
        raise FormatError(f"{source} has the path {shown(path)}, which may not be read; change its rights") from error
    except (OSError, ValueError) as error:  # ValueError: a character that no path may have
        raise FormatError(f"{source} has the path {shown(path)}, where there is no file; {AGAIN}") from error


def shown(text: str) -> str:
    """Return a text of a stranger as it is put into a message: in quotes, and not too long."""
    return repr(text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}...")
