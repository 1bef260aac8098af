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
import time
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
PEER, OURS = "onnxruntime", "windfall"
SUFFIX = {PEER: ".onnx", OURS: ".mlmodel"}
Figures = dict[str, list[float]]


def command(kind: str, folder: Path, network: str, threads: int, what: str) -> list[str]:
    model = folder / (network + SUFFIX[kind])
    return [sys.executable, str(HERE / "contestant.py"), kind, str(model), str(threads), what]


class Server:
    """A contestant that stays warm."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self.process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer()

    def _answer(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("a contestant stopped")
        return line

    def time(self, runs: int) -> float:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{runs}\n")
        self.process.stdin.flush()
        return float(self._answer())

    def close(self) -> None:
        self.process.communicate()


def warm(folder: Path, network: str, threads: int, rounds: int) -> Figures:
    """Milliseconds of a warm prediction."""
    servers = {kind: Server(command(kind, folder, network, threads, "serve")) for kind in SUFFIX}
    times: Figures = {kind: [] for kind in SUFFIX}
    for turn in range(rounds):
        for kind in sorted(servers, reverse=turn % 2 == 0):
            times[kind].append(servers[kind].time(5))
    for server in servers.values():
        server.close()
    return times


def cold(arguments: dict[str, list[str]], rounds: int, cache: str) -> tuple[Figures, Figures]:
    """Milliseconds from the start of a process to the end of its first prediction, and its peak memory in MB.

    ``cache`` is the folder of windfall's compiled graphs, or "off".
    """
    times: Figures = {kind: [] for kind in SUFFIX}
    memory: Figures = {kind: [] for kind in SUFFIX}
    environment = os.environ | {"WINDFALL_CACHE": cache}
    for turn in range(rounds + 1):
        for kind in sorted(SUFFIX, reverse=turn % 2 == 0):
            start = time.perf_counter()
            process = subprocess.Popen(arguments[kind], env=environment)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                raise SystemExit("a contestant stopped")
            if turn:  # the first round fills the caches
                times[kind].append((time.perf_counter() - start) * 1000)
                memory[kind].append(usage.ru_maxrss / 1024)
    return times, memory


def row(title: str, figures: Figures, unit: str) -> str:
    """A row of the table; the ratio is peer / ours, above 1 where windfall is better."""
    ratio = statistics.median(peer / ours for peer, ours in zip(figures[PEER], figures[OURS], strict=True))
    ours, peer = (statistics.median(figures[kind]) for kind in (OURS, PEER))
    return f"| {title} | {ours:.1f} {unit} | {peer:.1f} {unit} | {ratio:.2f} |"


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
                times, memory = cold(once, options.rounds, cache)
                print(row(f"{network}: {what}, to first prediction", times, "ms"))
                print(row(f"{network}: {what}, peak memory", memory, "MB"), flush=True)


if __name__ == "__main__":
    main()
