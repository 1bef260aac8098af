"""Devices, of which most are not there: the engines' lists of them are made up."""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import windfall
from tests.support import layer_spec
from windfall.errors import UnsupportedError
from windfall.runtime import devices
from windfall.runtime.devices import COMPUTE_UNITS, DEVICES, GROUPS, UNITS, choose_device, session_providers

X = np.arange(6, dtype=np.float32).reshape(2, 3)
CPU = ["CPUExecutionProvider"]
Offer = Callable[..., None]


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Offer:
    """Return a function that sets what the engines offer."""

    def set_devices(providers: list[str], others: list[str]) -> None:
        monkeypatch.setattr("onnxruntime.get_available_providers", lambda: [*providers, *CPU])
        core = type("Core", (), {"available_devices": [*others, "CPU"]})
        monkeypatch.setattr("windfall.runtime.openvino.core", lambda: core)
        monkeypatch.setattr("windfall.runtime.openvino.has_openvino", lambda: True)

    return set_devices


ALL = [device.key for device in DEVICES.values() if device.engine == "onnxruntime" and device.name != "cpu"]


@pytest.mark.parametrize(
    ("providers", "others", "units", "engine", "expected"),
    [
        ([], [], "all", "auto", "cpu"),
        (ALL, ["GPU", "NPU"], "cpu_only", "auto", "cpu"),
        (ALL, ["GPU", "NPU"], "all", "auto", "cuda"),
        (["DmlExecutionProvider"], [], "all", "auto", "directml"),
        (["CoreMLExecutionProvider"], ["GPU"], "all", "auto", "cpu"),
        (["CoreMLExecutionProvider"], [], "cpu_and_gpu", "auto", "coreml-gpu"),
        (["CoreMLExecutionProvider"], [], "cpu_and_ne", "auto", "coreml-ne"),
        ([], ["GPU.0", "GPU.1"], "cpu_and_gpu", "auto", "openvino-gpu"),
        ([], ["GPU.0"], "cpu_and_gpu", "onnxruntime", "cpu"),
        (["CUDAExecutionProvider"], ["GPU"], "cpu_and_gpu", "openvino", "openvino-gpu"),
        (["CUDAExecutionProvider"], [], "cpu_and_gpu", "openvino", "cpu"),
        ([], ["NPU"], "cpu_and_ne", "auto", "openvino-npu"),
        (["CUDAExecutionProvider"], [], "cpu_and_ne", "auto", "cpu"),
    ],
)
def test_units_choose_among_what_is_there(
    offer: Offer, providers: list[str], others: list[str], units: str, engine: str, expected: str
) -> None:
    offer(providers, others)
    assert choose_device(units, None, engine).name == expected


def test_a_device_by_its_name_comes_before_the_units(offer: Offer) -> None:
    offer(ALL, ["GPU", "NPU"])
    for name in DEVICES:
        assert choose_device("cpu_only", name, "auto").name == name
    assert choose_device("all", "gpu", "auto").name == "cuda"
    assert choose_device("all", "ne", "auto").name == "coreml-ne"


@pytest.mark.parametrize("name", [name for name, device in DEVICES.items() if device.engine == "onnxruntime"])
def test_the_processor_runs_what_a_device_has_not(name: str) -> None:
    device = DEVICES[name]
    expected = CPU if name == "cpu" else [(device.key, dict(device.settings)), *CPU]
    assert session_providers(device) == expected


def test_float32_stays_float32() -> None:
    assert DEVICES["cuda"].settings["use_tf32"] == "0"
    assert DEVICES["tensorrt"].settings == {"trt_fp16_enable": "0"}


