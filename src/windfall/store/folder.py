"""The folder of the models that were fetched.

::

    names.json                 the user's names for addresses
    <sha256>/                  the content with that checksum, as it was downloaded or unpacked
        city.mlmodel           or a package, or a compiled model
        contents.json          the model's name, and the checksum of each of its files
    addresses/<key>.json       the checksum of what an address gave first
    downloads/<key>.part       what has arrived of a file, and ``.json`` what the server said of it
    downloads/<key>.lock       held by the process that fetches from an address

Whatever is written appears whole or not at all; of a process that was killed, parts remain, which are gone on with, and
folders whose names begin with a dot, which are removed when the next model comes.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from windfall.errors import FetchError
from windfall.spec.writing import write_file, write_folder
from windfall.store.downloading import Part, writing
from windfall.store.requests import shown_url

VARIABLE = "WINDFALL_MODELS"
CHECKSUM = re.compile(r"[0-9a-f]{64}")
NAMES = "names.json"
_CONTENTS = "contents.json"
_LEFT = re.compile(r"\.[0-9a-f]{64}\.[0-9a-f]{32}")
"""What ``write_folder`` calls a folder that is not ready, or no longer wanted."""
_LONGEST_WAIT = 3600.0
"""Seconds for which another process may fetch the same."""
_FORGOTTEN = 30 * 24 * 3600.0
"""Seconds after which a part is removed that nobody goes on with."""


def store_folder() -> Path:
    """Return the folder: that of the user's data, or the one that ``WINDFALL_MODELS`` names.

    Raises:
        FetchError: There is none.
    """
    setting = os.environ.get(VARIABLE)
    if setting:
        return Path(setting)
    from platformdirs import user_data_path

    folder = user_data_path("windfall", appauthor=False) / "models"
    if not folder.is_absolute():  # a user without a home
        raise FetchError(f"there is no folder for a user's data; name one for models in {VARIABLE}")
    return folder


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Store:
    """What lies in the folder; see the module.

    Args:
        folder: The folder, which is made when something is to be kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def model(self, digest: str) -> Path | None:
        """Return the path of the model of a checksum; None if it is not there, or not as it was."""
        folder = self.folder / digest
        contents = _read(folder / _CONTENTS)
        name, files = contents.get("model"), contents.get("files")
        if not isinstance(name, str) or not isinstance(files, dict):
            return None
        try:
            same = all(checksum(folder / path) == digest for path, digest in files.items())
        except OSError:
            return None
        return folder / name if same and name in {path.partition("/")[0] for path in files} else None

    def recorded(self, url: str) -> str | None:
        """Return the checksum of what an address gave; None if nothing came from there."""
        digest = _read(self._address(url)).get("sha256")
        return digest if isinstance(digest, str) and CHECKSUM.fullmatch(digest) else None

    def record(self, url: str, digest: str) -> None:
        """Remember what an address gave."""
        path = self._address(url)
        self._make(path.parent)
        write_file(path, _json({"url": shown_url(url), "sha256": digest}))

    def names(self) -> dict[str, Any]:
        """Return what the user wrote into ``names.json``.

        Raises:
            FetchError: It is no JSON object.
        """
        path = self.folder / NAMES
        try:
            names = json.loads(path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            raise FetchError(f"{str(path)!r} cannot be read as JSON: {error}; mend or remove it") from error
        if not isinstance(names, dict):
            raise FetchError(f"{str(path)!r} must be a JSON object of names and addresses; mend or remove it")
        return names

    def name(self, name: str, url: str, digest: str) -> None:
        """Give an address a name."""
        with self._lock("names"):
            write_file(self.folder / NAMES, _json(self.names() | {name: {"url": url, "sha256": digest}}))

    @contextmanager
    def fetching(self, url: str) -> Iterator[Part]:
        """Be the only process that fetches from an address; gives the part of what was begun before."""
        key = _key(url)
        with self._lock(key):
            yield Part(self.folder / "downloads" / f"{key}.part")

    def put(self, digest: str, fill: Callable[[Path], Path]) -> Path:
        """Keep a model.

        Args:
            digest: The checksum of what was downloaded.
            fill: Puts the model into a folder, and returns its path there.

        Returns:
            Its path.
        """

        def fill_and_list(folder: Path) -> None:
            name = fill(folder).name
            (folder / _CONTENTS).write_bytes(_json({"model": name, "files": _checksums(folder)}))

        with self._lock("store"):
            self._clean()
            kept = self.model(digest)
            if kept is None:
                write_folder(self.folder / digest, fill_and_list, _CONTENTS)
                kept = self.model(digest)
        if kept is None:
            raise FetchError(f"{str(self.folder / digest)!r} changed while it was written; try again")
        return kept

    @contextmanager
    def _lock(self, name: str) -> Iterator[None]:
        from filelock import FileLock, Timeout

        path = self.folder / "downloads" / f"{name}.lock"
        self._make(path.parent)
        lock = FileLock(path, timeout=_LONGEST_WAIT)
        with writing(path):
            try:
                lock.acquire()
            except Timeout as error:
                raise FetchError(f"another process has held {str(path)!r} for an hour; end it and try again") from error
        try:
            yield
        finally:
            lock.release()

    def _clean(self) -> None:
        """Remove what processes left that were killed; nobody writes models now."""
        for left in self.folder.glob(".*.*"):
            if _LEFT.fullmatch(left.name):
                shutil.rmtree(left, ignore_errors=True)
        for key in {path.stem for path in (self.folder / "downloads").glob("*.[pj]*")}:
            self._clean_part(key)

    def _clean_part(self, key: str) -> None:
        """Remove a part that was forgotten, or whose model is here; not one that somebody goes on with right now."""
        from filelock import FileLock, Timeout

        part = Part(self.folder / "downloads" / f"{key}.part")
        try:
            with FileLock(part.path.with_suffix(".lock"), timeout=0):
                if (self.folder / "addresses" / f"{key}.json").exists() or part.age() > _FORGOTTEN:
                    part.discard()
        except (Timeout, OSError):
            return

    def _address(self, url: str) -> Path:
        return self.folder / "addresses" / f"{_key(url)}.json"

    def _make(self, folder: Path) -> None:
        with writing(folder):
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            folder.mkdir(exist_ok=True)


def _key(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()[:32]


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n"


def _read(path: Path) -> dict[str, Any]:
    """Read a JSON object that was written here; nothing where it is missing or damaged."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _checksums(folder: Path) -> dict[str, str]:
    """Return the checksum of each file in a folder, by its path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / _CONTENTS)
    return {path.relative_to(folder).as_posix(): checksum(path) for path in files}
