"""What of a model cannot be run here, and why."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from windfall.lowering.classical.models import LOWERINGS as CLASSICAL
from windfall.lowering.ml_program.program import gaps as program_gaps
from windfall.lowering.neural_network.network import gaps as network_gaps
from windfall.spec.pipelines import PIPELINES, pipeline_members
from windfall.spec.proto import NEURAL_NETWORK_TYPES

_APPLE = "needs a model that is part of Apple's operating systems, whose weights are not in the file"
BUILT_IN = ("visionFeaturePrint", "audioFeaturePrint", "textClassifier", "wordTagger", "gazetteer", "wordEmbedding")
"""The types of models whose weights Apple keeps in its systems."""
_REASONS: Mapping[str | None, str] = {
    **dict.fromkeys(BUILT_IN, _APPLE),
    "linkedModel": "needs another model file",
    "customModel": "needs a class of the app that it was made for",
    "serializedModel": "is private to Apple's tools",
    None: "its type is unknown to this version",
}


def unsupported(spec: Any, member: str = "") -> Iterator[str]:
    """Name each part that cannot be run here, with the reason.

    Args:
        spec: The ``Model`` message.
        member: The name of the pipeline's member that it is, for the text.
    """
    kind = spec.WhichOneof("Type")
    prefix = f"model {member!r}: " if member else ""
    if kind in _GAPS:
        yield from (f"{prefix}{gap}" for gap in _GAPS[kind](spec))
    elif kind in PIPELINES:
        for name, model in pipeline_members(spec):
            yield from unsupported(model, f"{member}/{name}" if member else name)
    elif kind not in CLASSICAL:
        yield f"{prefix}type {kind}: {_REASONS.get(kind, 'cannot be run yet')}"


_GAPS: Mapping[str | None, Callable[[Any], Iterator[str]]] = {
    **dict.fromkeys(NEURAL_NETWORK_TYPES, lambda spec: (f"layer {gap}" for gap in network_gaps(spec))),
    "mlProgram": lambda spec: iter(program_gaps(spec.mlProgram)),
}
"""How the gaps inside a model that consists of parts are found."""
