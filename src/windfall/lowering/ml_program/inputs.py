"""What goes into a program, and what comes out of it, by the model's description.

Source: ``Function`` in MIL.proto, ``FunctionDescription`` in Model.proto.
"""

from typing import Any

import onnx_ir as ir

from windfall.errors import FormatError
from windfall.lowering.ml_program.scope import Scope
from windfall.lowering.ml_program.types import TensorType, tensor_type
from windfall.lowering.neural_network.images import lower_image_input, lower_image_output
from windfall.lowering.shapes import InputShapes
from windfall.spec.programs import Interface
from windfall.spec.proto import NeuralNetwork_pb2

# Programs scale their images themselves: what they are given are the bytes, as [N, C, H, W].
_NO_PREPROCESSING = NeuralNetwork_pb2.NeuralNetwork(imageInputShapeMapping=NeuralNetwork_pb2.RANK4_IMAGE_MAPPING)


def add_inputs(scope: Scope, interface: Interface, input_shapes: InputShapes) -> None:
    """Add the inputs and states of a function to the graph.

    Raises:
        FormatError: The program has an input that the description has not, or one that is no tensor.
    """
    states = {feature.name for feature in interface.description.state}
    features = {feature.name: feature for feature in interface.description.input}
    for declared in interface.inputs:
        type_ = tensor_type(declared.type)
        if type_ is None or type_.graph_type is None:
            raise FormatError(f"{scope.file.name}: input {declared.name!r} must be a tensor of known rank")
        if declared.name in states:
            _add_state(scope, declared.name, type_)
        elif declared.name in features:
            scope.values[declared.name] = _add_input(scope, features[declared.name], type_, input_shapes)
        else:
            raise FormatError(
                f"{scope.file.name}: the program has an input {declared.name!r}, the description does not; "
                "convert the model again"
            )


def _add_state(scope: Scope, name: str, type_: TensorType) -> None:
    dims = tuple(dim for dim in type_.dims if dim is not None)
    if len(dims) != len(type_.dims):
        raise FormatError(f"{scope.file.name}: state {name!r} must have a known shape")
    value = scope.graph.input(name, type_.graph_type or ir.DataType.FLOAT, dims)
    scope.values[name] = value
    scope.states[name] = value


def _add_input(scope: Scope, feature: Any, type_: TensorType, input_shapes: InputShapes) -> ir.Value:
    dims = input_shapes[feature.name]
    scope.graph.prefix = feature.name
    if feature.type.HasField("imageType"):
        return lower_image_input(scope.graph, scope.file, feature, _NO_PREPROCESSING, dims)
    if len(dims) != len(type_.dims):
        raise FormatError(
            f"{scope.file.name}: input {feature.name!r} has {len(dims)} axes in the description and "
            f"{len(type_.dims)} in the program, must have as many; convert the model again"
        )
    return scope.graph.input(feature.name, type_.graph_type or ir.DataType.FLOAT, dims)


def lower_output(scope: Scope, interface: Interface, name: str) -> ir.Value:
    """Return the graph output for a value of the program.

    Raises:
        FormatError: There is none of that name.
    """
    feature = next((f for f in interface.description.output if f.name == name), None)
    if feature is None or not feature.type.HasField("imageType"):
        return scope.named(name)
    return scope.graph.rename(lower_image_output(scope.graph, scope.value(name), feature.type.imageType, name), name)
