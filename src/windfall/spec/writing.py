"""Write model files so that they appear whole or not at all."""

import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import IO

from windfall.errors import WindfallError


def write_file(path: Path, data: bytes) -> Path:
    """Write a file beside its place and rename it into it.

    Raises:
        WindfallError: The folder is missing or cannot be written.
    """
    return write_by_pieces(path, lambda file: file.write(data))


def write_by_pieces(path: Path, fill: Callable[[IO[bytes]], object]) -> Path:
    """Write a file beside its place and rename it into it, if ``fill`` raises nothing.

    Args:
        path: Its place.
        fill: Writes the file, which it is given open.

    Raises:
        WindfallError: The folder is missing or cannot be written.
    """
    temporary = _beside(path)
    try:
        with temporary.open("xb") as file:
            fill(file)
        temporary.replace(path)
    except (OSError, ValueError) as error:  # ValueError: a character that no path may have
        raise _error(path, error) from error
    finally:
        _remove(temporary)
    return path


def write_folder(path: Path, fill: Callable[[Path], None], marker: str) -> Path:
    """Make a folder beside its place and rename it into it; what was there before is removed at the very end.

    Args:
        path: Where the folder is to be. A folder that is there already must be empty or have the marker.
        fill: Puts the files into a new folder.
        marker: A file that every folder of this kind has, so that none of another kind is replaced.

    Raises:
        WindfallError: Something else is there already, or the parent folder is missing or cannot be written.
    """
    temporary = _beside(path)
    try:
        replaces = _replaces(path, marker)
        temporary.mkdir()
        fill(temporary)
        _move_into(temporary, path, replaces)
    except (OSError, ValueError) as error:  # ValueError: a character that no path may have
        raise _error(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return path


def _replaces(path: Path, marker: str) -> bool:
    """Tell whether something is to be replaced that may be."""
    is_link = path.is_symlink()
    if not is_link and not path.exists():
        return False
    if is_link or not path.is_dir() or not ((path / marker).is_file() or not any(path.iterdir())):
        raise WindfallError(
            f"cannot write {str(path)!r}: something else has that name; remove it or choose another name"
        )
    return True


def _move_into(new: Path, path: Path, replaces: bool) -> None:
    old = _beside(path)
    if replaces:
        path.rename(old)
    try:
        new.rename(path)
    except OSError:
        if replaces:
            old.rename(path)
        raise
    if replaces:
        shutil.rmtree(old, ignore_errors=True)


def _beside(path: Path) -> Path:
    """Return a new name in the same folder.

    Not one of ``tempfile``: what that makes is for its owner's eyes only, and stays so when it is renamed.
    """
    return path.parent / f".{path.name}.{uuid.uuid4().hex}"


def _error(path: Path, error: OSError | ValueError) -> WindfallError:
    reason = error.strerror if isinstance(error, OSError) else error
    return WindfallError(f"cannot write {str(path)!r}: {reason}; check the folder and the name")


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except (OSError, ValueError):
        return  # what went wrong before is worth more than this
