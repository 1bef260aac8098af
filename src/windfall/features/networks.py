"""Values in and out of neural networks.

Source: ``NeuralNetworkMultiArrayShapeMapping`` in NeuralNetwork.proto.
"""

import itertools
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from windfall.errors import UnsupportedError
from windfall.features import arrays
from windfall.features.binding import Binder, GraphShapes, image_channels
from windfall.features.labels import ClassLabels
from windfall.features.sizes import differing_axes, listed_dims
from windfall.spec.modelfile import ModelFile
from windfall.spec.networks import default_outputs, network_of, probabilities_name
from windfall.spec.pipelines import declared_labels
from windfall.spec.proto import NeuralNetwork_pb2

_MOST_LISTED = 256
"""Combinations of sizes of several inputs that are listed at most."""


class NetworkBinder(Binder):
    """Turns inputs into tensors and tensors into outputs for a neural network."""

    _takes = "neural networks take images and arrays"

    def __init__(self, file: ModelFile, function: str = "") -> None:
        if function:
            raise UnsupportedError(
                f"{file.name} is a neural network, which has no function {function!r}; load it without one"
            )
        network = network_of(file.spec)
        inner = [name for layer in network.layers for name in layer.output]
        super().__init__(file.spec.description, inner, default_outputs(file.spec), _labels(file))
        self.rank5 = network.arrayInputShapeMapping == NeuralNetwork_pb2.RANK5_ARRAY_MAPPING

    def _array_shape(self, feature: Any) -> tuple[int | str, ...]:
        dims = arrays.default_shape(feature.type.multiArrayType)
        return _rank5_shape(dims) if self.rank5 else dims

    def graph_shapes(self, feeds: Mapping[str, NDArray[Any]]) -> GraphShapes:
        """Return the shapes to compile for, given the tensors of a prediction.

        The Seq and Batch axes of a RANK5 network are not part of the declared shape: where they are not 1, they stay
        symbolic, so that sequences of any length share one program. Equal sizes of several inputs share a symbol,
        different ones may not: engines take a symbol at its word.
        """
        symbols: tuple[dict[int, str], dict[int, str]] = ({1: ""}, {1: ""})
        return {name: self._graph_shape(self.inputs[name], tensor.shape, symbols) for name, tensor in feeds.items()}

    def flexible_shapes(self, feeds: Mapping[str, NDArray[Any]]) -> GraphShapes:
        """Return the shapes to compile for if one program is to serve all sizes: those that may differ are symbols."""
        shapes = self.graph_shapes(feeds)
        return {name: self._with_symbols(self.inputs[name], dims) for name, dims in shapes.items()}

    def _with_symbols(self, feature: Any, dims: tuple[int | str, ...]) -> tuple[int | str, ...]:
        """Put symbols, each for itself, where sizes may differ."""
        is_array = feature.type.HasField("multiArrayType")
        first = 1 if not is_array else 2 if self.rank5 else 0  # [1, H, W, C] or [Seq, Batch, C, H, W]
        axes = {first + axis for axis in differing_axes(feature)}
        return tuple(_symbol(feature.name, axis) if axis in axes else dim for axis, dim in enumerate(dims))

    def serves_all(self, shapes: Mapping[str, tuple[int | str, ...]]) -> bool:
        """Whether ``flexible_shapes`` made symbols of some sizes that ``graph_shapes`` would have kept."""
        return any(dim == _symbol(name, axis) for name, dims in shapes.items() for axis, dim in enumerate(dims))

    def listed_shapes(self) -> list[GraphShapes]:
        """Return the shapes of all combinations of sizes that the inputs list, the default ones first."""
        listed = [
            [self._listed_shape(feature, dims) for dims in listed_dims(feature)] for feature in self.inputs.values()
        ]
        combined = itertools.islice(itertools.product(*listed), _MOST_LISTED)
        return [dict(zip(self.inputs, shapes, strict=True)) for shapes in combined]

    def _listed_shape(self, feature: Any, dims: tuple[int, ...]) -> tuple[int | str, ...]:
        if feature.type.HasField("imageType"):
            return (1, *dims, image_channels(feature))
        return _rank5_shape(dims) if self.rank5 else dims

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

    def _array(self, feature: Any, value: Any) -> NDArray[Any]:
        array = arrays.to_array(value, feature.name)
        return arrays.to_rank5(array, feature) if self.rank5 else arrays.to_exact(array, feature)

    def _array_result(self, tensor: NDArray[Any], feature: Any) -> NDArray[Any]:
        return arrays.from_tensor(tensor, feature, self.rank5)


def _labels(file: ModelFile) -> ClassLabels | None:
    source = probabilities_name(file.spec)
    if source is None:
        return None
    labels = declared_labels(file.spec.neuralNetworkClassifier)
    return ClassLabels.of(labels, source, file.spec.description, file.name)


def _symbol(name: str, axis: int) -> str:
    return f"{name}.{axis}"


def _rank5_shape(dims: tuple[int, ...]) -> tuple[int, ...]:
    """Return [1, 1, C, H, W] for a declared shape of [C] or [C, H, W]."""
    if len(dims) not in (1, 3):
        raise UnsupportedError(
            f"an array input has the declared shape {list(dims)}, must be [C] or [C, H, W] "
            "in a network with RANK5_ARRAY_MAPPING"
        )
    return (1, 1, *dims, *(1,) * (3 - len(dims)))
