"""Keep compiled graphs on disk, so that the second start of a model is quick.

An entry is a serialized graph that still refers to the model file for its weights: it is small, and it is valid for
that very file only. Entries lie in the user's cache folder; ``WINDFALL_CACHE`` names another one, or is ``off``.

A graph is the same for every release of an engine, and for every processor but for whether that multiplies numbers of 8
bits exactly (``processor.py``), which alone is a part of an entry's name. Processes need no lock: each writes a file of
its own and renames it, and two of one name hold the same.

An entry is a line that says what it is, a line of JSON for people, the graph, and a checksum of all that and its name.

Beside the graphs lie entries of other kinds: what OpenVINO has made of them (``openvino/blobs.py``) and how they are
quantized for 8-bit arithmetic (``activations/plans.py``). All count for the size of the cache, but for what was
measured (``findings.py``), which has a hundred bytes each.
"""

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO

import windfall
from windfall.errors import WindfallError
from windfall.runtime.serialized import Origin, SerializedModel
from windfall.spec.modelfile import ModelFile
from windfall.spec.writing import write_by_pieces

VARIABLE = "WINDFALL_CACHE"
GRAPH, OPENVINO, INT8 = ".onnx", ".openvino", ".int8"
KINDS: Mapping[str, str] = {GRAPH: "graph", OPENVINO: "OpenVINO's", INT8: "8-bit plan"}
"""What the entries are, by how their names end."""
FORMS: Mapping[str, bytes] = {GRAPH: b"windfall graph 1\n", OPENVINO: b"windfall openvino 1\n", INT8: b""}
"""What they begin with; a line of JSON follows, which names the model."""
LARGEST = 10**9
"""Bytes that all entries together may have; those not used for longest go first."""
_DIGEST = 32
LONGEST_ABOUT = 2**16
"""Bytes of the line of JSON."""
_ENTRY = re.compile(r"[0-9a-f]{64}[-a-z0-9]*\..+")
_UNFINISHED = re.compile(r"\.[0-9a-f]{64}[-a-z0-9]*\..+\.[0-9a-f]{32}")
"""What ``write_file`` calls a file that is not ready."""
_LONGEST_WRITE = 3600.0
"""Seconds after which an unfinished file is one that a process left when it was killed."""


def cache_folder() -> Path | None:
    """Return the folder of the entries, None if nothing is to be kept."""
    setting = os.environ.get(VARIABLE)
    if setting == "off":
        return None
    if setting:
        return Path(setting)
    from platformdirs import user_cache_path

    folder = user_cache_path("windfall", appauthor=False)
    return folder if folder.is_absolute() else None  # a user without a home has none


def entry_key(file: ModelFile, parts: Sequence[object]) -> str | None:
    """Return the name of the entry for a model file as it is now and for what else decides its graph.

    None if the model was not loaded from a file, or the file has been replaced since.
    """
    stamp = file.stamp()
    if stamp is None:
        return None
    digest = hashlib.sha256(repr((stamp, _code_stamp(), *parts)).encode())
    digest.update(file.spec.SerializeToString(deterministic=True))
    return digest.hexdigest()


@cache
def _code_stamp() -> tuple[str, int]:
    """Tell the code that makes graphs from its other versions, those between releases too."""
    package = Path(windfall.__file__).parent
    # What pip installs is written at one time; only what is worked on changes file by file.
    is_checkout = package.parent.name == "src"
    files = package.rglob("*.py") if is_checkout else [Path(windfall.__file__)]
    return windfall.__version__, max((path.stat().st_mtime_ns for path in files), default=0)


@dataclass(frozen=True)
class CacheEntry:
    """What is known of an entry without reading all of it.

    Attributes:
        path: Its file.
        kind: What it is, one of ``KINDS``.
        model: The path of the model, empty where the entry is damaged.
        size: Its bytes.
        used: When it was last used, in seconds since 1970.
    """

    path: Path
    kind: str
    model: str
    size: int
    used: float


