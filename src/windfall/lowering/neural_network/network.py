"""Lower a whole neural network: its inputs, each of its layers, its outputs.

Source: ``NeuralNetwork``, ``NeuralNetworkLayer`` in NeuralNetwork.proto.
"""

from collections.abc import Sequence
from typing import Any

import onnx_ir as ir

from windfall.custom.customs import NO_LAYER, at_work
from windfall.errors import FormatError, UnsupportedError
from windfall.graph.builder import GraphBuilder, build_model
from windfall.lowering.neural_network.blobs import Blobs, some
from windfall.lowering.neural_network.layers import LOWERINGS, NOT_LOWERED
from windfall.lowering.shapes import InputShapes
from windfall.spec.modelfile import ModelFile
from windfall.spec.networks import all_layers, default_outputs, network_of


def gaps(spec: Any) -> list[str]:
    """Name each layer that cannot be run, with its type and the reason; those in nested networks by their paths."""
    return [
        f"{path!r} ({_type_name(layer)}): {reason}"
        for path, layer in all_layers(network_of(spec).layers)
        if (reason := _gap(layer)) is not None
    ]


def _type_name(layer: Any) -> str:
    kind = layer.WhichOneof("layer") or "type not set"
    return f"custom, className {layer.custom.className!r}" if kind == "custom" else kind


def _gap(layer: Any) -> str | None:
    kind = layer.WhichOneof("layer")
    if kind is None:
        return "its type is unknown to this version"
    if kind == "custom" and at_work().classes.layer(layer.custom.className) is None:
        return NO_LAYER
    return None if kind in LOWERINGS else NOT_LOWERED.get(kind, "not supported")


def _refuse_gaps(file: ModelFile) -> None:
    """Raise one error for all layers that cannot be run, by type, with the first few names of each."""
    by_kind: dict[str, list[str]] = {}
    for path, layer in all_layers(network_of(file.spec).layers):
        reason = _gap(layer)
        if reason is not None:
            by_kind.setdefault(f"{_type_name(layer)}: {reason}", []).append(path)
    if not by_kind:
        return
    count = sum(map(len, by_kind.values()))
    listed = "; ".join(f"{some(names, 3)} ({kind})" for kind, names in by_kind.items())
    raise UnsupportedError(
        f"{file.name} has {count} layer{'s' * (count > 1)} that cannot be run: {listed}; "
        "see all with: windfall inspect MODEL --layers"
    )


def lower_network(
    file: ModelFile,
    input_shapes: InputShapes,
    outputs: Sequence[str] | None = None,
    function: str = "",  # noqa: ARG001  # only ML programs have any
) -> ir.Model:
    """Lower a neural network, classifier or regressor.

    Args:
        file: The model.
        input_shapes: The shape of each graph input, by feature name.
        outputs: Names of values to compute: outputs of the description or of any layer. All outputs by default.
        function: Empty: a network has no functions.

    Raises:
        UnsupportedError: Some layers cannot be run; the error names all of them.
        LoweringError: A layer's parameters break a rule.
        FormatError: The layers do not form a graph, or an output is made by none of them.
    """
    _refuse_gaps(file)
    network = network_of(file.spec)
    inputs = [feature.name for feature in file.spec.description.input]
    graph = GraphBuilder(file.path.stem if file.path else "model", inputs)
    blobs = Blobs(file, graph)
    for feature in file.spec.description.input:
        blobs.add_input(feature, network, input_shapes[feature.name])
    names = outputs if outputs is not None else default_outputs(file.spec)
    if not names:
        raise FormatError(f"{file.name} declares no outputs, must declare at least one; ask for inner values by name")
    blobs.asked = frozenset(names)
    blobs.lower_all(network.layers)
    graph.prefix = ""
    for name in names:
        graph.graph.outputs.append(blobs.output(name))
    return build_model(graph.graph)
