"""What an engine is: it compiles a graph into a program, and a program runs."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

from numpy.typing import NDArray

from windfall.errors import UnsupportedError
from windfall.runtime.devices import COMPUTE_UNITS, check_names, check_present
from windfall.runtime.serialized import SerializedModel
from windfall.state import State

if TYPE_CHECKING:
    from windfall.runtime.choices import Choice

__all__ = [
    "COMPUTE_UNITS",
    "Engine",
    "EngineOptions",
    "EngineProgram",
    "Program",
    "available_cores",
    "checked_options",
    "engine_named",
]

WEIGHTS = ("expanded", "compressed")
"""How quantized weights are held in memory: as float32, or as they are stored."""

# Engines start as many threads as they are told to, until the system has no more.
_MOST_THREADS = 1024


@dataclass(frozen=True)
class EngineOptions:
    """How a graph is to be compiled.

    Attributes:
        threads: How many threads one prediction may use, None for as many as there are cores.
        compute_units: The devices allowed, one of ``COMPUTE_UNITS``.
        weights: How quantized weights are held, one of ``WEIGHTS``.
        device: The device asked for by name, None for the best that the units allow.
        streams: How many threads will run the program at once, each with ``threads`` threads.
        strict: Whether it is an error that the device cannot be used.
        ranged: Whether a graph may have sizes that are known only at run time.
    """

    threads: int | None = None
    compute_units: str = "all"
    weights: str = "expanded"
    device: str | None = None
    streams: int = 1
    strict: bool = False
    ranged: bool = False


def available_cores() -> int:
    """Return how many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


class Program(Protocol):
    """A compiled graph, or several in a row. It may be run from several threads at once."""

    def run(self, feeds: Mapping[str, NDArray[Any]], state: State | None = None) -> list[NDArray[Any]]:
        """Compute all outputs, in the order of the graph's outputs.

        Args:
            feeds: The graph's inputs.
            state: What a graph with states reads, and writes in place of further outputs.
        """
        ...


class EngineProgram(ABC):
    """A graph that an engine has compiled.

    Attributes:
        engine: The name of the engine that runs it.
        devices: What the engine calls the devices that may run parts of it, those preferred first.
        choice: Why this engine runs it, where there was a choice.
    """

    engine: str
    devices: tuple[str, ...]
    choice: "Choice | None" = None

    @abstractmethod
    def run(self, feeds: Mapping[str, NDArray[Any]], state: State | None = None) -> list[NDArray[Any]]:
        """See ``Program.run``."""

    def keep(self, model: SerializedModel, options: EngineOptions) -> None:  # noqa: B027  # most keep nothing
        """Keep it in the cache for a later start, where that helps; the arguments are those it was compiled with."""

    def run_many(self, many: Iterable[Mapping[str, NDArray[Any]]]) -> Iterator[list[NDArray[Any]]]:
        """Compute the outputs for each of many inputs, in their order, as they are asked for."""
        return (self.run(feeds) for feeds in many)


class Engine(Protocol):
    """Compiles graphs."""

    name: str

    def compile(self, model: SerializedModel, options: EngineOptions) -> EngineProgram:
        """Compile a graph.

        Raises:
            EngineError: The engine does not take the graph.
        """
        ...


ENGINES = ("auto", "onnxruntime", "openvino")


def engine_named(name: str) -> Engine:
    """Return an engine by its name; ``auto`` is the faster one.

    Raises:
        UnsupportedError: There is no such engine, or it is not installed.
    """
    check_engine(name)
    if name == "onnxruntime":
        from windfall.runtime.onnxruntime import OnnxRuntime

        return OnnxRuntime()
    from windfall.runtime.choice import Auto, Preferred

    return Auto() if name == "auto" else Preferred()


def check_engine(name: str) -> None:
    """Check the name of an engine, without importing any.

    Raises:
        UnsupportedError: There is no such engine, or it is not installed.
    """
    if not isinstance(name, str) or name not in ENGINES:
        raise UnsupportedError(f"engine is {name!r}, must be one of: {', '.join(ENGINES)}")
    if name == "openvino" and find_spec("openvino") is None:
        raise UnsupportedError("engine is 'openvino', which is not installed: pip install openvino, or use 'auto'")


def checked_options(
    threads: int | None,
    compute_units: str,
    weights: str = "expanded",
    *,
    engine: str = "auto",
    device: str | None = None,
    strict: bool = False,
) -> EngineOptions:
    """Check the arguments of ``load`` that concern engines; see there."""
    check_engine(engine)
    check_names(compute_units, device, engine)
    if threads is not None and not (isinstance(threads, int) and 1 <= threads <= _MOST_THREADS):
        raise UnsupportedError(f"threads is {threads!r}, must be 1 to {_MOST_THREADS}, or None for all cores")
    if weights not in WEIGHTS:
        raise UnsupportedError(f"weights is {weights!r}, must be one of: {', '.join(WEIGHTS)}")
    if device is not None:
        check_present(device, engine, strict=strict)
    return EngineOptions(threads, compute_units, weights, device, strict=strict)
