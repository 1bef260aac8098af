"""The labels of the classifier that gives a value of a pipeline, as its messages alone tell them."""

from collections.abc import Callable, Mapping
from typing import Any

from windfall.spec.modelfile import from_spec
from windfall.spec.pipelines import CLASSIFIERS, declared_labels, producer_of
from windfall.spec.programs import block_of, class_labels, classify_operation

Labels = list[str] | list[int]


def scored_labels(spec: Any, name: str) -> Labels | None:
    """Return the labels of the classifier that gives a dictionary of scores; None if another model gives it.

    Args:
        spec: The ``Model`` message: a classifier, or a pipeline with one.
        name: The dictionary's name.
    """
    producer = producer_of(spec, name)
    if producer is None or producer.description.predictedProbabilitiesName != name:
        return None
    kind = producer.WhichOneof("Type")
    return _LABELS[kind](producer) if kind in _LABELS else None


def _declared_labels(spec: Any) -> Labels:
    return declared_labels(getattr(spec, spec.WhichOneof("Type")))


def _tree_labels(spec: Any) -> Labels:
    dimensions = spec.treeEnsembleClassifier.treeEnsemble.numPredictionDimensions
    # As many as there are dimensions; a damaged file is refused when it is lowered.
    return _declared_labels(spec) or list(range(max(2, min(dimensions, 2**20))))


def _neighbour_labels(spec: Any) -> Labels:
    """Each label once, in the order of the samples; the default one where there are none."""
    params = spec.kNearestNeighborsClassifier
    found: Any = list(dict.fromkeys(_declared_labels(spec)))
    default = params.WhichOneof("DefaultClassLabel")
    return found or ([getattr(params, default)] if default else [])


def _program_labels(spec: Any) -> Labels | None:
    file = from_spec(spec)
    block, _ = block_of(file)
    operation = classify_operation(block)
    return None if operation is None else class_labels(file, block, operation)[1]


_LABELS: Mapping[str, Callable[[Any], Labels | None]] = {
    **dict.fromkeys(CLASSIFIERS, _declared_labels),
    "treeEnsembleClassifier": _tree_labels,
    "kNearestNeighborsClassifier": _neighbour_labels,
    "neuralNetworkClassifier": _declared_labels,
    "mlProgram": _program_labels,
}
"""How the labels of a classifier are found, by its type."""
