"""One error for all classes that a model needs and nobody has registered."""

from collections.abc import Iterable
from typing import Any

from windfall.custom.customs import NO_LAYER
from windfall.description.support import dependencies
from windfall.errors import UnsupportedError
from windfall.lowering.gaps import NO_MODEL

_MOST_LISTED = 8
_MOST_PLACES = 3


def refuse_missing(name: str, spec: Any, gaps: Iterable[str] = ()) -> None:
    """Refuse to run a model with custom components without a class; the model must be the one at work.

    Args:
        name: What messages call it.
        spec: The ``Model`` message.
        gaps: All that cannot be run in it.

    Raises:
        UnsupportedError: There are such components; it names them.
    """
    places: dict[tuple[str, str], list[str]] = {}
    for one in dependencies(spec):
        if one.registered is False:
            places.setdefault((one.kind, one.name), []).append(one.used_by or "the model")
    if not places:
        return
    listed = [f"{kind} {class_name!r} ({_some(used_by)})" for (kind, class_name), used_by in places.items()]
    more = f" and {len(listed) - _MOST_LISTED} more" if len(listed) > _MOST_LISTED else ""
    kinds = sorted({kind.replace(" ", "_") for kind, _ in places})
    others = [gap for gap in gaps if NO_LAYER not in gap and NO_MODEL not in gap]
    besides = f"; besides, it cannot run {'; '.join(others[:_MOST_PLACES])}" if others else ""
    besides += f" and {len(others) - _MOST_PLACES} more" if len(others) > _MOST_PLACES else ""
    decorators = " and ".join(f"@windfall.{kind}(NAME)" for kind in kinds)
    arguments = ", ".join(f"{kind}s={{NAME: CLASS}}" for kind in kinds)
    raise UnsupportedError(
        f"{name} needs classes of yours: {', '.join(listed[:_MOST_LISTED])}{more}; register them with {decorators}, or "
        f"give them to load(..., {arguments}){besides}; see all with: windfall inspect MODEL"
    )


def _some(places: list[str]) -> str:
    shown = ", ".join(map(repr, places[:_MOST_PLACES]))
    return f"{shown} and {len(places) - _MOST_PLACES} more" if len(places) > _MOST_PLACES else shown
