"""The programs that a batch runs besides that of ``predict``: with one thread for streams, and for stacked items."""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from windfall.errors import WindfallError
from windfall.runtime.cache import cache_folder
from windfall.runtime.choices import choice_key
from windfall.runtime.engine import EngineOptions, Program, engine_named
from windfall.runtime.findings import found_before, keep_finding
from windfall.streams.ways import Way

if TYPE_CHECKING:
    from windfall.compiled import CompiledModel
    from windfall.model import Model

Feeds = Mapping[str, NDArray[Any]]
Shapes = tuple[tuple[str, tuple[int, ...]], ...]
Key = tuple[Shapes, tuple[str, ...] | None]
_MOST_PROGRAMS = 8
_PROCESSORS = ("CPU", "CPUExecutionProvider")
"""What the engines call the processor."""
_MOST_STACKED = 2**26
"""Bytes of the inputs that are stacked at most."""


def shapes_of(feeds: Feeds) -> Shapes:
    """Return the shapes of a prediction's tensors."""
    return tuple((name, array.shape) for name, array in feeds.items())


class Stacked:
    """A program that computes several items at once.

    Args:
        program: What runs.
        inputs: The axis of each input along which items lie.
        outputs: That of each output.
    """

    def __init__(self, program: Program, inputs: Mapping[str, int], outputs: list[int]) -> None:
        self._program = program
        self._inputs = inputs
        self._outputs = outputs

    def run(self, many: list[Feeds]) -> list[list[NDArray[Any]]]:
        """Return the outputs for each of some inputs."""
        feeds = {name: np.concatenate([one[name] for one in many], axis) for name, axis in self._inputs.items()}
        outputs = self._program.run(feeds)
        # Copies: what is kept of one item must not keep the others.
        parts = [
            [part.copy() for part in np.split(tensor, len(many), axis)]
            for tensor, axis in zip(outputs, self._outputs, strict=False)
        ]
        return [list(one) for one in zip(*parts, strict=True)]


class Batching:
    """What a model keeps from one batch to the next.

    Attributes:
        ways: The fastest way for shapes of inputs and for outputs, where it was measured.
    """

    def __init__(self) -> None:
        self.ways: dict[Key, Way] = {}
        self._programs: OrderedDict[tuple[Key, Way], Program | Stacked | None] = OrderedDict()
        self._lock = threading.Lock()

    def stream(self, model: "Model", compiled: "CompiledModel", feeds: Feeds, key: Key, way: Way) -> Program:
        """Return a program of one thread that several threads may run at once; its engine is that of ``predict``."""
        found = self._kept(key, way, lambda: _compile_stream(model, compiled, feeds, way))
        assert found is not None
        assert not isinstance(found, Stacked)
        return found

    def stacked(self, model: "Model", compiled: "CompiledModel", feeds: Feeds, key: Key, way: Way) -> Stacked | None:
        """Return a program for stacked items; None where the graph does not take any."""
        found = self._kept(key, way, lambda: _compile_stacked(model, compiled, feeds, way))
        assert found is None or isinstance(found, Stacked)
        return found

    def _kept(self, key: Key, way: Way, make: Any) -> Program | Stacked | None:
        with self._lock:
            if (key, way) not in self._programs:
                self._programs[key, way] = make()
                if len(self._programs) > _MOST_PROGRAMS:
                    self._programs.popitem(last=False)
            self._programs.move_to_end((key, way))
            return self._programs[key, way]

    def found_before(self, model: "Model", compiled: "CompiledModel", feeds: Feeds) -> Way | None:
        """Return the way that was the fastest in another process, None if that is not known."""
        entry = found_before(_finding(model, compiled, feeds)) if _is_kept(model) else {}
        try:
            return Way(int(entry["streams"]), int(entry["stack"]))
        except (KeyError, TypeError, ValueError):
            return None

    def keep(self, model: "Model", compiled: "CompiledModel", feeds: Feeds, way: Way) -> None:
        """Tell other processes which way is the fastest."""
        if _is_kept(model):
            keep_finding(_finding(model, compiled, feeds), way._asdict())

    def choose(self, key: Key, way: Way) -> None:
        """Remember the fastest way, and free the programs of the others."""
        with self._lock:
            self.ways[key] = way
            for other in [other for other in self._programs if other[0] == key and other[1] != way]:
                self._programs[other] = None
                del self._programs[other]


def _finding(model: "Model", compiled: "CompiledModel", feeds: Feeds) -> str:
    """Return the name of the entry for the fastest way."""
    serialized = model._serialize(model._binder.graph_shapes(feeds), compiled.outputs)
    return f"{choice_key(serialized, _options(compiled, model))}-{engine_of(compiled, model)}.way"


def _is_kept(model: "Model") -> bool:
    """Whether the cache has a model's graph; else it would be lowered once more to know its name there."""
    return cache_folder() is not None and model._opened.folder is not None


def engine_of(compiled: "CompiledModel", model: "Model") -> str:
    """Return the name of the engine that runs a program."""
    return str(getattr(compiled.program, "engine", model._engine))


def runs_on_processor(program: Program) -> bool:
    """Tell whether a program computes on the processor alone."""
    return all(name in _PROCESSORS for name in getattr(program, "devices", _PROCESSORS))


def _options(compiled: "CompiledModel", model: "Model") -> EngineOptions:
    """Return the options to compile another program for the same device."""
    options = model._options
    return replace(options, device="cpu") if runs_on_processor(compiled.program) else options


def _compile_stream(model: "Model", compiled: "CompiledModel", feeds: Feeds, way: Way) -> Program:
    options = replace(_options(compiled, model), threads=1, streams=way.streams)
    serialized = model._serialize(model._binder.graph_shapes(feeds), compiled.outputs)
    return engine_named(engine_of(compiled, model)).compile(serialized, options)


def _compile_stacked(model: "Model", compiled: "CompiledModel", feeds: Feeds, way: Way) -> Stacked | None:
    from windfall.runtime.serialize import serialize
    from windfall.streams.stacking import item_axes, stack_items

    if sum(array.nbytes for array in feeds.values()) * way.stack > _MOST_STACKED:
        return None
    inputs = item_axes(model._binder, feeds)
    if inputs is None:
        return None
    try:
        graph = model._lower(model._binder.graph_shapes(feeds), compiled.outputs)
        outputs = stack_items(graph.graph, inputs, way.stack)
        if outputs is None:
            return None
        program = engine_named(engine_of(compiled, model)).compile(serialize(graph), _options(compiled, model))
    except WindfallError:  # the engine does not take it
        return None
    return Stacked(program, inputs, outputs)
