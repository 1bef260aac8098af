"""Profile a compiled model: the way from ``model.py``, which imports no onnx, to ``profile.py``."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from windfall.errors import UnsupportedError
from windfall.runtime.engine import EngineOptions, EngineProgram, Program
from windfall.runtime.serialized import SerializedModel

if TYPE_CHECKING:
    from windfall.runtime.profile import LayerTime


def profile_program(
    program: Program, name: str, serialize: Callable[[], SerializedModel], options: EngineOptions, runs: int
) -> "list[LayerTime]":
    """Return the time of each layer of a program; see ``profile``.

    Raises:
        UnsupportedError: It is not one graph.
    """
    if not isinstance(program, EngineProgram):
        raise UnsupportedError(
            f"{name} is not one graph, since code of yours stands for parts of it; profile is for models without"
        )
    from windfall.runtime.profile import profile

    return profile(serialize(), options, program.engine, runs=runs)
