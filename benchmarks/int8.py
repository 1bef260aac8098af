"""Time networks in 8-bit arithmetic and in float32, each with the engine that is faster, and compare their results.

Every contestant has a process of its own; they take turns, and the ratio is the median of the ratios of neighbouring
rounds: above 1 where 8 bits are faster. Ten crops of a photograph calibrate, ten others are compared. ResNet-50 and
MobileNetV2 have random weights, so that the class they give means little, and the style network gives a picture: what
counts are the numbers.
Processors without VNNI multiply 8-bit numbers hardly faster than float32.

    python benchmarks/int8.py [--rounds 15] [--threads 2] [--networks resnet50 mobilenet style] [--models FOLDER]
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from latency import HERE
from PIL import Image
from turns import Server, in_turns, ratio

import windfall
from windfall.quantization.activations.agreement import decibels, same_class
from windfall.runtime.processor import WIDE, largest_weight

ARITHMETIC = ("float32", "int8")
ENGINES = ("onnxruntime", "openvino")
PHOTO = HERE.parent / "examples" / "style_transfer" / "photo.jpg"
CROPS = 10


def crops(size: int, seed: int) -> list[dict[str, Any]]:
    """Squares of the photograph, as arrays of 0 to 1."""
    random = np.random.default_rng(seed)
    with Image.open(PHOTO) as photo:
        picture = photo.convert("RGB")
    found = []
    for _ in range(CROPS):
        side = int(min(picture.size) * random.uniform(0.4, 0.9))
        left, top = (int(random.integers(0, edge - side)) for edge in picture.size)
        square = picture.crop((left, top, left + side, top + side)).resize((size, size))
        found.append({"image": np.asarray(square, np.float32).transpose(2, 0, 1)[np.newaxis] / 255})
    return found


def opened(path: Path, arithmetic: str, engine: str, threads: int) -> tuple[windfall.Model, list[dict[str, Any]]]:
    """The model, and the pictures to compare."""
    size = windfall.load(path).description.inputs[0].type.shape[-1]
    options = {"calibration": crops(size, 0)} if arithmetic == "int8" else {}
    return windfall.load(path, arithmetic=arithmetic, engine=engine, threads=threads, **options), crops(size, 1)


def serve(path: Path, arithmetic: str, engine: str, threads: int) -> None:
    from engine_contestant import serve as answer

    model, pictures = opened(path, arithmetic, engine, threads)
    answer(lambda: model.predict(pictures[0]))


def timed(path: Path, threads: int, rounds: int) -> dict[tuple[str, str], list[float]]:
    """Milliseconds of a warm prediction, by arithmetic and engine."""
    names = [(arithmetic, engine) for arithmetic in ARITHMETIC for engine in ENGINES]
    servers = {
        name: Server([sys.executable, __file__, "--serve", str(path), *name, "--threads", str(threads)])
        for name in names
    }
    return in_turns(servers, rounds, 3)


def row(network: str, path: Path, threads: int, rounds: int) -> str:
    times = timed(path, threads, rounds)
    best = {
        arithmetic: min(((arithmetic, engine) for engine in ENGINES), key=lambda name: statistics.median(times[name]))
        for arithmetic in ARITHMETIC
    }
    gain = ratio(times[best["float32"]], times[best["int8"]])
    results = []
    for arithmetic in ARITHMETIC:
        model, pictures = opened(path, arithmetic, best[arithmetic][1], threads)
        results.append([next(iter(model.predict(each).values())) for each in pictures])
    cells = [f"{statistics.median(times[name]):.1f} ms" for name in times]
    agreement = f"{decibels(*results):.1f} dB | {same_class(*results):.0%}"
    return f"| {network} | {' | '.join(cells)} | {gain:.2f} | {agreement} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--networks", nargs="+", default=["resnet50", "mobilenet", "style"])
    parser.add_argument("--models", type=Path, help="a folder that keeps the models for the next time")
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        path, arithmetic, engine = options.serve
        serve(Path(path), arithmetic, engine, options.threads)
        return
    print(f"weights of {'8' if largest_weight() == WIDE else '7'} bits\n")
    print("| | float32, ONNX Runtime | float32, OpenVINO | int8, ONNX Runtime | int8, OpenVINO | ratio of the best |"
          " PSNR | same largest output |\n|---|---|---|---|---|---|---|---|")  # fmt: skip
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.models or Path(temporary)
        for network in options.networks:
            path = folder / f"{network}.mlmodel"
            if not path.exists():
                subprocess.run([sys.executable, str(HERE / "networks.py"), network, str(folder)], check=True,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
            print(row(network, path, options.threads, options.rounds), flush=True)


if __name__ == "__main__":
    main()
