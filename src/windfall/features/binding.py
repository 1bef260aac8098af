"""Bind the values given to ``predict`` to graph inputs, and graph outputs to the values it returns.

A table from each feature type to its functions; features of a type that is not in it are refused by name.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from windfall.errors import FeatureError, UnsupportedError
from windfall.features import arrays, images
from windfall.features.declared import check_inputs
from windfall.features.labels import ClassLabels
from windfall.spec.proto import NEURAL_NETWORK_TYPES, NeuralNetwork_pb2


class Binder:
    """Turns inputs into tensors and tensors into outputs for one model.

    Args:
        spec: The ``Model`` message.

    Raises:
        FormatError: An input is declared in a way that no value could fit.
    """

    def __init__(self, spec: Any) -> None:
        self.description = spec.description
        check_inputs(spec.description)
        self.inputs = {feature.name: feature for feature in spec.description.input}
        self.outputs = {feature.name: feature for feature in spec.description.output}
        network = getattr(spec, spec.WhichOneof("Type"))
        inner = (name for layer in network.layers for name in layer.output)
        self._values = {*self.inputs, *self.outputs, *inner}
        self.rank5 = (
            spec.WhichOneof("Type") in NEURAL_NETWORK_TYPES
            and network.arrayInputShapeMapping == NeuralNetwork_pb2.RANK5_ARRAY_MAPPING
        )

    def default_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each graph input at the description's default sizes."""
        return {name: self._default_shape(feature) for name, feature in self.inputs.items()}

    def _default_shape(self, feature: Any) -> tuple[int, ...]:
        kind = feature.type.WhichOneof("Type")
        if kind == "imageType":
            width, height = images.default_size(feature.type.imageType)
            channels = 1 if images.MODES.get(feature.type.imageType.colorSpace) in ("L", "F") else 3
            return 1, height, width, channels
        if kind == "multiArrayType":
            dims = arrays.default_shape(feature.type.multiArrayType)
            return _rank5_shape(dims) if self.rank5 else dims
        raise UnsupportedError(f"input {feature.name!r} is of type {kind}; neural networks take images and arrays")

    def graph_shapes(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, tuple[int | str, ...]]:
        """Return the shapes to compile for, given the tensors of a prediction.

        The Seq and Batch axes of a RANK5 network are not part of the declared shape: where they are not 1, they stay
        symbolic, so that sequences of any length share one program. Equal sizes of several inputs share a symbol,
        different ones may not: engines take a symbol at its word.
        """
        symbols: tuple[dict[int, str], dict[int, str]] = ({1: ""}, {1: ""})
        return {name: self._graph_shape(self.inputs[name], tensor.shape, symbols) for name, tensor in feeds.items()}

    def _graph_shape(
        self, feature: Any, dims: tuple[int, ...], symbols: tuple[dict[int, str], dict[int, str]]
    ) -> tuple[int | str, ...]:
        if not (self.rank5 and feature.type.HasField("multiArrayType")):
            return dims
        lead = [
            known.setdefault(size, f"{axis}{len(known)}") or 1
            for size, known, axis in zip(dims, symbols, ("Seq", "Batch"), strict=False)
        ]
        return (*lead, *dims[2:])

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
                f"the model has no input {extra[0]!r}; its inputs are {', '.join(map(repr, self.inputs)) or 'none'}"
            )
        return {name: self._feed(feature, inputs.get(name)) for name, feature in self.inputs.items()}

    def _feed(self, feature: Any, value: Any) -> NDArray[Any]:
        if feature.type.WhichOneof("Type") not in ("imageType", "multiArrayType"):
            self._default_shape(feature)  # raises, naming the type
        if value is None and not feature.type.isOptional:
            raise FeatureError(f"input {feature.name!r} is missing; give a value for each of {list(self.inputs)}")
        if feature.type.HasField("imageType"):
            if value is None:
                return images.default_pixels(feature, self._default_shape(feature))
            return images.to_pixels(value, feature)
        array = arrays.default_array(feature) if value is None else arrays.to_array(value, feature.name)
        if self.rank5:
            return arrays.to_rank5(array, feature)
        return arrays.to_exact(array, feature)

    def checked_outputs(self, outputs: Sequence[str]) -> tuple[str, ...]:
        """Return the names that ``predict`` was asked for, each once.

        Raises:
            FeatureError: They are no list of names, or one of them is no value of the model.
        """
        if isinstance(outputs, str) or not all(isinstance(name, str) for name in outputs):
            raise FeatureError(f"outputs is {outputs!r}, must be a list of names, e.g. {list(self.outputs)[:1]}")
        unknown = [name for name in outputs if name not in self._values]
        if unknown:
            raise FeatureError(
                f"the model has no value {unknown[0]!r}, which is asked for as an output; its outputs are "
                f"{list(self.outputs)}, and the output of any layer may be asked for"
            )
        if not outputs:
            raise FeatureError(f"outputs is empty, must name at least one value, e.g. {list(self.outputs)[:1]}")
        return tuple(dict.fromkeys(outputs))

    def results(
        self,
        names: Sequence[str],
        tensors: Sequence[NDArray[Any]],
        labels: ClassLabels | None,
        wanted: Sequence[str] | None,
    ) -> dict[str, Any]:
        """Return what ``predict`` returns.

        Args:
            names: The names of the tensors.
            tensors: The graph's outputs.
            labels: A classifier's labels, None for other models.
            wanted: The outputs to return, None for those of the description.
        """
        values = dict(zip(names, tensors, strict=True))
        listed = list(self.outputs) if wanted is None else wanted
        found = {} if labels is None else labels.results(values, listed)
        return {
            name: found[name] if name in found else self._result(name, values[name])
            for name in listed
            if name in found or name in values
        }

    def _result(self, name: str, tensor: NDArray[Any]) -> Any:
        feature = self.outputs.get(name)
        kind = feature.type.WhichOneof("Type") if feature is not None else None
        if kind == "imageType":
            return images.from_pixels(tensor, name)
        if kind == "multiArrayType":
            return arrays.from_tensor(tensor, feature, self.rank5)
        if kind in _NUMBERS and tensor.size == 1:
            return _NUMBERS[kind](tensor.item())
        return tensor


_NUMBERS = {"doubleType": float, "int64Type": int}


def _rank5_shape(dims: tuple[int, ...]) -> tuple[int, ...]:
    """Return [1, 1, C, H, W] for a declared shape of [C] or [C, H, W]."""
    if len(dims) not in (1, 3):
        raise UnsupportedError(
            f"an array input has the declared shape {list(dims)}, must be [C] or [C, H, W] "
            "in a network with RANK5_ARRAY_MAPPING"
        )
    return (1, 1, *dims, *(1,) * (3 - len(dims)))
