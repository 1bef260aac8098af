"""Questions about pipelines, and about models of all types as their members, that their messages alone answer.

Source: ``Pipeline``, ``Model`` in Model.proto.
"""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from windfall.errors import FormatError

_T = TypeVar("_T")

PIPELINES = ("pipeline", "pipelineClassifier", "pipelineRegressor")
"""The types of models that consist of models, as members of the oneof ``Type``."""

CLASSIFIERS = ("treeEnsembleClassifier", "glmClassifier", "supportVectorClassifier", "kNearestNeighborsClassifier")
"""The types of classical models that give a label and a score for each of their labels."""

CLASSICAL = (
    *CLASSIFIERS,
    "glmRegressor",
    "supportVectorRegressor",
    "treeEnsembleRegressor",
    "bayesianProbitRegressor",
    "itemSimilarityRecommender",
    "classConfidenceThresholding",
    "oneHotEncoder",
    "imputer",
    "featureVectorizer",
    "dictVectorizer",
    "scaler",
    "categoricalMapping",
    "normalizer",
    "arrayFeatureExtractor",
    "nonMaximumSuppression",
    "soundAnalysisPreprocessing",
    "identity",
)
"""The types of models that are neither networks nor programs nor pipelines, and whose files have all that they need."""

DEEPEST = 32
"""How deep pipelines may lie in each other."""


def pipeline_members(spec: Any) -> list[tuple[str, Any]]:
    """Return the names and ``Model`` messages of a pipeline's members, none for other types."""
    kind = spec.WhichOneof("Type")
    if kind not in PIPELINES:
        return []
    names = list(_pipeline(spec).names)
    return [(names[i] if i < len(names) else f"model{i}", model) for i, model in enumerate(models_of(spec))]


def models_of(spec: Any) -> Any:
    """Return the repeated field with the members of a pipeline."""
    return _pipeline(spec).models


def _pipeline(spec: Any) -> Any:
    kind = spec.WhichOneof("Type")
    return spec.pipeline if kind == "pipeline" else getattr(spec, kind).pipeline


def all_members(spec: Any) -> Iterator[Any]:
    """Yield the ``Model`` messages of all members of a pipeline that are none themselves; any other model itself."""
    if spec.WhichOneof("Type") not in PIPELINES:
        yield spec
    for _, member in pipeline_members(spec):
        yield from all_members(member)


def is_closed(spec: Any) -> bool:
    """Whether a model, or a member of it, is only named in the file, or packed into it as bytes."""
    return any(member.WhichOneof("Type") in ("linkedModel", "serializedModel") for member in all_members(spec))


def declared_labels(params: Any) -> list[Any]:
    """Return the labels in the oneof ``ClassLabels`` of a model's parameters, none if there are none."""
    kind = params.WhichOneof("ClassLabels")
    return list(getattr(params, kind).vector) if kind else []


def check_depth(name: str, depth: int) -> None:
    """Refuse a model that lies in too many pipelines.

    Args:
        name: What messages call it.
        depth: How many lie around it.

    Raises:
        FormatError: These are too many.
    """
    if depth > DEEPEST:
        raise FormatError(f"{name}: pipelines lie in more than {DEEPEST} others, the most there may be")


def inputs_from(name: str, spec: Any, scope: Mapping[str, _T]) -> dict[str, _T]:
    """Return what a member takes of the values so far.

    Args:
        name: What messages call it.
        spec: Its ``Model`` message.
        scope: The pipeline's inputs, and the outputs of the members before.

    Raises:
        FormatError: One of its inputs is not among them.
    """
    names = [feature.name for feature in spec.description.input]
    missing = [given for given in names if given not in scope]
    if missing:
        raise FormatError(
            f"{name} takes {missing[0]!r}, which is no input of the pipeline and no output of a model before it"
        )
    return {given: scope[given] for given in names}


def some_members(name: str, spec: Any) -> list[tuple[str, Any]]:
    """Return the members of a pipeline as ``pipeline_members`` does.

    Raises:
        FormatError: There are none.
    """
    members = pipeline_members(spec)
    if not members:
        raise FormatError(f"{name} is a pipeline without models, must have at least one")
    return members


def values_of(spec: Any) -> Mapping[str, Any]:
    """Return the ``FeatureDescription`` of each value of a pipeline by its name: its inputs, its members' outputs."""
    messages = [spec.description.input, *(member.description.output for _, member in pipeline_members(spec))]
    return {feature.name: feature for features in messages for feature in features}


def producer_of(spec: Any, name: str) -> Any:
    """Return the ``Model`` message that gives a value, not a pipeline; None for what is an input."""
    if spec.WhichOneof("Type") not in PIPELINES:
        return spec if any(feature.name == name for feature in spec.description.output) else None
    for _, member in reversed(pipeline_members(spec)):
        if any(feature.name == name for feature in member.description.output):
            return producer_of(member, name)
    return None
