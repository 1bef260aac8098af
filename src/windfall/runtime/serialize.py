"""Serialize a graph without its weights, which engines take from the model file or by address.

An engine maps what lies in a file, packs it into a form of its own and lets go of the file. What it would not pack
would stay mapped, and the process would die if the file were cut short. So such a weight, and one that is stored as
float16, is read by a node, which the engine computes when it compiles the graph:

    file, float32 -> Reshape -> weight
    file, float16 -> Cast -> weight

In both cases a weight is in memory once. Those that are decoded here are there a second time until the graph is
compiled: the engine copies what it is given by address.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
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
_PACKED = {"Conv": (3, 4, 5), "ConvTranspose": (3, 4, 5), "Gemm": (2,), "MatMul": (2,)}
"""The operators whose second input engines pack if it is of float32, and the ranks for which they do."""


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
    proto = _serialize_without(model, [*places, *homeless])
    proto.graph.initializer.extend(_declaration(value, None) for value in homeless)
    arrays = {str(value.name): value.const_value.numpy() for value in homeless if value.const_value is not None}
    _declare_in_file(model, proto.graph, places)
    return SerializedModel(proto.SerializeToString(), arrays, folder)


def _declare_in_file(model: ir.Model, graph: onnx.GraphProto, places: Mapping[ir.Value, Place]) -> None:
    """Declare the weights that lie in files, and read those that are not to stay there by nodes before all others."""
    read = {value: place for value, place in places.items() if place.length < _size(value) or not _is_packed(value)}
    graph.initializer.extend(_declaration(value, place) for value, place in places.items() if value not in read)
    if not read:
        return
    names = _free_names(model)
    reading = onnx.GraphProto()
    for value, place in read.items():
        _add_reading(reading, value, place, names)
    reading.MergeFrom(graph)
    graph.CopyFrom(reading)


def _is_packed(value: ir.Value) -> bool:
    """Whether engines keep nothing of a weight but a form of their own."""
    if value.dtype != ir.DataType.FLOAT or value.is_graph_output():
        return False
    uses = [(node.op_type, index) for node, index in value.uses()]
    return all(index == 1 and len(value.shape or ()) in _PACKED.get(operator, ()) for operator, index in uses)


def _free_names(model: ir.Model) -> Iterator[str]:
    """Give names that no value has, not even inside a loop."""
    graphs = [model.graph, *model.graph.subgraphs()]
    taken = {
        value.name for graph in graphs for values in (graph.inputs, graph.initializers.values()) for value in values
    }
    taken.update(output.name for node in model.graph.all_nodes() for output in node.outputs)
    return (name for number in itertools.count() if (name := f"stored:{number}") not in taken)


def _add_reading(graph: onnx.GraphProto, value: ir.Value, place: Place, names: Iterator[str]) -> None:
    """Add a node that makes a weight of what lies in a file."""
    node = graph.node.add(output=[value.name], input=[next(names)])
    stored = graph.initializer.add()
    stored.CopyFrom(_declaration(value, place))
    stored.name = node.input[0]
    if place.length < _size(value):
        node.op_type = "Cast"
        node.attribute.append(onnx.helper.make_attribute("to", int(ir.DataType.FLOAT)))
        stored.data_type = int(ir.DataType.FLOAT16)
        return
    # A node that changed nothing would be left out by the engine, and its input used as it is.
    node.op_type = "Reshape"
    node.input.append(next(names))
    graph.initializer.append(onnx.numpy_helper.from_array(np.array(stored.dims, np.int64), node.input[1]))
    stored.dims[:] = [math.prod(stored.dims)]


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
