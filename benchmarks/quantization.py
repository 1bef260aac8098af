"""Time what makes models smaller, file to file, side by side with coremltools, each in a process of its own.

ResNet-50 with 1,000 classes and 25.5 M random weights, as a neural network and as an ML program. Times start after the
imports and end when the new file is written. "memory" is the peak above what the imports took, over the size of the
original file. "error" is the sum of squared differences of all weights, windfall's over coremltools'.

    python benchmarks/quantization.py [--rounds 3] [--jobs "8-bit linear, network" ...] [--peer-rounds 1]
    python benchmarks/quantization.py --tables 20   # against scikit-learn's KMeans of 20 restarts, on so many layers
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent))
STATUS = Path("/proc/self/status")
COLUMNS = ("windfall", "size", "memory", "coremltools", "size", "times as fast", "error")


class Job(NamedTuple):
    bits: int
    mode: str
    suffix: str


JOBS = {
    "8-bit linear, network": Job(8, "linear", ".mlmodel"),
    "4-bit linear, network": Job(4, "linear", ".mlmodel"),
    "4-bit k-means, network": Job(4, "kmeans", ".mlmodel"),
    "8-bit linear, program": Job(8, "linear", ".mlpackage"),
    "4-bit k-means, program": Job(4, "kmeans", ".mlpackage"),
    "8-bit k-means, program": Job(8, "kmeans", ".mlpackage"),
}


def with_windfall(job: Job) -> Callable[[str, str], None]:
    import windfall
    import windfall.quantization

    def run(source: str, target: str) -> None:
        windfall.quantize_weights(windfall.load(source), job.bits, job.mode).save(target)

    return run


def with_coremltools(job: Job) -> Callable[[str, str], None]:
    import coremltools as ct
    import coremltools.optimize.coreml as cto
    from coremltools.models.neural_network import quantization_utils

    def network(source: str, target: str) -> None:
        model = ct.models.MLModel(source, skip_model_load=True)
        small = quantization_utils.quantize_weights(model, job.bits, job.mode)
        ct.models.utils.save_spec(small if not hasattr(small, "get_spec") else small.get_spec(), target)

    def program(source: str, target: str) -> None:
        model = ct.models.MLModel(source, skip_model_load=True)
        if job.mode == "kmeans":
            config = cto.OpPalettizerConfig(mode="kmeans", nbits=job.bits)
            small = cto.palettize_weights(model, cto.OptimizationConfig(global_config=config))
        else:
            linear = cto.OpLinearQuantizerConfig(mode="linear")
            small = cto.linear_quantize_weights(model, cto.OptimizationConfig(global_config=linear))
        small.save(target)

    return network if job.suffix == ".mlmodel" else program


CONTESTANTS = {"windfall": with_windfall, "coremltools": with_coremltools}


def child(contestant: str, name: str, source: str, target: str) -> None:
    """Run one job and print what it took."""
    run = CONTESTANTS[contestant](JOBS[name])
    before = peak_memory()
    start = time.perf_counter()
    run(source, target)
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "peak": peak_memory() - before, "size": size_of(Path(target))}))


def peak_memory() -> int:
    """Return the most memory that this process has had, in bytes."""
    if not STATUS.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # What getrusage counts starts with the memory of the process that this one was started by.
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def size_of(path: Path) -> int:
    return sum(p.stat().st_size for p in (path.rglob("*") if path.is_dir() else [path]) if p.is_file())


def measure(contestant: str, name: str, source: Path, target: Path) -> dict[str, float] | str:
    """Run a job in a process of its own; return what it printed, or the last line of its error."""
    if target.is_dir():
        shutil.rmtree(target)
    command = [sys.executable, __file__, "--child", contestant, name, str(source), str(target)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "2"}
    )
    if done.returncode:
        return done.stderr.strip().splitlines()[-1]
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def squared_error(original: Path, small: Path) -> float:
    """Return the sum of squared differences of all weights."""
    import numpy as np

    from windfall.quantization.networks import layers
    from windfall.quantization.weight import values_of
    from windfall.spec.modelfile import read_model_file

    files = [read_model_file(path) for path in (original, small)]
    total = 0.0
    weights = [[w for layer in layers(f, f.spec) for w in layer.weights] for f in files]
    for first, second in zip(*weights, strict=True):
        difference = values_of(files[0], first) - values_of(files[1], second)
        total += float(np.sum(np.square(difference, dtype=np.float64)))
    return total


def compare(name: str, folder: Path, rounds: int, peer_rounds: int) -> None:
    """Print a row: both contestants in turn."""
    source = folder / f"resnet50{JOBS[name].suffix}"
    targets = {who: folder / f"{who}{JOBS[name].suffix}" for who in CONTESTANTS}
    found: dict[str, list[dict[str, float] | str]] = {who: [] for who in CONTESTANTS}
    for number in range(rounds):
        found["windfall"].append(measure("windfall", name, source, targets["windfall"]))
        if number < peer_rounds:
            found["coremltools"].append(measure("coremltools", name, source, targets["coremltools"]))
    print(f"| {name} | {' | '.join(cells(found, source, targets))} |", flush=True)


def cells(found: dict[str, list[Any]], source: Path, targets: dict[str, Path]) -> list[str]:
    own = found["windfall"]
    seconds = statistics.median(one["seconds"] for one in own)
    row = [f"{seconds:.2f} s", f"{own[0]['size'] / 1e6:.2f} MB", f"{max(o['peak'] for o in own) / size_of(source):.2f}"]
    peer = found["coremltools"]
    failure = next((one for one in peer if isinstance(one, str)), None)
    if not peer or failure is not None:
        return [*row, failure or "not run", "", "", ""]
    theirs = statistics.median(one["seconds"] for one in peer)
    error = squared_error(source, targets["windfall"]) / squared_error(source, targets["coremltools"])
    return [*row, f"{theirs:.2f} s", f"{peer[0]['size'] / 1e6:.2f} MB", f"{theirs / seconds:.1f}", f"{error:.3f}"]


def tables(folder: Path, count: int) -> None:
    """Print how the tables of the smallest layers compare with those of scikit-learn."""
    import numpy as np
    from sklearn.cluster import KMeans

    from windfall.quantization.codecs import encode_kmeans
    from windfall.quantization.networks import layers
    from windfall.quantization.weight import values_of
    from windfall.spec.modelfile import read_model_file

    file = read_model_file(folder / "resnet50.mlmodel")
    weights = [w for layer in layers(file, file.spec) for w in layer.weights if not w.is_vector]
    worst = 0.0
    for weight in sorted(weights, key=lambda w: w.size)[:count]:
        values = values_of(file, weight).reshape(-1)
        encoded = encode_kmeans(values.reshape(1, -1), 4)
        assert encoded.table is not None
        own = float(np.square(encoded.table[encoded.codes[0]] - values, dtype=np.float64).sum())
        theirs = KMeans(16, n_init=20, random_state=0).fit(values.reshape(-1, 1)).inertia_
        worst = max(worst, own / theirs)
        print(f"{weight.layer}: {weight.size:,} values, error {own / theirs:.6f} of scikit-learn's", flush=True)
    print(f"the largest of {min(count, len(weights))}: {worst:.6f}")


def build(folder: Path) -> None:
    """Write ResNet-50 as a neural network and as an ML program."""
    import coremltools as ct
    import networks
    import torch

    networks.build("resnet50", folder)
    torch.manual_seed(0)
    network = networks.resnet50().eval()
    networks._vary_normalization(network)
    traced = torch.jit.trace(network, torch.rand(1, 3, 224, 224))
    inputs = [ct.TensorType(name="image", shape=(1, 3, 224, 224))]
    options = {"minimum_deployment_target": ct.target.iOS16, "compute_precision": ct.precision.FLOAT32}
    ct.convert(traced, convert_to="mlprogram", inputs=inputs, **options).save(str(folder / "resnet50.mlpackage"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer-rounds", type=int, default=1)
    parser.add_argument("--jobs", nargs="*", default=list(JOBS), choices=JOBS)
    parser.add_argument("--tables", type=int, default=0)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--build", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(*arguments.child)
        return
    if arguments.build:
        build(arguments.build)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(exist_ok=True)
        if not (folder / "resnet50.mlpackage").exists():
            subprocess.run([sys.executable, __file__, "--build", str(folder)], check=True)
        if arguments.tables:
            tables(folder, arguments.tables)
            return
        print(f"| {' | '.join(['', *COLUMNS])} |\n|{'---|' * (len(COLUMNS) + 1)}")
        for name in arguments.jobs:
            compare(name, folder, arguments.rounds, arguments.peer_rounds)


if __name__ == "__main__":
    main()
