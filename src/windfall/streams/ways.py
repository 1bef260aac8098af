"""The ways in which a model can be run for many items, and the fastest of them, found by measuring.

Each way is given some of the batch's own items, so that little is computed twice. A way whose results are not exactly
those of ``predict`` is not taken; on graphics cards, whose sums come in another order for each size, they may differ by
what float32 rounds.
"""

import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from windfall.runtime.engine import available_cores

LOG = logging.getLogger("windfall")

STACK = 8
"""Items that are computed at once where a graph takes several."""
STACKS_OF_DEVICES = (8, 32)
"""The same for a graphics card, which has room for more."""
MOST_MEASURED = 64
"""Items that one way is measured with at most: their results are kept until they all are there."""
_SECONDS = 0.1
"""How long a way is measured, where so many items are enough for it."""
_QUICK = 0.002
"""Seconds of an item below which it may be faster not to hand it to another thread."""
_OVERHEAD = 0.005
"""Seconds of an item below which it may be worth to compute several at once on a processor."""
_GAIN = 1.05
"""How many times as fast a way must be as the usual one."""


class Way(NamedTuple):
    """How a model is run.

    Attributes:
        streams: Predictions at once: 1 with all threads, several with one thread each; 0 for one after another in
            the caller's own thread.
        stack: Items that one prediction computes.
    """

    streams: int = 1
    stack: int = 1

    @property
    def workers(self) -> int:
        """How many threads read, compute and put out: while some compute, others do the rest."""
        return max(self.streams + 1, available_cores()) if self.streams else 1

    def __str__(self) -> str:
        if not self.streams:
            return "one after another"
        stacked = f"{self.stack} items at once" if self.stack > 1 else "one item at once"
        return f"{self.streams} streams of one thread" if self.streams > 1 else f"one stream, {stacked}"


LOOP, ONE = Way(0), Way(1)


def candidates(seconds: float, threads: int, *, is_cpu: bool) -> list[Way]:
    """Return the ways that are worth to be measured, that which is to be taken if none of them is faster first.

    Args:
        seconds: What one item takes, from reading to its result.
        threads: How many threads may compute.
        is_cpu: Whether the model runs on the processor alone.
    """
    # On a processor, reading the next item takes time from the threads that compute this one.
    found = [LOOP, ONE] if is_cpu or seconds < _QUICK else [ONE]
    if is_cpu and threads > 1:
        found.append(Way(threads))
    if not is_cpu:
        found += [Way(1, count) for count in STACKS_OF_DEVICES]
    elif seconds < _OVERHEAD:
        found.append(Way(1, STACK))
    return found


def items_to_measure(way: Way, seconds: float) -> int:
    """Return how many items a way is measured with."""
    least = 4 * way.stack if way.stack > 1 else 2 * way.workers
    return min(max(least, math.ceil(_SECONDS / max(seconds, 1e-6))), max(least, MOST_MEASURED))


def fastest(seconds: Mapping[Way, float]) -> Way:
    """Return the way to take, given what an item takes in each."""
    usual = next(iter(seconds))
    best = min(seconds, key=lambda way: seconds[way] * (1 if way == usual else _GAIN))
    LOG.info("%s: %s", best, ", ".join(f"{way} {1000 * time_:.3f} ms" for way, time_ in seconds.items()))
    return best


def seconds_of(function: Callable[[], object]) -> float:
    """Return how long a function takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start
