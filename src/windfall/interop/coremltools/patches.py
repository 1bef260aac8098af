"""Put windfall where coremltools looks for Core ML, and put back what was there.

On a Mac, ``coremltools.libcoremlpython`` is a native module; elsewhere it is missing. Each module of coremltools takes
the classes it needs from there when it is imported, and has None in their place where that fails. So a module of that
name is registered for those still to come, and the names in modules already imported are replaced.

Beside the classes, a few functions ask for the version of macOS before they call them. In the modules of the table
below, and there alone, they get the answer of a Mac that has all that windfall answers for. ``utils._is_macos`` and
``_deps._IS_MACOS``, which coremltools' converters and other people's code ask, stay as they are.
"""

import importlib
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from typing import Any

from windfall.interop.coremltools.devices import (
    MLComputePlanProxy,
    MLCPUComputeDeviceProxy,
    MLGPUComputeDeviceProxy,
    MLNeuralEngineComputeDeviceProxy,
)
from windfall.interop.coremltools.proxy import MLModelAssetProxy, MLModelProxy

NATIVE = "coremltools.libcoremlpython"
_PLAN_UTILS = "coremltools.models.ml_program.experimental.compute_plan_utils"
_DEVICES = ("_MLCPUComputeDeviceProxy", "_MLGPUComputeDeviceProxy", "_MLNeuralEngineComputeDeviceProxy")

CLASSES: Mapping[str, tuple[str, ...]] = {
    "coremltools.models.model": ("_MLModelProxy", "_MLModelAssetProxy"),
    "coremltools.models._compiled_model": ("_MLModelProxy",),
    "coremltools.models.compute_device": ("_MLModelProxy", *_DEVICES),
    "coremltools.models.compute_plan": ("_MLModelProxy", "_MLComputePlanProxy"),
    _PLAN_UTILS: ("_MLComputePlanProxy", *_DEVICES),
}
"""The modules that take classes from the native module, and which."""

_MACOS = (15, 5)


def _is_macos() -> bool:
    return True


def _macos_version() -> tuple[int, int]:
    return _MACOS


GATES: Mapping[str, Mapping[str, Callable[[], object]]] = {
    # What predict says of a model that cannot be run; hints; make_state.
    "coremltools.models.model": {"_is_macos": _is_macos, "_macos_version": _macos_version},
    # The constructor of CompiledMLModel.
    "coremltools.models._compiled_model": {"_macos_version": _macos_version},
    # compile_model.
    "coremltools.models.utils": {"_macos_version": _macos_version},
    # quantize_weights, which compares predictions if it is given inputs.
    "coremltools.models.neural_network.quantization_utils": {"_macos_version": _macos_version},
}
"""The functions that stand before the native module and ask for a Mac, by the module whose name is replaced."""

_GATE_NAMES = ("_is_macos", "_macos_version")


@dataclass
class _Installed:
    """What ``install`` changed.

    Attributes:
        classes: The classes by the names they have in the native module.
        finder: What watches for modules that are imported later.
        registered: The native module that was registered before; None if there was none.
        replaced: The value that each name of a module had before.
    """

    classes: Mapping[str, type]
    finder: "_Watcher"
    registered: types.ModuleType | None
    replaced: list[tuple[types.ModuleType, str, Any]] = field(default_factory=list)


_state: _Installed | None = None


def install(proxy: type[MLModelProxy] = MLModelProxy) -> None:
    """Let coremltools compute with windfall; does nothing where that is so already.

    Args:
        proxy: What opens and runs models: ``MLModelProxy``, or a class derived from it.
    """
    global _state  # noqa: PLW0603  # coremltools is one for the whole process, and so is this
    if _state is not None:
        return
    classes = {
        "_MLModelProxy": proxy,
        "_MLModelAssetProxy": MLModelAssetProxy,
        "_MLComputePlanProxy": MLComputePlanProxy,
        "_MLCPUComputeDeviceProxy": MLCPUComputeDeviceProxy,
        "_MLGPUComputeDeviceProxy": MLGPUComputeDeviceProxy,
        "_MLNeuralEngineComputeDeviceProxy": MLNeuralEngineComputeDeviceProxy,
    }
    _state = _Installed(classes, _Watcher(), sys.modules.get(NATIVE))
    module = types.ModuleType(NATIVE, "windfall in the place of Core ML")
    vars(module).update(classes)
    sys.modules[NATIVE] = module
    sys.meta_path.insert(0, _state.finder)
    for name in {*CLASSES, *GATES} & sys.modules.keys():
        _patch(sys.modules[name])


def installed() -> bool:
    """Whether coremltools computes with windfall."""
    return _state is not None


def uninstall() -> None:
    """Put back what was there before ``install``; does nothing where nothing was installed.

    Models that are open keep what they were opened with.
    """
    global _state
    if _state is None:
        return
    state, _state = _state, None
    sys.meta_path.remove(state.finder)
    native = _put_back_native(state)
    # A module that was imported in between has got the names from us, or from a module that had them from us.
    originals = {name: value for _, name, value in state.replaced if not _is_ours(value, state)}
    for module, name, value in state.replaced:
        other = originals.get(name) if name in _GATE_NAMES else getattr(native, name, None)
        setattr(module, name, other if _is_ours(value, state) else value)


def _is_ours(value: object, state: _Installed) -> bool:
    return value in (_is_macos, _macos_version, *state.classes.values())


def _put_back_native(state: _Installed) -> types.ModuleType | None:
    """Register Core ML's own module again, and return it; None where there is none, or coremltools is not imported."""
    ours = sys.modules.pop(NATIVE)
    package = sys.modules.get("coremltools")
    if package is not None and vars(package).get("libcoremlpython") is ours:
        del package.libcoremlpython
    native = state.registered
    if native is not None:
        sys.modules[NATIVE] = native
    elif package is not None:
        with suppress(ImportError):
            native = importlib.import_module(NATIVE)
    if package is not None and native is not None:
        vars(package)["libcoremlpython"] = native
    return native


def _patch(module: types.ModuleType) -> None:
    """Replace the names of one module of coremltools, and remember what they were."""
    assert _state is not None
    name = module.__name__
    values: dict[str, Any] = {key: _state.classes[key] for key in CLASSES.get(name, ())}
    for key, value in {**values, **GATES.get(name, {})}.items():
        _state.replaced.append((module, key, vars(module).get(key)))
        setattr(module, key, value)


class _Watcher(MetaPathFinder):
    """Patches modules of coremltools as they are imported."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module as Python would, with a loader that patches it."""
        if fullname not in CLASSES and fullname not in GATES:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _PatchingLoader(spec.loader)
        return spec


class _PatchingLoader(Loader):
    """Loads a module as another loader does, then patches it."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> types.ModuleType | None:
        """Leave it to the other loader."""
        return self._loader.create_module(spec)

    def exec_module(self, module: types.ModuleType) -> None:
        """Run the module's code and patch it, unless ``uninstall`` came first."""
        self._loader.exec_module(module)
        if _state is not None:
            _patch(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)  # get_source and others: tracebacks and inspect ask for them
