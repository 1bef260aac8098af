"""The weights of a program are mapped from its package by the engine, each is held once, and none stays mapped."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import windfall
from tests.lowering.ml_program.test_control_flow import TRUTH, loop
from tests.programs import DATA_TYPES, Name, Output, add_input, add_operation, new_program, set_type
from windfall.errors import FormatError
from windfall.runtime import cache
from windfall.spec.blobfile import BlobWriter
from windfall.spec.blobfolder import Blob
from windfall.spec.package import write_package_files
from windfall.spec.proto import FeatureTypes_pb2

RNG = np.random.default_rng(0)
WEIGHTS = Path("Data/com.apple.CoreML/weights")
SIZE = 40


class Builder:
    """A program under construction whose constants lie in weight files."""

    def __init__(self, folder: Path, dims: tuple[int, ...] = (1, SIZE)) -> None:
        self.x = RNG.normal(size=dims).astype(np.float32)
        self.spec, self.function, self.block = new_program()
        add_input(self.spec, self.function, "x", self.x, dims)
        self._folder = folder
        self._writers: dict[str, BlobWriter] = {}

    def weight(self, array: np.ndarray, file: str = "weight.bin", name: str = "") -> Name:
        if file not in self._writers:
            self._writers[file] = BlobWriter(self._folder / file.replace("/", "_"))
        name = name or f"w{len(self.block.operations)}"
        operation = add_operation(self.block, "const", {name: Output(array.dtype, array.shape)})
        value = operation.attributes["val"]
        set_type(value.type, DATA_TYPES[array.dtype], array.shape)
        value.blobFileValue.fileName = f"@model_path/weights/{file}"
        value.blobFileValue.offset = self._writers[file].append(array, DATA_TYPES[array.dtype])
        return Name(name)

    def op(self, operator: str, dims: tuple[int, ...], kind: Any = np.float32, **arguments: Any) -> Name:
        name = f"v{len(self.block.operations)}"
        add_operation(self.block, operator, {name: Output(kind, dims)}, **arguments)
        return Name(name)

    def save(self, *outputs: str) -> Path:
        for name in outputs:
            self.block.outputs.append(name)
            kind = self.spec.description.output.add(name=name).type.multiArrayType
            kind.dataType = FeatureTypes_pb2.ArrayFeatureType.FLOAT32
        blobs = {}
        for file, writer in self._writers.items():
            writer.close()
            blobs[f"weights/{file}"] = (self._folder / file.replace("/", "_")).read_bytes()
        return write_package_files(self._folder / "m.mlpackage", self.spec, blobs)


def normal(*dims: int, dtype: Any = np.float32) -> np.ndarray:
    return RNG.normal(size=dims).astype(dtype)


def initializers(path: Path) -> dict[str, onnx.TensorProto]:
    model = windfall.load(path)
    serialized = model._serialize(model._binder.default_shapes(), list(model._binder.sources))
    assert not serialized.arrays
    return {tensor.name: tensor for tensor in onnx.load_from_string(serialized.proto).graph.initializer}


@pytest.fixture(autouse=True)
def _not_in_the_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no weight be small enough to be put into the graph."""
    monkeypatch.setattr("windfall.runtime.serialize.MOST_EMBEDDED", 0)


def linear(build: Builder, dtype: Any) -> Any:
    w = normal(30, SIZE, dtype=dtype)
    y = build.op("linear", (1, 30), x=Name("x"), weight=build.weight(w))
    return y, build.x @ w.astype(np.float32).T


def matmul(build: Builder, dtype: Any) -> Any:
    w = normal(SIZE, 30, dtype=dtype)
    return build.op("matmul", (1, 30), x=Name("x"), y=build.weight(w)), build.x @ w.astype(np.float32)


def transposed(build: Builder, dtype: Any) -> Any:
    w = normal(30, SIZE, dtype=dtype)
    y = build.op("matmul", (1, 30), x=Name("x"), y=build.weight(w), transpose_y=True)
    return y, build.x @ w.astype(np.float32).T


def matrices(build: Builder, dtype: Any) -> Any:
    w = normal(3, SIZE, 30, dtype=dtype)
    return build.op("matmul", (3, 1, 30), x=Name("x"), y=build.weight(w)), build.x @ w.astype(np.float32)


def on_the_left(build: Builder, dtype: Any) -> Any:
    w = normal(SIZE, SIZE, dtype=dtype)
    y = build.op("matmul", (SIZE, 1), x=build.weight(w), y=Name("x"), transpose_y=True)
    return y, w.astype(np.float32) @ build.x.T


def added(build: Builder, dtype: Any) -> Any:
    w = normal(SIZE, SIZE, dtype=dtype)
    return build.op("add", (SIZE, SIZE), x=Name("x"), y=build.weight(w)), build.x + w.astype(np.float32)


