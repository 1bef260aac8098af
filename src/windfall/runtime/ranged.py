"""Compile a graph for all sizes of its inputs, with the engine that is fastest at the default ones.

Most graphs run as fast for all sizes as for one. Some rewrites need to know the sizes, though; where they fire, the two
programs are timed at the default sizes, and the result is remembered as the choice of an engine is.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from windfall.errors import EngineError
from windfall.runtime.choice import BUDGET, LEAST_WORK, LOG, best_times, faster_engine
from windfall.runtime.choices import Choice, choice_key, remember, remembered
from windfall.runtime.devices import choose_device
from windfall.runtime.engine import Engine, EngineOptions, EngineProgram
from windfall.runtime.onnxruntime import OnnxRuntime
from windfall.runtime.samples import sample_feeds
from windfall.runtime.serialized import SerializedModel

if TYPE_CHECKING:
    import onnx

_ALL, _ONE = "all sizes", "one size"
_MOVES = frozenset({"Concat", "Constant", "Gather", "Identity", "Reshape", "Shape", "Slice", "Squeeze", "Unsqueeze"})
"""Operators of which a graph for all sizes has more, to work sizes out; they take no time."""


class Ranged(NamedTuple):
    """A program for all sizes.

    Attributes:
        program: The program.
        gain: How many times as fast one for the default sizes alone is.
    """

    program: EngineProgram
    gain: float


def compile_ranged(
    engine: Engine, graph: SerializedModel, fixed: Callable[[], SerializedModel], options: EngineOptions
) -> Ranged:
    """Compile a graph for all sizes.

    Args:
        engine: What was asked for.
        graph: A graph whose inputs have symbolic sizes.
        fixed: Returns the graph for the default sizes.
        options: How it is to be compiled.

    Raises:
        EngineError: The engine does not take it, but would take a graph for the default sizes.
    """
    if choose_device(options.compute_units, options.device, engine.name).name != "cpu":
        raise EngineError("devices other than the processor are given one size at a time")
    choice = faster_engine(fixed(), options) if engine.name == "auto" else None
    name = engine.name if choice is None else choice.engine
    program = _with_openvino(graph, fixed, options) if name == "openvino" else None
    program = program or OnnxRuntime().compile(graph, options)
    program.choice = choice
    gain = _gain(program, graph, fixed(), options)
    LOG.info("%s runs the model at all sizes; one size alone is %.2f times as fast", program.engine, gain)
    return Ranged(program, gain)


def _with_openvino(
    graph: SerializedModel, fixed: Callable[[], SerializedModel], options: EngineOptions
) -> EngineProgram | None:
    """Compile with OpenVINO; None where it does not take the graph for the default sizes either."""
    from windfall.runtime.openvino.program import OpenVino

    try:
        program = OpenVino().compile(graph, replace(options, ranged=True))
        program.keep(graph, replace(options, ranged=True))
        return program
    except EngineError:
        try:
            OpenVino().compile(fixed(), options)
        except EngineError:
            return None
        raise


def _gain(program: EngineProgram, graph: SerializedModel, fixed: SerializedModel, options: EngineOptions) -> float:
    """Return how many times as fast a program for the default sizes is: as remembered, or timed now."""
    key = hashlib.sha256(f"{choice_key(graph, options)} {choice_key(fixed, options)} {program.engine}".encode())
    known = remembered(key.hexdigest())
    times = known.milliseconds if known is not None else _times(program, graph, fixed, options)
    if known is None:
        remember(key.hexdigest(), Choice(program.engine, "a program for all sizes, and for one", times))
    return times[_ALL] / times[_ONE] if times.get(_ONE) else 1.0


def _times(
    program: EngineProgram, graph: SerializedModel, fixed: SerializedModel, options: EngineOptions
) -> dict[str, float]:
    """Return the milliseconds of both programs; nothing where they do the same, or too little to count."""
    import onnx

    from windfall.runtime.work import multiplications

    protos = [onnx.ModelProto.FromString(one.proto).graph for one in (graph, fixed)]
    feeds = sample_feeds(protos[1])
    if feeds is None or _work(protos[0]) == _work(protos[1]) or multiplications(protos[1]) < LEAST_WORK:
        return {}
    try:
        single = (OnnxRuntime() if program.engine == OnnxRuntime.name else _openvino()).compile(fixed, options)
        runs = {_ALL: partial(program.run, feeds), _ONE: partial(single.run, feeds)}
        for run in runs.values():  # the first run is slower
            run()
    except EngineError:
        return {}
    best = best_times(runs, time.perf_counter() + BUDGET)
    return {name: round(seconds * 1000, 4) for name, seconds in best.items()}


def _openvino() -> Engine:
    from windfall.runtime.openvino.program import OpenVino

    return OpenVino()


def _work(graph: "onnx.GraphProto") -> Counter[str]:
    return Counter(node.op_type for node in graph.node if node.op_type not in _MOVES)
