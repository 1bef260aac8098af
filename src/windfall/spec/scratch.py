"""A folder for the weight files of a model that was made in memory and is not saved yet."""

import os
import shutil
import tempfile
import weakref
from pathlib import Path

from windfall.errors import WindfallError


class ScratchFolder:
    """A new folder, removed when nothing refers to this object any more, or when the process ends.

    Raises:
        WindfallError: It cannot be made.
    """

    def __init__(self) -> None:
        try:
            self.path = Path(tempfile.mkdtemp(prefix="windfall-")).resolve()
        except OSError as error:
            raise WindfallError(
                f"cannot make a temporary folder: {error.strerror}; set TMPDIR to a folder that can be written"
            ) from error
        weakref.finalize(self, _remove, self.path, os.getpid())


def _remove(path: Path, process: int) -> None:
    # A process that was forked from the one that made the folder ends earlier, and must leave it there.
    if os.getpid() == process:
        shutil.rmtree(path, ignore_errors=True)
