"""Small models made in memory, and the layers in them run."""

import errno
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from google.protobuf.message import Message
from numpy.typing import ArrayLike, NDArray

import windfall
from windfall.spec.proto import FeatureTypes_pb2, Model_pb2, NeuralNetwork_pb2

SPEC_LAYER_TYPES = [
    field.name for field in NeuralNetwork_pb2.NeuralNetworkLayer.DESCRIPTOR.oneofs_by_name["layer"].fields
]
"""All members of the specification's ``oneof layer``."""


def fill(message: Message, fields: Mapping[str, Any]) -> None:
    """Set a message's fields: a dict fills a nested message, an array a weight, a list or a number the rest.

    A nested message without fields is set with ``{}``; an enum value may be given by its name.
    """
    for name, value in fields.items():
        descriptor = message.DESCRIPTOR.fields_by_name[name]
        if isinstance(value, Message):
            getattr(message, name).CopyFrom(value)
        elif isinstance(value, np.ndarray):
            target = getattr(message, name)
            (target.floatValue if hasattr(target, "floatValue") else target).extend(value.ravel().tolist())
        elif isinstance(value, Mapping):
            getattr(message, name).SetInParent()
            fill(getattr(message, name), value)
        elif isinstance(value, list | tuple) and descriptor.message_type is not None:
            for item in value:
                fill(getattr(message, name).add(), item)
        elif isinstance(value, list | tuple):
            getattr(message, name).extend(value)
        elif isinstance(value, str) and descriptor.enum_type is not None:
            setattr(message, name, descriptor.enum_type.values_by_name[value].number)
        else:
            setattr(message, name, value)


def layer_spec(layer_type: str, *inputs: NDArray[Any], outputs: int = 1, rank5: bool = False, **fields: Any) -> Any:
    """Return a ``Model`` message of one layer named ``layer``, with inputs x0, x1, ... and outputs y0, y1, ...

    Args:
        layer_type: A member of the specification's ``oneof layer``.
        inputs: Arrays that give the declared shapes.
        outputs: How many outputs the layer has.
        rank5: Use RANK5_ARRAY_MAPPING: inputs are [C] or [C, H, W], tensors [Seq, Batch, C, H, W]. Else exact shapes.
        fields: The fields of the layer's parameters, see ``fill``.
    """
    spec = Model_pb2.Model(specificationVersion=3 if rank5 else 5)
    network = spec.neuralNetwork
    if not rank5:
        network.arrayInputShapeMapping = NeuralNetwork_pb2.EXACT_ARRAY_MAPPING
    layer = network.layers.add(name="layer")
    for index, array in enumerate(inputs):
        feature = spec.description.input.add(name=f"x{index}")
        shape = array.shape[-3:] if rank5 else array.shape
        feature.type.multiArrayType.shape.extend(shape)
        feature.type.multiArrayType.dataType = FeatureTypes_pb2.ArrayFeatureType.FLOAT32
        layer.input.append(f"x{index}")
    for index in range(outputs):
        feature = spec.description.output.add(name=f"y{index}")
        feature.type.multiArrayType.dataType = FeatureTypes_pb2.ArrayFeatureType.FLOAT32
        layer.output.append(f"y{index}")
    getattr(layer, layer_type).SetInParent()
    fill(getattr(layer, layer_type), fields)
    return spec


def run_layer(layer_type: str, *inputs: ArrayLike, outputs: int = 1, rank5: bool = False, **fields: Any) -> Any:
    """Run one layer; returns its output, or the list of them where there are several. See ``layer_spec``."""
    arrays = [np.asarray(x, np.float32) for x in inputs]
    spec = layer_spec(layer_type, *arrays, outputs=outputs, rank5=rank5, **fields)
    results = windfall.load(spec).predict({f"x{i}": array for i, array in enumerate(arrays)})
    values = [results[f"y{i}"] for i in range(outputs)]
    return values[0] if outputs == 1 else values


class FullDisk:
    """A file of which the first few bytes fit on the disk."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def write(self, data: bytes) -> None:
        self.file.write(data[:100])
        raise OSError(errno.ENOSPC, "No space left on device")
