"""Small models whose sizes may change: networks of a few layers, and ML programs of a few operations."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import windfall
from tests.programs import Name, Output, add_input, add_operation, new_program
from tests.support import fill
from windfall.spec.proto import Model_pb2

Layers = Sequence[Mapping[str, Any]]


def weights(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(scale=0.3, size=shape).astype(np.float32)


def convolution(
    given: int, made: int, kernel: tuple[int, int] = (3, 3), stride: int = 1, padding: str = "same", **fields: Any
) -> dict[str, Any]:
    """A convolution, or with ``isDeconvolution`` its transpose."""
    groups = {"kernelSize": kernel, "stride": (stride, stride), "outputChannels": made, "kernelChannels": given}
    shape = (given, made, *kernel) if fields.get("isDeconvolution") else (made, given, *kernel)
    return {"convolution": {**groups, "weights": weights(*shape), padding: {}, **fields}}


def array(name: str, shape: Sequence[int] = (), data_type: str = "FLOAT32") -> dict[str, Any]:
    return {"name": name, "type": {"multiArrayType": {"dataType": data_type, "shape": shape}}}


def image(name: str, width: int, height: int) -> dict[str, Any]:
    return {"name": name, "type": {"imageType": {"colorSpace": "RGB", "width": width, "height": height}}}


def network(
    layers: Layers, inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]], *, exact: bool = False
) -> Any:
    """A network of layers in a row, or of those that name what they read and give.

    Args:
        layers: Their parameters by their type, with ``name``, ``input`` and ``output`` where these are not the
            type with the layer's number, what the layer before gives, and the name.
        inputs: The described inputs, the first layer reads the first.
        outputs: The described outputs; the last layer gives the last.
        exact: Arrays have exactly the shape declared; else [1, 1, C, H, W].
    """
    spec = Model_pb2.Model(specificationVersion=4 if exact else 1)
    fill(spec, {"description": {"input": inputs, "output": outputs}, "neuralNetwork": {}})
    if exact:
        spec.neuralNetwork.arrayInputShapeMapping = 1
    last = inputs[0]["name"]
    for number, fields in enumerate(layers):
        (kind,) = (key for key in fields if key not in ("name", "input", "output"))
        name = fields.get("name", f"{kind}{number}")
        made = outputs[-1]["name"] if number == len(layers) - 1 else name
        full = {"name": name, "input": [last], "output": [made], **fields}
        fill(spec.neuralNetwork.layers.add(), full)
        last = full["output"][0]
    return spec


def mobile(size: int = 32, classes: int = 5, *, pooled: bool = True, pooling: Mapping[str, Any] | None = None) -> Any:
    """A small MobileNet: three strides of 2, each with a depthwise and a pointwise convolution, and a classifier."""
    relu = {"activation": {"ReLU": {}}}
    layers: list[dict[str, Any]] = [{**convolution(3, 8, stride=2), "name": "stem"}, relu]
    for channels in (8, 16):
        depthwise = convolution(1, channels, stride=2, nGroups=channels)
        layers += [depthwise, relu, convolution(channels, 2 * channels, (1, 1)), relu]
    cells = (size // 8) ** 2
    if pooled:
        layers.append({"pooling": pooling or {"type": "AVERAGE", "globalPooling": True, "valid": {}}, "name": "pool"})
    given = 32 if pooled else 32 * cells
    head = {"inputChannels": given, "outputChannels": classes, "weights": weights(classes, given)}
    layers += [{"flatten": {}, "name": "flat"}, {"innerProduct": head, "name": "fc1"}]
    return network(layers, [image("image", size, size)], [array("scores", [classes])])


def random_image(width: int, height: int) -> NDArray[np.uint8]:
    return np.random.default_rng(width * 1000 + height).integers(0, 256, (height, width, 3), np.uint8)


def random_array(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def program(
    inputs: Mapping[str, NDArray[Any]],
    operations: Sequence[tuple[str, str, Sequence[int], Mapping[str, Any]]],
    opset: int = 7,
) -> Any:
    """An ML program; the last operation gives its output.

    Args:
        inputs: Its inputs, with arrays of their shapes and types.
        operations: The operator, the name and the shape of what it gives, and its arguments, of each operation.
        opset: The version of the operators.
    """
    spec, function, block = new_program(opset)
    for name, value in inputs.items():
        add_input(spec, function, name, value, value.shape)
    for operator, name, dims, arguments in operations:
        given = {
            key: add_constant(block, f"{name}_{key}", value) if not isinstance(value, Name | list) else value
            for key, value in arguments.items()
        }
        add_operation(block, operator, {name: Output(np.float32, dims)}, **given)
    _, name, dims, _ = operations[-1]
    block.outputs.append(name)
    fill(spec.description.output.add(), array(name, dims))
    return spec


def add_constant(block: Any, name: str, value: Any) -> Name:
    """Add a constant as coremltools writes it, an operation of its own."""
    from tests.programs import set_value

    operation = block.operations.add(type="const")
    set_value(operation.attributes["name"], name)
    set_value(operation.attributes["val"], value)
    output = operation.outputs.add(name=name)
    output.type.CopyFrom(operation.attributes["val"].type)
    return Name(name)


def predict(spec: Any, **inputs: Any) -> Any:
    """Return the only output of a model."""
    (result,) = windfall.load(spec).predict(inputs).values()
    return result


def sizes(feature: Any) -> str:
    """Return the type of a described feature without its data type."""
    return str(feature.type).partition("(")[2].rstrip(")").partition(" ")[2].replace("\N{MULTIPLICATION SIGN}", "x")
