"""Memory and time with quantized weights that stay as they are stored, next to expanded ones and to the float32 model.

    python benchmarks/compressed.py [--rounds 15] [--starts 5] [--threads 2] [--models FOLDER]

Two networks with random weights: ResNet-50, and three fully connected layers of 4096 x 4096, one row at a time. Each
contestant runs in processes of its own, in turns. "Peak" is the most memory that a process had from its start to the
end of its third prediction, Python and all libraries included; "empty" is a process that has only imported them.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from turns import Figures, Server, in_turns, ratio, starts

HERE = Path(__file__).parent
CASES = (("resnet50", 8, "linear"), ("resnet50", 4, "kmeans"), ("dense", 4, "linear"), ("dense", 8, "linear"))
WAYS = ("expanded", "compressed")


def dense(path: Path, size: int = 4096) -> None:
    """Write three fully connected layers with biases and ReLU between them."""
    from windfall.spec.proto import FeatureTypes_pb2, Model_pb2, NeuralNetwork_pb2

    rng = np.random.default_rng(0)
    spec = Model_pb2.Model(specificationVersion=5)
    network = spec.neuralNetwork
    network.arrayInputShapeMapping = NeuralNetwork_pb2.EXACT_ARRAY_MAPPING
    for name, features in (("x", spec.description.input), ("y", spec.description.output)):
        array = features.add(name=name).type.multiArrayType
        array.shape.append(size)
        array.dataType = FeatureTypes_pb2.ArrayFeatureType.FLOAT32
    for index in range(3):
        layer = network.layers.add(name=f"dense{index}", input=[f"h{index}" if index else "x"], output=[f"d{index}"])
        product = layer.innerProduct
        product.inputChannels = product.outputChannels = size
        product.hasBias = True
        weights = rng.standard_normal((size, size), np.float32) * np.float32((2 / size) ** 0.5)
        product.weights.floatValue.extend(weights.ravel())
        product.bias.floatValue.extend(rng.standard_normal(size, np.float32))
        given = "y" if index == 2 else f"h{index + 1}"
        after = network.layers.add(name=f"relu{index}", input=[f"d{index}"], output=[given])
        after.activation.ReLU.SetInParent()
    path.write_bytes(spec.SerializeToString())


def write(folder: Path) -> None:
    """Write the float32 networks and the quantized ones."""
    import windfall

    for name, bits, mode in CASES:
        plain, small = folder / f"{name}.mlmodel", folder / f"{name}-{mode}{bits}.mlmodel"
        if not plain.exists() and name == "dense":
            dense(plain)
        elif not plain.exists():
            subprocess.run([sys.executable, str(HERE / "networks.py"), name, str(folder)], check=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        if not small.exists():
            windfall.quantize_weights(windfall.load(plain), bits=bits, mode=mode).save(small)


def contestant(path: str, way: str, threads: str, command: str) -> None:
    """Predict three times, or answer each line ``N`` with the median milliseconds of N predictions."""
    from contestant import milliseconds

    import windfall

    model = windfall.load(path, threads=int(threads), engine="onnxruntime", weights=way)
    if command == "empty":
        import onnxruntime  # noqa: F401  # what every prediction imports

        return
    ((name, shape),) = model._binder.default_shapes().items()
    x = np.random.default_rng(0).random(shape, np.float32)
    for _ in range(3):
        model.predict({name: x})
    if command == "once":
        return
    print("ready", flush=True)
    for line in sys.stdin:
        print(statistics.median(milliseconds(lambda: model.predict({name: x})) for _ in range(int(line))), flush=True)


def arguments(path: Path, way: str, threads: int, command: str) -> list[str]:
    return [sys.executable, __file__, "--contestant", str(path), way, str(threads), command]


def peak(command: list[str], rounds: int, cache: str) -> float:
    """Return the median of the most megabytes that a process had; with a cache the first one fills it."""
    return statistics.median(starts({"it": command}, rounds, cache)[1]["it"])


def warm(contestants: dict[str, tuple[Path, str]], threads: int, rounds: int) -> Figures:
    """Return milliseconds of a prediction, each contestant's in turns."""
    servers = {name: Server(arguments(path, way, threads, "serve")) for name, (path, way) in contestants.items()}
    return in_turns(servers, rounds, 3)


def compare(folder: Path, name: str, small: str, threads: int, rounds: int, starts: int) -> None:
    contestants = {"float32": (folder / f"{name}.mlmodel", "expanded")}
    contestants |= {way: (folder / f"{small}.mlmodel", way) for way in WAYS}
    times = warm(contestants, threads, rounds)
    for title, (path, way) in contestants.items():
        once = arguments(path, way, threads, "once")
        first, later = (peak(once, starts, cache) for cache in ("off", str(folder / "cache")))
        # Of pairs that ran one after the other: other work on the machine slows both.
        speed = ratio(times["expanded"], times[title])
        took = statistics.median(times[title])
        print(f"| {small if title != 'float32' else name} | {title} | {first:.0f} MB | {later:.0f} MB | {took:.1f} ms "
              f"| {speed:.2f} |", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--starts", type=int, default=5, help="processes whose peak is measured")
    parser.add_argument("--models", type=Path, help="a folder that keeps the models for the next time")
    parser.add_argument("--contestant", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        write(options.write)
        return
    if options.contestant:
        contestant(*options.contestant)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.models or Path(temporary)
        # In a process of its own: what starts another one passes its own peak on to it.
        subprocess.run([sys.executable, __file__, "--write", str(folder)], check=True)
        empty = arguments(folder / "dense.mlmodel", "expanded", options.threads, "empty")
        print(f"empty: {peak(empty, 5, 'off'):.0f} MB\n")
        print("| model | weights | peak, first start | peak, later start | prediction | speed |")
        print("|---|---|---|---|---|---|")
        for name, bits, mode in CASES:
            compare(folder, name, f"{name}-{mode}{bits}", options.threads, options.rounds, options.starts)


if __name__ == "__main__":
    main()
