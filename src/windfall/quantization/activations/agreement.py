"""How far results in 8 bits may be from those in float32."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAST_DECIBELS = 30.0
"""The least peak signal-to-noise ratio of an output of fractions or of a picture, over all samples."""
LEAST_SHARE = 0.99
"""The least share of samples with the same class; of whole numbers that are the same."""

Results = Sequence[NDArray[Any]]


def agree(reference: Sequence[Results], candidate: Sequence[Results], probabilities: Sequence[bool]) -> bool:
    """Tell whether results are near enough, for each output over all samples.

    Args:
        reference: The outputs of each sample, in float32.
        candidate: The same in 8 bits.
        probabilities: For each output, whether it holds the probabilities of classes.
    """
    return all(
        _is_near([sample[index] for sample in reference], [sample[index] for sample in candidate], is_classes)
        for index, is_classes in enumerate(probabilities)
    )


def _is_near(reference: Results, candidate: Results, is_classes: bool) -> bool:
    if is_classes:
        return same_class(reference, candidate) >= LEAST_SHARE
    if reference[0].dtype.kind == "f" or reference[0].dtype == np.uint8:
        return decibels(reference, candidate) >= LEAST_DECIBELS
    pairs = zip(reference, candidate, strict=True)
    same = [float(np.mean(one == other)) if one.shape == other.shape else 0.0 for one, other in pairs]
    return float(np.mean(same)) >= LEAST_SHARE


def same_class(reference: Results, candidate: Results) -> float:
    """Return the share of samples whose largest element is the same one."""
    pairs = zip(reference, candidate, strict=True)
    return float(np.mean([np.argmax(one) == np.argmax(other) for one, other in pairs]))


def decibels(reference: Results, candidate: Results) -> float:
    """Return the peak signal-to-noise ratio; the peak is 255 for pictures, else how far the numbers reach.

    What is not a number counts as nothing where both have it, else as no agreement at all.
    """
    if any(one.shape != other.shape for one, other in zip(reference, candidate, strict=True)):
        return -np.inf
    ours, theirs = (np.concatenate([each.ravel() for each in side], dtype=float) for side in (reference, candidate))
    finite = np.isfinite(ours)
    if not np.array_equal(ours[~finite], theirs[~finite], equal_nan=True) or not np.isfinite(theirs[finite]).all():
        return -np.inf
    ours, theirs = ours[finite], theirs[finite]
    error = float(np.mean(np.square(ours - theirs))) if ours.size else 0.0
    if error == 0:
        return np.inf
    peak = 255.0 if reference[0].dtype == np.uint8 else float(np.ptp(ours)) or float(np.max(np.abs(ours)))
    return float(20 * np.log10(peak) - 10 * np.log10(error)) if peak else -np.inf
