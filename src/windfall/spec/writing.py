"""Write model files so that they appear whole or not at all."""

import uuid
from pathlib import Path

from windfall.errors import WindfallError


def write_file(path: Path, data: bytes) -> Path:
    """Write a file beside its place and rename it into it.

    Raises:
        WindfallError: The folder is missing or cannot be written.
    """
    # Not a file of ``tempfile``: those are for their owner's eyes only, and stay so when they are renamed.
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}"
    try:
        with temporary.open("xb") as file:
            file.write(data)
        temporary.replace(path)
    except (OSError, ValueError) as error:  # ValueError: a character that no path may have
        reason = error.strerror if isinstance(error, OSError) else error
        raise WindfallError(f"cannot write {str(path)!r}: {reason}; check the folder and the name") from error
    finally:
        _remove(temporary)
    return path


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except (OSError, ValueError):
        return  # what went wrong before is worth more than this
