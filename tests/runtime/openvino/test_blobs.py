"""What OpenVINO has made of a graph, kept in the cache: the same numbers, used where it is valid and nowhere else."""

import errno
import gc
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import windfall
from tests.support import layer_spec
from windfall.runtime import cache, choices
from windfall.runtime.engine import EngineOptions
from windfall.runtime.openvino import blobs
from windfall.runtime.openvino.binding import core
from windfall.runtime.serialized import Origin, SerializedModel

pytest.importorskip("openvino", reason="it is no dependency of other processors")

RNG = np.random.default_rng(0)
X = RNG.random((1, 3, 40, 40)).astype(np.float32)
WEIGHTS = RNG.normal(size=(64, 3, 3, 3)).astype(np.float32)
CONV: dict[str, Any] = {
    "outputChannels": 64,
    "kernelChannels": 3,
    "kernelSize": [3, 3],
    "valid": {},
    "weights": WEIGHTS,
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(choices, "_IN_PROCESS", {})
    return tmp_path / "cache"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return save(tmp_path / "model.mlmodel")


def save(path: Path, factor: float = 1) -> Path:
    return windfall.load(layer_spec("convolution", X, **{**CONV, "weights": WEIGHTS * np.float32(factor)})).save(path)


def start(path: Path, **options: Any) -> tuple[np.ndarray, Any]:
    """Load and predict; returns the result and the program."""
    model = windfall.load(path, **{"threads": 1, "engine": "openvino", **options})
    y = model.predict({"x0": X})["y0"]
    return y, model.compiled.program


def entries_of(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.openvino"))


def reference(factor: float = 1) -> np.ndarray:
    import torch

    y = torch.nn.functional.conv2d(torch.from_numpy(X), torch.from_numpy(WEIGHTS) * factor)
    return y.numpy()


def test_a_later_start_gives_the_same_numbers(folder: Path, path: Path) -> None:
    first, compiled = start(path)
    later, kept = start(path)
    np.testing.assert_allclose(first, reference(), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(later, first)
    assert (compiled.memory is None, kept.memory is None) == (True, False)
    assert len(entries_of(folder)) == 1
    assert kept._compiled.get_property("INFERENCE_NUM_THREADS") == 1


def test_a_later_start_imports_next_to_nothing(path: Path) -> None:
    start(path)
    code = (
        "import sys, numpy as np, windfall\n"
        f"windfall.load({str(path)!r}, threads=1, engine='openvino').predict({{'x0': np.zeros((1, 3, 40, 40))}})\n"
        "print([name for name in ('onnx', 'onnx_ir', 'onnxruntime', 'openvino') if name in sys.modules])"
    )
    assert run_python(code) == "[]"


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    return done.stdout.strip()


def test_openvino_may_be_imported_afterwards() -> None:
    code = (
        "from windfall.runtime.openvino.binding import binding, core\n"
        "core()\n"
        "import openvino, openvino.properties.hint\n"
        "print(openvino.Tensor is binding().Tensor, openvino.Core().available_devices[:1], core() is core())"
    )
    assert run_python(code) == "True ['CPU'] True"


def test_openvino_may_be_imported_before() -> None:
    code = (
        "import openvino\n"
        "from windfall.runtime.openvino.binding import binding\n"
        "print(openvino.Tensor is binding().Tensor)"
    )
    assert run_python(code) == "True"


def test_a_package_that_is_built_otherwise_is_imported_whole() -> None:
    code = (
        "import sys\n"
        "from windfall.runtime.openvino import binding\n"
        "binding.PathFinder = type('None', (), {'find_spec': lambda *_: None})\n"
        "binding.core()\n"
        "print('openvino' in sys.modules, 'openvino_telemetry' in sys.modules)"
    )
    assert run_python(code) == "True False"


def flip(place: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:place] + bytes([data[place] ^ 4]) + data[place:][1:]


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda data: data[:15],
        lambda data: data[:1000],
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: data[:-1000] + bytes(1000),
        lambda data: data.replace(b"windfall openvino 1", b"windfall openvino 0"),
        lambda data: data.replace(b"y0", b"x0"),
        *map(flip, (0, 30, 300, 5000, -1, -100)),
        lambda _: b"windfall openvino 1\n" + b"x" * 2**17,
        lambda _: b"windfall openvino 1\n[[[\n" + b"x" * 100,
    ],
)
def test_a_damaged_entry_is_made_again(folder: Path, path: Path, damage: Callable[[bytes], bytes]) -> None:
    first, _ = start(path)
    (entry,) = entries_of(folder)
    good = entry.read_bytes()
    entry.write_bytes(damage(good))
    y, program = start(path)
    np.testing.assert_array_equal(y, first)
    assert program.memory is None
    assert len(entry.read_bytes()) == len(good)
    assert start(path)[1].memory is not None


def test_what_openvino_does_not_import_is_made_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = start(path)

    class Core:
        def import_model(self, *_: object) -> None:
            raise RuntimeError("incompatible runtime requirements")

        def __getattr__(self, name: str) -> Any:
            return getattr(core(), name)

    monkeypatch.setattr(blobs, "core", Core)
    y, program = start(path)
    np.testing.assert_array_equal(y, first)
    assert program.memory is None


def test_an_entry_under_the_name_of_another_is_not_taken(folder: Path, path: Path, tmp_path: Path) -> None:
    start(path)
    (first,) = entries_of(folder)
    other = save(tmp_path / "other.mlmodel", 2)
    start(other)
    (second,) = (entry for entry in entries_of(folder) if entry != first)
    second.write_bytes(first.read_bytes())
    np.testing.assert_allclose(start(other)[0], reference(2), rtol=1e-4, atol=1e-4)


def test_a_model_written_over_the_first_is_another_one(folder: Path, path: Path) -> None:
    start(path)
    save(path, 3)
    y, program = start(path)
    np.testing.assert_allclose(y, reference(3), rtol=1e-4, atol=1e-3)
    assert program.memory is None
    assert len(entries_of(folder)) == 2


def test_the_processor_the_threads_and_the_release_are_part_of_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    model = SerializedModel(b"", {}, None, Origin("a", "/model"))
    names = {blobs.blob_name(model, EngineOptions(threads)) for threads in (1, 2)}
    names.add(blobs.blob_name(SerializedModel(b"", {}, None, Origin("b", "/model")), EngineOptions(1)))
    names.add(blobs.blob_name(model, EngineOptions(1, ranged=True)))
    with monkeypatch.context() as patch:
        patch.setattr(blobs, "_processor", lambda: ("another",))
        names.add(blobs.blob_name(model, EngineOptions(1)))
    with monkeypatch.context() as patch:
        patch.setattr(blobs, "installed", lambda _: "0")
        names.add(blobs.blob_name(model, EngineOptions(1)))
    assert len(names) == 6
    assert None not in names


def test_what_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    model = SerializedModel(b"", {}, None, Origin("a", "/model"))
    assert blobs.blob_name(SerializedModel(b"", {}, None), EngineOptions(1)) is None
    assert blobs.blob_name(model, EngineOptions(1, streams=2)) is None
    monkeypatch.setenv(cache.VARIABLE, "off")
    assert blobs.blob_name(model, EngineOptions(1)) is None


def test_a_processor_is_told_by_its_name_and_instructions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "processor\t: 0\nmodel name\t: A\nMHz\t\t: 1\nflags\t\t: fpu avx\n\nprocessor\t: 1\nmodel name\t: B\n"
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(blobs, "_CPUINFO", tmp_path / "cpuinfo")
    assert blobs._processor.__wrapped__() == ("model name\t: A", "flags\t\t: fpu avx")
    monkeypatch.setattr(blobs, "_CPUINFO", tmp_path / "none")
    monkeypatch.setenv("PROCESSOR_IDENTIFIER", "Family 6")
    assert blobs._processor.__wrapped__()[1] == "Family 6"


def test_too_large_a_blob_is_not_kept(folder: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blobs, "LARGEST_BLOB", 5000)
    np.testing.assert_allclose(start(path)[0], reference(), rtol=1e-4, atol=1e-4)
    assert [entry.suffix for entry in folder.iterdir()] == [".onnx"]


def test_a_full_disk_does_no_harm(folder: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Path.open

    def limited(path: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        file: Any = opened(path, mode, *arguments, **options)
        if mode == "xb" and ".openvino." in path.name:
            write, left = file.write, [6000]

            def fail(data: bytes) -> int:
                left[0] -= len(data)
                if left[0] < 0:
                    raise OSError(errno.ENOSPC, "No space left on device")
                return int(write(data))

            file = Full(file, fail)
        return file

    class Full:
        def __init__(self, file: Any, write: Any) -> None:
            self.file, self.write = file, write

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", limited)
        np.testing.assert_allclose(start(path)[0], reference(), rtol=1e-4, atol=1e-4)
    assert [entry.suffix for entry in folder.iterdir()] == [".onnx"]
    start(path)
    assert len(entries_of(folder)) == 1


def test_what_is_mapped_lives_as_long_as_the_program(folder: Path, path: Path) -> None:
    first, _ = start(path)
    model = windfall.load(path, threads=1, engine="openvino")
    model.predict({"x0": X})
    program: Any = model.compiled.program
    assert program.memory is not None
    (entry,) = entries_of(folder)
    entry.unlink()
    path.unlink()
    gc.collect()
    np.testing.assert_array_equal(model.predict({"x0": X})["y0"], first)
    assert not program.memory.flags.owndata


@pytest.mark.parametrize(("seconds", "count"), [(2.0, 1), (0.5, 0)])
def test_nothing_is_kept_where_onnx_runtime_is_faster(
    folder: Path, path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, count: int
) -> None:
    monkeypatch.setattr("windfall.runtime.choice.LEAST_WORK", 1)
    monkeypatch.setattr("windfall.runtime.choice.best_times", lambda *_: {"onnxruntime": seconds, "openvino": 1.0})
    results = [start(path, engine="auto") for _ in range(2)]
    assert len(entries_of(folder)) == count
    assert (getattr(results[1][1], "memory", None) is not None) == bool(count)
    np.testing.assert_array_equal(results[0][0], results[1][0])


def test_all_sizes_at_once(folder: Path, tmp_path: Path) -> None:
    spec = layer_spec("convolution", X, **CONV)
    shape = spec.description.input[0].type.multiArrayType
    shape.shapeRange.sizeRanges.extend([])
    for size, upper in zip(X.shape, (1, 3, 64, 64), strict=True):
        shape.shapeRange.sizeRanges.add(lowerBound=size, upperBound=max(size, upper))
    path = windfall.load(spec).save(tmp_path / "flexible.mlmodel")
    wide = RNG.random((1, 3, 50, 60)).astype(np.float32)
    results = []
    for _ in range(2):
        model = windfall.load(path, threads=1, engine="openvino")
        results.append([model.predict({"x0": x})["y0"] for x in (X, wide)])
    for first, later in zip(*results, strict=True):
        np.testing.assert_array_equal(first, later)
    np.testing.assert_allclose(results[0][0], reference(), rtol=1e-4, atol=1e-4)
    assert entries_of(folder)


def test_8_bit_arithmetic(folder: Path, path: Path) -> None:
    samples = [{"x0": X}, {"x0": X[..., ::-1].copy()}]
    (first, _), (later, program) = (start(path, arithmetic="int8", calibration=samples) for _ in range(2))
    np.testing.assert_array_equal(later, first)
    assert program.memory is not None
    assert np.abs(first - reference()).max() > 1e-3  # it was quantized
    assert len(entries_of(folder)) == 1


def test_look_ups_that_numpy_checks(folder: Path, tmp_path: Path) -> None:
    x = np.arange(12, dtype=np.float32).reshape(12, 1, 1, 1, 1)
    table = RNG.normal(size=(12, 30)).astype(np.float32)
    spec = layer_spec("embedding", x, inputDim=12, outputChannels=30, weights=table.T.copy())
    path = windfall.load(spec).save(tmp_path / "embedding.mlmodel")
    results = []
    for _ in range(2):
        model = windfall.load(path, threads=1, engine="openvino")
        results.append(model.predict({"x0": x})["y0"])
        with pytest.raises(windfall.WindfallError, match=r"out of data bounds|beyond|range"):
            model.predict({"x0": x + 5})
    np.testing.assert_array_equal(results[0].reshape(12, 30), table)
    np.testing.assert_array_equal(results[1], results[0])
    assert (b'"is_all": false' in entries_of(folder)[0].read_bytes()) is True


def test_processes_that_start_at_once(folder: Path, path: Path, tmp_path: Path) -> None:
    first, _ = start(path)
    for entry in folder.iterdir():
        entry.unlink()
    np.save(tmp_path / "x.npy", X)
    code = (
        "import sys, numpy as np, windfall\n"
        "model = windfall.load(sys.argv[1], threads=1, engine='openvino')\n"
        "np.save(sys.argv[3], model.predict({'x0': np.load(sys.argv[2])})['y0'])\n"
    )
    outputs = [tmp_path / f"y{number}.npy" for number in range(3)]
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(path), str(tmp_path / "x.npy"), str(output)])  # noqa: S603
        for output in outputs
    ]
    assert [process.wait() for process in running] == [0, 0, 0]
    for output in outputs:
        np.testing.assert_array_equal(np.load(output), first)
    assert len(entries_of(folder)) == 1
    assert not list(folder.glob(".*"))
