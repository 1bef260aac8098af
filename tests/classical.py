"""Classical models and pipelines made in memory."""

from collections.abc import Mapping, Sequence
from typing import Any

import windfall
from tests.support import fill
from windfall.spec.pipelines import PIPELINES
from windfall.spec.proto import Model_pb2

TYPES: Mapping[str, Mapping[str, Any]] = {
    "double": {"doubleType": {}},
    "int64": {"int64Type": {}},
    "string": {"stringType": {}},
    "string dictionary": {"dictionaryType": {"stringKeyType": {}}},
    "int64 dictionary": {"dictionaryType": {"int64KeyType": {}}},
    "string sequence": {"sequenceType": {"stringType": {}}},
    "int64 sequence": {"sequenceType": {"int64Type": {}}},
}
"""The fields of a ``FeatureType`` by a word for them."""

Kind = str | Mapping[str, Any] | Sequence[int]


def array(*shape: int, dtype: str = "DOUBLE", **fields: Any) -> dict[str, Any]:
    """Return the fields of a ``FeatureType`` for an array."""
    return {"multiArrayType": {"shape": list(shape), "dataType": dtype, **fields}}


def image(width: int, height: int, color_space: str = "RGB") -> dict[str, Any]:
    """Return the fields of a ``FeatureType`` for an image."""
    return {"imageType": {"width": width, "height": height, "colorSpace": color_space}}


def optional(kind: Kind) -> dict[str, Any]:
    """Return the fields of a ``FeatureType`` for an input that may be left out."""
    return {**_fields(kind), "isOptional": True}


def _fields(kind: Kind) -> Mapping[str, Any]:
    return TYPES[kind] if isinstance(kind, str) else kind if isinstance(kind, Mapping) else array(*kind)


def described(
    inputs: Mapping[str, Kind], outputs: Mapping[str, Kind], predicted: str = "", probabilities: str = ""
) -> Any:
    """Return a ``Model`` message with a description and no model.

    Args:
        inputs: The type of each input: a word of ``TYPES``, a shape of doubles, or the fields of a ``FeatureType``.
        outputs: The type of each output.
        predicted: The ``predictedFeatureName``.
        probabilities: The ``predictedProbabilitiesName``.
    """
    spec = Model_pb2.Model(specificationVersion=1)
    for features, target in ((inputs, spec.description.input), (outputs, spec.description.output)):
        for name, kind in features.items():
            fill(target.add(name=name), {"type": _fields(kind)})
    spec.description.predictedFeatureName = predicted
    spec.description.predictedProbabilitiesName = probabilities
    return spec


def model_spec(  # what a model consists of
    kind: str,
    inputs: Mapping[str, Kind],
    outputs: Mapping[str, Kind],
    fields: Mapping[str, Any],
    predicted: str = "",
    probabilities: str = "",
) -> Any:
    """Return a ``Model`` message of one classical model; see ``described`` and ``tests.support.fill``.

    Args:
        kind: A member of the specification's ``oneof Type``.
        inputs: As for ``described``.
        outputs: As for ``described``.
        fields: The fields of the model's parameters.
        predicted: As for ``described``.
        probabilities: As for ``described``.
    """
    spec = described(inputs, outputs, predicted, probabilities)
    getattr(spec, kind).SetInParent()
    fill(getattr(spec, kind), fields)
    return spec


def pipeline_spec(
    members: Sequence[Any],
    inputs: Mapping[str, Kind],
    outputs: Mapping[str, Kind],
    kind: str = "pipeline",
    **names: str,
) -> Any:
    """Return a ``Model`` message of a pipeline of other messages; ``names`` are those of ``described``."""
    assert kind in PIPELINES
    spec = described(inputs, outputs, **names)
    pipeline = spec.pipeline if kind == "pipeline" else getattr(spec, kind).pipeline
    pipeline.models.extend(members)
    return spec


def predict(spec: Any, **inputs: Any) -> dict[str, Any]:
    """Run a model once."""
    return windfall.load(spec).predict(inputs)
