"""Place a graph on a graphics card or on the processor, where both are allowed: on the faster one.

Each node costs a card some microseconds, however little it computes, and inputs and outputs are copied. So small graphs
stay on the processor, and of the others both programs are timed once; the result is remembered as the choice of an
engine is.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from windfall.errors import EngineError
from windfall.runtime.choice import BUDGET, LEAST_WORK, LOG, best_times
from windfall.runtime.choices import Choice, choice_key, made_choice, remember, remembered
from windfall.runtime.devices import CPU, Device
from windfall.runtime.engine import Engine, EngineOptions, EngineProgram
from windfall.runtime.samples import sample_feeds
from windfall.runtime.serialized import SerializedModel

if TYPE_CHECKING:
    import onnx

SURE_WORK = 20 * LEAST_WORK
"""Multiplications of one run above which a card is taken untimed: the processor's program would only be compiled, and
the card's would wait for it."""
UNUSABLE = "the device cannot be used"


def place(
    model: SerializedModel, options: EngineOptions, device: Device, engine: Engine, processor: Engine
) -> EngineProgram:
    """Return the program of a device, or of the processor where that is faster.

    Args:
        model: The graph, serialized.
        options: How it is to be compiled; they name no device.
        device: The best one that they allow, other than the processor.
        engine: What compiles for it.
        processor: What compiles for the processor.
    """
    on_processor = partial(processor.compile, model, replace(options, device=CPU.name))
    key = f"{choice_key(model, options)}-{device.name}"
    choice = remembered(key)
    if choice is not None:
        return _explained(on_processor() if choice.device == CPU.name else engine.compile(model, options), choice)
    program, choice = _chosen(model, options, device, engine, on_processor)
    LOG.info("%s runs the model: %s", choice.device, choice.reason)
    if choice.reason != UNUSABLE:  # that may change
        remember(key, choice)
    return _explained(program, choice)


def _chosen(
    model: SerializedModel,
    options: EngineOptions,
    device: Device,
    engine: Engine,
    on_processor: Callable[[], EngineProgram],
) -> tuple[EngineProgram, Choice]:
    import onnx

    from windfall.runtime.work import multiplications

    graph = onnx.ModelProto.FromString(model.proto).graph
    work = multiplications(graph)
    if work < LEAST_WORK:
        return _decided(on_processor(), CPU, f"the model is small for {device.name}")
    gap = _gap(model, options) if device.engine == engine.name == "onnxruntime" else None
    if gap is not None:
        return _decided(on_processor(), CPU, f"{device.name} is not given the model: {gap}")
    program = engine.compile(model, options)
    if device.key not in program.devices:
        return _decided(on_processor(), CPU, UNUSABLE)
    if work >= SURE_WORK:
        return _decided(program, device, "the model is large")
    return _timed(graph, device, program, on_processor())


def _gap(model: SerializedModel, options: EngineOptions) -> str | None:
    import onnx

    from windfall.runtime.device_gaps import device_parts

    return device_parts(onnx.ModelProto.FromString(model.proto), model, options).gap


def _timed(
    graph: "onnx.GraphProto", device: Device, program: EngineProgram, other: EngineProgram
) -> tuple[EngineProgram, Choice]:
    feeds = sample_feeds(graph)
    if feeds is None:
        return _decided(program, device, "the shapes of its inputs are known only at run time")
    try:
        for each in (program, other):  # the first run is slower
            each.run(feeds)
        runs = {device.name: partial(program.run, feeds), CPU.name: partial(other.run, feeds)}
        times = best_times(runs, time.perf_counter() + BUDGET)
    except EngineError as error:
        return _decided(other, CPU, str(error))
    ratio = times[CPU.name] / times[device.name]
    reason = f"{device.name} is {ratio:.2f} times as fast as the processor"
    return _decided(*((program, device) if ratio > 1 else (other, CPU)), reason, times)


def _decided(
    program: EngineProgram, device: Device, reason: str, seconds: Mapping[str, float] | None = None
) -> tuple[EngineProgram, Choice]:
    return program, made_choice(program.engine, reason, seconds or {}, device.name)


def _explained(program: EngineProgram, choice: Choice) -> EngineProgram:
    """Say of a program why it runs where it does, and why with its engine."""
    inner = program.choice if choice.device == CPU.name else None
    program.choice = choice if inner is None else replace(inner, reason=f"{choice.reason}; {inner.reason}")
    return program
