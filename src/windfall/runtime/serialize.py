"""Serialize a graph without its weights, which engines take from the model file or by address."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from windfall.graph.stored import Place, StoredTensor

# Smaller initializers stay in the graph, where engines can fold them.
_SMALLEST_EXTERNAL = 1024


@dataclass(frozen=True)
class SerializedModel:
    """An ONNX model whose large initializers are declared as external data.

    Attributes:
        proto: The serialized model.
        arrays: The large initializers that no file holds as they are, by name.
        folder: The folder of the file that holds the others, None if there are none.
    """

    proto: bytes
    arrays: dict[str, NDArray[Any]]
    folder: Path | None


def serialize(model: ir.Model) -> SerializedModel:
    """Serialize a graph; the engine is to be given the arrays, and to map the file."""
    initializers = model.graph.initializers
    large = {
        name: value
        for name, value in initializers.items()
        if value.const_value is not None and value.const_value.nbytes >= _SMALLEST_EXTERNAL
    }
    for name in large:
        initializers.pop(name)
    try:
        proto = ir.serde.serialize_model(model)
    finally:
        initializers.update(large)
    places = {name: place for name, value in large.items() if (place := _place(value)) is not None}
    # Engines look for all files in one folder; what lies elsewhere is read here.
    folder = next((place.path.parent for place in places.values()), None)
    arrays: dict[str, NDArray[Any]] = {}
    for name, value in large.items():
        place = places.get(name)
        if place is None or place.path.parent != folder:
            assert value.const_value is not None
            place = None
            arrays[name] = value.const_value.numpy()
        proto.graph.initializer.append(_declaration(value, place))
    return SerializedModel(proto.SerializeToString(), arrays, folder)


def _place(value: ir.Value) -> Place | None:
    tensor = value.const_value
    return tensor.place() if isinstance(tensor, StoredTensor) else None


def _declaration(value: ir.Value, place: Place | None) -> onnx.TensorProto:
    """Declare a tensor as external data; without a place, in a file that does not exist."""
    assert value.dtype is not None, value
    assert value.const_value is not None, value
    tensor = onnx.TensorProto(
        name=value.name,
        data_type=int(value.dtype),
        dims=value.const_value.shape.numpy(),
        data_location=onnx.TensorProto.EXTERNAL,
    )
    entries = {"location": place.path.name, "offset": place.offset, "length": place.length} if place else {
        "location": "weights"
    }
    for key, entry in entries.items():
        tensor.external_data.add(key=key, value=str(entry))
    return tensor
