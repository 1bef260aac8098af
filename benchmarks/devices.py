"""Time a prediction, and an image of a batch, on a graphics card with CUDA and on the processor.

Beside windfall: ONNX Runtime with torch's own ONNX export, and torch itself, both on the card. Inputs and outputs are
NumPy arrays everywhere, and TensorFloat-32 is off. Needs onnxruntime-gpu and a build of torch for CUDA.

    python benchmarks/devices.py [--rounds 15] [--networks resnet50 style] [--models FOLDER]
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from turns import Figures, Server, in_turns, ratio

HERE = Path(__file__).parent
KINDS = ("windfall-cpu", "windfall-cuda", "windfall-auto", "onnxruntime-cuda", "torch-cuda")
SIZES = {"resnet50": 224, "mobilenet": 224, "style": 256}
RUNS = {"serve": 20, "batch": 256}


def timed(folder: Path, network: str, what: str, rounds: int) -> Figures:
    """Milliseconds of a prediction, or of an image of a batch."""
    script = str(HERE / "device_contestant.py")
    arguments = [sys.executable, script, "", str(folder), network, str(SIZES[network]), what]
    kinds = [kind for kind in KINDS if what == "serve" or kind != "windfall-cpu"]
    servers = {kind: Server([*arguments[:2], kind, *arguments[3:]]) for kind in kinds}
    return in_turns(servers, rounds, RUNS[what])


def row(title: str, times: Figures) -> str:
    """Milliseconds of each, and how many times as fast windfall's own choice is."""
    found = {kind: f"{statistics.median(each):.3f}" for kind, each in times.items()}
    for kind in ("onnxruntime-cuda", "torch-cuda"):
        found[f"ratio {kind}"] = f"{ratio(times[kind], times['windfall-auto']):.2f}"
    cells = [found.get(kind, "") for kind in (*KINDS, "ratio onnxruntime-cuda", "ratio torch-cuda")]
    return f"| {title} | {' | '.join(cells)} |"


def differences(folder: Path, network: str) -> str:
    """Return how far each result is from torch's, beside the largest number in it."""
    results = {kind: np.load(folder / f"{network}-{kind}.npy") for kind in KINDS}
    right = results.pop("torch-cuda")
    errors = {kind: np.abs(one - right).max() / np.abs(right).max() for kind, one in results.items()}
    return f"{network}: " + ", ".join(f"{kind} {error:.1e}" for kind, error in errors.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--networks", nargs="+", default=list(SIZES))
    parser.add_argument("--models", type=Path, help="a folder that keeps the models for the next time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.models or Path(temporary)
        print(f"| | {' | '.join(KINDS)} | ONNX Runtime, ratio | torch, ratio |\n|{'---|' * 8}")
        for network in options.networks:
            if not (folder / f"{network}.mlmodel").exists():
                subprocess.run([sys.executable, str(HERE / "networks.py"), network, str(folder)], check=True,
                               stdout=subprocess.DEVNULL)  # fmt: skip
            for what, title in (("serve", "a prediction"), ("batch", "an image of a batch")):
                print(row(f"{network}: {title}, ms", timed(folder, network, what, options.rounds)), flush=True)
        print("\nlargest difference from torch, relative to the largest number:")
        for network in options.networks:
            print(differences(folder, network))


if __name__ == "__main__":
    main()
