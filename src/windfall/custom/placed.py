"""A custom layer at its place in a network: the object that the user's class makes, and the check of all it returns."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from windfall.custom.customs import title
from windfall.custom.layers import Arrays, CustomLayer, LayerGraph, Shape, overrides
from windfall.custom.parameters import read_parameters
from windfall.errors import FeatureError, FormatError
from windfall.graph.builder import GraphBuilder
from windfall.graph.shapes import shape
from windfall.lowering.neural_network.context import LayerContext
from windfall.spec.modelfile import ModelFile
from windfall.spec.weights import decode, encoding
from windfall.text import brief

_FLOAT = np.dtype(np.float32)
_MOST_SHAPES = 256
_Shapes = tuple[tuple[int, ...], ...]


class PlacedLayer:
    """A custom layer of one network.

    Args:
        found: The class that stands for it.
        ctx: The layer.
        number: Its number among those of the model.

    Attributes:
        who: What messages call it.
        class_name: What the file calls its class.
        encodes: Whether it becomes operators; else the graph is cut there.

    Raises:
        LoweringError: Its parameters or weights cannot be read.
        Exception: What the constructor raises, with a note of the layer.
    """

    def __init__(self, found: type[CustomLayer], ctx: LayerContext, number: int) -> None:
        self.who = title(ctx)
        self.class_name = str(ctx.params.className)
        self.number = number
        self.encodes = overrides(found, "encode")
        self._has_shapes = overrides(found, "output_shapes")
        self._count = len(ctx.layer.output)
        self._known: dict[_Shapes, list[tuple[int, ...]]] = {}
        parameters = read_parameters(ctx.params, self.who)
        weights = [_weight(ctx, index) for index in range(len(ctx.params.weights))]
        with noted(self.who):
            self._layer: CustomLayer = found.__new__(found, parameters, weights)  # type: ignore[call-arg]
            # The constructor may look at them already.
            self._layer.name, self._layer.description = str(ctx.layer.name), str(ctx.params.description)
            self._layer.__init__(parameters, weights)  # type: ignore[misc]  # see above

    def encode(self, graph: GraphBuilder, inputs: Sequence[ir.Value]) -> list[ir.Value]:
        """Return the outputs, made by operators.

        Raises:
            FeatureError: They are not as many as the layer has, or no float32 values of the graph.
            Exception: What the user's code raises, with a note of the layer.
        """
        with noted(self.who):
            result = self._layer.encode(LayerGraph(graph), list(inputs))
        values = self._listed([result] if isinstance(result, ir.Value) else result, "encode")
        for value in values:
            if not isinstance(value, ir.Value) or not graph.has(value):
                raise FeatureError(f"{self.who}: encode returned {brief(value)}, must return values of the graph")
            if value.dtype != ir.DataType.FLOAT:
                raise FeatureError(f"{self.who}: encode returned {value.dtype}, must return float32; add a Cast")
        if self._has_shapes:
            self._compare(values, self.output_shapes(inputs))
        return values

    def _compare(self, values: Sequence[ir.Value], shapes: Sequence[ir.Shape]) -> None:
        """Compare what operators give with what ``output_shapes`` says, as far as both are known."""
        for value, said in zip(values, shapes, strict=True):
            given = shape(value)
            pairs = zip(given, said, strict=False)
            if len(given) != len(said) or any(
                one != other for one, other in pairs if isinstance(one, int) and isinstance(other, int)
            ):
                raise FeatureError(
                    f"{self.who}: encode returned the shape {list(given)}, output_shapes says {list(map(_shown, said))}"
                )

    def output_shapes(self, inputs: Sequence[ir.Value]) -> list[ir.Shape]:
        """Return the shapes of the outputs of a layer that is evaluated, as far as they are known.

        Raises:
            FeatureError: They are not as many as the layer has, or no shapes.
            Exception: What the user's code raises, with a note of the layer.
        """
        given, symbols = _symbolic(inputs)
        shapes = self._asked(given)
        return [ir.Shape([size if isinstance(size, int) else symbols.get(size) for size in dims]) for dims in shapes]

    def evaluate(self, inputs: Sequence[NDArray[Any]]) -> Arrays:
        """Return the outputs of one prediction.

        Raises:
            FeatureError: They are not what they must be.
            Exception: What the user's code raises, with a note of the layer.
        """
        given = _read_only(inputs)
        try:  # what a context manager takes would be a part of every crossing
            result = self._layer.evaluate(given)
        except Exception as error:
            _note(error, self.who)
            raise
        return self._checked(given, result)

    def evaluate_batch(self, batch: Sequence[Sequence[NDArray[Any]]]) -> list[Arrays]:
        """Return the outputs of several predictions; see ``evaluate``."""
        given = list(map(_read_only, batch))
        with noted(self.who):
            results = self._layer.evaluate_batch(given)
        if not isinstance(results, list | tuple) or len(results) != len(batch):
            raise FeatureError(
                f"{self.who}: evaluate_batch returned {_what(results)}, must return a list of {len(batch)}, the "
                "outputs of each prediction"
            )
        return [self._checked(inputs, result) for inputs, result in zip(given, results, strict=True)]

    def _checked(self, inputs: Arrays, result: Any) -> Arrays:
        arrays = self._listed([result] if isinstance(result, np.ndarray) else result, "evaluate")
        for array, dims in zip(arrays, self._shapes(tuple(x.shape for x in inputs)), strict=True):
            if not isinstance(array, np.ndarray) or array.dtype != _FLOAT:
                raise FeatureError(f"{self.who}: evaluate returned {_kind(array)}, must return float32 arrays")
            if array.shape != dims:
                raise FeatureError(
                    f"{self.who}: evaluate returned the shape {list(array.shape)}, output_shapes says {list(dims)}"
                )
        if not self._layer.allows_nan and any(map(_has_nan, arrays)) and not any(map(_has_nan, inputs)):
            raise FeatureError(
                f"{self.who}: evaluate returned NaN, and its inputs have none; if that is meant, set allows_nan of "
                "its class"
            )
        return arrays

    def _listed(self, result: Any, method: str) -> list[Any]:
        if not isinstance(result, list | tuple) or len(result) != self._count:
            raise FeatureError(f"{self.who}: {method} returned {_what(result)}, must return a list of {self._count}")
        return list(result)

    def _shapes(self, inputs: _Shapes) -> list[tuple[int, ...]]:
        """Return the shapes that the outputs must have for inputs of some shapes."""
        if inputs not in self._known:
            if len(self._known) >= _MOST_SHAPES:
                self._known.clear()
            shapes = [tuple(dims) for dims in self._asked([list(dims) for dims in inputs])]
            if any(not isinstance(size, int) for dims in shapes for size in dims):
                raise FeatureError(
                    f"{self.who}: output_shapes returned {shapes} for inputs of known shapes, must return numbers"
                )
            self._known[inputs] = shapes  # type: ignore[assignment]  # all are numbers
        return self._known[inputs]

    def _asked(self, inputs: list[Shape]) -> list[Shape]:
        with noted(self.who):
            result = self._layer.output_shapes(inputs)
        shapes = self._listed(result, "output_shapes")
        for dims in shapes:
            if not isinstance(dims, list | tuple) or not all(map(_is_size, dims)):
                raise FeatureError(
                    f"{self.who}: output_shapes returned {brief(dims)}, must return a list of sizes for each output"
                )
        return [[int(size) if isinstance(size, np.integer) else size for size in dims] for dims in shapes]


@contextmanager
def noted(who: str) -> Iterator[None]:
    """Let errors of the user's code through, with a note of whose they are."""
    try:
        yield
    except Exception as error:
        _note(error, who)
        raise


