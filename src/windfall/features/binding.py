"""Bind the values given to ``predict`` to graph inputs, and graph outputs to the values it returns.

What all kinds of models share; ``networks.py`` and ``programs.py`` hold what is theirs.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windfall.errors import FeatureError, UnsupportedError
from windfall.features import arrays, images
from windfall.features.declared import check_inputs
from windfall.features.labels import ClassLabels
from windfall.features.sizes import has_range
from windfall.state import State
from windfall.text import brief

GraphShapes = dict[str, tuple[int | str, ...]]
"""The shape of each graph input; a string is a size that stays symbolic."""


class Binder:
    """Turns inputs into tensors and tensors into outputs for one model.

    Args:
        description: The ``ModelDescription`` or ``FunctionDescription`` message.
        values: The names of inner values that may be asked for.
        sources: The values that the described outputs are made of.
        labels: A classifier's labels, None for other models.

    Attributes:
        states: The shape and the declared type of each state that the model keeps.

    Raises:
        FormatError: An input is declared in a way that no value could fit.
    """

    def __init__(
        self, description: Any, values: Collection[str], sources: Sequence[str], labels: ClassLabels | None
    ) -> None:
        check_inputs(description)
        self.inputs = {feature.name: feature for feature in description.input}
        self.outputs = {feature.name: feature for feature in description.output}
        self.sources = sources
        self.labels = labels
        self.states: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]] = {}
        self._values = {*self.inputs, *self.outputs, *values}
        self._taken, self._given = _Known(), _Known()

    def default_shapes(self) -> GraphShapes:
        """Return the shape of each graph input at the description's default sizes."""
        return {name: self._default_shape(feature) for name, feature in self.inputs.items()}

    def _default_shape(self, feature: Any) -> tuple[int | str, ...]:
        kind = feature.type.WhichOneof("Type")
        if kind == "imageType":
            width, height = images.default_size(feature.type.imageType)
            return 1, height, width, image_channels(feature)
        if kind == "multiArrayType":
            return self._array_shape(feature)
        raise UnsupportedError(f"input {feature.name!r} is of type {kind}; {self._takes}")

    _takes = "such models take images and arrays"

    def _array_shape(self, feature: Any) -> tuple[int | str, ...]:
        """Return the shape of the graph input for an array at its default size."""
        return arrays.default_shape(feature.type.multiArrayType)

    def graph_shapes(self, feeds: Mapping[str, NDArray[Any]]) -> GraphShapes:
        """Return the shapes to compile for, given the tensors of a prediction."""
        return {name: tensor.shape for name, tensor in feeds.items()}

    def flexible_shapes(self, feeds: Mapping[str, NDArray[Any]]) -> GraphShapes:
        """Return the shapes to compile for if one program is to serve all sizes: those that may differ are symbols."""
        return self.graph_shapes(feeds)

    @property
    def has_lists(self) -> bool:
        """Whether no input has a range, so that all sizes can be listed."""
        return not any(has_range(feature) for feature in self.inputs.values())

    def serves_all(self, shapes: Mapping[str, tuple[int | str, ...]]) -> bool:  # noqa: ARG002  # as networks need it
        """Whether ``flexible_shapes`` made symbols of some sizes that ``graph_shapes`` would have kept."""
        return False

    def listed_shapes(self) -> list[GraphShapes]:
        """Return the shapes of all combinations of sizes that the inputs list, the default ones first."""
        return [self.default_shapes()]

    def feeds(self, inputs: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        """Return the tensor of each graph input.

        Raises:
            FeatureError: An input is missing, is not one of the model's, or does not fit its description.
        """
        if not isinstance(inputs, Mapping):
            raise FeatureError(
                f"the inputs are of type {type(inputs).__name__}, must be a dictionary with a value for each of "
                f"{list(self.inputs)}"
            )
        extra = [name for name in inputs if name not in self.inputs]
        if extra:
            raise FeatureError(
                f"the model has no input {brief(extra[0])}; its inputs are "
                f"{', '.join(map(repr, self.inputs)) or 'none'}"
            )
        return {name: self._feed(name, feature, inputs.get(name)) for name, feature in self.inputs.items()}

    def _feed(self, name: str, feature: Any, value: Any) -> NDArray[Any]:
        known = self._taken.reshaped(name, value)
        if known is not None:
            return known
        kind = feature.type.WhichOneof("Type")
        if kind not in ("imageType", "multiArrayType"):
            self._default_shape(feature)  # raises, naming the type
        self._check_given(feature, value)
        if kind == "imageType":
            if value is None:
                width, height = images.default_size(feature.type.imageType)
                return images.default_pixels(feature, (1, height, width, image_channels(feature)))
            return images.to_pixels(value, feature)
        return self._taken.add(
            name, value, self._array(feature, arrays.default_array(feature) if value is None else value)
        )

    def _check_given(self, feature: Any, value: Any) -> None:
        if value is None and not feature.type.isOptional:
            raise FeatureError(f"input {feature.name!r} is missing; give a value for each of {list(self.inputs)}")

    def _array(self, feature: Any, value: Any) -> NDArray[Any]:
        """Return an array as the graph takes it."""
        return arrays.to_exact(arrays.to_array(value, feature.name), feature)

    def checked_outputs(self, outputs: Sequence[str]) -> tuple[str, ...]:
        """Return the names that ``predict`` was asked for, each once.

        Raises:
            FeatureError: They are no list of names, or one of them is no value of the model.
        """
        if (
            isinstance(outputs, str)
            or not isinstance(outputs, Collection)
            or not all(isinstance(n, str) for n in outputs)
        ):
            raise FeatureError(f"outputs is {brief(outputs)}, must be a list of names, e.g. {list(self.outputs)[:1]}")
        unknown = [name for name in outputs if name not in self._values]
        if unknown:
            raise FeatureError(
                f"the model has no value {unknown[0]!r}, which is asked for as an output; its outputs are "
                f"{list(self.outputs)}, and the output of any layer may be asked for"
            )
        if not len(outputs):
            raise FeatureError(f"outputs is empty, must name at least one value, e.g. {list(self.outputs)[:1]}")
        return tuple(dict.fromkeys(outputs))

    def checked_state(self, state: State | None) -> State | None:
        """Return the state that a prediction is given, if it fits the model.

        Raises:
            FeatureError: It is missing, too much, or one of another model.
        """
        if state is None and not self.states:
            return None
        if not self.states:
            raise FeatureError("the model keeps no states, but is given one; predict without it")
        if state is None:
            raise FeatureError(
                f"the model keeps the states {', '.join(map(repr, self.states))}, but is given none; make one with "
                "state = model.make_state() and give it to each prediction of a sequence"
            )
        if not isinstance(state, State):
            raise FeatureError(f"the state is of type {type(state).__name__}, must be what model.make_state() gave")
        wanted = {name: dims for name, (dims, _) in self.states.items()}
        if {name: buffer.shape for name, buffer in state.buffers.items()} != wanted:
            raise FeatureError(f"the state is {state}, which is not of this model; make one with model.make_state()")
        return state

    def sources_of(self, outputs: Sequence[str]) -> Sequence[str]:
        """Return the values to compute for some outputs."""
        return list(outputs) if self.labels is None else self.labels.sources(outputs)

    def results(
        self, names: Sequence[str], tensors: Sequence[NDArray[Any]], wanted: Sequence[str] | None
    ) -> dict[str, Any]:
        """Return what ``predict`` returns.

        Args:
            names: The names of the tensors.
            tensors: The graph's outputs.
            wanted: The outputs to return, None for those of the description.
        """
        values = dict(zip(names, tensors, strict=False))  # behind the outputs come states
        listed = list(self.outputs) if wanted is None else wanted
        found = {} if self.labels is None else self.labels.results(values, listed)
        return {
            name: found[name] if name in found else self._result(name, values[name])
            for name in listed
            if name in found or name in values
        }

    def _result(self, name: str, tensor: NDArray[Any]) -> Any:
        known = self._given.reshaped(name, tensor)
        if known is not None:
            return known
        feature = self.outputs.get(name)
        kind = feature.type.WhichOneof("Type") if feature is not None else None
        if kind == "imageType":
            return images.from_pixels(tensor, name)
        if kind == "multiArrayType":
            return self._given.add(name, tensor, self._array_result(tensor, feature))
        if kind in _NUMBERS and tensor.size == 1:
            return _NUMBERS[kind](tensor.item())
        return tensor

    def _array_result(self, tensor: NDArray[Any], feature: Any) -> NDArray[Any]:
        """Return an array as it is declared."""
        return arrays.from_tensor(tensor, feature)


class _Known:
    """What became of the last array of each name, where that was no more than another shape.

    The next one of the same shape and type is given that shape, without a look at the description: it takes as long as
    a small network.
    """

    def __init__(self) -> None:
        self._seen: dict[str, tuple[tuple[int, ...], np.dtype[Any], tuple[int, ...]]] = {}

    def reshaped(self, name: str, array: Any) -> NDArray[Any] | None:
        """Return what an array becomes, None if that is not known."""
        seen = self._seen.get(name)
        if seen is None or type(array) is not np.ndarray or not array.flags.c_contiguous:
            return None
        dims, dtype, after = seen
        return array.reshape(after) if array.shape == dims and array.dtype == dtype else None

    def add(self, name: str, array: Any, result: NDArray[Any]) -> NDArray[Any]:
        """Remember what became of an array, and return that."""
        if type(array) is np.ndarray and (result is array or result.base is array) and array.dtype == result.dtype:
            self._seen[name] = array.shape, array.dtype, result.shape
        return result


_NUMBERS = {"doubleType": float, "int64Type": int}


def image_channels(feature: Any) -> int:
    """Return how many values a pixel of an image feature has in the graph."""
    return 1 if images.MODES.get(feature.type.imageType.colorSpace) in ("L", "F") else 3
