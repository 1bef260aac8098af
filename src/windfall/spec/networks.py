"""Questions about neural network models that their messages alone answer."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from windfall.errors import FormatError
from windfall.spec.pipelines import all_members
from windfall.spec.proto import NEURAL_NETWORK_TYPES


def network_of(spec: Any) -> Any:
    """Return the message with the layers; the three types share its fields."""
    return getattr(spec, spec.WhichOneof("Type"))


def default_outputs(spec: Any) -> list[str]:
    """Name the values that a prediction needs: the described outputs, a classifier's label by its probabilities."""
    probabilities = probabilities_name(spec)
    labels = {spec.description.predictedFeatureName, spec.description.predictedProbabilitiesName}
    names = [f.name for f in spec.description.output if probabilities is None or f.name not in labels]
    if probabilities is not None and probabilities not in names:
        names.append(probabilities)
    return list(dict.fromkeys(names))


def probabilities_name(spec: Any) -> str | None:
    """Return the value that holds a classifier's probabilities: the one it names, else the last layer's output."""
    if spec.WhichOneof("Type") != "neuralNetworkClassifier":
        return None
    network = network_of(spec)
    if network.labelProbabilityLayerName:
        return str(network.labelProbabilityLayerName)
    if not network.layers or not network.layers[-1].output:
        raise FormatError("the classifier has no layers, must have one that gives the probabilities")
    return str(network.layers[-1].output[0])


def has_custom_layers(spec: Any) -> bool:
    """Whether a model, or a member of it, has layers of the user's own."""
    networks = (network_of(member) for member in all_members(spec) if member.WhichOneof("Type") in NEURAL_NETWORK_TYPES)
    return any(layer.HasField("custom") for network in networks for _, layer in all_layers(network.layers))


_NESTED: Mapping[str | None, tuple[str, ...]] = {
    "branch": ("ifBranch", "elseBranch"),
    "loop": ("conditionNetwork", "bodyNetwork"),
}


def nested_networks(layer: Any) -> Iterator[tuple[str, Any]]:
    """Yield the networks inside a layer, with the fields that have them."""
    kind = layer.WhichOneof("layer")
    for field in _NESTED.get(kind, ()):
        yield field, getattr(getattr(layer, kind), field)


def all_layers(layers: Iterable[Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield layers and all those inside them, each with its path: ``loop/bodyNetwork/add``."""
    for layer in layers:
        yield f"{path}{layer.name}", layer
        for field, inner in nested_networks(layer):
            yield from all_layers(inner.layers, f"{path}{layer.name}/{field}/")
