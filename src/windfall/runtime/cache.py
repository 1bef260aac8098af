"""Keep compiled graphs on disk, so that the second start of a model is quick.

An entry is a serialized graph that still refers to the model file for its weights: it is small, and it is valid for
that very file only. Entries lie in the user's cache folder; ``WINDFALL_CACHE`` names another one, or is ``off``.
"""

import hashlib
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import windfall
from windfall.errors import WindfallError
from windfall.runtime.serialized import SerializedModel
from windfall.spec.modelfile import ModelFile
from windfall.spec.writing import write_file

VARIABLE = "WINDFALL_CACHE"
LARGEST = 256 * 2**20
"""Bytes that all entries together may have; those not used for longest go first."""
_DIGEST = 32


def cache_folder() -> Path | None:
    """Return the folder of the entries, None if nothing is to be kept."""
    setting = os.environ.get(VARIABLE)
    if setting == "off":
        return None
    if setting:
        return Path(setting)
    from platformdirs import user_cache_path

    return user_cache_path("windfall", appauthor=False)


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
    sources = (path for room in ("graph", "lowering", "passes") for path in (package / room).rglob("*.py"))
    return windfall.__version__, max((path.stat().st_mtime_ns for path in sources), default=0)


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
            os.utime(path)
        except OSError:
            return None
        proto, digest = data[:-_DIGEST], data[-_DIGEST:]
        if hashlib.sha256(proto).digest() != digest:
            return None
        return SerializedModel(proto, {}, weights)

    def put(self, key: str, model: SerializedModel) -> None:
        """Keep a graph whose weights all lie in the model file."""
        if model.arrays:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_file(self._path(key), model.proto + hashlib.sha256(model.proto).digest())
            self._drop_oldest()
        except (OSError, WindfallError):
            return

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.onnx"

    def _drop_oldest(self) -> None:
        entries = [(path, path.stat()) for path in self.folder.glob("*.onnx")]
        total = sum(stat.st_size for _, stat in entries)
        for path, stat in sorted(entries, key=lambda entry: entry[1].st_mtime):
            if total <= LARGEST:
                return
            path.unlink(missing_ok=True)
            total -= stat.st_size
