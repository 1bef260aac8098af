"""Time how long a model of many small layers takes to load, step by step, for 300, 3,000 and 30,000 layers.

Every measurement has a process of its own; sizes take turns, and each figure is the median of the rounds. "read" is
``windfall.load``; "lower" makes the graph, runs the passes and serializes it; "session" is the engine's own work. What
a process imports is left out: it does not depend on the model.

    python benchmarks/loading.py [--rounds 5] [--layers 300 3000 30000]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

STEPS = ("read", "lower", "session")
SHAPE = (1, 4, 8, 8)


def block() -> list[tuple[str, dict[str, Any]]]:
    """Ten layers of a small network, with the fields of their parameters; weights as lists."""
    per_channel = {"gamma": [1.0] * 4, "beta": [0.1] * 4, "mean": [0.0] * 4, "variance": [1.0] * 4}
    kernel = [(i % 7 - 3) / 36 for i in range(4 * 4 * 3 * 3)]
    return [
        ("convolution", {"outputChannels": 4, "kernelChannels": 4, "nGroups": 1, "kernelSize": [3, 3], "stride": [1, 1],
                         "dilationFactor": [1, 1], "same": {}, "weights": {"floatValue": kernel}}),
        ("batchnorm", {"channels": 4, "epsilon": 1e-5} | {k: {"floatValue": v} for k, v in per_channel.items()}),
        ("activation", {"ReLU": {}}),
        ("add", {}),
        ("reshapeStatic", {"targetShape": [1, 4, 64]}),
        ("reshapeStatic", {"targetShape": list(SHAPE)}),
        ("multiply", {"alpha": 0.5}),
        ("concat", {}),
        ("slice", {"startIndex": 0, "endIndex": 4, "stride": 1, "axis": "CHANNEL_AXIS"}),
        ("softmax", {}),
    ]  # fmt: skip


def write_model(count: int, path: Path) -> None:
    """Write a model of ``count`` layers, those of ``block`` again and again."""
    from google.protobuf.json_format import ParseDict

    from windfall.spec.proto import Model_pb2

    layers = block()
    spec = Model_pb2.Model(specificationVersion=4)
    array = {"shape": SHAPE, "dataType": "FLOAT32"}
    ParseDict({"name": "x", "type": {"multiArrayType": array}}, spec.description.input.add())
    ParseDict({"name": "y", "type": {"multiArrayType": {"dataType": "FLOAT32"}}}, spec.description.output.add())
    network = spec.neuralNetwork
    network.arrayInputShapeMapping = 1  # EXACT_ARRAY_MAPPING
    before, shortcut = "x", "x"
    for index in range(count):
        kind, fields = layers[index % len(layers)]
        output = "y" if index == count - 1 else f"value_{index}"
        layer = network.layers.add(name=f"{kind}_{index}", input=[before], output=[output])
        ParseDict({kind: fields}, layer)
        if kind == "add":
            layer.input.append(shortcut)
            shortcut = output
        if kind == "concat":
            layer.input.append(before)
        before = output
    path.write_bytes(spec.SerializeToString())


def measure(path: str) -> dict[str, float]:
    """Load and compile a model; returns the seconds of each step."""
    import windfall
    import windfall.lowering
    import windfall.runtime.serialize
    from windfall.runtime.onnxruntime import OnnxRuntime

    session = 0.0
    compile_graph = OnnxRuntime.compile

    def timed(*arguments: Any) -> Any:
        nonlocal session
        start = time.perf_counter()
        program = compile_graph(*arguments)
        session = time.perf_counter() - start
        return program

    OnnxRuntime.compile = timed  # type: ignore[method-assign]  # the engine's part of ``compiled``
    start = time.perf_counter()
    model = windfall.load(path)
    read = time.perf_counter() - start
    assert model.compiled
    return {"read": read, "lower": time.perf_counter() - start - read - session, "session": session}


def measured(path: Path) -> dict[str, float]:
    """Measure in a new process, without the cache of compiled graphs."""
    command = [sys.executable, __file__, "--measure", str(path)]
    environment = os.environ | {"WINDFALL_CACHE": "off"}
    answer = subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE, text=True).stdout
    figures: dict[str, float] = json.loads(answer)
    return figures


def row(count: int, rounds: list[dict[str, float]]) -> str:
    """A row of the table: medians in milliseconds, and those of lowering and in all for each layer in microseconds."""
    medians = [statistics.median(figures[step] for figures in rounds) for step in STEPS]
    total = statistics.median(sum(figures.values()) for figures in rounds)
    cells = [f"{seconds * 1e3:,.0f} ms" for seconds in (*medians, total)]
    return f"| {count:,} | {' | '.join(cells)} | {medians[1] / count * 1e6:.0f} | {total / count * 1e6:.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--layers", type=int, nargs="+", default=[300, 3000, 30000])
    parser.add_argument("--measure", metavar="MODEL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure)))
        return
    with tempfile.TemporaryDirectory() as folder:
        models = {count: Path(folder) / f"{count}.mlmodel" for count in options.layers}
        for count, path in models.items():
            write_model(count, path)
        rounds: dict[int, list[dict[str, float]]] = {count: [] for count in models}
        for _ in range(options.rounds):
            for count, path in models.items():
                rounds[count].append(measured(path))
    print("| layers | read | lower | session | in all | µs per layer, lower | µs per layer, in all |")
    print("|---|---|---|---|---|---|---|")
    for count in models:
        print(row(count, rounds[count]))


if __name__ == "__main__":
    main()
