"""Where the weights of a network's layers get their input from, and how it looks to them."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from windfall.lowering.neural_network.context import LayerContext
from windfall.lowering.neural_network.convolution import padding, window_of
from windfall.lowering.windows import Edge, Sizes
from windfall.quantization.calibration.patches import Convolution, Rows, vectors
from windfall.spec.modelfile import ModelFile
from windfall.spec.networks import all_layers


class Use(NamedTuple):
    """How a layer uses its weights: as matrices that multiply rows made of one value of the network.

    Attributes:
        value: The name of the value.
        rows: Makes the rows.
        groups: How many groups of output channels there are, each with rows of its own.
        biases: The fields of the weights, each with that of the bias that is added to its product; "" where there is
            none.
    """

    value: str
    rows: Rows
    groups: int
    biases: Mapping[str, str]


NESTED = "lies in a branch or a loop, whose values cannot be seen"
UNSEEN = "its input cannot be seen"
OTHER = "is of a kind that has no calibration"
TWICE = "another layer has the same name"


def network_uses(file: ModelFile, network: Any, description: Any, prefix: str) -> dict[str, Use | str]:
    """Return for each layer how it uses its weights, or why that is not known.

    Args:
        file: The model.
        network: The message with the layers.
        description: The ``ModelDescription`` of the network.
        prefix: What stands in front of layers' names.
    """
    seen = _visible(network, description)
    found: dict[str, Use | str] = {path: NESTED for path, _ in all_layers(network.layers, prefix)}
    counts = Counter(path for path, _ in all_layers(network.layers, prefix))
    for layer in network.layers:
        path = f"{prefix}{layer.name}"
        found[path] = TWICE if counts[path] > 1 else _use(file, layer, seen)
    return found


def _visible(network: Any, description: Any) -> set[str]:
    """Return the names that stand for one value all the time: inputs, and outputs of layers that no other writes."""
    names = Counter(feature.name for feature in description.input)
    names.update(name for _, layer in all_layers(network.layers) for name in layer.output)
    outer = {feature.name for feature in description.input}.union(*(layer.output for layer in network.layers))
    return {name for name in outer if names[name] == 1}


def _use(file: ModelFile, layer: Any, seen: set[str]) -> Use | str:
    read = _USES.get(layer.WhichOneof("layer"))
    if read is None or not layer.input or (len(layer.input) > 1 and read is not _recurrent):
        return OTHER
    return read(file, layer) if layer.input[0] in seen else UNSEEN


def _convolution(file: ModelFile, layer: Any) -> Use:
    params = layer.convolution
    ctx = LayerContext(layer, file, None, None)  # type: ignore[arg-type]  # only the parameters are read
    window = window_of(ctx)

    def edges(dims: Sizes) -> list[Edge]:
        found = padding(ctx, window, dims)
        extra = found.get("output_padding") or (0, 0)
        starts, ends = found["pads"][:2], found["pads"][2:]
        return [(start, end - more) for start, end, more in zip(starts, ends, extra, strict=True)]

    rows = Convolution(window, edges, params.nGroups or 1, bool(params.isDeconvolution))
    return Use(layer.input[0], rows, rows.groups, _biases(params))


def _biases(params: Any) -> dict[str, str]:
    return {"weights": "bias" if params.hasBias else ""}


def _inner_product(_file: ModelFile, layer: Any) -> Use:
    params = layer.innerProduct
    return Use(layer.input[0], vectors(params.inputChannels), 1, _biases(params))


def _batched_mat_mul(_file: ModelFile, layer: Any) -> Use:
    params = layer.batchedMatmul
    return Use(layer.input[0], vectors(params.weightMatrixFirstDimension), 1, _biases(params))


_GATES = {
    "gru": ("updateGate", "resetGate", "outputGate"),
    "uniDirectionalLSTM": ("inputGate", "forgetGate", "blockInput", "outputGate"),
    "biDirectionalLSTM": ("inputGate", "forgetGate", "blockInput", "outputGate"),
}
_PREFIXES = {"gru": ("",), "uniDirectionalLSTM": ("weightParams.",)}
_BOTH = ("weightParams[0].", "weightParams[1].")


def _recurrent(_file: ModelFile, layer: Any) -> Use:
    """Return the use of the matrices that the input is multiplied by; that of the state's cannot be seen."""
    kind = layer.WhichOneof("layer")
    params = getattr(layer, kind)
    if kind == "simpleRecurrent":
        fields = {"weightMatrix": "biasVector" if params.hasBiasVector else ""}
    else:
        has_bias = params.hasBiasVectors if kind == "gru" else params.params.hasBiasVectors
        fields = {
            f"{prefix}{gate}WeightMatrix": f"{prefix}{gate}BiasVector" if has_bias else ""
            for prefix in _PREFIXES.get(kind, _BOTH)
            for gate in _GATES[kind]
        }
    return Use(layer.input[0], vectors(params.inputVectorSize), 1, fields)


_USES: Mapping[str | None, Callable[[ModelFile, Any], Use]] = {
    "convolution": _convolution,
    "innerProduct": _inner_product,
    "batchedMatmul": _batched_mat_mul,
    "simpleRecurrent": _recurrent,
    "gru": _recurrent,
    "uniDirectionalLSTM": _recurrent,
    "biDirectionalLSTM": _recurrent,
}
