"""Write model files so that they appear whole or not at all."""

import os
import tempfile
from pathlib import Path

from windfall.errors import WindfallError


def write_file(path: Path, data: bytes) -> Path:
    """Write a file beside its place and rename it into it.

    Raises:
        WindfallError: The folder is missing or cannot be written.
    """
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise WindfallError(f"cannot write {path}: {error.strerror}; check the folder") from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(temporary).replace(path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise WindfallError(f"cannot write {path}: {error.strerror}") from error
    return path
