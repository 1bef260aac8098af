"""Ask a model what happens at some input sizes: the shape of every value, or the layer that refuses and why.

The model is lowered at those sizes, which checks each layer as a prediction would; nothing is computed.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import onnx_ir as ir

from windfall.errors import FormatError, UnsupportedError
from windfall.features.binding import Binder, image_channels
from windfall.features.networks import NetworkBinder
from windfall.features.programs import ProgramBinder
from windfall.graph.builder import GraphBuilder
from windfall.graph.shapes import Dim, ShapeError
from windfall.lowering.gaps import refuse, unsupported
from windfall.lowering.ml_program.constants import Constant
from windfall.lowering.ml_program.context import OperationContext
from windfall.lowering.ml_program.inputs import add_inputs, lower_output
from windfall.lowering.ml_program.scope import Scope
from windfall.lowering.neural_network.blobs import Blobs
from windfall.shapes.allowed import Allowed, Dims, read_allowed
from windfall.shapes.folding import FoldingBuilder
from windfall.spec.modelfile import ModelFile
from windfall.spec.networks import all_layers, network_of
from windfall.spec.programs import all_operations, block_of, interface
from windfall.spec.proto import NEURAL_NETWORK_TYPES

Shape = tuple[Dim, ...]
"""The sizes of a value, None for those that depend on the data."""
Sizes = Mapping[str, Dims]
"""The sizes of each input: (width, height) of an image, the shape of an array."""
_TOO_LARGE = re.compile(r"needs? [\d,]+ bytes")


class Refusal(NamedTuple):
    """A layer that does not take what it is given.

    Attributes:
        layer: Its name; empty where an input or an output itself is refused.
        type: Its type.
        reason: Why.
    """

    layer: str
    type: str
    reason: str

    @property
    def is_size(self) -> bool:
        """Whether a tensor would be larger than any may be."""
        return _TOO_LARGE.search(self.reason) is not None

    def __str__(self) -> str:
        return f"layer {self.layer!r} ({self.type}): {self.reason}" if self.layer else self.reason


class Probe(NamedTuple):
    """What happens at some sizes.

    Attributes:
        sizes: The sizes of the inputs.
        shapes: The shape of each inner value by its name, as far as the model got.
        outputs: The shape of each tensor that the model gives, by its name; empty where a layer refuses.
        refusal: The layer that refuses, None if none does.
    """

    sizes: Sizes
    shapes: Mapping[str, Shape]
    outputs: Mapping[str, Shape]
    refusal: Refusal | None


class Prober:
    """Probes one model at many sizes; what it was asked once it remembers.

    Args:
        file: The model.
        function: The function of an ML program; empty for its default one.

    Attributes:
        file: The model.
        function: The function.
        description: The message with the inputs and outputs.
        inputs: The sizes that each input may have now.

    Raises:
        UnsupportedError: The model is of a type that has no shapes to set, or has parts that cannot be run.
        FormatError: Its description breaks a rule of the format.
    """

    def __init__(self, file: ModelFile, function: str = "") -> None:
        kind = file.spec.WhichOneof("Type")
        if kind not in (*NEURAL_NETWORK_TYPES, "mlProgram"):
            raise UnsupportedError(
                f"{file.name} is of type {kind}; only neural networks and ML programs have flexible shapes"
            )
        refuse(file.name, list(unsupported(file.spec)))
        self.file = file
        self.function = function
        self.is_program = kind == "mlProgram"
        self._binder: Binder = (ProgramBinder if self.is_program else NetworkBinder)(file, function)
        self.description = interface(file, function).description if self.is_program else file.spec.description
        found = (read_allowed(feature) for feature in self.description.input)
        self.inputs: dict[str, Allowed] = {one.name: one for one in found if one is not None}
        self._known: dict[tuple[tuple[str, Dims], ...], Probe] = {}

    @property
    def rank5(self) -> bool:
        """Whether arrays become [Seq, Batch, C, H, W]."""
        return isinstance(self._binder, NetworkBinder) and self._binder.rank5

    def defaults(self) -> dict[str, Dims]:
        """Return the default sizes of the inputs."""
        return {name: allowed.default for name, allowed in self.inputs.items()}

    def at(self, sizes: Sizes) -> Probe:
        """Probe the model at some sizes; inputs that are not named have their default ones."""
        full = {**self.defaults(), **sizes}
        key = tuple(full.items())
        if key not in self._known:
            self._known[key] = self._probe(full)
        return self._known[key]

    def _probe(self, sizes: Sizes) -> Probe:
        run = (_ProgramRun if self.is_program else _NetworkRun)(self.file, self.function)
        shapes = {name: self._graph_shape(name, dims) for name, dims in sizes.items()}
        try:
            outputs = run.lower(shapes, self._binder.sources)
        except (FormatError, ShapeError, UnsupportedError) as error:
            return Probe(sizes, run.shapes(), {}, run.refusal(error))
        return Probe(sizes, run.shapes(), {name: _shape(value) for name, value in outputs.items()}, None)

    def _graph_shape(self, name: str, dims: Dims) -> Dims:
        if self.inputs[name].is_image:
            width, height = dims
            return 1, height, width, image_channels(self._binder.inputs[name])
        if not self.rank5:
            return dims
        return (1, 1, *dims, *(1,) * (3 - len(dims)))


class _Run:
    """One lowering of a model, of which it can be asked how far it got."""

    graph: GraphBuilder

    def __init__(self, file: ModelFile, function: str) -> None:
        self._file = file
        self._function = function

    def lower(self, shapes: Mapping[str, Dims], names: Sequence[str]) -> dict[str, ir.Value]:
        """Lower the model and return its outputs."""
        raise NotImplementedError

    def shapes(self) -> dict[str, Shape]:
        """Return the shapes of the values so far."""
        raise NotImplementedError

    def _types(self) -> dict[str, str]:
        """Return the type of each layer by its name."""
        raise NotImplementedError

    def refusal(self, error: Exception) -> Refusal:
        """Return what an error says."""
        text = f"{self.graph.prefix!r}: {error}" if isinstance(error, ShapeError) else str(error)
        layer = self.graph.prefix if text.startswith("cannot lower") else ""
        reason = text.partition(f" of {self._file.name}: ")[2] or text.removeprefix(f"{self._file.name}: ")
        return Refusal(layer, self._types().get(layer, ""), reason)


class _NetworkRun(_Run):
    def lower(self, shapes: Mapping[str, Dims], names: Sequence[str]) -> dict[str, ir.Value]:
        inputs = self._file.spec.description.input
        self.graph = FoldingBuilder("model", [feature.name for feature in inputs])
        self._blobs = Blobs(self._file, self.graph)
        network = network_of(self._file.spec)
        for feature in inputs:
            self._blobs.add_input(feature, network, shapes[feature.name])
        self._blobs.asked = frozenset(names)
        self._blobs.lower_all(network.layers)
        self.graph.prefix = ""
        return {name: self._blobs.output(name) for name in names}

    def shapes(self) -> dict[str, Shape]:
        return {name: _shape(value) for name, value in self._blobs.values.items() if value.shape is not None}

    def _types(self) -> dict[str, str]:
        layers = all_layers(network_of(self._file.spec).layers)
        return {layer.name: str(layer.WhichOneof("layer")) for _, layer in layers}


class _ProgramRun(_Run):
    def lower(self, shapes: Mapping[str, Dims], names: Sequence[str]) -> dict[str, ir.Value]:
        described = interface(self._file, self._function)
        block, opset = block_of(self._file, self._function)
        description = described.description
        known = [feature.name for feature in (*description.input, *description.state)]
        self.graph = FoldingBuilder("model", known)
        self._scope = _RecordingScope(self._file, self.graph, int(opset.removeprefix("CoreML")))
        add_inputs(self._scope, described, shapes)
        self._scope.lower_block(block)
        self.graph.prefix = ""
        return {name: lower_output(self._scope, described, name) for name in names}

    def shapes(self) -> dict[str, Shape]:
        return self._scope.all_shapes()

    def _types(self) -> dict[str, str]:
        operations = all_operations(self._file.spec.mlProgram, interface(self._file, self._function).function)
        return {path.rpartition("/")[2]: str(operation.type) for path, operation in operations}


class _RecordingScope(Scope):
    """A scope that remembers those inside of it."""

    def __init__(self, file: ModelFile, graph: GraphBuilder, opset: int, around: Scope | None = None) -> None:
        super().__init__(file, graph, opset, around)
        self._inside: list[_RecordingScope] = []

    def nested(self, ctx: OperationContext, graph: GraphBuilder) -> Scope:
        super().nested(ctx, graph)  # checks the depth
        scope = _RecordingScope(self.file, graph, self.opset, self)
        self._inside.append(scope)
        return scope

    def all_shapes(self) -> dict[str, Shape]:
        """Return the shapes of all values, those in nested blocks too; constants are left out."""
        found = {name: shape for scope in self._inside for name, shape in scope.all_shapes().items()}
        for name, entry in self.values.items():
            if not isinstance(entry, Constant) and entry.shape is not None:
                found[name] = _shape(entry)
        return found


def _shape(value: ir.Value) -> Shape:
    """Return a value's shape; empty for a value whose rank depends on the data."""
    return () if value.shape is None else tuple(dim if isinstance(dim, int) else None for dim in value.shape)
