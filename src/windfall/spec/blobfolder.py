"""The weight files of a package or of a compiled model, opened when they are asked for."""

import bisect
import os
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windfall.errors import FormatError
from windfall.spec.blobfile import ALIGNMENT, Metadata, check_header, parse_metadata
from windfall.spec.openfile import AGAIN, OpenFile, Place, changed_error, open_file, path_inside, short_stamp, shown
from windfall.spec.packing import decode_bytes
from windfall.spec.scratch import ScratchFolder

MODEL_PATH = "@model_path/"
"""What the name of a weight file starts with: the folder of the model's own file."""
MOST_FILES = 10_000


@dataclass(frozen=True)
class Blob:
    """A weight in a weight file.

    Attributes:
        data_type: Its ``DataType`` of MIL.proto.
        count: How many values it has.
        size: How many bytes.
    """

    data_type: int
    count: int
    size: int
    _offset: int = field(repr=False)
    _source: OpenFile = field(repr=False)

    @property
    def place(self) -> Place | None:
        """Where its bytes lie, None if the file was replaced since."""
        return None if self._source.stamp() is None else Place(self._source.path, self._offset, self.size)

    def read(self) -> NDArray[Any]:
        """Return its values as an array [count], see ``decode_bytes``.

        Raises:
            FormatError: The file was written to since it was opened.
        """
        return decode_bytes(self.raw(), self.data_type, self.count)

    def raw(self) -> NDArray[np.uint8]:
        """Return its bytes.

        Raises:
            FormatError: The file was written to since it was opened.
        """
        return self._source.read(self._offset, self.size)


class BlobFile:
    """A weight file. No two of its blobs may share bytes, unless they share all of them."""

    def __init__(self, source: OpenFile, name: str) -> None:
        self.source = source
        self._name = name
        self._blobs: dict[int, Metadata] = {}
        self._ranges: list[tuple[int, int]] = []
        check_header(source.read(0, min(ALIGNMENT, source.size)).tobytes(), name)

    def blob(self, offset: int) -> Blob:
        """Return the blob whose description starts at an offset.

        Raises:
            FormatError: There is none, or it breaks a rule of the format.
        """
        if offset not in self._blobs:
            found = parse_metadata(self.source.read, self.source.size, offset, self._name)
            for start, size in ((offset, ALIGNMENT), (found.offset, found.size)):
                self._claim(start, start + size, offset)
            self._blobs[offset] = found
        stored = self._blobs[offset]
        return Blob(stored.data_type, stored.count, stored.size, stored.offset, self.source)

    def _claim(self, start: int, end: int, offset: int) -> None:
        """Note which bytes a blob has; those noted before are disjoint, so its neighbours alone can overlap it."""
        at = bisect.bisect_left(self._ranges, (start, end))
        neighbours = self._ranges[max(at - 1, 0) : at + 1]
        if start == end or (start, end) in neighbours:
            return
        if any(other_start < end and start < other_end for other_start, other_end in neighbours):
            raise FormatError(f"{self._name} at {offset}: its bytes {start} to {end} overlap those of another; {AGAIN}")
        self._ranges.insert(at, (start, end))


class BlobFolder:
    """The folder that a model calls ``@model_path``, with its weight files as they were when it was loaded.

    Attributes:
        weights: The folder of the weight files.
        size: The size in bytes of all files in it.

    Args:
        folder: The folder.
        weights: The folder of the weight files.
        owner: The model's name, for messages.
        scratch: What removes the folder when it is no longer referred to, for a model that was made in memory.

    Raises:
        FormatError: The folder cannot be listed, or has very many files.
    """

    def __init__(self, folder: Path, weights: Path, owner: str, scratch: ScratchFolder | None = None) -> None:
        self.weights = weights
        self._scratch = scratch
        self._folder = folder
        self._owner = owner
        self._listing = _listing(folder, owner)
        self._files: dict[Path, BlobFile] = {}
        self._lock = threading.Lock()
        self.size = sum(self._listing[path].st_size for path in self._weight_files())

    def blob(self, file_name: str, offset: int) -> Blob:
        """Return a weight.

        Args:
            file_name: The ``fileName`` of its ``BlobFileValue``.
            offset: Its ``offset``.

        Raises:
            FormatError: It is not there, or breaks a rule of the format.
        """
        if not file_name.startswith(MODEL_PATH):
            raise FormatError(
                f"the model in {self._owner} has the path {shown(file_name)}, must start with {MODEL_PATH}; {AGAIN}"
            )
        path = path_inside(self._folder, file_name.removeprefix(MODEL_PATH), f"the model in {self._owner}")
        with self._lock:
            if path not in self._files:
                self._files[path] = BlobFile(self._open(path), self._name(path))
            return self._files[path].blob(offset)

    def copy_weights(self, target: Path) -> None:
        """Copy all weight files into a new folder.

        Raises:
            FormatError: One of them has changed since the model was loaded.
            OSError: The folder cannot be made.
        """
        target.mkdir()
        for path in self._weight_files():
            copy = target / path.relative_to(self.weights)
            copy.parent.mkdir(parents=True, exist_ok=True)
            source = self._open(path_inside(self._folder, path.relative_to(self._folder).as_posix(), self._owner))
            source.copy_to(copy)
            source.handle.close()

    def stamp(self) -> tuple[object, ...] | None:
        """Tell these files from all others; None if they have changed since the model was loaded.

        None also where they will be gone when the model is.
        """
        if self._scratch is not None:
            return None
        try:
            now = _stamps(_listing(self._folder, self._owner))
        except FormatError:
            return None
        return (str(self._folder), *now) if now == _stamps(self._listing) else None

    def _weight_files(self) -> Iterator[Path]:
        return (
            path
            for path, status in self._listing.items()
            if path.is_relative_to(self.weights) and stat.S_ISREG(status.st_mode)
        )

    def _open(self, path: Path) -> OpenFile:
        source = open_file(path, self._owner, self._name(path))
        if path not in self._listing or short_stamp(os.fstat(source.handle.fileno())) != short_stamp(
            self._listing[path]
        ):
            source.handle.close()
            raise changed_error(self._owner)
        return source

    def _name(self, path: Path) -> str:
        return f"{path.relative_to(self._folder).as_posix()} of {self._owner}"


def _listing(folder: Path, owner: str) -> dict[Path, os.stat_result]:
    """Return all that is in a folder and is no folder itself; links are not followed."""
    found: dict[Path, os.stat_result] = {}
    waiting = [folder]
    while waiting:
        try:
            children = list(waiting.pop().iterdir())
            for child in children:
                status = child.lstat()
                if stat.S_ISDIR(status.st_mode):
                    waiting.append(child)
                else:
                    found[child] = status
        except OSError as error:
            raise FormatError(f"cannot list the files of {owner}: {error.strerror}; check who may read them") from error
        if len(found) + len(waiting) > MOST_FILES:
            raise FormatError(f"{owner} has more than {MOST_FILES} files, the most that a model may have; {AGAIN}")
    return found


def _stamps(listing: dict[Path, os.stat_result]) -> list[tuple[object, ...]]:
    return sorted((str(path), *short_stamp(status), status.st_ctime_ns) for path, status in listing.items())
