"""OpenVINO's compiled module, without the Python package around it, which takes five times as long to import.

The package adds what builds graphs in Python, converters of other formats, and telemetry. What it wraps is used here as
it is. A later ``import openvino`` by the user shares the same classes.
"""

import importlib
import importlib.util
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Any

_NAME = "openvino._pyopenvino"
_LOCK = threading.Lock()


@cache
def core() -> Any:
    """Return OpenVINO's ``Core``, of which a process needs one."""
    return binding().Core()


def binding() -> Any:
    """Return OpenVINO's compiled module."""
    with _LOCK:
        if _NAME not in sys.modules:
            _import()
        return sys.modules[_NAME]


def _import() -> None:
    # On Windows the package tells the system first where its libraries lie.
    if sys.platform != "win32" and "openvino" not in sys.modules:
        _import_alone()
    if _NAME not in sys.modules:
        with _no_telemetry():
            importlib.import_module(_NAME)


def _import_alone() -> None:
    """Import the compiled module from the package's folder; nothing happens where the package is built otherwise."""
    package = PathFinder.find_spec("openvino")
    spec = package and PathFinder.find_spec(_NAME, package.submodule_search_locations)
    if not spec or spec.loader is None:
        return
    before = set(sys.modules)
    try:
        module: ModuleType = importlib.util.module_from_spec(spec)
        sys.modules[_NAME] = module
        spec.loader.exec_module(module)
    except ImportError:
        for name in {*sys.modules} - before:
            if name.startswith(_NAME):
                del sys.modules[name]


@contextmanager
def _no_telemetry() -> Iterator[None]:
    """Keep OpenVINO from importing its telemetry, which reports to its makers that it was imported.

    Without that package it uses a stub of its own, and sends nothing for as long as the process lives.
    """
    name = "openvino_telemetry"
    missing = name not in sys.modules
    if missing:
        sys.modules[name] = None  # type: ignore[assignment]  # importing it now raises an ImportError
    try:
        yield
    finally:
        if missing:
            del sys.modules[name]


@cache
def has_openvino() -> bool:
    """Tell whether OpenVINO is installed, without importing it."""
    return importlib.util.find_spec("openvino") is not None
