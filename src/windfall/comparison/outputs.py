"""Pairs of results, brought into the form in which they are measured."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from windfall.comparison.measures import Array, Probabilities
from windfall.errors import WindfallError
from windfall.text import brief

Pair = tuple[Any, Any]


@dataclass(frozen=True)
class Picture:
    """A picture as it is measured.

    Attributes:
        pixels: [H, W] or [H, W, C].
        peak: The difference between black and white: 255, or of floating point pictures the range of the reference.
    """

    pixels: Array
    peak: float


def paired(kind: str, reference: Any, candidate: Any) -> Pair:
    """Return two values of one output as its measures take them.

    Args:
        kind: A key of ``measures.MEASURES``.
        reference: What the reference gives.
        candidate: What a candidate gives.

    Raises:
        WindfallError: They differ in shape, size or classes.
    """
    return _PAIRS[kind](reference, candidate) if kind in _PAIRS else (reference, candidate)


def _pictures(reference: Image.Image, candidate: Image.Image) -> Pair:
    sizes = [f"{picture.width}x{picture.height}" for picture in (reference, candidate)]
    _check_same("size", *sizes)
    x, y = (np.asarray(picture, np.float64) for picture in (reference, candidate))
    if reference.mode != "F":
        return Picture(x, 255.0), Picture(y, 255.0)
    x, y = _without_common(x, y)
    finite = x[np.isfinite(x)]
    peak = float(np.ptp(finite)) if finite.size else 0.0
    return Picture(x, peak or 1.0), Picture(y, peak or 1.0)


def _without_common(x: Array, y: Array) -> tuple[Array, Array]:
    """Set to 0 what is not finite, and the same in both."""
    common = ~np.isfinite(x) & ((x == y) | (np.isnan(x) & np.isnan(y)))
    return np.where(common, 0.0, x), np.where(common, 0.0, y)


def _arrays(reference: NDArray[Any], candidate: NDArray[Any]) -> Pair:
    _check_same("shape", list(reference.shape), list(candidate.shape))
    return reference.astype(np.float64), candidate.astype(np.float64)


def _numbers(reference: float, candidate: float) -> Pair:
    return np.array([reference], np.float64), np.array([candidate], np.float64)


def _probabilities(reference: Mapping[Any, float], candidate: Mapping[Any, float]) -> Pair:
    lost = [*(label for label in reference if label not in candidate), *(c for c in candidate if c not in reference)]
    if lost:
        raise WindfallError(f"has the class {brief(lost[0])} in one of them alone, must have the same classes")
    classes = list(reference)
    values = (np.array([scores[label] for label in classes], np.float64) for scores in (reference, candidate))
    x, y = (Probabilities(classes, array) for array in values)
    return x, y


def _dictionaries(reference: Mapping[Any, float], candidate: Mapping[Any, float]) -> Pair:
    """Return the values of all keys; one that is not there counts as 0."""
    keys = list(dict.fromkeys([*reference, *candidate]))
    x, y = (np.array([values.get(key, 0.0) for key in keys], np.float64) for values in (reference, candidate))
    return x, y


def _check_same(what: str, reference: object, candidate: object) -> None:
    if reference != candidate:
        raise WindfallError(f"has the {what} {reference} and {candidate}, must have the same")


_PAIRS: Mapping[str, Callable[[Any, Any], Pair]] = {
    "picture": _pictures,
    "array": _arrays,
    "number": _numbers,
    "probabilities": _probabilities,
    "dictionary": _dictionaries,
}
