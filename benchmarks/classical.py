"""Classical models on many rows at once, side by side with the libraries that train them.

- trees: an XGBoost ensemble of 1,000 trees of depth 8 on 100,000 rows; against XGBoost itself, scikit-learn's
  HistGradientBoosting of the same size, and ONNX Runtime on onnxmltools' export.
- svm: an RBF machine with 5,000 support vectors on 10,000 rows; against scikit-learn.
- neighbours: 5 neighbours among 100,000 points of 128 dimensions for 1,000 queries; against scikit-learn's brute force
  and its k-d tree.
- row: one row of a linear model and of a small ensemble, next to the engine's own call.

Every contestant has a process of its own; they take turns. A ratio above 1 is in windfall's favour.

    python benchmarks/classical.py [--rounds 10] [--threads 2] [--only trees svm neighbours row]
"""

import argparse
import os
import pickle
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

import classical_models as models  # the folder of this script is on the path

Predict = Callable[[], Any]
_SLOW, _MOST_SLOW_TURNS = 10.0, 2
"""A contestant that takes longer than so many seconds takes part in the first turns alone."""


def _windfall(folder: Path, name: str, x: Any, threads: int) -> Predict:
    import windfall

    model = windfall.load(folder / f"{name}.mlmodel", threads=threads)
    return lambda: model.predict_batch({"x": x})["y"]


def _xgboost(folder: Path, threads: int) -> Predict:
    import xgboost

    booster = xgboost.Booster()
    booster.load_model(folder / "trees.json")
    booster.set_param({"nthread": threads})
    x = models.table(models.ROWS, models.FEATURES)
    return lambda: booster.inplace_predict(x)


def _pickled(folder: Path, name: str, x: Any) -> Predict:
    model = pickle.loads((folder / f"{name}.pickle").read_bytes())  # noqa: S301  # written by this very script
    return lambda: model.predict(x)


def _exported(folder: Path, threads: int) -> Predict:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(str(folder / "trees.onnx"), options)
    x = models.table(models.ROWS, models.FEATURES)
    return lambda: session.run(None, {session.get_inputs()[0].name: x})[0]


def _neighbours(folder: Path, algorithm: str) -> Predict:
    from sklearn.neighbors import KNeighborsClassifier

    data = np.load(folder / "points.npz")
    model = KNeighborsClassifier(models.NEIGHBOURS, algorithm=algorithm, n_jobs=-1)
    model.fit(data["points"], data["labels"])
    x = models.table(models.QUERIES, models.DIMENSIONS)
    return lambda: model.predict(x)


def _row(folder: Path, name: str, *, engine: bool) -> Predict:
    """1,000 predictions of one row, or 1,000 calls of the engine alone."""
    import windfall

    model = windfall.load(folder / f"{name}.mlmodel", threads=1)
    row = {feature.name: 0.5 for feature in model.description.inputs}
    model.predict(row)
    feeds, session = model._binder.feeds(row), model.compiled.program._session
    one = (lambda: session.run(None, feeds)) if engine else (lambda: model.predict(row))
    return lambda: [one() for _ in range(1000)]


def small_models(folder: Path) -> None:
    """A linear regressor of 8 inputs and an ensemble of 20 trees of depth 4, one input for each number."""
    for name in ("linear", "small"):
        spec = models.described(1, models.ArrayType.DOUBLE)
        del spec.description.input[:]
        for index in range(8):
            spec.description.input.add(name=f"x{index}").type.doubleType.SetInParent()
        if name == "linear":
            spec.glmRegressor.weights.add(value=np.linspace(-1, 1, 8).tolist())
            spec.glmRegressor.offset.append(0.5)
        else:
            ensemble = spec.treeEnsembleRegressor.treeEnsemble
            ensemble.numPredictionDimensions = 1
            for tree in range(20):
                for node in range(31):
                    added = ensemble.nodes.add(treeId=tree, nodeId=node)
                    if node >= 15:
                        added.nodeBehavior = added.LeafNode
                        added.evaluationInfo.add(evaluationIndex=0, evaluationValue=node)
                        continue
                    added.branchFeatureIndex, added.branchFeatureValue = (tree + node) % 8, node / 15
                    added.trueChildNodeId, added.falseChildNodeId = 2 * node + 1, 2 * node + 2
        (folder / f"{name}.mlmodel").write_bytes(spec.SerializeToString())


