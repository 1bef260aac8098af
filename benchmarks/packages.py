"""Measure how much memory it takes to open, describe and run a package with 1 GB of weights, and what is read of it.

The package has linear and matmul operations in turns; their weights take 1 GB as float32, and are stored as that, as
float16, or as int8 with a scale for each row. Every measurement has a process of its own, with one thread. A package of
the same operations with small weights comes first: what it takes is the code's own.

"peak" is the most memory that the process had, pages of mapped files among it. "read" is what it got from files by
reading them, its imports among it; "from disk" is what the system fetched for it, mapped files among it, after it was
told to forget the package. "again" is a prediction that starts from the cache of compiled graphs.

    python benchmarks/packages.py [--gigabytes 1] [--rounds 3] [--stored float32 float16 int8]
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LAYERS = 16
SMALL = 64
WEIGHTS = Path("Data/com.apple.CoreML/weights/weight.bin")
COUNTERS = Path("/proc/self/io")
STEPS = ("import", "load", "describe", "predict", "again")
UNIT = 1024 if sys.platform == "linux" else 1
"""What ``ru_maxrss`` counts in."""


class Writer:
    """A package under construction: operations whose weights go to a file as they are added."""

    def __init__(self, path: Path, width: int) -> None:
        from windfall.spec.blobfile import BlobWriter
        from windfall.spec.proto import FeatureTypes_pb2, MIL_pb2, Model_pb2

        self.types = {"float32": MIL_pb2.FLOAT32, "float16": MIL_pb2.FLOAT16, "int8": MIL_pb2.INT8}
        self.width = width
        self.path = path
        self.file = path.with_suffix(".bin")
        self.blobs = BlobWriter(self.file)
        self.spec = Model_pb2.Model(specificationVersion=9)
        function = self.spec.mlProgram.functions["main"]
        function.opset = "CoreML8"
        self.block = function.block_specializations["CoreML8"]
        self.tensor(function.inputs.add(name="x").type, "float32", (1, width))
        for feature in (self.spec.description.input.add(name="x"), self.spec.description.output.add(name="y")):
            feature.type.multiArrayType.dataType = FeatureTypes_pb2.ArrayFeatureType.FLOAT32
        self.spec.description.input[0].type.multiArrayType.shape.extend((1, width))
        self.block.outputs.append("y")

    def tensor(self, value_type: Any, data_type: str, dims: tuple[int, ...]) -> None:
        """Let a ``ValueType`` message be a tensor."""
        value_type.tensorType.dataType = self.types[data_type]
        value_type.tensorType.rank = len(dims)
        for size in dims:
            value_type.tensorType.dimensions.add().constant.size = size

    def operation(self, kind: str, output: str, data_type: str, dims: tuple[int, ...], **arguments: str) -> Any:
        operation = self.block.operations.add(type=kind)
        self.tensor(operation.outputs.add(name=output).type, data_type, dims)
        for name, value in arguments.items():
            operation.inputs[name].arguments.add(name=value)
        return operation

    def constant(self, name: str, array: Any) -> str:
        value = self.operation("const", name, array.dtype.name, array.shape).attributes["val"]
        self.tensor(value.type, array.dtype.name, array.shape)
        value.blobFileValue.fileName = "@model_path/weights/weight.bin"
        value.blobFileValue.offset = self.blobs.append(array, self.types[array.dtype.name])
        return name

    def weight(self, name: str, stored: str) -> str:
        """Add a matrix of random numbers, unlike all others, that keeps numbers of about 1 at that."""
        import numpy as np

        rng, size = np.random.default_rng(len(self.block.operations)), (self.width, self.width)
        if stored == "int8":
            data = self.constant(f"{name}_data", rng.integers(-127, 128, size, np.int8))
            scale = self.constant(f"{name}_scale", np.full((self.width, 1), 1 / 73 / self.width**0.5, np.float32))
            kind = "constexpr_blockwise_shift_scale"
            self.operation(kind, name, "float32", size, data=data, scale=scale)
            return name
        return self.constant(name, (rng.standard_normal(size, np.float32) / self.width**0.5).astype(stored))

    def save(self) -> None:
        from windfall.spec.package import write_package_files

        self.blobs.close()
        write_package_files(self.path, self.spec, {})
        self.file.rename(self.path / WEIGHTS)
        with (self.path / WEIGHTS).open("rb") as file:
            os.fsync(file.fileno())  # what is not on disk yet cannot be forgotten


def write_package(path: str, width: str, stored: str) -> None:
    """Write a package of ``LAYERS`` operations."""
    writer = Writer(Path(path), int(width))
    before = "x"
    for index in range(LAYERS):
        after = "y" if index == LAYERS - 1 else f"x{index}"
        weight = {"y" if index % 2 else "weight": writer.weight(f"w{index}", stored)}
        writer.operation("matmul" if index % 2 else "linear", after, "float32", (1, int(width)), x=before, **weight)
        before = after
    writer.save()


def measure(step: str, path: str) -> None:
    """Do one of the steps, and print what it took."""
    import windfall

    if step != "import":
        model = windfall.load(path, threads=1)
        if step == "describe":
            assert str(model.description)
        elif step != "load":
            import numpy as np

            shape = model.message.description.input[0].type.multiArrayType.shape
            assert np.isfinite(model.predict({"x": np.ones(tuple(shape), np.float32)})["y"]).all()
    figures = {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT}
    if COUNTERS.exists():
        numbers = dict(line.split(": ") for line in COUNTERS.read_text().splitlines())
        figures |= {"read": int(numbers["rchar"]), "from disk": int(numbers["read_bytes"])}
    print(json.dumps(figures))


def forget(path: Path) -> None:
    """Let the system drop what it keeps of a package in memory, so that fetching it shows."""
    if hasattr(os, "posix_fadvise"):
        with (path / WEIGHTS).open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def run(*arguments: object, cache: str = "off") -> str:
    """Run this script again in a process of its own.

    A child counts what its parent had when it started, so that the parent must stay small.
    """
    command = [sys.executable, __file__, *map(str, arguments)]
    environment = os.environ | {"WINDFALL_CACHE": cache}
    return subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE, text=True).stdout


def measured(path: Path, rounds: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Give the medians for each step."""
    for step in STEPS:
        taken = []
        for turn in range(rounds + 1):
            forget(path)
            cache = str(path.parent / "cache") if step == "again" else "off"
            figures = json.loads(run("--measure", step, path, cache=cache))
            if turn:  # the first fetches the code itself from disk, and fills the cache
                taken.append(figures)
        yield step, {name: statistics.median(figures[name] for figures in taken) for name in taken[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--stored", nargs="+", choices=["float32", "float16", "int8"], default=["float32", "float16"])
    parser.add_argument("--measure", nargs=2, metavar=("STEP", "PACKAGE"), help=argparse.SUPPRESS)
    parser.add_argument("--write", nargs=3, metavar=("PACKAGE", "WIDTH", "STORED"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(*options.measure)
        return
    if options.write:
        write_package(*options.write)
        return
    columns = ["peak", *(["read", "from disk"] if COUNTERS.exists() else [])]
    print(f"| weights | step | {' | '.join(columns)} |\n|---|---|{'---|' * len(columns)}")
    width = round((options.gigabytes * 1e9 / 4 / LAYERS) ** 0.5)
    for size, stored in [(SMALL, "float32"), *((width, stored) for stored in options.stored)]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "m.mlpackage"
            run("--write", path, size, stored)
            title = f"{stored}, {(path / WEIGHTS).stat().st_size / 1e6:,.0f} MB"
            for step, figures in measured(path, options.rounds):
                cells = [f"{figures[name] / 1e6:,.0f} MB" for name in columns]
                print(f"| {title} | {step} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
