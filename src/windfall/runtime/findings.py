"""Keep what was measured beside the compiled graphs in the cache: which engine, or which way of many items, was faster.

An entry is a line of JSON of about a hundred bytes. Whatever is wrong with one, it is measured again.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from windfall.errors import WindfallError
from windfall.runtime.cache import cache_folder
from windfall.spec.writing import write_file

_MOST_ENTRIES = 2000
_LONGEST_ENTRY = 1000


def found_before(name: str) -> Mapping[str, Any]:
    """Return the entry of a name; nothing is in it if there is none, or it cannot be read."""
    folder = cache_folder()
    if folder is None:
        return {}
    try:
        with (folder / name).open("rb") as file:
            entry = json.loads(file.read(_LONGEST_ENTRY))
    except (OSError, ValueError, RecursionError):
        return {}
    return entry if isinstance(entry, dict) else {}


def keep_finding(name: str, finding: Mapping[str, Any]) -> None:
    """Keep an entry, and half of the oldest ones where there are too many; nothing happens where that cannot be."""
    folder = cache_folder()
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_file(folder / name, json.dumps(finding).encode())
        _drop_oldest(folder, Path(name).suffix)
    except (OSError, WindfallError):
        return


def _drop_oldest(folder: Path, suffix: str) -> None:
    entries = list(folder.glob(f"*{suffix}"))
    if len(entries) <= _MOST_ENTRIES:
        return
    entries.sort(key=lambda path: path.stat().st_mtime)
    for path in entries[: _MOST_ENTRIES // 2]:
        path.unlink(missing_ok=True)
