"""How a model whose inputs may have several sizes runs: one program for all of them, or one for each size."""

import logging
import os
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from windfall.errors import EngineError, UnsupportedError
from windfall.features.networks import NetworkBinder
from windfall.runtime.engine import Engine, EngineOptions, EngineProgram
from windfall.runtime.serialized import SerializedModel
from windfall.spec.networks import has_custom_layers, network_of
from windfall.state import State

if TYPE_CHECKING:
    from windfall.compiled import CompiledModel
    from windfall.features.binding import GraphShapes
    from windfall.model import Key, Model

LOG = logging.getLogger("windfall")

VARIABLE = "WINDFALL_PROGRAMS"
"""The environment variable that says how many programs a model keeps."""
_MOST_PROGRAMS = 8

_GROWING = frozenset({
    "activation", "add", "average", "batchnorm", "concat", "convolution", "crop", "l2normalize", "lrn", "max", "min",
    "multiply", "mvn", "padding", "pooling", "softmax", "unary", "upsample",
})  # fmt: skip
"""Layers that take any larger size where they take one of more than 1, or of which the engine says that they do not."""
_MOST_GROWN = 8
"""How many times as large an axis may be at which that is taken for granted: memory ends somewhere."""
_MOST_CHECKED = 4096
_PAYS = 1.03
"""How many times as fast a program of one size must be for one to be compiled where one for all sizes would do."""
OFTEN = 8
"""After so many predictions at a size of a range it gets a program of its own, if that pays."""

Feeds = Mapping[str, NDArray[Any]]
_Shapes = tuple[tuple[int | str, ...], ...]


def most_programs() -> int:
    """Return how many programs a model keeps at most.

    Raises:
        UnsupportedError: ``WINDFALL_PROGRAMS`` is no whole number of at least 1.
    """
    setting = os.environ.get(VARIABLE, str(_MOST_PROGRAMS))
    if not setting.isdecimal() or int(setting) < 1:
        raise UnsupportedError(f"{VARIABLE} is {setting!r}, must be a whole number of at least 1; change or unset it")
    return int(setting)


class Flexible:
    """Whether one program serves all sizes of a model, which is found out when it is first compiled; and which sizes.

    Layers are checked when they are lowered. A program for all sizes was lowered without knowing them, and an engine
    may end the process where a size is too small for a layer. So the model is lowered at each size once, which is much
    less than to compile it; where all layers are in ``_GROWING``, at sizes smaller than those before or much larger.

    Where a program of one size is faster, each size of a list has one from the start; sizes of a range that are used
    often get one in the background.
    """

    def __init__(self) -> None:
        self._is_given_up = False
        self._checked: dict[_Shapes, bool] = {}  # whether it was lowered at that size
        self._gain = 1.0
        self._uses: Counter[Key] = Counter()
        self._last: tuple[object, Callable[[], CompiledModel | None]] = None, lambda: None

    def compiled(self, model: "Model", feeds: Feeds, outputs: tuple[str, ...] | None) -> "CompiledModel":
        """Return the program for a prediction: the one for all sizes if the model can have it, else that of its size.

        Args:
            model: The model.
            feeds: The tensors of the prediction.
            outputs: The values asked for, None for the outputs of the description.
        """
        key = [tensor.shape for tensor in feeds.values()], outputs
        last, program = self._last
        found = program() if last == key else None  # None, too, if the model has let go of it
        if found is not None:
            return found
        binder = model._binder
        exact = binder.graph_shapes(feeds)
        shapes = exact if self._is_given_up else binder.flexible_shapes(feeds)
        if shapes == exact:
            found = model._compiled(exact, outputs)
            self._last = key, weakref.ref(found)
            return found
        if has_custom_layers(model._opened.spec):  # last: it goes through all layers
            self._give_up(model, "code of yours takes one size at a time")
            return model._compiled(exact, outputs)
        self._check(model, exact)
        try:
            compiled = model._compiled(shapes, outputs)
        except Exception as error:  # noqa: BLE001  # whatever it is, a program of one size may do without
            reason = str(error)
        else:
            if self._gain < _PAYS:
                return compiled
            if not binder.has_lists:
                return self._own(model, exact, outputs) or compiled
            model._drop((tuple(shapes.items()), outputs))
            reason = f"that is {self._gain:.2f} times as fast"
        compiled = model._compiled(exact, outputs)  # where the model itself is to blame, this says so
        self._give_up(model, reason)
        return compiled

    def compile(
        self, engine: Engine, graph: SerializedModel, fixed: Callable[[], SerializedModel], options: EngineOptions
    ) -> EngineProgram:
        """Compile a graph for all sizes; see ``compile_ranged``."""
        from windfall.runtime.ranged import compile_ranged

        program, self._gain = compile_ranged(engine, graph, fixed, options)
        return program

    def _own(self, model: "Model", exact: "GraphShapes", outputs: tuple[str, ...] | None) -> "CompiledModel | None":
        """Return the program of a size, if it has one; where it is used often, that is compiled in the background."""
        key = tuple(exact.items()), outputs
        with model._lock:
            if key in model._programs:
                model._programs.move_to_end(key)
                return model._programs[key]
            if len(self._uses) >= _MOST_CHECKED:
                self._uses.clear()
            self._uses[key] += 1
            is_often = self._uses[key] == OFTEN
        if is_often and most_programs() > 1:
            threading.Thread(target=_compile_own, args=(model, exact, outputs), name="windfall-compile").start()
        return None

    def _check(self, model: "Model", exact: "GraphShapes") -> None:
        """Raise what a model of one size would, where a layer does not take that size."""
        dims = tuple(exact.values())
        if dims in self._checked:
            return
        is_grown = _grows(model) and any(_is_grown(one, dims) for one, lowered in [*self._checked.items()] if lowered)
        if not is_grown:
            self._lower(model, exact)
        if len(self._checked) >= _MOST_CHECKED:
            self._checked = {}
        self._checked[dims] = not is_grown

    @staticmethod
    def _lower(model: "Model", exact: "GraphShapes") -> None:
        names = list(model._binder.sources)
        if exact == model._binder.default_shapes():
            model._serialize(exact, names)  # the cache on disk may have it
        else:
            from windfall.lowering.neural_network.network import lower_network

            lower_network(model._opened, exact, names)

    def guarded(self, model: "Model", program: EngineProgram, outputs: tuple[str, ...] | None) -> EngineProgram:
        """Return a program for all sizes that, where it fails at one, leaves it to a program of that size."""

        def run_exact(feeds: Feeds, reason: str) -> list[NDArray[Any]]:
            result = model._compiled(model._binder.graph_shapes(feeds), outputs).program.run(feeds)
            self._give_up(model, reason)
            return result

        return _Guarded(program, run_exact)

    def _give_up(self, model: "Model", reason: str) -> None:
        if not self._is_given_up:
            LOG.info("%s is compiled for each size: %s", model._file.name, reason)
        self._is_given_up = True