def _note(error: Exception, who: str) -> None:
    note = f"raised by {who}"
    if note not in getattr(error, "__notes__", ()):  # code that calls itself without end would have it many times
        error.add_note(note)


def _weight(ctx: LayerContext, index: int) -> NDArray[np.float32]:
    """Return a weight as a flat array; a file does not say which shape it has."""
    params = ctx.params.weights[index]
    try:
        array = _decoded(ctx.file, params)
    except FormatError as error:
        raise ctx.error(f"weights[{index}]", str(error), value=None) from error
    array.flags.writeable = False
    return array


def _decoded(file: ModelFile, params: Any) -> NDArray[np.float32]:
    stored = encoding(file, params)
    count = 0 if stored is None else stored.size * 8 // stored.bits
    # Scales are for channels, which the values lie in one after another.
    channels = len(params.quantization.linearQuantization.scale)
    shape = (channels, count // channels) if channels > 1 and count % channels == 0 else (count,)
    return decode(file, params, shape).reshape(-1)


def _symbolic(inputs: Sequence[ir.Value]) -> tuple[list[Shape], Mapping[Any, ir.SymbolicDim]]:
    """Return shapes with a text for each size that is not known, and what these texts stand for."""
    symbols: dict[Any, ir.SymbolicDim] = {}
    shapes: list[Shape] = []
    for value in inputs:
        dims: list[Any] = []
        for axis, size in enumerate(shape(value)):
            dim = value.shape[axis]  # type: ignore[index]  # there is a shape, or the line above had raised
            if size is None and isinstance(dim, ir.SymbolicDim):
                name = dim.value if dim.value is not None else f"size{len(symbols)} of {value.name}"
                symbols[name] = dim
                dims.append(name)
            else:
                dims.append(size)
        shapes.append(dims)
    return shapes, symbols


def _shown(size: int | ir.SymbolicDim) -> int | None:
    return size if isinstance(size, int) else None


def _is_size(size: Any) -> bool:
    if isinstance(size, int | np.integer):
        return not isinstance(size, bool) and bool(size >= 0)
    return size is None or isinstance(size, str)


def _read_only(inputs: Sequence[NDArray[Any]]) -> Arrays:
    """Return views that cannot be written to: others may use the same arrays, the caller of ``predict`` too."""
    views = [array.view() for array in inputs]
    for view in views:
        view.flags.writeable = False
    return views


def _has_nan(array: NDArray[Any]) -> bool:
    # NaN is the least of all; this is the quickest way to look for it.
    least = np.minimum.reduce(array, axis=None) if array.size else 0
    return bool(least != least)  # noqa: PLR0124  # true for NaN alone


def _what(result: Any) -> str:
    return f"a list of {len(result)}" if isinstance(result, list | tuple) else _kind(result)


def _kind(value: Any) -> str:
    return f"an array of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
