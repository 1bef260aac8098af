"""Custom layers and models next to what they stand for.

- layer: the style transfer network with one of its activations as a custom layer, encoded as an operator and evaluated
  with NumPy; against the built-in one.
- crossing: a chain of eight evaluated layers in a small network; what a prediction takes beyond the same network with
  encoded layers and the layers' own time, for each layer: once out of a graph and once into one. In processor time,
  with one thread: microseconds of wall time are those of whatever else runs.
- search: the ten nearest of 1,000,000 vectors of 128 dimensions as a custom model, compared with all and by hashing;
  against the same code without windfall, and usearch where it is installed. The recall of hashing is printed.

Contestants have a process of their own; they take turns. A ratio above 1 is in windfall's favour.

    python benchmarks/custom.py [--rounds 15] [--threads 2] [--only layer crossing search] [--processor-time]
"""

import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from examples.custom import similar_images as similar  # noqa: E402  # the root is on the path now

STYLE = ROOT / "examples/style_transfer/models/city.mlmodel"
VECTORS, DIMENSIONS, CENTRES, NEIGHBOURS, TABLES, BITS = 1_000_000, 128, 20_000, 10, 32, 14
CHAIN, SHAPE = 8, (16, 32, 32)
CLOCK = "WINDFALL_BENCHMARK_PROCESSOR_TIME"
Predict = Callable[[], Any]


# One layer of a network


def _relu(method: str, times: list[float] | None = None) -> Any:
    """A class for a rectifier: encoded, or evaluated; the latter may note how long it takes by itself."""
    import windfall

    class Relu(windfall.CustomLayer):
        def output_shapes(self, input_shapes: Any) -> Any:
            return input_shapes

        def evaluate(self, inputs: Any) -> Any:
            start = time.process_time()
            result = np.maximum(inputs[0], np.float32(0))
            if times is not None:
                times.append(time.process_time() - start)
            return [result]

    if method == "encoded":
        Relu.encode = lambda _self, graph, inputs: graph.restore(graph.op("Relu", graph.planes(inputs[0])), inputs[0])
    return Relu


