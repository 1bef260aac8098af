"""Run a graph that is cut at custom layers: its parts in turn, with the tensors between them handed on as they are."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from windfall.custom.customs import Customs
from windfall.custom.cutting import GraphPart, LayerPart, cut, is_cut
from windfall.custom.placed import PlacedLayer
from windfall.runtime.engine import Engine, EngineOptions, Program, engine_named
from windfall.runtime.serialize import serialize
from windfall.state import State

if TYPE_CHECKING:
    import onnx_ir as ir

Tensors = Mapping[str, NDArray[Any]]


def compile_parts(model: "ir.Model", customs: Customs, engine: Engine, options: EngineOptions) -> Program:
    """Compile a graph with custom layers; one program where all of them are encoded.

    Args:
        model: The graph; it is moved into the program.
        customs: The custom layers of the model.
        engine: What computes the graphs.
        options: The engine's options.
    """
    if not is_cut(model):
        return engine.compile(serialize(model), options)
    found = cut(model)
    constants = {name: tensor.numpy() for name, tensor in found.constants.items()}
    steps = {at: _layer_step(part, customs) for at, part in enumerate(found.parts) if isinstance(part, LayerPart)}
    graphs = {at: part.model for at, part in enumerate(found.parts) if isinstance(part, GraphPart)}
    steps |= _graph_steps(graphs, engine, options)
    return CutProgram([steps[at] for at in sorted(steps)], constants, found.outputs)


@dataclass(frozen=True)
class _Step:
    """A part that is ready to run.

    Attributes:
        inputs: The names of the values that it takes.
        outputs: The names of the values that it gives.
        run: Given the values that it takes, returns those that it gives.
        layer: The custom layer that it is, None for a graph.
    """

    inputs: list[str]
    outputs: list[str]
    run: Callable[[Tensors], Sequence[NDArray[Any]]]
    layer: PlacedLayer | None


def _layer_step(part: LayerPart, customs: Customs) -> _Step:
    layer = customs.numbered(part.number)
    names = part.inputs
    return _Step(names, part.outputs, lambda values: layer.evaluate([values[name] for name in names]), layer)


def _graph_steps(models: "Mapping[int, ir.Model]", engine: Engine, options: EngineOptions) -> dict[int, _Step]:
    """Compile graphs, all with the engine that suits the largest: threads of two slow each other down."""
    steps: dict[int, _Step] = {}
    for at, model in sorted(models.items(), key=lambda item: -len(item[1].graph)):
        compiled = engine.compile(serialize(model), options)
        engine = engine_named(compiled.engine) if engine.name == "auto" else engine
        steps[at] = _graph_step(model.graph, compiled)
    return steps


def _graph_step(graph: "ir.Graph", program: Program) -> _Step:
    inputs, outputs = ([str(value.name) for value in values] for values in (graph.inputs, graph.outputs))
    return _Step(inputs, outputs, lambda values: program.run({name: values[name] for name in inputs}), None)


class CutProgram:
    """The parts of a graph in the order that they run in.

    Args:
        steps: The parts.
        constants: Values that are known beforehand.
        outputs: The names of the values that are the graph's outputs.
    """

    def __init__(self, steps: Sequence[_Step], constants: Tensors, outputs: Sequence[str]) -> None:
        self._steps = steps
        self._constants = constants
        self._outputs = outputs
        self._done = _last_uses(steps, outputs)

    @property
    def graphs(self) -> int:
        """How many graphs there are."""
        return sum(step.layer is None for step in self._steps)

    def run(self, feeds: Tensors, state: State | None = None) -> list[NDArray[Any]]:
        """See ``Program.run``.

        Raises:
            FeatureError: A custom layer returned what does not fit.
            Exception: What the user's code raises, with a note of the layer.
        """
        assert state is None, "neural networks keep no states"
        values = {**self._constants, **feeds}
        for step, done in zip(self._steps, self._done, strict=True):
            values.update(zip(step.outputs, step.run(values), strict=True))
            for name in done:
                del values[name]
        return self._results(values, feeds)

    def run_many(self, many: Iterable[Tensors]) -> Iterator[list[NDArray[Any]]]:
        """See ``EngineProgram.run_many``."""
        return (self.run(feeds) for feeds in many)

    def run_batch(self, batch: Sequence[Tensors]) -> list[list[NDArray[Any]]]:
        """Compute several predictions part by part, so that custom layers have all of them at once."""
        rows = [{**self._constants, **feeds} for feeds in batch]
        for step, done in zip(self._steps, self._done, strict=True):
            for values, results in zip(rows, _run_rows(step, rows), strict=True):
                values.update(zip(step.outputs, results, strict=True))
                for name in done:
                    del values[name]
        return [self._results(values, feeds) for values, feeds in zip(rows, batch, strict=True)]

    def _results(self, values: Tensors, feeds: Tensors) -> list[NDArray[Any]]:
        """Return the outputs; a layer may give back what it was given, which is the caller's or a constant."""
        kept = [*self._constants.values(), *feeds.values()]
        return [_own(values[name], kept) for name in self._outputs]


def _run_rows(step: _Step, rows: Sequence[Tensors]) -> Sequence[Sequence[NDArray[Any]]]:
    if step.layer is None:
        return [step.run(values) for values in rows]
    return step.layer.evaluate_batch([[values[name] for name in step.inputs] for values in rows])


def _own(array: NDArray[Any], others: Sequence[NDArray[Any]]) -> NDArray[Any]:
    shared = not array.flags.writeable or any(np.may_share_memory(array, other) for other in others)
    return array.copy() if shared else array


def _last_uses(steps: Sequence[_Step], outputs: Sequence[str]) -> list[list[str]]:
    """Return for each step the values that nobody needs after it, to be let go of."""
    seen = set(outputs)
    done: list[list[str]] = []
    for step in reversed(steps):
        names = dict.fromkeys([*step.inputs, *step.outputs])
        done.append([name for name in names if name not in seen])
        seen |= set(names)
    return done[::-1]
