"""Choose between the engines: the one that was asked for, or the faster one.

Two engines in one process slow each other down: threads of ONNX Runtime wait for work by spinning, for some
milliseconds after a run, and OpenVINO's keep their cores for a moment, too. So they take turns with a pause before
each, and of each the fastest run counts, which is the one that was disturbed least.
"""

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from windfall.errors import EngineError
from windfall.runtime.agreement import agree
from windfall.runtime.choices import Choice, choice_key, made_choice, remember, remembered
from windfall.runtime.devices import choose_device, report_unusable
from windfall.runtime.engine import Engine, EngineOptions, EngineProgram
from windfall.runtime.samples import sample_feeds, sample_state
from windfall.runtime.serialized import SerializedModel

if TYPE_CHECKING:
    import onnx

LOG = logging.getLogger("windfall")

LEAST_WORK = 50_000_000
"""Multiplications of one run below which ONNX Runtime is taken untimed.

That is about half a millisecond on two cores. To import OpenVINO and to compile a graph with it takes 0.2 s or more,
which a fifth of half a millisecond, saved in each run, does not bring back soon.
"""
MOST_WEIGHTS = 100_000_000
"""Weights above which ONNX Runtime is taken untimed: 400 MB as float32."""
_MOST_INPUT = 2**26
"""Numbers in all inputs above which ONNX Runtime is taken untimed: 256 MB as float32."""
BUDGET = 1.0
"""Seconds that timing may take, after both are compiled and have run once; a turn that has begun is finished."""
_ROUNDS = 5
_TURN = 0.03
"""Seconds of a turn of the slower one, if three runs take less: of short runs, many are needed to meet a fast one."""
_MOST_RUNS = 100
"""Runs of each in a turn."""
_SLOW = 1.0
"""Seconds of a run above which one is enough."""
_PAUSE = 0.02
"""Seconds before each turn, in which the threads of the other engine go to sleep."""
_GAIN = 1.05
"""How many times as fast OpenVINO must be: it starts more slowly where its graph is not kept, and needs more memory."""

_FEW = 64
"""Constants of so many numbers are taken for sizes, axes and the like, which a graph computes otherwise without."""

Feeds = Mapping[str, NDArray[Any]]


class Preferred:
    """OpenVINO where it takes the graph, else ONNX Runtime."""

    name = "openvino"

    def compile(self, model: SerializedModel, options: EngineOptions) -> EngineProgram:
        """See ``Engine.compile``."""
        from windfall.runtime.openvino.program import OpenVino

        device = choose_device(options.compute_units, options.device, "openvino")
        keys = [device.key, "CPU"] if device.engine == "openvino" else ["CPU"]
        for key in keys:
            try:
                program = OpenVino(key).compile(model, options)
                program.keep(model, options)
                return program
            except EngineError as error:
                LOG.info("%s", error)
            if key != "CPU":
                report_unusable(device, options.device, strict=options.strict)
        LOG.info("ONNX Runtime runs the model")
        return _onnxruntime().compile(model, replace(options, device="cpu"))


class Auto:
    """The faster engine, found by running both; on a device other than the processor, the engine that has it."""

    name = "auto"

    def compile(self, model: SerializedModel, options: EngineOptions) -> EngineProgram:
        """See ``Engine.compile``."""
        device = choose_device(options.compute_units, options.device, "auto")
        if device.name != "cpu":
            from windfall.runtime.placement import place  # it needs this module

            engine = Preferred() if device.engine == "openvino" else _onnxruntime()
            if options.device is not None:
                return engine.compile(model, options)
            return place(model, options, device, engine, self)
        from windfall.runtime.openvino import has_openvino

        if model.is_compressed or not has_openvino():
            return _onnxruntime().compile(model, options)
        program = _faster(model, options)
        program.keep(model, options)
        return program


def _onnxruntime() -> Engine:
    from windfall.runtime.onnxruntime import OnnxRuntime  # to import it takes a tenth of a second

    return OnnxRuntime()


def faster_engine(model: SerializedModel, options: EngineOptions) -> Choice | None:
    """Return which engine ``Auto`` takes for a graph on the processor; None if there is no choice."""
    from windfall.runtime.openvino import has_openvino

    if model.is_compressed or not has_openvino():
        return None
    return remembered(choice_key(model, options)) or _faster(model, options).choice


def _faster(model: SerializedModel, options: EngineOptions) -> EngineProgram:
    """Return the program of the faster engine: as remembered, or timed now."""
    key = choice_key(model, options)
    choice = remembered(key)
    if choice is not None:
        engine = Preferred() if choice.engine == "openvino" else _onnxruntime()
        return _chosen(engine.compile(model, options), choice)
    import onnx

    proto = onnx.ModelProto.FromString(model.proto)
    reason = _untimed(proto.graph)
    if reason is not None:
        choice = Choice("onnxruntime", reason, {})
        program = _chosen(_onnxruntime().compile(model, options), choice)
    else:
        # Models that differ in their weights alone, such as one and what became of it when it was shrunk, take as long.
        alike = choice_key(replace(model, proto=_without_weights(proto.graph)), options)
        known = remembered(alike)
        program, choice = _timed(model, options, proto, known)
        LOG.info("%s runs the model: %s", choice.engine, choice.reason)
        if known is None and choice.milliseconds:
            remember(alike, choice)
    # A small model, too: to count its work takes onnx, which a later start does without.
    remember(key, choice)
    return program