def place(build: Builder) -> Name:
    """A number that is not known before the program runs."""
    return build.op("reduce_argmax", (1,), np.int32, x=Name("x"), axis=1, keep_dims=False)


def gathered(build: Builder, dtype: Any) -> Any:
    w = normal(900, SIZE, dtype=dtype)
    rows = build.op("gather", (1, SIZE), dtype, x=build.weight(w), indices=place(build), axis=0)
    return build.op("add", (1, SIZE), x=Name("x"), y=rows), build.x + w[build.x.argmax(1)].astype(np.float32)


def tied(build: Builder, dtype: Any) -> Any:
    """As in a language model, the matrix of the rows looked up is that of the last product."""
    w = normal(900, SIZE, dtype=dtype)
    weight = build.weight(w)
    rows = build.op("gather", (1, SIZE), dtype, x=weight, indices=place(build), axis=0)
    x = build.op("add", (1, SIZE), x=Name("x"), y=rows)
    wide = w.astype(np.float32)
    return build.op("linear", (1, 900), x=x, weight=weight), (build.x + wide[build.x.argmax(1)]) @ wide.T


def whole(build: Builder, dtype: Any) -> Any:
    w = normal(SIZE, SIZE, dtype=dtype)
    return build.weight(w), w.astype(np.float32)


def looped(build: Builder, dtype: Any) -> Any:
    w = normal(SIZE, SIZE, dtype=dtype) / dtype(6)
    weight = build.weight(w)
    outputs = {"n": Output(np.int32, ()), "end": Output(np.float32, (1, SIZE))}
    add_operation(build.block, "const", {"zero": Output(np.int32, ())})
    build.block.operations[-1].attributes["val"].type.tensorType.dataType = DATA_TYPES[np.dtype(np.int32)]
    build.block.operations[-1].attributes["val"].immediateValue.tensor.ints.values.append(0)
    condition, body = loop(build.block, [Name("zero"), Name("x")], ["stored:0", "b"], outputs)
    add_operation(condition, "less", {"goes_on": TRUTH}, x=Name("stored:0"), y=np.int32(3))
    condition.outputs.append("goes_on")
    add_operation(body, "add", {"next": Output(np.int32, ())}, x=Name("stored:0"), y=np.int32(1))
    add_operation(body, "matmul", {"stored:1": Output(np.float32, (1, SIZE))}, x=Name("b"), y=weight)
    add_operation(body, "add", {"sum": Output(np.float32, (1, SIZE))}, x=Name("stored:1"), y=Name("b"))
    body.outputs.extend(["next", "sum"])
    return "end", build.x @ np.linalg.matrix_power(w.astype(np.float32) + np.eye(SIZE, dtype=np.float32), 3)


USES = [linear, matmul, transposed, matrices, on_the_left, added, gathered, tied, whole, looped]


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("use", USES)
def test_a_weight_is_read_by_the_engine_alone(use: Any, dtype: Any, tmp_path: Path, monkeypatch: Any) -> None:
    build = Builder(tmp_path)
    name, expected = use(build, dtype)
    path = build.save(name)
    weights = path / WEIGHTS / "weight.bin"
    monkeypatch.setattr(Blob, "read", lambda blob: pytest.fail("a weight was read"))
    model = windfall.load(path, threads=1)
    got = model.predict({"x": build.x})[name]
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    if sys.platform == "linux":
        assert str(weights) not in Path("/proc/self/maps").read_text()
    with weights.open("r+b") as file:
        file.truncate(10)
    np.testing.assert_array_equal(model.predict({"x": build.x})[name], got)


def test_a_kernel(tmp_path: Path) -> None:
    build, w = Builder(tmp_path, (1, 8, 9, 9)), normal(16, 8, 3, 3, dtype=np.float16)
    y = build.op("conv", (1, 16, 7, 7), x=Name("x"), weight=build.weight(w), pad_type="valid")
    got = windfall.load(build.save(y)).predict({"x": build.x})[y]
    views = np.lib.stride_tricks.sliding_window_view(build.x[0], (3, 3), axis=(1, 2))
    expected = np.einsum("chwij,ocij->ohw", views, w.astype(np.float32))
    np.testing.assert_allclose(got[0], expected, rtol=1e-3, atol=1e-4)


def test_whole_numbers(tmp_path: Path) -> None:
    build = Builder(tmp_path)
    table = RNG.integers(-9, 9, (900, SIZE)).astype(np.int32)
    rows = build.op("gather", (1, SIZE), np.int32, x=build.weight(table), indices=place(build), axis=0)
    y = build.op("add", (1, SIZE), x=Name("x"), y=build.op("cast", (1, SIZE), x=rows, dtype="fp32"))
    np.testing.assert_array_equal(
        windfall.load(build.save(y)).predict({"x": build.x})[y], build.x + table[build.x.argmax(1)].astype(np.float32)
    )


