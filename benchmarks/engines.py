"""Time each network with ONNX Runtime, with OpenVINO and with what windfall chooses between them.

Every contestant has a process of its own; they take turns, and a ratio is the median of the ratios of neighbouring
rounds: above 1 where OpenVINO, or the choice, is faster than ONNX Runtime.

    python benchmarks/engines.py [--rounds 15] [--threads 2] [--networks resnet50 style] [--starts 5]
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from latency import HERE
from turns import Figures, Server, in_turns, ratio, starts

ENGINES = ("onnxruntime", "openvino", "auto")
CONTESTANT = HERE / "engine_contestant.py"


def command(engine: str, path: Path, threads: int, what: str) -> list[str]:
    return [sys.executable, str(CONTESTANT), engine, str(path), str(threads), what]


def warm(path: Path, threads: int, rounds: int) -> Figures:
    """Milliseconds of a warm prediction."""
    return in_turns({engine: Server(command(engine, path, threads, "serve")) for engine in ENGINES}, rounds, 5)


def cold(path: Path, threads: int, rounds: int, cache: Path) -> Figures:
    """Milliseconds from the start of a process to the end of its first prediction, with a cache that is full."""
    return starts({engine: command(engine, path, threads, "once") for engine in ENGINES}, rounds, str(cache))[0]


def row(title: str, figures: Figures) -> str:
    cells = [f"{statistics.median(figures[engine]):.1f} ms" for engine in ENGINES]
    cells += [f"{ratio(figures['onnxruntime'], figures[engine]):.2f}" for engine in ENGINES[1:]]
    return f"| {title} | {' | '.join(cells)} |"


def chosen(path: Path, threads: int, times: int) -> str:
    """What is chosen by several processes that remember nothing."""
    environment = os.environ | {"WINDFALL_CACHE": "off"}
    arguments = command("auto", path, threads, "chosen")
    found = [
        subprocess.run(arguments, check=True, capture_output=True, text=True, env=environment).stdout.strip()
        for _ in range(times)
    ]
    return ", ".join(f"{name} {found.count(name)}x" for name in dict.fromkeys(found))


def overhead(engine: str, folder: Path) -> str:
    """Microseconds of ``predict`` and of the engine's own call, of a small network."""
    path = folder / "small.mlmodel"
    shown = subprocess.run(command(engine, path, 1, "overhead"), check=True, capture_output=True, text=True).stdout
    whole, call = map(float, shown.split())
    return f"| {engine} | {whole:.0f} us | {call:.0f} us | {whole - call:.0f} us |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--networks", nargs="+", default=["resnet50", "style"])
    parser.add_argument("--models", type=Path, help="a folder that keeps the models for the next time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.models or Path(temporary)
        print("| | ONNX Runtime | OpenVINO | auto | OpenVINO, ratio | auto, ratio |\n|---|---|---|---|---|---|")
        choices = []
        for network in options.networks:
            path = folder / f"{network}.mlmodel"
            if not path.exists():
                subprocess.run([sys.executable, str(HERE / "networks.py"), network, str(folder)], check=True,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
            print(row(f"{network}: a prediction", warm(path, options.threads, options.rounds)), flush=True)
            times = cold(path, options.threads, options.starts, Path(temporary) / "cache")
            print(row(f"{network}: later start, to first prediction", times), flush=True)
            choices.append(f"{network}: auto has chosen {chosen(path, options.threads, options.starts)}")
        print("\n" + "\n".join(choices))
        subprocess.run([sys.executable, str(CONTESTANT), "", str(Path(temporary) / "small.mlmodel"), "1", "make"],
                       check=True)  # fmt: skip
        print("\n| small network | predict | the engine's call | difference |\n|---|---|---|---|")
        for engine in ENGINES[:2]:
            print(overhead(engine, Path(temporary)))


if __name__ == "__main__":
    main()
