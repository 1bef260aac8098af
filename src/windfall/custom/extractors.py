"""The functions that users give for models whose weights Apple keeps in its systems."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from windfall.errors import UnsupportedError
from windfall.lowering.gaps import BUILT_IN
from windfall.spec.pipelines import PIPELINES, pipeline_members

Function = Callable[[Any], Any]
_MOST_LISTED = 8


class Extractors:
    """The functions for one model.

    Args:
        given: One function for all that need one; or a mapping to functions from types, such as
            ``visionFeaturePrint``, and from the names of members; a name counts before a type.
        spec: The ``Model`` message.
        name: What messages call the model.

    Raises:
        UnsupportedError: It is neither, or has a function for nothing that is in the model.
    """

    def __init__(self, given: Function | Mapping[str, Function], spec: Any, name: str) -> None:
        members = list(_built_in(spec))
        if not members:
            raise UnsupportedError(
                f"{name} has no part that a feature_extractor could stand for: those of the types "
                f"{', '.join(BUILT_IN)} are such; load it without"
            )
        if not isinstance(given, Mapping):
            given = dict.fromkeys([_only_type(members, name)], given)
        known = list(dict.fromkeys([*(path for path, _ in members if path), *(kind for _, kind in members)]))
        for key, function in given.items():
            if key not in known:
                raise UnsupportedError(
                    f"feature_extractor has {key!r}, which is no part of {name} that needs one; "
                    f"such are {', '.join(map(repr, known[:_MOST_LISTED]))}"
                )
            if not callable(function):
                raise UnsupportedError(
                    f"feature_extractor is {function!r}, must be a function, or a mapping from types or names to such"
                )
        self._given = given

    def function(self, path: str, kind: str) -> Function | None:
        """Return what stands for a member, None if nothing does.

        Args:
            path: Its path, empty for the model itself.
            kind: Its type.
        """
        if kind not in BUILT_IN:
            return None
        return self._given.get(path) or self._given.get(kind)

    def provided(self, path: str, kind: str) -> bool:
        """Tell whether a function stands for a member; see ``function``."""
        return self.function(path, kind) is not None


def _built_in(spec: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the path and the type of each model whose weights are not in the file."""
    kind = spec.WhichOneof("Type")
    if kind in BUILT_IN:
        yield path, kind
    for name, member in pipeline_members(spec) if kind in PIPELINES else ():
        yield from _built_in(member, f"{path}/{name}" if path else name)


def _only_type(members: list[tuple[str, str]], name: str) -> str:
    kinds = list(dict.fromkeys(kind for _, kind in members))
    if len(kinds) > 1:
        raise UnsupportedError(
            f"{name} has parts of the types {', '.join(kinds)}, so feature_extractor must be a mapping from each to a "
            "function"
        )
    return kinds[0]