def test_the_graph_says_where_the_weights_lie(tmp_path: Path) -> None:
    build = Builder(tmp_path)
    half, full, rows = normal(30, SIZE, dtype=np.float16), normal(30, SIZE), normal(30, SIZE)
    weights = [build.weight(array) for array in (half, full, rows)]
    sums = [build.op("linear", (1, 30), x=Name("x"), weight=weight) for weight in weights[:2]]
    path = build.save(*sums, build.op("add", (30, SIZE), x=Name("x"), y=weights[2]))
    found = initializers(path)
    data = (path / WEIGHTS / "weight.bin").read_bytes()
    stored = {name: tensor for name, tensor in found.items() if tensor.external_data}
    assert [(name, tensor.data_type, list(tensor.dims)) for name, tensor in sorted(stored.items())] == [
        ("stored:0", onnx.TensorProto.FLOAT16, [30, SIZE]),
        ("stored:1", onnx.TensorProto.FLOAT, [30 * SIZE]),
        (f"{sums[1]}.weight", onnx.TensorProto.FLOAT, [30, SIZE]),
    ]
    for name, array in (("stored:0", half), ("stored:1", rows), (f"{sums[1]}.weight", full)):
        entries = {entry.key: entry.value for entry in stored[name].external_data}
        offset, length = int(entries["offset"]), int(entries["length"])
        assert entries["location"] == "weight.bin"
        assert data[offset : offset + length] == array.tobytes()


def test_the_second_start_takes_the_graph_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    build = Builder(tmp_path)
    name, expected = tied(build, np.float16)
    path = build.save(name)
    windfall.load(path).predict({"x": build.x})
    (entry,) = (tmp_path / "cache").glob("*.onnx")
    assert entry.stat().st_size < 2000
    monkeypatch.setattr(windfall.Model, "_lower", lambda *_: pytest.fail("the model was lowered again"))
    np.testing.assert_allclose(windfall.load(path).predict({"x": build.x})[name], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("files", [("a/b.bin", "a/b.bin"), ("weight.bin", "a/b.bin"), ("one.bin", "two.bin")])
def test_weights_in_several_files_and_folders(files: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    build, one, two = Builder(tmp_path), normal(SIZE, SIZE), normal(SIZE, SIZE)
    z = build.op("matmul", (1, SIZE), x=Name("x"), y=build.weight(one, files[0]))
    y = build.op("matmul", (1, SIZE), x=z, y=build.weight(two, files[1]))
    path = build.save(y)
    for _ in range(2):
        got = windfall.load(path).predict({"x": build.x})[y]
        np.testing.assert_allclose(got, build.x @ one @ two, rtol=1e-3, atol=1e-4)


def test_a_file_written_over_before_it_is_compiled_is_noticed(tmp_path: Path) -> None:
    build = Builder(tmp_path)
    path = build.save(linear(build, np.float32)[0])
    model = windfall.load(path)
    weights = path / WEIGHTS / "weight.bin"
    assert model.message is not None
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + b"\0")  # as long as before, in the same file
    os.utime(weights, ns=(1, 1))
    with pytest.raises(FormatError, match=r"m\.mlpackage changed on disk after it was loaded; load it again"):
        model.predict({"x": build.x})


folds_lightly = pytest.mark.skipif(
    tuple(map(int, onnxruntime.__version__.split(".")[:2])) < (1, 24),
    reason="earlier releases copy what they compute while they compile a graph",
)
PEAK = """
import re, sys
import numpy as np
import windfall
model = windfall.load(sys.argv[1], threads=1)
model.predict({"x": np.ones((1, int(sys.argv[2])), np.float32)})
print(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells how much memory a process had")
@pytest.mark.parametrize("dtype", [np.float32, pytest.param(np.float16, marks=folds_lightly)])
def test_a_prediction_holds_the_weights_once(dtype: Any, tmp_path: Path) -> None:
    peaks = []
    for size in (40, 1600):
        folder = tmp_path / str(size)
        folder.mkdir()
        build = Builder(folder, (1, size))
        # Eight different ones: what the engine packs from equal weights, it may hold once.
        y, weights = Name("x"), [build.weight(normal(size, size).astype(dtype)) for _ in range(8)]
        for weight in weights:
            y = build.op("linear", (1, size), x=y, weight=weight)
        arguments = [sys.executable, "-c", PEAK, str(build.save(y)), str(size)]
        printed = subprocess.run(arguments, check=True, stdout=subprocess.PIPE).stdout  # noqa: S603  # this file's own
        peaks.append(int(printed) * 1024)
    once = 8 * 1600 * 1600 * 4
    assert 0.8 * once < peaks[1] - peaks[0] < 1.6 * once
