"""Read, compute and put out items, alone or several at once."""

import math
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from windfall.errors import WindfallError
from windfall.runtime.agreement import agree
from windfall.streams.items import ItemReader
from windfall.streams.programs import Feeds, Key, runs_on_processor, shapes_of
from windfall.streams.settings import Outcome, Settings
from windfall.streams.ways import LOOP, Way

if TYPE_CHECKING:
    from windfall.compiled import CompiledModel
    from windfall.model import Model

_LEAST_FULL = 4
"""What share of a stack, one in so many, must be there for a graphics card to compute it filled up."""

Numbered = tuple[int, Any]
Tensors = list[NDArray[Any]]


@dataclass(frozen=True)
class Seen:
    """An item as it was computed."""

    key: Key
    feeds: Feeds
    tensors: Tensors


class Runner:
    """Runs parts of a batch; may be called from several threads.

    Attributes:
        computed: How many items were computed one after another.
        seconds: What the quickest of them took, the first aside.
        seen: The second of them.
    """

    def __init__(self, model: "Model", settings: Settings) -> None:
        self._model = model
        self._binder = model._binder
        self._reader = ItemReader(model, settings.fit)
        self._finish = settings.finish
        self._wanted = settings.outputs
        self._way = LOOP
        self._gate = threading.Semaphore(1)
        self.computed = 0
        self.seconds = math.inf
        self.seen: Seen | None = None

    def take(self, way: Way) -> None:
        """Run what follows in a way; nothing may be running."""
        self._way = way
        self._gate = threading.Semaphore(max(1, way.streams))

    @property
    def is_cpu(self) -> bool:
        """Whether the model runs on the processor alone."""
        if self.seen is None:
            return True
        return runs_on_processor(self._compiled(self.seen.feeds).program)

    def alone(self, item: Numbered) -> Outcome:
        """Return what becomes of an item that nothing else is computed with."""
        start = time.perf_counter()
        try:
            feeds = self._binder.feeds(self._reader.read(item[1]))
            compiled = self._compiled(feeds)
            tensors = compiled.program.run(feeds)
            result = self._binder.results(compiled.outputs, tensors, self._wanted)
            outcome = Outcome(result if self._finish is None else self._finish(*item, result))
        except Exception as error:  # noqa: BLE001  # the item's, to be raised or to stand in its place
            return Outcome(None, error)
        self.computed += 1
        if self.computed == 1:  # it compiles the model
            return outcome
        self.seconds = min(self.seconds, time.perf_counter() - start)
        if self.computed == 2:
            self.seen = Seen((shapes_of(feeds), self._wanted), feeds, tensors)
        return outcome

    def part(self, items: list[Numbered]) -> list[Outcome]:
        """Return what becomes of some items."""
        found: dict[int, Outcome] = {}
        groups: dict[Key, list[tuple[Numbered, Feeds]]] = {}
        for item in items:
            try:
                feeds = self._binder.feeds(self._reader.read(item[1]))
                groups.setdefault((shapes_of(feeds), self._wanted), []).append((item, feeds))
            except Exception as error:  # noqa: BLE001  # the item's, to be raised or to stand in its place
                found[item[0]] = Outcome(None, error)
        for key, group in groups.items():
            for (item, _), outcome in zip(group, self._group(key, group), strict=True):
                found[item[0]] = outcome
        return [found[number] for number, _ in items]

    def _group(self, key: Key, group: list[tuple[Numbered, Feeds]]) -> list[Outcome]:
        """Compute items of the same shapes: stacked if they are about as many as a program is for."""
        stack = self._way.stack
        if stack > 1 and (len(group) == stack or (not self.is_cpu and len(group) * _LEAST_FULL >= stack)):
            try:
                many = [feeds for _, feeds in group]
                many += many[:1] * (stack - len(many))  # a graphics card computes them as fast
                tensors = self._stacked(key, many, self._way, self._gate)
            except WindfallError:  # one of them may be to blame: each alone says which
                tensors = None
            if tensors is not None:
                names = self._compiled(group[0][1]).outputs
                return [self._outcome(item, names, one) for (item, _), one in zip(group, tensors, strict=False)]
        return [self._single(key, item, feeds) for item, feeds in group]

    def _single(self, key: Key, item: Numbered, feeds: Feeds) -> Outcome:
        try:
            compiled = self._compiled(feeds)
            program = compiled.program
            if self._way.streams > 1:
                program = self._model._batching.stream(self._model, compiled, feeds, key, self._way)
            with self._gate:
                tensors = program.run(feeds)
        except Exception as error:  # noqa: BLE001  # as above
            return Outcome(None, error)
        return self._outcome(item, compiled.outputs, tensors)

    def _outcome(self, item: Numbered, names: list[str], tensors: Tensors) -> Outcome:
        try:
            result = self._binder.results(names, tensors, self._wanted)
            return Outcome(result if self._finish is None else self._finish(*item, result))
        except Exception as error:  # noqa: BLE001  # as above
            return Outcome(None, error)

    def _compiled(self, feeds: Feeds) -> "CompiledModel":
        """Return what ``predict`` runs."""
        return self._model._flexible.compiled(self._model, feeds, self._wanted)

    def _stacked(
        self, key: Key, many: list[Feeds], way: Way, gate: AbstractContextManager[object]
    ) -> list[Tensors] | None:
        compiled = self._compiled(many[0])
        stacked = self._model._batching.stacked(self._model, compiled, many[0], key, way)
        if stacked is None:
            return None
        with gate:
            return stacked.run(many)

    def found_before(self, ways: Sequence[Way]) -> Way | None:
        """Return the one of some ways that was the fastest in another process, None if that is not known."""
        if self.seen is None:
            return None
        feeds = self.seen.feeds
        found = self._model._batching.found_before(self._model, self._compiled(feeds), feeds)
        return found if found in ways else None

    def choose(self, way: Way, *, keep: bool = False) -> None:
        """Remember the fastest way for the next batches, those of other processes too if it is to be kept."""
        if self.seen is None:
            return
        self._model._batching.choose(self.seen.key, way)
        if keep:
            feeds = self.seen.feeds
            self._model._batching.keep(self._model, self._compiled(feeds), feeds, way)

    def agrees(self, way: Way) -> bool:
        """Compile what a way needs; tells whether it computes what the usual program did."""
        if way.streams <= 1 and way.stack == 1:
            return True
        if self.seen is None:
            return False
        feeds, key = self.seen.feeds, self.seen.key
        try:
            if way.stack > 1:
                found = self._stacked(key, [feeds] * way.stack, way, nullcontext())
            else:
                compiled = self._compiled(feeds)
                found = [self._model._batching.stream(self._model, compiled, feeds, key, way).run(feeds)]
        except WindfallError:
            return False
        same = _same if self.is_cpu else agree
        return found is not None and all(same(one, self.seen.tensors) for one in found)


def _same(one: Tensors, other: Tensors) -> bool:
    return len(one) == len(other) and all(
        a.shape == b.shape and a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
        for a, b in zip(one, other, strict=True)
    )
