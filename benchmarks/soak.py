"""Predict a million times from several threads: every result must be right, and memory must not grow.

Small models of three kinds take turns: a network of arrays, one of pictures, and an encoder of words. Linux alone tells
how much memory a process has.

    python benchmarks/soak.py [--predictions 1000000] [--threads 8]
"""

import argparse
import re
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import windfall

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.classical import image, model_spec
from tests.support import layer_spec

Check = Callable[[int], bool]
PARTS, KINDS = 10, 64


def anonymous() -> float:
    """Megabytes of memory that belong to this process alone."""
    found = re.search(r"RssAnon:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def models() -> list[tuple[Any, list[dict[str, Any]]]]:
    """Return each model, and inputs for it."""
    random = np.random.default_rng(0)
    arrays = [{"x0": random.normal(size=(1, 3, 8, 8)).astype(np.float32)} for _ in range(KINDS)]
    weights = random.normal(size=(4, 3, 3, 3)).astype(np.float32)
    fields = {"outputChannels": 4, "kernelChannels": 3, "kernelSize": [3, 3], "valid": {}, "weights": weights}
    network = layer_spec("convolution", arrays[0]["x0"], **fields)
    layer = {"name": "half", "input": ["x"], "output": ["y"], "activation": {"linear": {"alpha": 0.5}}}
    kinds = {"x": image(8, 6)}, {"y": image(8, 6)}
    halving = model_spec("neuralNetwork", *kinds, {"layers": [layer]})
    halving.specificationVersion = 3
    pictures = [Image.fromarray(random.integers(0, 256, (6, 8, 3), dtype=np.uint8)) for _ in range(KINDS)]
    words = {"stringCategories": {"vector": ["red", "green", "blue"]}}
    encoder = model_spec("oneHotEncoder", {"x": "string"}, {"y": (3,)}, {**words, "handleUnknown": "IgnoreUnknown"})
    texts = ["red", "green", "blue", "none"]
    return [
        (windfall.load(network, threads=1), arrays),
        (windfall.load(halving, threads=1), [{"x": picture} for picture in pictures]),
        (windfall.load(encoder, threads=1), [{"x": text} for text in texts]),
    ]


def checks(models: list[tuple[Any, list[dict[str, Any]]]]) -> list[Check]:
    """Return a function for each model that predicts the n-th time, and tells whether the result is right."""

    def check(model: Any, inputs: list[dict[str, Any]]) -> Check:
        expected = [values(model.predict(one)) for one in inputs]
        return lambda n: values(model.predict(inputs[n % len(inputs)])) == expected[n % len(inputs)]

    return [check(*pair) for pair in models]


def values(result: dict[str, Any]) -> list[Any]:
    return [value.tobytes() if hasattr(value, "tobytes") else value for value in result.values()]


def soak(found: list[Check], predictions: int, threads: int) -> int:
    """Predict so often; returns how many results were wrong."""
    wrong = [0] * threads

    def work(place: int) -> None:
        for n in range(place, predictions, threads):
            wrong[place] += not found[(n // threads) % len(found)](n)

    running = [threading.Thread(target=work, args=(place,)) for place in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return sum(wrong)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--predictions", type=int, default=1_000_000)
    parser.add_argument("--threads", type=int, default=8)
    options = parser.parse_args()
    found = checks(models())
    print("| predictions | wrong | memory, MB | growth, MB | a second |\n|---|---|---|---|---|")
    part, before, start, wrong = options.predictions // PARTS, anonymous(), time.perf_counter(), 0
    for number in range(PARTS):
        wrong += soak(found, part, options.threads)
        now = anonymous()
        rate = part * (number + 1) / (time.perf_counter() - start)
        print(f"| {part * (number + 1):,} | {wrong} | {now:.1f} | {now - before:+.2f} | {rate:,.0f} |", flush=True)
        before = now
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
