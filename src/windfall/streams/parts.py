"""Run what takes many items at once, or has code of the user's: part by part, in the thread of the caller."""

from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any

from windfall.errors import UnsupportedError
from windfall.streams.flow import Source
from windfall.streams.items import ItemReader
from windfall.streams.settings import Outcome, Settings, without_frames

_MOST_ITEMS = 1024
"""So many items of an iterable at most are computed at once."""
Compute = Callable[[list[Mapping[str, Any]]], list[dict[str, Any]]]


def in_parts(
    items: Iterable[Any], compute: Compute, reader: ItemReader, settings: Settings, most: int
) -> Generator[Any, None, None]:
    """Yield the result of each item.

    Items that all are there go in parts of one size; those that come one after another in parts that become larger, so
    that the first results are there soon.

    Args:
        items: What ``reader`` reads.
        compute: Returns the results of some inputs.
        reader: Turns an item into inputs.
        settings: What becomes of errors and of results.
        most: How many items may be computed at once, if they are there.

    Raises:
        Exception: As ``windfall.streams.stream``.
    """
    is_there = hasattr(items, "__len__")
    whole = is_there and settings.on_error == "raise"
    size, largest = (most, most) if is_there else (1, min(most, _MOST_ITEMS))
    source = Source(enumerate(items))
    while part := source.take(size):
        rows = [item for _, item in part]
        outcomes = (_computed if whole else _outcomes)(rows, compute, reader)
        for numbered, outcome in zip(part, outcomes, strict=True):
            if outcome.error is None:
                yield outcome.value if settings.finish is None else settings.finish(*numbered, outcome.value)
            elif settings.on_error == "raise":
                raise outcome.error
            elif settings.on_error == "return":
                yield without_frames(outcome.error)
        size = min(2 * size, largest)
    if source.error is not None:
        raise source.error


def _computed(items: list[Any], compute: Compute, reader: ItemReader) -> list[Outcome]:
    return [Outcome(result) for result in compute([*map(reader.read, items)])]


def _outcomes(items: list[Any], compute: Compute, reader: ItemReader) -> list[Outcome]:
    """Compute items at once; where that fails, each half, down to the items that are to blame."""
    try:
        return _computed(items, compute, reader)
    except UnsupportedError:
        raise
    except Exception as error:  # noqa: BLE001  # the item's, to be raised or to stand in its place
        if len(items) == 1:
            return [Outcome(None, error)]
    half = len(items) // 2
    return _outcomes(items[:half], compute, reader) + _outcomes(items[half:], compute, reader)
