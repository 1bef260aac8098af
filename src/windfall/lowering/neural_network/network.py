"""Lower a whole neural network: its inputs, each of its layers, its outputs.

Source: ``NeuralNetwork``, ``NeuralNetworkLayer`` in NeuralNetwork.proto.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import onnx_ir as ir

from windfall.errors import FormatError, UnsupportedError
from windfall.graph.builder import GraphBuilder, ShapeError, build_model, shape
from windfall.lowering.neural_network.context import LayerContext
from windfall.lowering.neural_network.images import lower_image_input, lower_image_output
from windfall.lowering.neural_network.layers import LOWERINGS, NOT_LOWERED, Lowering
from windfall.lowering.shapes import InputShapes
from windfall.spec.modelfile import ModelFile
from windfall.spec.networks import default_outputs, network_of


def gaps(spec: Any) -> list[str]:
    """Name each layer that cannot be run, with its type and the reason."""
    return [
        f"{layer.name!r} ({_type_name(layer)}): {reason}"
        for layer in network_of(spec).layers
        if (reason := _gap(layer)) is not None
    ]


def _type_name(layer: Any) -> str:
    kind = layer.WhichOneof("layer") or "type not set"
    return f"custom, className {layer.custom.className!r}" if kind == "custom" else kind


def _gap(layer: Any) -> str | None:
    kind = layer.WhichOneof("layer")
    if kind is None:
        return "its type is unknown to this version"
    return None if kind in LOWERINGS else NOT_LOWERED.get(kind, "not supported")


def _refuse_gaps(file: ModelFile) -> None:
    """Raise one error for all layers that cannot be run, by type, with the first few names of each."""
    by_kind: dict[str, list[str]] = {}
    for layer in network_of(file.spec).layers:
        reason = _gap(layer)
        if reason is not None:
            by_kind.setdefault(f"{_type_name(layer)}: {reason}", []).append(layer.name)
    if not by_kind:
        return
    count = sum(map(len, by_kind.values()))
    listed = "; ".join(f"{_some(names, 3)} ({kind})" for kind, names in by_kind.items())
    raise UnsupportedError(
        f"{file.name} has {count} layer{'s' * (count > 1)} that cannot be run: {listed}; "
        "see all with: windfall inspect MODEL --layers"
    )


def lower_network(file: ModelFile, input_shapes: InputShapes, outputs: Sequence[str] | None = None) -> ir.Model:
    """Lower a neural network, classifier or regressor.

    Args:
        file: The model.
        input_shapes: The shape of each graph input, by feature name.
        outputs: Names of values to compute: outputs of the description or of any layer. All outputs by default.

    Raises:
        UnsupportedError: Some layers cannot be run; the error names all of them.
        LoweringError: A layer's parameters break a rule.
        FormatError: The layers do not form a graph, or an output is made by none of them.
    """
    _refuse_gaps(file)
    network = network_of(file.spec)
    inputs = [feature.name for feature in file.spec.description.input]
    graph = GraphBuilder(file.path.stem if file.path else "model", inputs)
    blobs = _Blobs(file, graph)
    for feature in file.spec.description.input:
        blobs.add_input(feature, network, input_shapes[feature.name])
    for layer in network.layers:
        blobs.lower(layer)
    graph.prefix = ""
    names = outputs if outputs is not None else default_outputs(file.spec)
    if not names:
        raise FormatError(f"{file.name} declares no outputs, must declare at least one; ask for inner values by name")
    for name in names:
        graph.graph.outputs.append(blobs.output(name))
    return build_model(graph.graph)


class _Blobs:
    """The values of a network by their names in the model ("blobs"), as far as they have been lowered."""

    def __init__(self, file: ModelFile, graph: GraphBuilder) -> None:
        self.file = file
        self.graph = graph
        self.values: dict[str, ir.Value] = {}
        self.image_outputs = {
            f.name: f.type.imageType for f in file.spec.description.output if f.type.HasField("imageType")
        }

    def add_input(self, feature: Any, network: Any, dims: tuple[int | str, ...]) -> None:
        """Add a feature as a graph input; images go through their preprocessing."""
        if feature.name in self.values:
            raise FormatError(f"{self.file.name} declares the input {feature.name!r} twice; names must differ")
        self.graph.prefix = feature.name
        try:
            if feature.type.HasField("imageType"):
                value = lower_image_input(self.graph, self.file, feature, network, dims)
            else:
                value = self.graph.input(feature.name, ir.DataType.FLOAT, dims)
        except ShapeError as error:
            raise FormatError(f"{self.file.name}: input {feature.name!r}: {error}") from error
        self.values[feature.name] = value

    def lower(self, layer: Any) -> None:
        """Lower one layer and keep its outputs."""
        self.graph.prefix = layer.name
        ctx = LayerContext(layer, self.file, self.graph)
        lowering = LOWERINGS[ctx.layer_type]
        inputs = [self._input(ctx, name) for name in layer.input]
        lowering.check_inputs(ctx, len(inputs))
        outputs = self._run(lowering, ctx, inputs)
        if len(outputs) != len(layer.output):
            raise ctx.error("output", f"must be {len(outputs)} names", value=list(layer.output))
        for name, value in zip(layer.output, outputs, strict=True):
            self._add(ctx, name, value)

    def _input(self, ctx: LayerContext, name: str) -> ir.Value:
        if name in self.values:
            return self.values[name]
        later = [other.name for other in network_of(self.file.spec).layers if name in other.output]
        made = (
            f"is made by the later layer {later[0]!r}: layers must stand in order and without cycles"
            if later
            else ("is made by no layer and is no input of the model")
        )
        raise ctx.error("input", made, value=name)

    @staticmethod
    def _run(lowering: Lowering, ctx: LayerContext, inputs: Sequence[ir.Value]) -> Sequence[ir.Value]:
        try:
            result = lowering.function(ctx, *inputs)
        except ShapeError as error:
            shapes = ", ".join(f"{x.name!r} {_show(x)}" for x in inputs)
            raise ctx.error("input", f"does not fit the layer: {error}", value=shapes or None) from error
        except (ArithmeticError, LookupError, MemoryError, TypeError, ValueError) as error:
            # Damaged parameters fail in more ways than a lowering can check one by one.
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
            raise ctx.error("parameters", f"have values that the layer cannot have ({reason})", value=None) from error
        return [result] if isinstance(result, ir.Value) else list(result)

    def _add(self, ctx: LayerContext, name: str, value: ir.Value) -> None:
        if not name:
            raise ctx.error("output", "every output must have a name", value="''")
        if name in self.values:
            raise ctx.error("output", "another layer or input has that name; names must differ", value=name)
        known = self.graph.known_planes(value) if len(shape(value)) != 4 else None
        # The picture that an image output becomes takes the feature's name; its tensor goes without.
        named = value if name in self.image_outputs else self.graph.rename(value, name)
        if known is not None and named is not value:
            self.graph.set_planes(named, known)
        self.values[name] = named

    def output(self, name: str) -> ir.Value:
        """Return the graph output for a value of the model."""
        if name not in self.values:
            raise FormatError(
                f"{self.file.name} has no value {name!r}, which is asked for as an output; "
                f"values are {_some(self.values)}"
            )
        value = self.values[name]
        image = self.image_outputs.get(name)
        if image is not None:
            try:
                return self.graph.rename(lower_image_output(self.graph, value, image, name), name)
            except ShapeError as error:
                raise FormatError(f"{self.file.name}: output {name!r}: {error}") from error
        if value.name == name and not value.is_graph_input():
            return value
        return self.graph.rename(value, f"{name}")


def _show(value: ir.Value) -> str:
    return "unknown rank" if value.shape is None else str(list(shape(value)))


def _some(names: Iterable[str], most: int = 8) -> str:
    listed: Iterator[str] = iter(names)
    shown = [repr(name) for _, name in zip(range(most), listed, strict=False)]
    return ", ".join(shown) + (" ..." if next(listed, None) is not None else "")
