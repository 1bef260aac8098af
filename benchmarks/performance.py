"""Time one float32 prediction of eight networks with windfall and with its peers, and the start of ResNet-50.

Every contestant has a process of its own; they take turns, and a ratio is the median of the ratios of neighbouring
rounds: peer / windfall, above 1 where windfall is faster. Results are compared with torch's before anything is timed.
What a peer cannot convert or compute is listed with its reason. The peers that are no dependency of windfall run in the
environment of PEERS (``requirements/peers.txt``).

    python benchmarks/performance.py [--peers .venv-peers/bin/python] [--rounds 10] [--threads 2] [--networks lstm bert]
"""

import argparse
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from turns import Figures, Server, in_turns, ratio, starts

HERE = Path(__file__).parent
OURS = ("neuralnetwork", "mlprogram")
PEERS: Mapping[str, str] = {
    "onnxruntime": "ONNX Runtime",
    "exported": "ONNX Runtime, torch.export",
    "openvino": "OpenVINO",
    "torch_compile": "torch.compile",
    "ncnn": "ncnn",
    "litert": "LiteRT",
}
ELSEWHERE = ("exported", "ncnn", "litert")
"""The contestants whose files are written in the environment of the peers; the latter two run there, too."""
NETWORKS: Mapping[str, tuple[str, int]] = {
    "resnet50": ("ResNet-50, 224x224", 4),
    "mobilenet": ("MobileNetV2, 224x224", 10),
    "style256": ("style network, 256x256", 2),
    "style512": ("style network, 512x512", 1),
    "detector": ("detector, 416x416", 2),
    "bert": ("BERT of 6 layers, 128 tokens", 5),
    "gpt2": ("GPT-2 small, one token behind 128", 5),
    "lstm": ("2 LSTM layers, 100 steps", 15),
}
"""What a network is called in the table, and how many predictions make a round."""
PAUSE = 0.3
"""Seconds before each turn, in which the threads of the contestant before go to sleep."""
PATIENCE = 90
"""Seconds that a contestant may take to its first prediction, its compilation included."""


@dataclass
class Race:
    """Who takes part, and where its files are."""

    folder: Path
    peers: str | None
    threads: int
    rounds: int
    missing: list[str] = field(default_factory=list)

    def interpreter(self, kind: str, *, writing: bool) -> str | None:
        elsewhere = kind in ELSEWHERE and (writing or kind != "exported")
        return self.peers if elsewhere else sys.executable

    def write(self, kind: str, name: str) -> bool:
        """Write a contestant's file, if it is not there; False if it cannot."""
        made = self.folder / f"{name}.{kind}.made"
        python = self.interpreter(kind, writing=True)
        if made.exists() or kind == "torch_compile":
            return True
        if python is None:
            return False
        arguments = [python, str(HERE / "cases.py"), kind, name, str(self.folder)]
        done = subprocess.run(arguments, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip()] or [f"it ended with {done.returncode}"]
            self.missing.append(f"{name}, {PEERS.get(kind, kind)}: not converted: {lines[-1][:200]}")
            return False
        made.touch()
        return True

    def command(self, kind: str, name: str, what: str) -> list[str]:
        python = self.interpreter(kind, writing=False)
        assert python is not None
        return [python, str(HERE / "peers.py"), kind, name, str(self.folder), str(self.threads), what]

    def contestants(self, name: str) -> dict[str, Server]:
        """Those that gave what torch gives."""
        self.write("sample", name)
        servers: dict[str, Server] = {}
        environment = os.environ | {"WINDFALL_CACHE": str(self.folder / "cache")}
        for kind in (*OURS, *PEERS):
            if not self.write(kind, name):
                continue
            try:
                server = Server(self.command(kind, name, "serve"), environment, PATIENCE)
            except SystemExit:  # a library may end its process
                self.missing.append(f"{name}, {PEERS.get(kind, kind)}: no result in {PATIENCE} s, or its process ended")
                continue
            if server.about.startswith("READY"):
                servers[kind] = server
            else:
                self.missing.append(f"{name}, {PEERS.get(kind, kind)}: {server.about.removeprefix('FAILED ')}")
                server.close()
            time.sleep(PAUSE)
        return servers


