"""Devices: which there may be, and which of them a model's compute units allow.

The default, ``all``, takes a graphics card that ONNX Runtime computes float32 on. What is built into a processor, and
what computes in float16, is taken only where it is asked for: it is seldom faster in float32, or not as exact.
"""

import logging
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from windfall.errors import UnsupportedError

COMPUTE_UNITS = ("all", "cpu_only", "cpu_and_gpu", "cpu_and_ne")
"""As in Core ML."""


LOG = logging.getLogger("windfall")


class DeviceWarning(UserWarning):
    """A device was asked for that is not there; the warning says what runs the model instead."""


@dataclass(frozen=True)
class Device:
    """What computes.

    Attributes:
        name: What ``load`` knows it by.
        engine: The engine that computes on it.
        key: What the engine calls it: a provider of ONNX Runtime, a device of OpenVINO.
        settings: What the engine is to be told.
    """

    name: str
    engine: str
    key: str
    settings: Mapping[str, str] = field(default_factory=dict)


CPU = Device("cpu", "onnxruntime", "CPUExecutionProvider")
_DEVICES = (
    CPU,
    # TensorFloat-32 has 10 bits of mantissa.
    # An exhaustive search for the fastest algorithm of each convolution takes seconds, and finds the same ones.
    Device(
        "cuda",
        "onnxruntime",
        "CUDAExecutionProvider",
        {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"},
    ),
    Device("tensorrt", "onnxruntime", "TensorrtExecutionProvider", {"trt_fp16_enable": "0"}),
    Device("directml", "onnxruntime", "DmlExecutionProvider"),
    Device("coreml-gpu", "onnxruntime", "CoreMLExecutionProvider", {"MLComputeUnits": "CPUAndGPU"}),
    Device("coreml-ne", "onnxruntime", "CoreMLExecutionProvider", {"MLComputeUnits": "CPUAndNeuralEngine"}),
    Device("openvino-gpu", "openvino", "GPU"),
    Device("openvino-npu", "openvino", "NPU"),
)
DEVICES: Mapping[str, Device] = {device.name: device for device in _DEVICES}

_GPUS = ("cuda", "directml", "coreml-gpu", "openvino-gpu")
_NES = ("coreml-ne", "openvino-npu")
UNITS: Mapping[str, Sequence[str]] = {
    "all": ("cuda", "directml", "cpu"),
    "cpu_only": ("cpu",),
    "cpu_and_gpu": (*_GPUS, "cpu"),
    "cpu_and_ne": (*_NES, "cpu"),
}
"""The devices that compute units stand for, those preferred first; the first that is there is taken."""
GROUPS: Mapping[str, Sequence[str]] = {
    "gpu": ("cuda", "tensorrt", "directml", "coreml-gpu", "openvino-gpu"),
    "ne": _NES,
}
"""What ``device`` may also be: any of several."""


def check_names(compute_units: str, device: str | None, engine: str) -> None:
    """Check the arguments of ``load`` that concern devices, without looking for any.

    Raises:
        UnsupportedError: There are no such units or no such device, or the engine does not compute on it.
    """
    if compute_units not in COMPUTE_UNITS:
        raise UnsupportedError(f"compute_units is {compute_units!r}, must be one of: {', '.join(COMPUTE_UNITS)}")
    if device is None:
        return
    if not isinstance(device, str) or device not in (*DEVICES, *GROUPS):
        raise UnsupportedError(f"device is {device!r}, must be one of: {', '.join((*DEVICES, *GROUPS))}")
    names = _names(device)
    if device != "cpu" and engine not in ("auto", *(DEVICES[name].engine for name in names)):
        others = " or ".join(dict.fromkeys(DEVICES[name].engine for name in names))
        raise UnsupportedError(f"device {device!r} is one of {others}, but engine is {engine!r}; leave one of them out")


def check_present(device: str, engine: str, *, strict: bool) -> None:
    """Say so where a device that was asked for is not there.

    Raises:
        UnsupportedError: It is not there, and ``strict`` asks for an error.

    Warns:
        DeviceWarning: It is not there; the processor runs the model.
    """
    if any(_is_present(DEVICES[name]) for name in _names(device) if engine in ("auto", DEVICES[name].engine)):
        return
    problem = f"there is no device {device!r}"
    found = ", ".join(name for name, each in DEVICES.items() if _is_present(each))
    if strict:
        raise UnsupportedError(f"{problem}, and strict is set; the installed engines offer: {found}")
    # The level of what called ``load``, by way of ``checked_options``.
    warnings.warn(
        f"{problem}: the model runs on the processor; the installed engines offer: {found}", DeviceWarning, stacklevel=4
    )


def choose_device(compute_units: str, device: str | None, engine: str) -> Device:
    """Return the device to compile for: the first that is there of those allowed."""
    names = UNITS[compute_units] if device is None else _names(device)
    for name in names:
        found = DEVICES[name]
        if name != "cpu" and engine in ("auto", found.engine) and _is_present(found):
            return found
    return CPU


def report_unusable(device: Device, name: str | None, gap: str | None = None, *, strict: bool) -> None:
    """Say that a device is offered, but cannot be used here, or not for this model.

    Args:
        device: The device.
        name: The device that was asked for, None where it was left to windfall: then the log is told.
        gap: What of the model it is not given; None where it is the device's fault.
        strict: Whether it is an error.

    Raises:
        UnsupportedError: It was asked for by name, and ``strict`` asks for an error.

    Warns:
        DeviceWarning: It was asked for by name; the processor runs the model.
    """
    problem = (
        f"device {device.name!r} is offered by {device.engine}, but cannot be used: check its driver and libraries"
        if gap is None
        else f"device {device.name!r} is not given the model: {gap}"
    )
    if name is None:
        LOG.info("%s; the processor runs the model", problem)
    elif strict:
        raise UnsupportedError(f"{problem}, or leave out strict")
    else:
        warnings.warn(f"{problem}; the processor runs the model", DeviceWarning, stacklevel=2)


def _names(device: str) -> Sequence[str]:
    return GROUPS.get(device, (device,))


def _is_present(device: Device) -> bool:
    if device.engine == "onnxruntime" and "onnxruntime" not in sys.modules and not _has_library(device):
        return False
    return device.key in _PRESENT[device.engine]()


def _has_library(device: Device) -> bool:
    """Tell whether ONNX Runtime may have a device, by its files: to import it takes a tenth of a second."""
    package = PathFinder.find_spec("onnxruntime") if sys.platform != "win32" else None
    if device.key not in _LIBRARIES or package is None or package.origin is None:
        return True
    return any((Path(package.origin).parent / "capi").glob(_LIBRARIES[device.key]))


_LIBRARIES = {
    "CUDAExecutionProvider": "*providers_cuda*",
    "TensorrtExecutionProvider": "*providers_tensorrt*",
    "DmlExecutionProvider": "DirectML*",
}
"""The libraries that a build with a device has; on Windows some are the system's."""


def _providers() -> Sequence[str]:
    import onnxruntime

    return onnxruntime.get_available_providers()  # type: ignore[no-any-return]  # untyped library


def _openvino_devices() -> Sequence[str]:
    """Return OpenVINO's devices; of several of a kind, ``GPU.0`` and ``GPU.1``, the first stands for all."""
    from windfall.runtime.openvino import core, has_openvino

    return [name.partition(".")[0] for name in core().available_devices] if has_openvino() else []


_PRESENT = {"onnxruntime": _providers, "openvino": _openvino_devices}


def session_providers(device: Device) -> list[Any]:
    """Return the providers of ONNX Runtime for a device; the processor runs what the device has not."""
    if device is CPU or device.engine != "onnxruntime":
        return [CPU.key]
    return [(device.key, dict(device.settings)), CPU.key]
