"""A contestant of ``engines.py`` in a process of its own: ``engine_contestant.py ENGINE MODEL THREADS COMMAND``.

COMMAND ``once`` and ``serve`` are those of ``contestant.py``; ``chosen`` names the engine that runs the model,
``overhead`` times ``predict`` and the engine's call, ``make`` writes a small network to MODEL.
"""

import statistics
import sys
from typing import Any

import numpy as np
from contestant import milliseconds

import windfall


def opened(engine: str, path: str, threads: int) -> tuple[Any, dict[str, Any]]:
    model = windfall.load(path, threads=threads, engine=engine)
    ((name, shape),) = model._binder.default_shapes().items()
    return model, {name: np.random.default_rng(0).random(shape, np.float32)}


def serve(predict: Any) -> None:
    for _ in range(3):
        predict()
    print("ready", flush=True)
    for line in sys.stdin:
        print(statistics.median(milliseconds(predict) for _ in range(int(line))), flush=True)


def overhead(model: Any, inputs: dict[str, Any]) -> None:
    program, feeds = model.compiled.program, model._binder.feeds(inputs)
    calls = [lambda: model.predict(inputs), lambda: program.run(feeds)]
    times: list[list[float]] = [[], []]
    for _ in range(3000):
        for call, found in zip(calls, times, strict=True):
            found.append(milliseconds(call) * 1000)
    print(*(statistics.median(found[500:]) for found in times))


def make(path: str) -> None:
    from coremltools.models import datatypes, neural_network

    builder = neural_network.NeuralNetworkBuilder(
        [("x", datatypes.Array(64))], [("y", datatypes.Array(64))], disable_rank5_shape_mapping=True
    )
    builder.add_activation("relu", "RELU", "x", "y")
    windfall.load(builder.spec).save(path)


def main(engine: str, path: str, threads: str, what: str) -> None:
    if what == "make":
        make(path)
        return
    model, inputs = opened(engine, path, int(threads))
    if what == "chosen":
        print(model.compiled.program.engine)
    elif what == "overhead":
        overhead(model, inputs)
    elif what == "once":
        model.predict(inputs)
    else:
        serve(lambda: model.predict(inputs))


if __name__ == "__main__":
    main(*sys.argv[1:])