class _Guarded(EngineProgram):
    """A program for all sizes; where it fails at one, what a program of that size does counts, be it an error."""

    def __init__(self, program: EngineProgram, run_exact: Callable[[Feeds, str], list[NDArray[Any]]]) -> None:
        self.engine = program.engine
        self.devices = program.devices
        self.choice = program.choice
        self._program = program
        self._run_exact = run_exact

    def run(self, feeds: Feeds, state: State | None = None) -> list[NDArray[Any]]:
        """See ``Program.run``."""
        try:
            return self._program.run(feeds, state)
        except EngineError as error:
            reason = str(error)
        return self._run_exact(feeds, reason)


def _compile_own(model: "Model", exact: "GraphShapes", outputs: tuple[str, ...] | None) -> None:
    """Compile a program of one size, while predictions go on."""
    try:
        compiled = model._compile(exact, outputs)
    except Exception as error:  # noqa: BLE001  # there is another program, which goes on
        LOG.info("%s has no program of its own for %s: %s", model._file.name, exact, error)
        return
    with model._lock:
        model._keep((tuple(exact.items()), outputs), compiled)
    LOG.info("%s has a program of its own for %s", model._file.name, exact)


def _grows(model: "Model") -> bool:
    """Whether all layers follow from one input, and take what is larger."""
    return len(model._binder.inputs) == 1 and all(
        layer.WhichOneof("layer") in _GROWING for layer in network_of(model._opened.spec).layers
    )


def _is_grown(small: _Shapes, large: _Shapes) -> bool:
    """Whether no axis is smaller, nor very much larger."""
    return all(map(_is_grown_input, small, large))


def _is_grown_input(small: tuple[int | str, ...], large: tuple[int | str, ...]) -> bool:
    return len(small) == len(large) and all(map(_is_grown_axis, small, large))


def _is_grown_axis(small: int | str, large: int | str) -> bool:
    if isinstance(small, str) or isinstance(large, str):
        return small == large
    return small == large or 1 < small <= large <= small * _MOST_GROWN


def compile_listed(model: "Model") -> "Sequence[CompiledModel]":
    """Compile a model for all sizes that it lists; see ``Model.compile_sizes``."""
    if not isinstance(model._binder, NetworkBinder):
        return [model.compiled]
    found = (model._flexible.compiled(model, _feeds_of(shapes), None) for shapes in model._binder.listed_shapes())
    return list(dict.fromkeys(found))


def _feeds_of(shapes: "GraphShapes") -> Feeds:
    """Return tensors of some shapes that take no memory."""
    sizes = {name: tuple(1 if isinstance(dim, str) else dim for dim in dims) for name, dims in shapes.items()}
    return {name: np.broadcast_to(np.float32(0), dims) for name, dims in sizes.items()}
