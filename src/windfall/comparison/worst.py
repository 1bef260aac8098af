"""The worst samples of a candidate, kept with small pictures of what they show."""

import io
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from PIL import Image

from windfall.comparison.measures import Array, Measure
from windfall.comparison.results import WorstSample

MOST_SAMPLES = 4
"""So many are kept for each output of a candidate."""
LARGEST_SIDE = 256
_MOST_GAIN = 16.0
_FIRST_CLASSES = 3
_FIRST_VALUES = 4

Badness = tuple[float, ...]


class WorstSamples:
    """Keeps the worst samples of one output.

    Args:
        measures: What is measured; the first counts most.
    """

    def __init__(self, measures: Mapping[str, Measure]) -> None:
        self._measures = measures
        self._kept: list[tuple[Badness, WorstSample]] = []

    def offer(self, values: Mapping[str, float], make: Callable[[], WorstSample]) -> None:
        """Keep a sample if it is among the worst so far.

        Args:
            values: What was measured.
            make: Returns the sample; called only if it is kept.
        """
        badness = self._badness(values)
        if not badness or self._is_perfect(values):
            return
        if len(self._kept) == MOST_SAMPLES and badness <= self._kept[-1][0]:
            return
        # Of two that are equally bad, the earlier stands first: the sort is stable.
        self._kept.append((badness, make()))
        self._kept.sort(key=lambda kept: tuple(-bad for bad in kept[0]))
        del self._kept[MOST_SAMPLES:]

    def _badness(self, values: Mapping[str, float]) -> Badness:
        """Return what is greater for worse samples; NaN is the worst of all, empty where no direction is known."""
        signs = {"higher": -1.0, "lower": 1.0}
        directed = [(signs[better], value) for name, value in values.items() if (better := self._measures[name].better)]
        return tuple(math.inf if math.isnan(value) else sign * value for sign, value in directed)

    def _is_perfect(self, values: Mapping[str, float]) -> bool:
        return all(value == self._measures[name].perfect for name, value in values.items())

    def samples(self) -> tuple[WorstSample, ...]:
        """Return them, the worst first."""
        return tuple(sample for _, sample in self._kept)


def pictures_of(given: Mapping[str, Any], reference: Any, candidate: Any) -> dict[str, bytes]:
    """Return PNG files of a sample: its only picture among the inputs, both results, and their difference.

    Args:
        given: The inputs.
        reference: What the reference gave.
        candidate: What a candidate gave.
    """
    inputs = [value for value in given.values() if isinstance(value, Image.Image)]
    pictures = {"input": _small(inputs[0])} if len(inputs) == 1 else {}
    if isinstance(reference, Image.Image) and isinstance(candidate, Image.Image):
        pictures |= _compared(reference, candidate)
    return {title: _png(picture) for title, picture in pictures.items()}


def _compared(reference: Image.Image, candidate: Image.Image) -> dict[str, Image.Image]:
    shown = [reference, candidate]
    if reference.mode == "F" or candidate.mode == "F":
        shown = _gray([np.asarray(picture, np.float64) for picture in shown])
    pictures = {"reference": _small(shown[0]), "candidate": _small(shown[1])}
    if shown[0].size != shown[1].size or shown[0].mode != shown[1].mode:
        return pictures
    apart = np.abs(np.asarray(shown[0], np.float64) - np.asarray(shown[1], np.float64))
    gain = max(1.0, min(_MOST_GAIN, 255.0 / max(float(apart.max()), 1.0)))
    # Scaled down afterwards: before, fine differences would vanish.
    difference = Image.fromarray(np.rint(np.clip(apart * gain, 0, 255)).astype(np.uint8))
    return pictures | {f"difference, {gain:.3g} times": _small(difference)}


def _gray(arrays: list[Array]) -> list[Image.Image]:
    """Show floating point pictures from the least value, black, to the greatest of the reference."""
    finite = arrays[0][np.isfinite(arrays[0])]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    scale = 255.0 / ((high - low) or 1.0)
    scaled = [np.clip((np.nan_to_num(a, posinf=high, neginf=low) - low) * scale, 0, 255) for a in arrays]
    return [Image.fromarray(np.rint(array).astype(np.uint8)) for array in scaled]


def _small(picture: Image.Image) -> Image.Image:
    if picture.mode == "F":
        return _small(_gray([np.asarray(picture, np.float64)])[0])
    small = picture if picture.mode in ("L", "RGB") else picture.convert("RGB")
    if max(small.size) <= LARGEST_SIDE:
        return small
    scale = LARGEST_SIDE / max(small.size)
    width, height = (max(1, round(length * scale)) for length in small.size)
    return small.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)


def _png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def in_words(value: Any) -> str:
    """Return a result in a few words: the best classes, the first numbers; empty for a picture."""
    if isinstance(value, Image.Image):
        return ""
    if isinstance(value, Mapping):
        best = sorted(value.items(), key=lambda item: math.inf if math.isnan(item[1]) else -item[1])
        return ", ".join(f"{label} {number:.4g}" for label, number in best[:_FIRST_CLASSES])
    if isinstance(value, np.ndarray):
        first = [f"{number:.4g}" for number in value.ravel()[:_FIRST_VALUES].tolist()]
        return ", ".join(first + ["..."] * (value.size > _FIRST_VALUES))
    return f"{value:.6g}" if isinstance(value, float) else str(value)
