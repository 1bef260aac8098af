"""What an engine is: it compiles a graph into a program, and a program runs."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from windfall.errors import UnsupportedError
from windfall.runtime.serialized import SerializedModel
from windfall.state import State

COMPUTE_UNITS = ("all", "cpu_only", "cpu_and_gpu", "cpu_and_ne")
"""As in Core ML. Every engine here computes on the CPU so far, which each of these allows."""

# Engines start as many threads as they are told to, until the system has no more.
_MOST_THREADS = 1024


@dataclass(frozen=True)
class EngineOptions:
    """How a graph is to be compiled.

    Attributes:
        threads: How many threads one prediction may use, None for as many as there are cores.
        compute_units: The devices allowed, one of ``COMPUTE_UNITS``.
    """

    threads: int | None = None
    compute_units: str = "all"


def available_cores() -> int:
    """Return how many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


class Program(Protocol):
    """A compiled graph. It may be run from several threads at once."""

    def run(self, feeds: Mapping[str, NDArray[Any]], state: State | None = None) -> list[NDArray[Any]]:
        """Compute all outputs, in the order of the graph's outputs.

        Args:
            feeds: The graph's inputs.
            state: What a graph with states reads, and writes in place of further outputs.
        """
        ...


class Engine(Protocol):
    """Compiles graphs."""

    name: str

    def compile(self, model: SerializedModel, options: EngineOptions) -> Program:
        """Compile a graph.

        Raises:
            EngineError: The engine does not take the graph.
        """
        ...


def engine_named(name: str) -> Engine:
    """Return an engine by its name; ``auto`` is ONNX Runtime, the only one so far."""
    from windfall.runtime.onnxruntime import OnnxRuntime

    engines: dict[str, type[Engine]] = {"auto": OnnxRuntime, "onnxruntime": OnnxRuntime}
    if not isinstance(name, str) or name not in engines:
        raise UnsupportedError(f"engine is {name!r}, must be one of: {', '.join(engines)}")
    return engines[name]()


def checked_options(threads: int | None, compute_units: str) -> EngineOptions:
    """Check the arguments of ``load`` that concern engines."""
    if compute_units not in COMPUTE_UNITS:
        raise UnsupportedError(f"compute_units is {compute_units!r}, must be one of: {', '.join(COMPUTE_UNITS)}")
    if threads is not None and not (isinstance(threads, int) and 1 <= threads <= _MOST_THREADS):
        raise UnsupportedError(f"threads is {threads!r}, must be 1 to {_MOST_THREADS}, or None for all cores")
    return EngineOptions(threads, compute_units)
