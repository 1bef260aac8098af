"""One model in a process of its own: ``shape_contestant.py MODEL ENGINE THREADS``.

Each line on its input is a command: ``time WxH N`` gives the median milliseconds of N predictions at a size, of the
clock and of the processor; ``switch WxH WxH N`` how many more a prediction takes after one of another size than after
one of its own; ``memory`` the megabytes in use.
"""

import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

import windfall

Clock = Callable[[], float]
CLOCKS: tuple[Clock, ...] = (time.perf_counter, time.process_time)


def picture(size: str) -> Image.Image:
    width, height = map(int, size.split("x"))
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


def milliseconds(predict: Callable[[Image.Image], object], image: Image.Image) -> tuple[float, ...]:
    starts = [clock() for clock in CLOCKS]
    predict(image)
    return tuple((clock() - start) * 1000 for clock, start in zip(CLOCKS, starts, strict=True))


def medians(times: list[tuple[float, ...]]) -> list[float]:
    return [statistics.median(one) for one in zip(*times, strict=True)]


def timed(predict: Callable[[Image.Image], object], size: str, runs: str) -> list[float]:
    image = picture(size)
    for thread in threading.enumerate():
        if thread.name == "windfall-compile":
            thread.join()
    return medians([milliseconds(predict, image) for _ in range(int(runs))])


def switched(predict: Callable[[Image.Image], object], size: str, other: str, runs: str) -> list[float]:
    images = picture(size), picture(other)
    extra = []
    for _ in range(int(runs)):
        predict(images[1])
        first, second = (milliseconds(predict, images[0]) for _ in range(2))
        extra.append(tuple(one - two for one, two in zip(first, second, strict=True)))
    return medians(extra)


def memory() -> list[float]:
    """Linux alone tells what a process uses now."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return [int(line.split()[1]) / 1024]


def main(path: str, engine: str, threads: str) -> None:
    model = windfall.load(path, engine=engine, threads=int(threads))

    def predict(image: Image.Image) -> object:
        return model.predict({"image": image})

    print("ready", flush=True)
    for line in sys.stdin:
        command, *rest = line.split()
        if command == "time":
            print(*timed(predict, *rest), flush=True)
        elif command == "switch":
            print(*switched(predict, *rest), flush=True)
        else:
            print(*memory(), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
