"""The lowest version of the format that holds what is in a model.

Source: the comment on ``Model`` in Model.proto lists what each version added, those on the other messages say it of
their fields.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from windfall.spec.pipelines import PIPELINES
from windfall.spec.proto import NEURAL_NETWORK_TYPES, NEWEST_SPECIFICATION, FeatureTypes_pb2, NeuralNetwork_pb2

_PACKAGE = "CoreML.Specification."
_FIRST_TYPES = {
    *NEURAL_NETWORK_TYPES,
    *PIPELINES,
    "glmClassifier",
    "glmRegressor",
    "supportVectorClassifier",
    "supportVectorRegressor",
    "treeEnsembleClassifier",
    "treeEnsembleRegressor",
    "arrayFeatureExtractor",
    "categoricalMapping",
    "dictVectorizer",
    "featureVectorizer",
    "identity",
    "imputer",
    "normalizer",
    "oneHotEncoder",
    "scaler",
}
"""The types of model that version 1 has."""

_ARRAYS = {
    FeatureTypes_pb2.ArrayFeatureType.FLOAT16: 7,
    FeatureTypes_pb2.ArrayFeatureType.INT8: 10,
}
_LATER_LAYERS = {"custom": 2, "resizeBilinear": 3, "cropResize": 3}
"""Layers that version 1 does not have, among those with a field number below that of version 4's."""


def with_lowest_version(model: Any) -> Any:
    """Return a copy of a ``Model`` message with the lowest version that holds what is in it; never a higher one.

    The version stays where a model has parts whose version is not known here, such as ML programs.
    """
    result = type(model)()
    result.CopyFrom(model)
    _lower(result)
    return result


def _lower(model: Any) -> None:
    """Lower the version of a model, and those of the members of a pipeline."""
    claimed = model.specificationVersion
    if not 1 <= claimed <= NEWEST_SPECIFICATION:
        claimed = NEWEST_SPECIFICATION
    model.specificationVersion = min(claimed, max(map(_needed, _messages(model))))
    kind = model.WhichOneof("Type")
    if kind in PIPELINES:
        pipeline = model.pipeline if kind == "pipeline" else getattr(model, kind).pipeline
        for member in pipeline.models:
            _lower(member)


def _messages(message: Any) -> Iterator[Any]:
    """Yield a message and all messages in it."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for inner in (value,) if hasattr(value, "ListFields") else value:
            yield from _messages(inner)


def _needed(message: Any) -> int:
    rule = _RULES.get(message.DESCRIPTOR.full_name.removeprefix(_PACKAGE))
    return 1 if rule is None else rule(message)


def _model(model: Any) -> int:
    description = model.description
    if model.WhichOneof("Type") not in _FIRST_TYPES:
        return NEWEST_SPECIFICATION
    if description.functions or description.defaultFunctionName or not description.input:
        return 9
    return 4 if model.isUpdatable else 1


def _array(array: Any) -> int:
    if array.WhichOneof("defaultOptionalValue"):
        return max(5, _ARRAYS.get(array.dataType, 1))
    return _ARRAYS.get(array.dataType, 3 if array.WhichOneof("ShapeFlexibility") else 1)


def _image(image: Any) -> int:
    if image.colorSpace == FeatureTypes_pb2.ImageFeatureType.GRAYSCALE_FLOAT16:
        return 7
    return 3 if image.WhichOneof("SizeFlexibility") else 1


def _network(network: Any) -> int:
    return 4 if network.arrayInputShapeMapping or network.imageInputShapeMapping else 1


def _layer(layer: Any) -> int:
    kind = layer.WhichOneof("layer")
    if kind is None:
        return NEWEST_SPECIFICATION
    number = layer.DESCRIPTOR.fields_by_name[kind].number
    if number >= 1450 or (kind == "sliceDynamic" and len(layer.input) == 7):
        return 5
    # Weights of a convolution that are computed came later than the layer.
    if number >= 600 or layer.isUpdatable or (kind == "convolution" and len(layer.input) > 1):
        return 4
    return _LATER_LAYERS.get(kind, 1)


def _weights(weights: Any) -> int:
    if weights.int8RawValue:
        return 5
    if weights.rawValue or weights.HasField("quantization"):
        return 3
    return 2 if weights.float16Value else 1


def _reorganize(layer: Any) -> int:
    return 5 if layer.mode == NeuralNetwork_pb2.ReorganizeDataLayerParams.PIXEL_SHUFFLE else 1


def _version_5_with(*fields: str) -> Callable[[Any], int]:
    """Return a rule: one of some fields is set, which version 5 added to a layer."""
    return lambda message: 5 if any(getattr(message, field) for field in fields) else 1


_RULES: Mapping[str, Callable[[Any], int]] = {
    "Model": _model,
    "ArrayFeatureType": _array,
    "ImageFeatureType": _image,
    "SequenceFeatureType": lambda _: 3,
    "StateFeatureType": lambda _: 9,
    "NeuralNetwork": _network,
    "NeuralNetworkClassifier": _network,
    "NeuralNetworkRegressor": _network,
    "NeuralNetworkLayer": _layer,
    "WeightParams": _weights,
    "ReorganizeDataLayerParams": _reorganize,
    "UpsampleLayerParams": _version_5_with("linearUpsampleMode", "fractionalScalingFactor"),
    "InnerProductLayerParams": _version_5_with("int8DynamicQuantize"),
    "BatchedMatMulLayerParams": _version_5_with("int8DynamicQuantize"),
    "ConcatNDLayerParams": _version_5_with("interleave"),
    "SliceDynamicLayerParams": _version_5_with("squeezeMasks"),
}
"""The version that each message needs for what is set in it, by the message's name."""