@dataclass
class Row:
    """What was found for one network."""

    name: str
    times: Figures
    about: Mapping[str, str]

    @property
    def ours(self) -> str:
        """The kind of file that is in the table: the neural network where there is one."""
        return next(kind for kind in OURS if kind in self.times)

    def ratio(self, kind: str) -> float:
        return ratio(self.times[kind], self.times[self.ours])

    @property
    def best(self) -> str:
        return min((kind for kind in PEERS if kind in self.times), key=self.ratio)

    def cells(self) -> list[str]:
        median = {kind: statistics.median(times) for kind, times in self.times.items()}
        engine = self.about[self.ours].split()[2]
        cells = [NETWORKS[self.name][0], f"{median[self.ours]:.1f} ms, {ENGINES[engine]}"]
        cells.append(f"{median['mlprogram']:.1f} ms" if "mlprogram" in median and self.ours != "mlprogram" else "")
        cells += [f"{median[kind]:.1f} ms ({self.ratio(kind):.2f})" if kind in median else "" for kind in PEERS]
        return [*cells, PEERS[self.best], f"{self.ratio(self.best):.2f}"]


ENGINES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}


def table(rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


def predictions(race: Race, names: Sequence[str]) -> list[Row]:
    """Time every network; prints each as it is done."""
    rows = []
    for name in names:
        servers = race.contestants(name)
        about = {kind: server.about for kind, server in servers.items()}
        row = Row(name, in_turns(servers, race.rounds, NETWORKS[name][1], PAUSE), about)
        rows.append(row)
        print(f"{name}: {row.ratio(row.best):.2f} of {PEERS[row.best]}; "
              + "; ".join(f"{kind} {statistics.median(row.times[kind]):.2f} ms, {about[kind][6:]}" for kind in about),
              file=sys.stderr, flush=True)  # fmt: skip
    return rows


def beginnings(race: Race, name: str) -> str:
    """Time the start of a process to the end of its first prediction, the cache being full, and its peak memory."""
    kinds = ["neuralnetwork", *(kind for kind in PEERS if kind not in ("torch_compile", "exported"))]
    race.write("sample", name)
    commands = {kind: race.command(kind, name, "once") for kind in kinds if race.write(kind, name)}
    times, memory = starts(commands, race.rounds, str(race.folder / "cache"))
    rows = [["", "start to first prediction", "ratio", "peak memory", "ratio"]]
    for kind in commands:
        found = [f"{statistics.median(times[kind]):.0f} ms", f"{ratio(times[kind], times[kinds[0]]):.2f}"]
        found += [f"{statistics.median(memory[kind]):.0f} MB", f"{ratio(memory[kind], memory[kinds[0]]):.2f}"]
        rows.append([PEERS.get(kind, "windfall"), *found])
    return table(rows)


def report(rows: Sequence[Row], missing: Sequence[str]) -> str:
    """The table, the geometric mean of its last column, and who is not in it."""
    titles = ["", "windfall", "the same as an ML program", *PEERS.values(), "best peer", "ratio"]
    best = [row.ratio(row.best) for row in rows]
    mean = math.exp(statistics.fmean(map(math.log, best)))
    largest = max(float(each.split()[1]) for row in rows for each in row.about.values())
    lines = [table([titles, *(row.cells() for row in rows)]), ""]
    lines.append(f"geometric mean {mean:.2f}, least {min(best):.2f}; largest difference from torch {largest:.0e}")
    return "\n".join([*lines, *(f"- {each}" for each in missing)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--peers", help="the Python that has requirements/peers.txt; without it they are left out")
    parser.add_argument("--models", type=Path, help="a folder that keeps the models for the next time")
    parser.add_argument("--start", default="resnet50", choices=[*NETWORKS, "none"], help="the network that is started")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.models or Path(temporary)
        race = Race(folder, options.peers, options.threads, options.rounds)
        if options.networks:
            print(report(predictions(race, options.networks), race.missing), flush=True)
        if options.start != "none":
            print(f"\n{NETWORKS[options.start][0]}\n\n{beginnings(race, options.start)}")


if __name__ == "__main__":
    main()
