"""The values of a network by their names in the model ("blobs"), as far as they have been lowered."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import onnx_ir as ir

from windfall.errors import FormatError
from windfall.graph.builder import GraphBuilder
from windfall.graph.shapes import ShapeError, shape
from windfall.lowering.neural_network.context import LayerContext
from windfall.lowering.neural_network.control_flow import FLAGS, lower_rest, stops
from windfall.lowering.neural_network.images import lower_image_input, lower_image_output
from windfall.lowering.neural_network.layers import LOWERINGS, Lowering
from windfall.spec.modelfile import ModelFile
from windfall.spec.networks import all_layers, network_of


class Blobs:
    """The values that the layers of one network may use.

    A network inside a layer has blobs of its own: it sees those around it, and keeps what it writes.

    Attributes:
        file: The model.
        graph: The graph or subgraph that the layers are added to.
        values: What this network has written, or has been given, itself.
        loose: Names that any layer may write again, where only ``copy`` may otherwise.
        rewriting: Whether any layer may write every name again: the network is lowered a second time.
        depth: How many networks lie around this one.
        rests: How many layers that may stop an iteration stand before.
        asked: Names of the values that the model is asked for.
    """

    def __init__(self, file: ModelFile, graph: GraphBuilder, around: "Blobs | None" = None) -> None:
        self.file = file
        self.graph = graph
        self.values: dict[str, ir.Value] = {}
        self.loose: set[str] = set()
        self.rewriting: bool = around is not None and around.rewriting
        self.depth: int = 0 if around is None else around.depth
        self.rests: int = 0 if around is None else around.rests
        self.asked: frozenset[str] = frozenset()
        self._around = around
        self._reasons: dict[str, str] = {}
        # For layers being lowered: where each name is read last, and the index of the first layer that comes after.
        self._running: list[tuple[Mapping[str, int], int]] = []
        self.image_outputs = {
            f.name: f.type.imageType for f in file.spec.description.output if f.type.HasField("imageType")
        }

    def nested(self, graph: GraphBuilder) -> "Blobs":
        """Return the blobs for a network inside a layer of this one."""
        return Blobs(self.file, graph, self)

    def find(self, name: str) -> ir.Value | None:
        """Return the value that a name stands for now, None if there is none."""
        return next((blobs.values[name] for blobs in self._outwards() if name in blobs.values), None)

    def is_read_later(self, name: str) -> bool:
        """Whether a layer after the one that is being lowered, or the caller, asks for a name."""
        return any(
            name in blobs.asked or any(last.get(name, -1) >= index for last, index in blobs._running)
            for blobs in self._outwards()
        )

    def hide(self, names: Iterable[str], reason: str) -> None:
        """Say why names have no value, for the error where one is used."""
        self._reasons.update(dict.fromkeys(names, reason))

    def _outwards(self) -> Iterator["Blobs"]:
        blobs: Blobs | None = self
        while blobs is not None:
            yield blobs
            blobs = blobs._around

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

    def lower_all(self, layers: Sequence[Any]) -> None:
        """Lower layers in order; what stands behind one that may stop an iteration is computed where it does not."""
        last = {name: i for i, layer in enumerate(layers) for _, inner in all_layers([layer]) for name in inner.input}
        self._running.append((last, 0))
        for index, layer in enumerate(layers):
            self._running[-1] = (last, index + 1)
            ctx = self._lower(layer)
            if index + 1 < len(layers) and stops([layer]):
                lower_rest(ctx, layers[index + 1 :])
                break
        self._running.pop()

    def _lower(self, layer: Any) -> LayerContext:
        """Lower one layer and keep its outputs."""
        self.graph.prefix = layer.name
        ctx = LayerContext(layer, self.file, self.graph, self)
        lowering = LOWERINGS[ctx.layer_type]
        inputs = [self._input(ctx, name) for name in layer.input]
        lowering.check_inputs(ctx, len(inputs))
        outputs = self._run(lowering, ctx, inputs)
        if len(outputs) != len(layer.output):
            raise ctx.error("output", f"must be {len(outputs)} names", value=list(layer.output))
        for name, value in zip(layer.output, outputs, strict=True):
            self._check_output(ctx, name)
            self.write(name, value)
        return ctx

    def _input(self, ctx: LayerContext, name: str) -> ir.Value:
        value = self.find(name)
        if value is None:
            raise ctx.error("input", self._why_missing(name), value=name)
        return value

    def _why_missing(self, name: str) -> str:
        later = [other.name for other in network_of(self.file.spec).layers if name in other.output]
        if later:
            return f"is made by the later layer {later[0]!r}: layers must stand in order and without cycles"
        reasons = (blobs._reasons[name] for blobs in self._outwards() if name in blobs._reasons)
        return next(reasons, "is made by no layer and is no input of the model")

    @staticmethod
    def _run(lowering: Lowering, ctx: LayerContext, inputs: Sequence[ir.Value]) -> Sequence[ir.Value]:
        if ctx.layer_type == "custom":  # what the user's code raises stays as it is
            made = lowering.function(ctx, *inputs)
            return [made] if isinstance(made, ir.Value) else list(made)
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

    def _check_output(self, ctx: LayerContext, name: str) -> None:
        if not name:
            raise ctx.error("output", "every output must have a name", value="''")
        if self.find(name) is None or ctx.layer_type == "copy" or self.rewriting:
            return
        if not any(name in blobs.loose for blobs in self._outwards()):
            raise ctx.error("output", "another layer or input has that name; names must differ", value=name)

    def write(self, name: str, value: ir.Value) -> None:
        """Let a name stand for a value from now on."""
        old = self.values.get(name)
        if name in FLAGS:
            self.values[name] = value
            return
        if old is not None:
            self.graph.unname(old)
        known = None if value.shape is None or len(shape(value)) == 4 else self.graph.known_planes(value)
        # The picture that an image output becomes takes the feature's name; its tensor goes without.
        inner = f"{self.graph.graph.name}.{name}" if self._around else name
        named = value if name in self.image_outputs else self.graph.rename(value, inner)
        if known is not None and named is not value:
            self.graph.set_planes(named, known)
        self.values[name] = named

    def output(self, name: str) -> ir.Value:
        """Return the graph output for a value of the model."""
        if name not in self.values:
            reason = self._reasons.get(name, "")
            raise FormatError(
                f"{self.file.name} has no value {name!r}, which is asked for as an output; "
                + (f"it {reason}" if reason else f"values are {some(self.values)}")
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


def some(names: Iterable[str], most: int = 8) -> str:
    """Show the first few names."""
    listed: Iterator[str] = iter(names)
    shown = [repr(name) for _, name in zip(range(most), listed, strict=False)]
    return ", ".join(shown) + (" ..." if next(listed, None) is not None else "")