class CompileCache:
    """Entries in one folder. Whatever goes wrong with it, the model is compiled as if there were none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: str, weights: Path) -> SerializedModel | None:
        """Return an entry; None if there is none, or it is damaged.

        Args:
            key: Its name.
            weights: The folder of the model file.
        """
        path = self._path(key)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        told, digest = data[:-_DIGEST], data[-_DIGEST:]
        if not told.startswith(FORMS[GRAPH]) or _checksum(key, told) != digest:
            return None
        with suppress(OSError):  # a folder that may only be read
            os.utime(path)
        end = told.index(b"\n", len(FORMS[GRAPH])) + 1
        return SerializedModel(told[end:], {}, weights, Origin(key, _source(path)))

    def put(self, key: str, model: SerializedModel, source: str = "") -> None:
        """Keep a graph whose weights all lie in the model file.

        Args:
            key: Its name.
            model: The graph.
            source: The path of the model, for people.
        """
        if model.arrays:
            return
        told = b"".join((FORMS[GRAPH], json.dumps({"model": source}).encode(), b"\n", model.proto))
        self.keep(f"{key}{GRAPH}", lambda file: file.write(told + _checksum(key, told)))

    def keep(self, name: str, fill: Callable[[IO[bytes]], object]) -> None:
        """Write a file, and remove the oldest ones where there are too many; nothing happens where that cannot be.

        Args:
            name: Its name.
            fill: Writes the file, which it is given open.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_by_pieces(self.folder / name, fill)
            self._drop_oldest()
        except (OSError, WindfallError):
            return

    def entries(self) -> list[CacheEntry]:
        """List the entries, that which was used last first."""
        found = (
            CacheEntry(path, KINDS[path.suffix], _source(path), stat.st_size, stat.st_mtime)
            for path, stat in self._counted()
        )
        return sorted(found, key=lambda entry: entry.used, reverse=True)

    def clear(self) -> int:
        """Remove all that the cache has written; models are compiled anew when they are used.

        Returns:
            How many bytes are free now.

        Raises:
            WindfallError: A file cannot be removed.
        """
        freed = 0
        for path, stat in [*self._files("*")]:
            if _ENTRY.fullmatch(path.name) or _UNFINISHED.fullmatch(path.name):
                try:
                    path.unlink(missing_ok=True)
                except OSError as error:
                    raise WindfallError(f"cannot remove {str(path)!r}: {error.strerror}; check its rights") from error
                freed += stat.st_size
        return freed

    def _files(self, pattern: str) -> Iterator[tuple[Path, os.stat_result]]:
        """Give the files of the folder that are still there when it is their turn."""
        for path in self.folder.glob(pattern):
            with suppress(OSError):
                yield path, path.stat()

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{GRAPH}"

    def _counted(self) -> Iterator[tuple[Path, os.stat_result]]:
        """Give the files that count for the size of the cache."""
        return (found for suffix in KINDS for found in self._files(f"*{suffix}"))

    def _drop_oldest(self) -> None:
        for path, stat in self._files(".*.*"):
            if _UNFINISHED.fullmatch(path.name) and stat.st_mtime < time.time() - _LONGEST_WRITE:
                path.unlink(missing_ok=True)
        entries = [*self._counted()]
        total = sum(stat.st_size for _, stat in entries)
        for path, stat in sorted(entries, key=lambda entry: entry[1].st_mtime):
            if total <= LARGEST:
                return
            with suppress(OSError):  # Windows removes no file that another process has mapped
                path.unlink(missing_ok=True)
                total -= stat.st_size


def _checksum(key: str, told: bytes) -> bytes:
    digest = hashlib.sha256(key.encode())
    digest.update(told)
    return digest.digest()


def _source(path: Path) -> str:
    """Return the path of an entry's model; nothing if the entry is damaged or older."""
    try:
        with path.open("rb") as file:
            form, about = file.read(len(FORMS[path.suffix])), file.readline(LONGEST_ABOUT)
        return str(json.loads(about)["model"]) if form == FORMS[path.suffix] else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""
