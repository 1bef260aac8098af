"""Values in and out of neural networks.

Source: ``NeuralNetworkMultiArrayShapeMapping`` in NeuralNetwork.proto.
"""

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from windfall.errors import UnsupportedError
from windfall.features import arrays
from windfall.features.binding import Binder, GraphShapes
from windfall.features.labels import ClassLabels
from windfall.spec.modelfile import ModelFile
from windfall.spec.networks import default_outputs, network_of, probabilities_name
from windfall.spec.pipelines import declared_labels
from windfall.spec.proto import NeuralNetwork_pb2


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


def _rank5_shape(dims: tuple[int, ...]) -> tuple[int, ...]:
    """Return [1, 1, C, H, W] for a declared shape of [C] or [C, H, W]."""
    if len(dims) not in (1, 3):
        raise UnsupportedError(
            f"an array input has the declared shape {list(dims)}, must be [C] or [C, H, W] "
            "in a network with RANK5_ARRAY_MAPPING"
        )
    return (1, 1, *dims, *(1,) * (3 - len(dims)))