def test_the_providers_reach_the_session(offer: Offer, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    offer(["CUDAExecutionProvider"], [])
    seen: list[Any] = []
    session = onnxruntime.InferenceSession

    def record(*arguments: Any, providers: Any, **_: Any) -> Any:
        seen.append(providers)
        made = session(*arguments, providers=CPU)
        monkeypatch.setattr(
            made, "get_providers", lambda: [name if isinstance(name, str) else name[0] for name in providers]
        )
        return made

    monkeypatch.setattr("onnxruntime.InferenceSession", record)
    spec = layer_spec("tanh", X)
    model = windfall.load(spec, threads=1, engine="onnxruntime")
    model.predict({"x0": X})
    windfall.load(spec, threads=1, compute_units="cpu_only").predict({"x0": X})
    assert seen == [[("CUDAExecutionProvider", dict(DEVICES["cuda"].settings)), *CPU], CPU]
    assert model.compiled.program.devices == ("CUDAExecutionProvider", *CPU)  # type: ignore[attr-defined]


UNUSABLE = "device 'cuda' is offered by onnxruntime, but cannot be used: check its driver and libraries"


@pytest.mark.parametrize("raises", [False, True])
def test_a_device_that_is_offered_but_cannot_be_used(
    offer: Offer, monkeypatch: pytest.MonkeyPatch, capfd: Any, caplog: Any, *, raises: bool
) -> None:
    import onnxruntime

    offer(["CUDAExecutionProvider"], [])
    session = onnxruntime.InferenceSession

    def fail(*arguments: Any, providers: Any, **_: Any) -> Any:
        if raises and providers != CPU:
            raise RuntimeError("no driver")
        return session(*arguments, providers=CPU)

    monkeypatch.setattr("onnxruntime.InferenceSession", fail)
    spec = layer_spec("tanh", X)
    with caplog.at_level(logging.INFO, "windfall"):
        y = windfall.load(spec, engine="onnxruntime").predict({"x0": X})["y0"]
    np.testing.assert_allclose(y, np.tanh(X), rtol=1e-5)
    assert f"{UNUSABLE}; the processor runs the model" in caplog.messages
    with pytest.warns(windfall.DeviceWarning) as warned:
        windfall.load(spec, device="cuda").predict({"x0": X})
    assert str(warned[0].message) == f"{UNUSABLE}; the processor runs the model"
    with pytest.raises(UnsupportedError) as error:
        windfall.load(spec, device="cuda", strict=True).predict({"x0": X})
    assert str(error.value) == f"{UNUSABLE}, or leave out strict"
    assert capfd.readouterr() == ("", "")


def test_an_openvino_device_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("windfall.runtime.devices._PRESENT", {"onnxruntime": lambda: CPU, "openvino": lambda: ["GPU"]})
    with pytest.warns(windfall.DeviceWarning, match="device 'openvino-gpu' is offered by openvino, but cannot be used"):
        y = windfall.load(layer_spec("tanh", X), device="openvino-gpu").predict({"x0": X})["y0"]
    np.testing.assert_allclose(y, np.tanh(X), rtol=1e-5)


def test_a_device_that_is_not_there_is_a_warning(offer: Offer) -> None:
    offer([], ["GPU"])
    with pytest.warns(windfall.DeviceWarning) as warned:
        model = windfall.load(layer_spec("tanh", X), device="cuda")
    assert str(warned[0].message) == (
        "there is no device 'cuda': the model runs on the processor; the installed engines offer: cpu, openvino-gpu"
    )
    assert warned[0].filename == __file__
    np.testing.assert_allclose(model.predict({"x0": X})["y0"], np.tanh(X), rtol=1e-5)


def test_a_device_that_is_not_there_is_an_error_where_that_is_asked_for(offer: Offer) -> None:
    offer([], [])
    with pytest.raises(UnsupportedError) as error:
        windfall.load(layer_spec("tanh", X), device="gpu", strict=True)
    assert str(error.value) == "there is no device 'gpu', and strict is set; the installed engines offer: cpu"


def test_a_device_that_is_there_is_no_warning(offer: Offer) -> None:
    offer(["CUDAExecutionProvider"], [])
    for device in ("cpu", "cuda", "gpu"):
        assert windfall.load(layer_spec("tanh", X), device=device, strict=True)


KNOWN = ["cpu", "cuda", "tensorrt", "directml", "coreml-gpu", "coreml-ne", "openvino-gpu", "openvino-npu", "gpu", "ne"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            {"device": "tpu"},
            f"device is 'tpu', must be one of: {', '.join(KNOWN)}",
        ),
        (
            {"device": ["gpu"]},
            f"device is ['gpu'], must be one of: {', '.join(KNOWN)}",
        ),
        (
            {"device": "openvino-gpu", "engine": "onnxruntime"},
            "device 'openvino-gpu' is one of openvino, but engine is 'onnxruntime'; leave one of them out",
        ),
    ],
)
def test_arguments_that_have_no_meaning(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(UnsupportedError) as error:
        windfall.load(layer_spec("tanh", X), **arguments)
    assert str(error.value) == text


def test_the_tables_name_devices_that_there_are() -> None:
    assert set(UNITS) == set(COMPUTE_UNITS)
    for names in (*UNITS.values(), *GROUPS.values()):
        assert set(names) <= set(DEVICES)
    assert all(names[-1] == "cpu" for names in UNITS.values())
    assert {device.engine for device in DEVICES.values()} == set(devices._PRESENT)
