"""How a batch is run, and what becomes of an item."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

ON_ERROR = ("raise", "return", "skip")
"""What becomes of an item that fails: its error is raised, stands in its place, or is left out."""


@dataclass(frozen=True)
class Settings:
    """How a batch is run.

    Attributes:
        streams: Predictions at once; None for what is fastest.
        on_error: One of ``ON_ERROR``.
        fit: How pictures are brought to the model's size.
        outputs: Names of the values to return, None for the outputs of the description.
        finish: Makes of the number of an item, the item and its result what is yielded; called in several threads.
    """

    streams: int | None = None
    on_error: str = "raise"
    fit: str = "centerCrop"
    outputs: tuple[str, ...] | None = None
    finish: Callable[[int, Any, dict[str, Any]], Any] | None = None


class Outcome(NamedTuple):
    """What became of an item: its result, or an error."""

    value: Any
    error: Exception | None = None


def without_frames(error: Exception) -> Exception:
    """Return an error that keeps none of the pictures and arrays alive that were there when it was raised."""
    part: BaseException | None = error
    while part is not None and part.__traceback__ is not None:
        part.__traceback__ = None
        part = part.__cause__ or part.__context__
    return error
