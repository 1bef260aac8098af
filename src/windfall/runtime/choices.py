"""Remember which engine was faster for a graph: in this process, and in the cache."""

import hashlib
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import windfall
from windfall.runtime.cache import cache_folder
from windfall.runtime.engine import EngineOptions, available_cores
from windfall.runtime.findings import found_before, keep_finding
from windfall.runtime.serialized import SerializedModel

_SUFFIX = ".engine"


@dataclass(frozen=True)
class Choice:
    """Which engine runs a graph, and why.

    Attributes:
        engine: Its name.
        reason: Why, in words.
        milliseconds: What one run took with each engine; empty where none was timed.
        device: The name of the device that runs it.
    """

    engine: str
    reason: str
    milliseconds: Mapping[str, float]
    device: str = "cpu"


def made_choice(engine: str, reason: str, seconds: Mapping[str, float], device: str = "cpu") -> Choice:
    """Return a choice as it is kept: times in milliseconds, rounded, and no more of a reason than fits an entry."""
    times = {name: round(time * 1000, 4) for name, time in seconds.items()}
    return Choice(engine, reason[:300], times, device)


def choice_key(model: SerializedModel, options: EngineOptions) -> str:
    """Return the name of the entry for a graph on this machine, with these engines and as many threads."""
    digest = hashlib.sha256(model.proto)
    digest.update(repr((options.threads, options.streams, available_cores(), platform.machine(), _versions())).encode())
    return digest.hexdigest()


@cache
def _versions() -> tuple[str, ...]:
    builds = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml")
    return (windfall.__version__, *(installed(name) for name in (*builds, "openvino")))


def installed(name: str) -> str:
    """Return the version of a package that is installed, empty if it is not.

    It is read off the name of the folder that describes the package: what ``importlib.metadata`` needs for the same
    takes as long to import as a small network to start.
    """
    start = f"{name.replace('-', '_')}-"
    return next((entry.removeprefix(start) for entry in _described() if entry.startswith(start)), "")


@cache
def _described() -> Sequence[str]:
    """Return NAME-VERSION.dist-info of all packages, those that are imported first."""
    return [entry.name for folder in sys.path for entry in _entries(folder) if entry.name.endswith(_DESCRIPTIONS)]


_DESCRIPTIONS = (".dist-info", ".egg-info")


def _entries(folder: str) -> Sequence[os.DirEntry[str]]:
    try:
        return [*os.scandir(folder or os.curdir)]
    except OSError:  # an archive, or nothing
        return []


_IN_PROCESS: dict[tuple[Path | None, str], Choice] = {}
_MOST_IN_PROCESS = 4096


def remembered(key: str) -> Choice | None:
    """Return what was chosen before; None if nothing was, or the entry is damaged."""
    folder = cache_folder()
    known = _IN_PROCESS.get((folder, key))
    if known is not None:
        return known
    choice = _read(found_before(f"{key}{_SUFFIX}"))
    if choice is not None:
        _IN_PROCESS[folder, key] = choice
    return choice


def remember(key: str, choice: Choice) -> None:
    """Keep a choice; where the cache cannot be written, for this process alone."""
    if len(_IN_PROCESS) >= _MOST_IN_PROCESS:
        _IN_PROCESS.clear()
    _IN_PROCESS[cache_folder(), key] = choice
    keep_finding(f"{key}{_SUFFIX}", asdict(choice))


def _read(entry: Mapping[str, Any]) -> Choice | None:
    try:
        times = {str(name): float(time) for name, time in entry["milliseconds"].items()}
        choice = Choice(entry["engine"], str(entry["reason"]), times, str(entry["device"]))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return choice if choice.engine in ("onnxruntime", "openvino") else None