def _untimed(graph: "onnx.GraphProto") -> str | None:
    """Return why ONNX Runtime is to be taken without timing, None if it is not."""
    from windfall.runtime.work import input_size, multiplications, weight_count

    if weight_count(graph) > MOST_WEIGHTS:
        return "the model is large, and OpenVINO would hold its weights twice"
    if input_size(graph) > _MOST_INPUT:
        return "its inputs are large, and timing would hold more of them"
    return "the model is small" if multiplications(graph) < LEAST_WORK else None


def _without_weights(graph: "onnx.GraphProto") -> bytes:
    """Return what a graph consists of, without the numbers of its weights."""
    weights = sorted(graph.initializer, key=lambda tensor: tensor.name)
    bare = type(graph)(node=graph.node, input=graph.input, output=graph.output, initializer=weights)
    for tensor in bare.initializer:
        if math.prod(tensor.dims) > _FEW:
            dims, kind = list(tensor.dims), tensor.data_type
            tensor.Clear()
            tensor.dims.extend(dims)
            tensor.data_type = kind
    return bytes(bare.SerializeToString(deterministic=True))


def _chosen(program: EngineProgram, choice: Choice) -> EngineProgram:
    program.choice = choice
    return program


def _timed(
    model: SerializedModel, options: EngineOptions, proto: "onnx.ModelProto", known: Choice | None
) -> tuple[EngineProgram, Choice]:
    """Compile a graph with both engines, and return the faster program.

    Args:
        model: The graph, serialized.
        options: How it is to be compiled.
        proto: The graph.
        known: What was chosen for a graph that has other weights: then only the numbers of both are compared.
    """
    feeds = sample_feeds(proto.graph)
    if feeds is None:
        known = Choice("onnxruntime", "the shapes of its inputs are known only at run time", {})
    if known is not None and known.engine == "onnxruntime":
        return _chosen(_onnxruntime().compile(model, options), known), known
    assert feeds is not None, known
    programs, why_not = _compiled(model, options)
    if why_not is not None:
        return _decided(programs, "onnxruntime", str(why_not), {})
    try:
        results = {name: program.run(feeds) for name, program in programs.items()}
    except EngineError as error:
        return _decided(programs, "onnxruntime", str(error), {})
    # Sums that are rounded to 8 bits differ by whole steps; there results are compared on the samples.
    if not model.is_quantized and not agree(results["onnxruntime"], results["openvino"]):
        return _decided(programs, "onnxruntime", "OpenVINO gives other numbers", {})
    if known is not None:
        return _chosen(programs[known.engine], known), known
    runs = {name: partial(program.run, feeds, sample_state(proto.graph, feeds)) for name, program in programs.items()}
    times = best_times(runs, time.perf_counter() + BUDGET)
    ratio = times["onnxruntime"] / times["openvino"]
    name = "openvino" if ratio >= _GAIN else "onnxruntime"
    return _decided(programs, name, f"OpenVINO is {ratio:.2f} times as fast as ONNX Runtime", times)


def _compiled(model: SerializedModel, options: EngineOptions) -> tuple[dict[str, EngineProgram], EngineError | None]:
    """Compile with both engines at once, as neither keeps many cores busy; returns why OpenVINO's is missing, too."""
    from concurrent.futures import ThreadPoolExecutor

    from windfall.runtime.openvino.program import OpenVino

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(_onnxruntime().compile, model, options)
        try:
            found: dict[str, EngineProgram] = {"openvino": OpenVino().compile(model, options)}
        except EngineError as error:
            return {"onnxruntime": other.result()}, error
    return {"onnxruntime": other.result(), **found}, None


def _decided(
    programs: Mapping[str, EngineProgram], engine: str, reason: str, seconds: Mapping[str, float]
) -> tuple[EngineProgram, Choice]:
    choice = made_choice(engine, reason, seconds)
    return _chosen(programs[engine], choice), choice


def best_times(runs: Mapping[str, Callable[[], object]], deadline: float) -> dict[str, float]:
    """Return the seconds of the fastest run of each, in turns until the deadline; all run equally often."""
    best = dict.fromkeys(runs, float("inf"))
    for turn in range(_ROUNDS):
        # The first run after a pause wakes the threads; it is not the fastest of several.
        count = min(_MOST_RUNS, max(3, int(_TURN / max(1e-9, *best.values())))) if turn else 2
        for name in sorted(runs, reverse=turn % 2 == 1):
            time.sleep(_PAUSE)
            for _ in range(count):
                best[name] = min(best[name], _seconds(runs[name]))
                if best[name] > _SLOW:
                    break
        if time.perf_counter() > deadline:
            break
    return best


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