def style_models(folder: Path) -> None:
    import windfall

    spec = windfall.load(STYLE).spec
    (folder / "built-in.mlmodel").write_bytes(spec.SerializeToString())
    relus = [layer for layer in spec.neuralNetwork.layers if layer.activation.HasField("ReLU")]
    windfall.custom.add_layer(spec, "Relu", replaces=relus[len(relus) // 2].name)
    (folder / "custom.mlmodel").write_bytes(spec.SerializeToString())


def _style(folder: Path, threads: int, method: str) -> Predict:
    from PIL import Image

    import windfall

    name = "built-in" if method == "built-in" else "custom"
    model = windfall.load(folder / f"{name}.mlmodel", threads=threads, custom_layers={"Relu": _relu(method)})
    picture = Image.open(ROOT / "examples/style_transfer/photo.jpg").convert("RGB").resize((256, 256))
    return lambda: model.predict({model.description.inputs[0].name: picture})


# Crossings


def chain_model(folder: Path) -> None:
    import windfall

    spec = windfall.custom.make_network({"x": SHAPE}, {"y": SHAPE}, exact=True)
    layers = spec.neuralNetwork.layers
    for number in range(CHAIN):
        layer = layers.add(name=f"scale{number}", input=[f"v{number}" if number else "x"], output=[f"s{number}"])
        layer.activation.linear.alpha, layer.activation.linear.beta = 0.9, 0.1
        windfall.custom.add_layer(spec, "Relu", inputs=[f"s{number}"], outputs=[f"v{number + 1}"], name=f"relu{number}")
    last = layers.add(name="last", input=[f"v{CHAIN}"], output=["y"]).activation.linear
    last.alpha, last.beta = 0.9, 0.1
    (folder / "chain.mlmodel").write_bytes(spec.SerializeToString())


def _chain(folder: Path, threads: int, method: str) -> Predict:
    """Predictions; the evaluated one returns the time of the layers alone."""
    import windfall

    times: list[float] = []
    model = windfall.load(folder / "chain.mlmodel", threads=threads, custom_layers={"Relu": _relu(method, times)})
    x = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)

    def predict() -> float:
        times.clear()
        for _ in range(100):
            model.predict({"x": x})
        return sum(times)

    return predict


# Similarity search


def vectors() -> Any:
    random = np.random.default_rng(0)
    centres = random.normal(size=(CENTRES, DIMENSIONS)).astype(np.float32)
    found = centres[random.integers(0, CENTRES, VECTORS)]
    found += random.normal(size=found.shape).astype(np.float32) * np.float32(0.5)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return found


def search_models(folder: Path) -> None:
    known = vectors()
    np.save(folder / "vectors.npy", known)
    names = [str(number) for number in range(VECTORS)]
    for name, tables in (("exact", 0), ("hashed", TABLES)):
        spec = similar.search_model(known, names, neighbours=NEIGHBOURS, tables=tables, bits=BITS)
        (folder / f"{name}.mlmodel").write_bytes(spec.SerializeToString())


def queries(known: Any, count: int = 20) -> Any:
    random = np.random.default_rng(1)
    found = known[random.integers(0, len(known), count)]
    found = found + random.normal(size=found.shape).astype(np.float32) * np.float32(0.02)
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def _windfall_search(folder: Path, name: str, threads: int) -> Predict:
    import windfall

    model = windfall.load(folder / f"{name}.mlmodel", threads=threads)
    asked = queries(np.load(folder / "vectors.npy", mmap_mode="r"))
    return lambda: [model.predict({"print": query})["names"] for query in asked]


def _direct_search(folder: Path, tables: int) -> Predict:
    known = np.load(folder / "vectors.npy")
    asked = queries(known)
    names = [str(number) for number in range(VECTORS)]
    hashes = similar.Hashes(known, tables, BITS) if tables else None

    def search(query: Any) -> dict[str, Any]:
        candidates = None if hashes is None else hashes.candidates(query, NEIGHBOURS)
        found, cosines = similar.best((known if candidates is None else known[candidates]) @ query, NEIGHBOURS)
        nearest = [names[index] for index in (found if candidates is None else candidates[found])]
        return {"names": nearest, "cosines": dict(zip(nearest, cosines.tolist(), strict=True)), "nearest": nearest[0]}

    return lambda: [search(query)["names"] for query in asked]


def _usearch(folder: Path, threads: int) -> Predict:
    from usearch.index import Index

    known = np.load(folder / "vectors.npy")
    index = Index(ndim=DIMENSIONS, metric="cos")
    index.add(np.arange(VECTORS), known, threads=threads)
    asked = queries(known)
    return lambda: [[str(key) for key in index.search(query, NEIGHBOURS).keys] for query in asked]


MAKERS = {"layer": style_models, "crossing": chain_model, "search": search_models}
CONTESTANTS: dict[str, dict[str, Callable[[Path, int], Predict]]] = {
    "layer": {method: lambda folder, n, method=method: _style(folder, n, method)
              for method in ("encoded", "evaluated", "built-in")},
    "crossing": {method: lambda folder, _n, method=method: _chain(folder, 1, method)
                 for method in ("evaluated", "encoded")},
    "search": {
        "windfall, all": lambda folder, n: _windfall_search(folder, "exact", n),
        "NumPy, all": lambda folder, _n: _direct_search(folder, 0),
        "windfall, hashed": lambda folder, n: _windfall_search(folder, "hashed", n),
        "NumPy, hashed": lambda folder, _n: _direct_search(folder, TABLES),
        **({"usearch": _usearch} if importlib.util.find_spec("usearch") else {}),
    },
}  # fmt: skip
PAIRS = {
    "layer": [("encoded", "built-in"), ("evaluated", "built-in")],
    "crossing": [("evaluated", "encoded")],
    "search": [("windfall, all", "NumPy, all"), ("windfall, hashed", "NumPy, hashed"), ("windfall, hashed", "usearch")],
}
"""What is compared with what; the first is windfall's."""


class Server:
    """A contestant in a process of its own."""

    def __init__(self, task: str, name: str, folder: Path, threads: int) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
        command = [sys.executable, __file__, "--serve", task, name, str(folder), str(threads)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ask(self, command: str = "go") -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        return eval(self.answer())  # noqa: S307  # what this very script printed


def serve(task: str, name: str, folder: str, threads: str) -> None:
    predict = CONTESTANTS[task][name](Path(folder), int(threads))
    result = predict()
    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() == "result":
            print(result, flush=True)
            continue
        clock = time.process_time if task == "crossing" or CLOCK in os.environ else time.perf_counter
        start = clock()
        result = predict()
        print((clock() - start, result if task == "crossing" else 0.0), flush=True)


def compare(task: str, folder: Path, threads: int, rounds: int) -> None:
    MAKERS[task](folder)
    servers = {name: Server(task, name, folder, threads) for name in CONTESTANTS[task]}
    if any(server.answer() != "ready" for server in servers.values()):
        raise SystemExit("a contestant stopped")
    figures: dict[str, list[tuple[float, float]]] = {name: [] for name in servers}
    for turn in range(rounds):
        for name in sorted(servers, reverse=turn % 2 == 1):
            figures[name].append(servers[name].ask())
    results = {name: server.ask("result") for name, server in servers.items()} if task == "search" else {}
    for server in servers.values():
        server.process.communicate()
    for ours, theirs in PAIRS[task]:
        if theirs in figures:
            _print_row(task, ours, theirs, figures)
    if task == "crossing":
        _print_crossing(figures)
    for name, result in results.items():
        _print_recall(name, result, results["NumPy, all"])


def _print_row(task: str, ours: str, theirs: str, figures: dict[str, list[tuple[float, float]]]) -> None:
    mine, other = ([seconds for seconds, _ in figures[name]] for name in (ours, theirs))
    ratio = statistics.median(b / a for a, b in zip(mine, other, strict=True))
    medians = " | ".join(f"{statistics.median(times) * 1000:.2f} ms" for times in (mine, other))
    print(f"| {task} | {ours} | {theirs} | {medians} | {ratio:.3f} |", flush=True)


def _print_crossing(figures: dict[str, list[tuple[float, float]]]) -> None:
    """What evaluated layers cost beyond their own time, for each; a round has 100 predictions."""
    pairs = zip(figures["evaluated"], figures["encoded"], strict=True)
    costs = [(evaluated - own - encoded) / 100 / CHAIN * 1e6 for (evaluated, own), (encoded, _) in pairs]
    print(f"  a layer costs {statistics.median(costs):.1f} µs beyond its own time, out of a graph and into the next")


def _print_recall(name: str, result: list[list[str]], expected: list[list[str]]) -> None:
    found = sum(len(set(one) & set(other)) for one, other in zip(result, expected, strict=True))
    print(f"  recall of {name}: {found / sum(map(len, expected)):.3f}")


def main() -> None:
    if sys.argv[1:2] == ["--serve"]:
        serve(*sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=list(CONTESTANTS), default=list(CONTESTANTS))
    parser.add_argument("--processor-time", action="store_true", help="for a machine with other work; with --threads 1")
    options = parser.parse_args()
    os.environ |= {CLOCK: "1"} if options.processor_time else {}
    print("| | windfall | against | windfall | against | ratio |\n|---|---|---|---|---|---|")
    for task in options.only:
        with tempfile.TemporaryDirectory() as folder:
            compare(task, Path(folder), options.threads, options.rounds)


if __name__ == "__main__":
    main()
