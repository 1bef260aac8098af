"""Time one prediction, the first prediction of a new process, and its peak memory, side by side with ONNX Runtime.

ONNX Runtime runs torch's own ONNX export of the same network. Every contestant has a process of its own; they take
turns, and the ratio is the median of the ratios of neighbouring rounds.

    python benchmarks/latency.py [--rounds 15] [--threads 2] [--networks resnet50 style]
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from turns import Figures, Server, in_turns, ratio, starts

HERE = Path(__file__).parent
PEER, OURS = "onnxruntime", "windfall"
SUFFIX = {PEER: ".onnx", OURS: ".mlmodel"}


def command(kind: str, folder: Path, network: str, threads: int, what: str) -> list[str]:
    model = folder / (network + SUFFIX[kind])
    return [sys.executable, str(HERE / "contestant.py"), kind, str(model), str(threads), what]


def warm(folder: Path, network: str, threads: int, rounds: int) -> Figures:
    """Milliseconds of a warm prediction."""
    return in_turns({kind: Server(command(kind, folder, network, threads, "serve")) for kind in SUFFIX}, rounds, 5)


def row(title: str, figures: Figures, unit: str) -> str:
    """A row of the table; the ratio is peer / ours, above 1 where windfall is better."""
    ours, peer = (statistics.median(figures[kind]) for kind in (OURS, PEER))
    return f"| {title} | {ours:.1f} {unit} | {peer:.1f} {unit} | {ratio(figures[PEER], figures[OURS]):.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--networks", nargs="+", default=["resnet50", "style"])
    parser.add_argument("--models", type=Path, help="a folder that keeps the models for the next time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.models or Path(temporary)
        print("| | windfall | ONNX Runtime | ratio |\n|---|---|---|---|")
        for network in options.networks:
            if not (folder / f"{network}.mlmodel").exists():
                subprocess.run([sys.executable, str(HERE / "networks.py"), network, str(folder)], check=True,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
            print(row(f"{network}: a prediction", warm(folder, network, options.threads, options.rounds), "ms"))
            once = {kind: command(kind, folder, network, options.threads, "once") for kind in SUFFIX}
            for what, cache in (("first start of a model", "off"), ("later start", str(folder / "cache"))):
                times, memory = starts(once, options.rounds, cache)
                print(row(f"{network}: {what}, to first prediction", times, "ms"))
                print(row(f"{network}: {what}, peak memory", memory, "MB"), flush=True)


if __name__ == "__main__":
    main()
