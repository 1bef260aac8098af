"""The photos that arguments name: files, folders, patterns."""

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from windfall.errors import FeatureError
from windfall.features.fitting import SUFFIXES

_LISTED = ", ".join(sorted(SUFFIXES))


@dataclass(frozen=True)
class Photo:
    """A photo file.

    Attributes:
        path: Where it is.
        name: Its path within the folder, or the fixed part of the pattern, that was named; with slashes.
    """

    path: Path
    name: str

    def __fspath__(self) -> str:
        return str(self.path)


def find_photos(arguments: Sequence[str], *, recursive: bool, leave: Path) -> list[Photo]:
    """Return the photos of some arguments, each once: those of a folder by name, arguments in their order.

    Args:
        arguments: Files, folders and patterns.
        recursive: Whether the folders in a folder are searched, too.
        leave: A file or folder whose photos are left out: that of the results.

    Raises:
        FeatureError: An argument names no photo.
    """
    found: dict[str, Photo] = {}
    left = _absolute(leave)
    for argument in arguments:
        listed = list(_photos(argument, recursive))
        if not listed:
            raise FeatureError(_nothing(argument, recursive))
        for photo in listed:
            path = _absolute(photo.path)
            if path != left and not path.startswith(left + os.sep):
                found.setdefault(path, photo)
    if not found:
        raise FeatureError(f"all photos lie in {leave}, where results go; give others, or another --output")
    return list(found.values())


def _absolute(path: Path) -> str:
    return os.path.normcase(os.path.abspath(path))  # noqa: PTH100  # Path.resolve follows links, slowly


def _photos(argument: str, recursive: bool) -> Iterator[Photo]:
    path = Path(argument)
    if path.is_dir():
        yield from (Photo(one, one.relative_to(path).as_posix()) for one in _in_folder(path, recursive))
    elif path.exists():
        yield Photo(path, path.name)
    elif glob.has_magic(argument):
        yield from _matching(argument, recursive)
    else:
        raise FeatureError(f"cannot open {argument}: no such file; give a photo, a folder or a pattern such as '*.jpg'")


def _in_folder(folder: Path, recursive: bool) -> Iterator[Path]:
    for place, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if recursive else []
        yield from (Path(place, name) for name in sorted(files) if _is_photo(name))


def _refuse(error: OSError) -> None:
    raise FeatureError(f"cannot open {error.filename}: {error.strerror}; check its rights") from error


def _is_photo(name: str) -> bool:
    return not name.startswith(".") and PurePath(name).suffix.lower() in SUFFIXES


def _matching(pattern: str, recursive: bool) -> Iterator[Photo]:
    parts = PurePath(pattern).parts
    fixed = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    base = Path(*parts[:fixed])
    for match in sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207  # Path.glob refuses absolute patterns
        path = Path(match)
        inside = _in_folder(path, recursive) if path.is_dir() else [path] if _is_photo(path.name) else []
        yield from (Photo(one, one.relative_to(base).as_posix()) for one in inside)


def _nothing(argument: str, recursive: bool) -> str:
    if not Path(argument).is_dir():
        return f"no photo matches {argument}; check the pattern"
    more = "" if recursive else "; --recursive searches its folders, too"
    return f"{argument} has no photos ({_LISTED}){more}"