MAKERS = {**models.MAKERS, "row": small_models}
CONTESTANTS: dict[str, dict[str, Callable[[Path, int], Predict]]] = {
    "trees": {
        "windfall": lambda folder, n: _windfall(folder, "trees", models.table(models.ROWS, models.FEATURES), n),
        "xgboost": _xgboost,
        "scikit-learn HistGradientBoosting": lambda folder, _n: _pickled(
            folder, "hist", models.table(models.ROWS, models.FEATURES)
        ),
        "onnxruntime on onnxmltools' export": _exported,
    },
    "svm": {
        "windfall": lambda folder, n: _windfall(
            folder, "svm", models.table(models.SVM_ROWS, models.SVM_FEATURES).astype(np.float64), n
        ),
        "scikit-learn": lambda folder, _n: _pickled(
            folder, "svm", models.table(models.SVM_ROWS, models.SVM_FEATURES).astype(np.float64)
        ),
    },
    "neighbours": {
        "windfall": lambda folder, n: _windfall(folder, "knn", models.table(models.QUERIES, models.DIMENSIONS), n),
        "scikit-learn brute force": lambda folder, _n: _neighbours(folder, "brute"),
        "scikit-learn k-d tree": lambda folder, _n: _neighbours(folder, "kd_tree"),
    },
    "row": {
        "windfall, linear": lambda folder, _n: _row(folder, "linear", engine=False),
        "the engine alone, linear": lambda folder, _n: _row(folder, "linear", engine=True),
        "windfall, 20 trees": lambda folder, _n: _row(folder, "small", engine=False),
        "the engine alone, 20 trees": lambda folder, _n: _row(folder, "small", engine=True),
    },
}


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

    def time(self) -> float:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return float(self.answer())


def serve(task: str, name: str, folder: str, threads: str) -> None:
    predict = CONTESTANTS[task][name](Path(folder), int(threads))
    predict()
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        predict()
        print(time.perf_counter() - start, flush=True)


def compare(task: str, folder: Path, threads: int, rounds: int) -> None:
    MAKERS[task](folder)
    servers = {name: Server(task, name, folder, threads) for name in CONTESTANTS[task]}
    running = {name: server for name, server in servers.items() if server.answer() == "ready"}
    times: dict[str, list[float]] = {name: [] for name in running}
    for turn in range(rounds):
        for name in sorted(running, reverse=turn % 2 == 1):
            if turn < _MOST_SLOW_TURNS or statistics.median(times[name]) < _SLOW:
                times[name].append(running[name].time())
    for server in servers.values():
        server.process.communicate()
    ours = next(iter(times.values()))
    for name in servers:
        if name not in times:
            print(f"| {task} | {name} | does not run | |", flush=True)
            continue
        ratio = statistics.median(theirs / mine for theirs, mine in zip(times[name], ours, strict=False))
        print(f"| {task} | {name} | {statistics.median(times[name]):.4f} s | {ratio:.2f} |", flush=True)


def main() -> None:
    if sys.argv[1:2] == ["--serve"]:
        serve(*sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=list(CONTESTANTS), default=list(CONTESTANTS))
    options = parser.parse_args()
    print("| | contestant | median | ratio |\n|---|---|---|---|")
    for task in options.only:
        with tempfile.TemporaryDirectory() as folder:
            compare(task, Path(folder), options.threads, options.rounds)


if __name__ == "__main__":
    main()
