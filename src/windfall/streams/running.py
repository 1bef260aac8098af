"""Run a model for items of any number: as they come, side by side, in the way that is fastest."""

import math
import operator
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

from windfall.errors import UnsupportedError
from windfall.runtime.engine import available_cores
from windfall.streams.flow import Flow, Source
from windfall.streams.runner import Numbered, Runner
from windfall.streams.settings import Outcome, Settings, without_frames
from windfall.streams.ways import LOOP, ONE, Way, candidates, fastest, items_to_measure

if TYPE_CHECKING:
    from windfall.model import Model

_FIRST = 0.02
"""Seconds in which several items are timed, if they are quick."""
_MANY, _STRIDE = 64, 16
_PATIENCE = 0.1
"""Seconds that it costs at least to find a faster way; mostly it is what a program takes to compile."""
_WORTH = 6
"""How many times as long the rest of a batch must take for that."""
_WORTH_ON_DEVICES, _FIRST_COMPILED = 2, 0.25
"""On a graphics card stacking gains far more; and much of what the first program takes is the start of the card."""
_UNKNOWN = 4
"""How many times as long a batch must have run, where it is not known how long it is."""


def stream(model: "Model", items: Iterable[Any], settings: Settings) -> Generator[Any, None, None]:
    """Yield what ``predict`` returns for each item, in order.

    The items are asked for in the thread of the caller, and a bounded number of them ahead. When the iterator is
    closed, what is being computed is finished and dropped, and the threads end.

    Args:
        model: Keeps no states, and is one graph that takes one item.
        items: Inputs as for ``predict``, pictures, or paths of pictures.
        settings: How they are run.

    Raises:
        Exception: What an item fails with, if ``on_error`` is "raise"; what the iterable raises, behind the results
            of the items before.
    """
    batch = _Batch(model, items, settings)
    try:
        for outcome in batch.outcomes():
            if outcome.error is None:
                yield outcome.value
            elif settings.on_error == "raise" or isinstance(outcome.error, UnsupportedError):
                raise outcome.error
            elif settings.on_error == "return":
                yield without_frames(outcome.error)
        if batch.source.error is not None:
            raise batch.source.error
    finally:
        batch.close()


class _Batch:
    """One batch: begins as ``predict`` in a loop, and goes on in the fastest way."""

    def __init__(self, model: "Model", items: Iterable[Any], settings: Settings) -> None:
        self.source: Source[Numbered] = Source(enumerate(items))
        self._length = operator.length_hint(items, -1)
        self._model = model
        self._settings = settings
        self._runner = Runner(model, settings)
        self._threads = settings.streams or model._options.threads or available_cores()
        self._clock = time.perf_counter

    @cached_property
    def _flow(self) -> Flow[Numbered, list[Outcome]]:
        return Flow(self._runner.part, self.source, max(Way(self._threads).workers, ONE.workers))

    def close(self) -> None:
        """End all threads."""
        if "_flow" in vars(self):
            self._flow.close()

    def outcomes(self) -> Iterator[Outcome]:
        """Yield what becomes of the items."""
        if self._settings.streams is not None:
            yield from self._run(Way(self._settings.streams))
            return
        # The first one compiles the model.
        yield from self._run(LOOP, lambda: self._runner.computed > 0)
        start = self._clock()
        # One alone may have been disturbed.
        yield from self._run(LOOP, lambda: self._runner.computed > (1 if self._clock() - start > _FIRST else 9))
        each = self._runner.seconds
        key = self._runner.seen and self._runner.seen.key
        known = self._model._batching.ways.get(key) if key else None
        if known is not None:
            yield from self._run(known)
            return
        usual, *others = candidates(each, self._threads, is_cpu=self._runner.is_cpu)
        yield from self._run(usual, lambda: self._is_long(self._clock() - start, each))
        if self.source.is_over:
            return
        before = self._runner.found_before([usual, *others])
        wanted = others if before is None else [before]
        # Programs are compiled while the batch goes on.
        ready = self._flow.submit(lambda: [way for way in wanted if self._runner.agrees(way)])
        yield from self._run(usual, ready.done)
        if before is not None and before in ready.result():
            self._runner.choose(before)
            yield from self._run(before)
            return
        yield from self._measured([usual, *ready.result()], each)

    def _is_long(self, elapsed: float, each: float) -> bool:
        """Whether it is worth to look for a faster way."""
        cost, worth = max(_PATIENCE, self._model._compile_seconds), _WORTH
        if not self._runner.is_cpu:
            cost, worth = min(cost, _FIRST_COMPILED), _WORTH_ON_DEVICES
        if self._length < 0:
            return elapsed > _UNKNOWN * cost
        return (self._length - self.source.taken) * each > worth * cost

    def _run(self, way: Way, until: Callable[[], bool] = lambda: False) -> Iterator[Outcome]:
        self._runner.take(way)
        if way == LOOP:
            yield from self._loop(until)
            return
        for part in self._flow.run(way.workers, way.stack, until):
            yield from part

    def _loop(self, until: Callable[[], bool]) -> Iterator[Outcome]:
        following, compute = self.source.next, self._runner.alone
        while not until():
            # To ask after each of very quick items would take as long as some of them.
            for _ in range(1 if self._runner.computed < _MANY else _STRIDE):
                item = following()
                if item is None:
                    return
                yield compute(item)

    def _measured(self, ways: list[Way], each: float) -> Iterator[Outcome]:
        """Go on in each of some ways for a while, in turns, then in the fastest."""
        seconds: dict[Way, float] = {}
        for way in [*ways, *reversed(ways)] if len(ways) > 1 else []:
            count = items_to_measure(way, each)
            first, start = self.source.taken, self._clock()
            goal = first + count
            outcomes = list(self._run(way, lambda goal=goal: self.source.taken >= goal))  # type: ignore[misc]
            spent, taken = self._clock() - start, self.source.taken - first
            yield from outcomes
            if taken < count:  # the batch is over
                return
            seconds[way] = min(spent / taken, seconds.get(way, math.inf))
        way = fastest(seconds) if seconds else ways[0]
        self._runner.choose(way, keep=len(seconds) > 1)
        yield from self._run(way)
