"""What of a model cannot be run here, and why."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from windfall.errors import UnsupportedError
from windfall.lowering.classical.models import LOWERINGS as CLASSICAL
from windfall.lowering.ml_program.program import gaps as program_gaps
from windfall.lowering.neural_network.network import gaps as network_gaps
from windfall.spec.openfile import shown
from windfall.spec.pipelines import PIPELINES, pipeline_members
from windfall.spec.proto import NEURAL_NETWORK_TYPES

Provided = Callable[[str, str], bool]
"""Tells whether a function of the user's stands for a member, by the member's path and its type."""

_APPLE = (
    "needs a model that is part of Apple's operating systems, whose weights are not in the file; in Python, "
    "load(..., feature_extractor=FUNCTION) takes a function of yours in its place"
)
NO_MODEL = "needs a class of yours: @windfall.custom_model(CLASS_NAME), or load(..., custom_models={CLASS_NAME: CLASS})"
BUILT_IN = ("visionFeaturePrint", "audioFeaturePrint", "textClassifier", "wordTagger", "gazetteer", "wordEmbedding")
"""The types of models whose weights Apple keeps in its systems."""
_MOST_LISTED = 3


def nothing_provided(_path: str, _kind: str) -> bool:
    """Tell that no function of the user's stands for a member."""
    return False


def unsupported(spec: Any, member: str = "", provided: Provided = nothing_provided) -> Iterator[str]:
    """Name each part that cannot be run here, with the reason.

    Args:
        spec: The ``Model`` message.
        member: The path of the pipeline's member that it is, for the text.
        provided: The members that need not run, since functions of the user's stand for them.
    """
    kind = spec.WhichOneof("Type")
    prefix = f"model {member!r}: " if member else ""
    if kind in _GAPS:
        yield from (f"{prefix}{gap}" for gap in _GAPS[kind](spec))
    elif kind in PIPELINES:
        for name, model in pipeline_members(spec):
            yield from unsupported(model, f"{member}/{name}" if member else name, provided)
    elif kind not in CLASSICAL and not (kind and provided(member, kind)):
        yield f"{prefix}type {kind}: {_REASONS.get(kind, lambda _: 'cannot be run yet')(spec)}"


def refuse(name: str, gaps: Sequence[str]) -> None:
    """Refuse to run a model that has gaps.

    Raises:
        UnsupportedError: There are some; it names the first of them.
    """
    if gaps:
        more = f"; and {len(gaps) - _MOST_LISTED} more" if len(gaps) > _MOST_LISTED else ""
        raise UnsupportedError(
            f"{name} cannot be run: {'; '.join(gaps[:_MOST_LISTED])}{more}; see all with: windfall inspect MODEL"
        )


def _linked(spec: Any) -> str:
    name = shown(spec.linkedModel.linkedModelFile.linkedModelFileName.defaultValue)
    return f"needs the model file {name}; allow its folder: load(..., linked_models=FOLDER) or --linked-models FOLDER"


_REASONS: Mapping[str | None, Callable[[Any], str]] = {
    **dict.fromkeys(BUILT_IN, lambda _: _APPLE),
    "linkedModel": _linked,
    "customModel": lambda _: NO_MODEL,
    "serializedModel": lambda spec: f"is a {shown(spec.serializedModel.identifier)}, private to Apple's tools",
    None: lambda _: "its type is unknown to this version",
}
"""Why a type of model does not run."""


_GAPS: Mapping[str | None, Callable[[Any], Iterator[str]]] = {
    **dict.fromkeys(NEURAL_NETWORK_TYPES, lambda spec: (f"layer {gap}" for gap in network_gaps(spec))),
    "mlProgram": lambda spec: iter(program_gaps(spec.mlProgram)),
}
"""How the gaps inside a model that consists of parts are found."""
