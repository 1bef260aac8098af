"""Serialize a graph without its weights, which engines take from the model file or by address."""

from collections.abc import Sequence

import onnx
import onnx_ir as ir

from windfall.errors import WindfallError
from windfall.graph.stored import StoredTensor
from windfall.runtime.serialized import SerializedModel
from windfall.spec.modelfile import Place

# Smaller initializers stay in the graph, where engines can fold them.
_SMALLEST_EXTERNAL = 1024
MOST_EMBEDDED = 2**24
"""Bytes of larger initializers that may stay in the graph where no file holds them as they are.

Below that a graph needs nothing but the model file, so that it can be kept in the cache. Above, engines are given the
arrays by address instead of in one more copy.
"""


def serialize(model: ir.Model) -> SerializedModel:
    """Serialize a graph; the engine is to map the file, and to be given the arrays."""
    large = [value for value in model.graph.initializers.values() if _size(value) >= _SMALLEST_EXTERNAL]
    places = {value: place for value in large if (place := _place(value)) is not None}
    # Engines look for all files in one folder; what lies elsewhere is read here.
    folder = next((place.path.parent for place in places.values()), None)
    places = {value: place for value, place in places.items() if place.path.parent == folder}
    homeless = [value for value in large if value not in places]
    if sum(map(_size, homeless)) <= MOST_EMBEDDED:
        homeless = []
    external = [*places, *homeless]
    proto = _serialize_without(model, external)
    proto.graph.initializer.extend(_declaration(value, places.get(value)) for value in external)
    arrays = {str(value.name): value.const_value.numpy() for value in homeless if value.const_value is not None}
    return SerializedModel(proto.SerializeToString(), arrays, folder)


def _size(value: ir.Value) -> int:
    return 0 if value.const_value is None else value.const_value.nbytes


def _serialize_without(model: ir.Model, left_out: Sequence[ir.Value]) -> onnx.ModelProto:
    """Serialize a model as if it did not have some of its initializers."""
    initializers = model.graph.initializers
    for value in left_out:
        initializers.pop(str(value.name))
    try:
        return ir.serde.serialize_model(model)
    except ir.serde.SerdeError as error:
        # Stored tensors are read only now; onnx-ir wraps what goes wrong there, once for each level of the graph.
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, WindfallError):
            cause = cause.__cause__
        raise cause or error from error
    finally:
        initializers.update({str(value.name): value for value in left_out})


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
    entries = (
        {"location": place.path.name, "offset": place.offset, "length": place.length}
        if place
        else {"location": "weights"}
    )
    for key, entry in entries.items():
        tensor.external_data.add(key=key, value=str(entry))
    return tensor
