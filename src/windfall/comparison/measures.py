"""How far two results are apart: formulas over NumPy arrays.

What is the same in both, a NaN or an infinity too, is no error; a value that is not finite in one of them alone is an
infinite one.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_WINDOW = 11
_SIGMA = 1.5
_K1, _K2 = 0.01, 0.03
_PEAK = 255.0
_LEAST_PROBABILITY = 1e-12
_TOP = 5


@dataclass(frozen=True)
class Measure:
    """A number that says how near a candidate's result is to the reference's.

    Attributes:
        function: Computes it from the reference's result and the candidate's; None where it does not apply to them.
        better: ``higher`` or ``lower``; empty where that is not known, and there is no worst then.
        unit: What follows the number, e.g. ``dB``; with ``%`` it is shown as a percentage.
        perfect: Its value for equal results, None where that is not known.
    """

    function: Callable[[Any, Any], Any]
    better: str = ""
    unit: str = ""
    perfect: float | None = None


def psnr(reference: Array, candidate: Array, peak: float = _PEAK) -> float:
    """Return the peak signal-to-noise ratio of two pictures in dB, infinite for equal ones.

    Args:
        reference: [H, W] or [H, W, C].
        candidate: Of the same shape.
        peak: The difference between black and white.
    """
    noise = _decibels(reference - candidate)
    return -math.inf if math.isnan(noise) else 20 * math.log10(peak) - noise


def ssim(reference: Array, candidate: Array, peak: float = _PEAK) -> float:
    """Return the structural similarity of two pictures, 1 for equal ones.

    Source: Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural
    similarity", 2004: an 11x11 Gaussian window of sigma 1.5 wherever it fits, K1 = 0.01, K2 = 0.03. Of pictures that
    are smaller than the window its middle is used. Colours are compared one by one, and averaged.

    Args:
        reference: [H, W] or [H, W, C].
        candidate: Of the same shape.
        peak: The difference between black and white.
    """
    window = gaussian(_fitting(min(reference.shape[:2])))
    x, y = (array.astype(np.float64).reshape(*array.shape[:2], -1) for array in (reference, candidate))
    planes = range(x.shape[2])
    return float(np.mean([_plane_ssim(x[..., plane], y[..., plane], window, peak) for plane in planes]))


def _plane_ssim(x: Array, y: Array, window: Array, peak: float) -> float:
    """Return the structural similarity of one colour, [H, W]."""
    c1, c2 = (_K1 * peak) ** 2, (_K2 * peak) ** 2
    # The formula has the variances as their sum alone: four pictures are blurred, not five.
    mean_x, mean_y = _blur(x, window), _blur(y, window)
    product, squares = mean_x * mean_y, mean_x * mean_x + mean_y * mean_y
    covariance = _blur(x * y, window) - product
    variances = _blur(x * x + y * y, window) - squares
    return float(np.mean((2 * product + c1) * (2 * covariance + c2) / ((squares + c1) * (variances + c2))))


def gaussian(size: int) -> Array:
    """Return the window of SSIM along one axis; its sum is 1."""
    offsets = np.arange(size) - (size - 1) / 2
    weights = np.exp(-(offsets**2) / (2 * _SIGMA**2))
    normalized: Array = weights / weights.sum()
    return normalized


def _fitting(side: int) -> int:
    """Return the largest odd size of the window that fits into a picture."""
    return max(1, min(_WINDOW, side - 1 + side % 2))


def _blur(picture: Array, window: Array) -> Array:
    """Filter [H, W] along both axes, where the window fits."""
    for _ in range(2):
        length = len(picture) - len(window) + 1
        blurred = np.zeros((length, picture.shape[1]))
        for offset, weight in enumerate(window):
            blurred += weight * picture[offset : offset + length]
        picture = np.ascontiguousarray(blurred.T)  # the other axis next; the second time, back again
    return picture


def snr(reference: Array, candidate: Array) -> float:
    """Return the signal-to-noise ratio of two arrays in dB: infinite for equal ones, -infinite without a signal."""
    x, y, comparable = _comparable(reference, candidate)
    if not comparable:
        return -math.inf
    scale = _largest(x, y)  # no difference of two finite numbers is to be infinite
    noise = _decibels(x / scale - y / scale)
    return math.inf if noise == -math.inf else _decibels(x / scale) - noise


def cosine(reference: Array, candidate: Array) -> float:
    """Return the cosine of the angle between two arrays.

    Two arrays of zeros, or of nothing, are alike: 1. Zeros and anything else have no direction in common: 0. NaN where
    a value is not finite in one of them alone.
    """
    x, y, comparable = _comparable(reference, candidate)
    if not comparable:
        return math.nan
    if np.array_equal(x, y):
        return 1.0
    x, y = x / _largest(x), y / _largest(y)  # their squares stay finite
    lengths = float(np.linalg.norm(x) * np.linalg.norm(y))
    return max(-1.0, min(1.0, float(x @ y) / lengths)) if lengths else 0.0


def largest_error(reference: Array, candidate: Array) -> float:
    """Return the largest absolute difference, 0 for arrays of nothing."""
    x, y, comparable = _comparable(reference, candidate)
    if not comparable:
        return math.inf
    with np.errstate(over="ignore"):
        return float(np.abs(x - y).max()) if x.size else 0.0


def _comparable(reference: Array, candidate: Array) -> tuple[Array, Array, bool]:
    """Return the values that are finite in both; and whether all others are the same."""
    x, y = reference.ravel(), candidate.ravel()
    finite = np.isfinite(x) & np.isfinite(y)
    if finite.all():
        return x, y, True
    return x[finite], y[finite], np.array_equal(x[~finite], y[~finite], equal_nan=True)


def _decibels(array: Array) -> float:
    """Return ten times the logarithm of the mean square: -infinite for zeros, NaN where a value is not finite."""
    largest = float(np.abs(array).max()) if array.size else 0.0
    if not math.isfinite(largest):
        return math.nan
    if largest == 0:
        return -math.inf
    return 20 * math.log10(largest) + 10 * math.log10(float(np.mean(np.square(array / largest))))


def _largest(*arrays: Array) -> float:
    """Return the largest absolute value, 1 where there is none but 0."""
    return max((float(np.abs(array).max()) for array in arrays if array.size), default=0.0) or 1.0


@dataclass(frozen=True)
class Probabilities:
    """What a classifier gives for one sample.

    Attributes:
        classes: The labels, in the order of the reference's dictionary.
        values: The probability of each.
    """

    classes: Sequence[Any]
    values: Array

    def best(self, count: int) -> list[Any]:
        """Return the classes of the highest probabilities, the highest first; NaN is lowest."""
        order = np.argsort(-np.where(np.isnan(self.values), -np.inf, self.values), kind="stable")
        return [self.classes[index] for index in order[:count]]


def top_1_agreement(reference: Probabilities, candidate: Probabilities) -> float:
    """Return 1 where both have the same best class, else 0."""
    return float(reference.best(1) == candidate.best(1))


def top_5_agreement(reference: Probabilities, candidate: Probabilities) -> float | None:
    """Return 1 where the reference's best class is among the candidate's five best, else 0; None for few classes."""
    if len(reference.classes) <= _TOP:
        return None
    return float(reference.best(1)[0] in candidate.best(_TOP))


def kl_divergence(reference: Probabilities, candidate: Probabilities) -> float:
    """Return the Kullback-Leibler divergence of the candidate from the reference, in nats.

    Both are divided by their sums first; a candidate's probability counts as 1e-12 at least. NaN where there are
    negative numbers, or nothing but zeros: these are no probabilities.
    """
    p, q = reference.values, candidate.values
    if not all(np.isfinite(v).all() and (v >= 0).all() and v.sum() > 0 for v in (p, q)):
        return math.nan
    p, q = p / p.sum(), q / q.sum()
    if np.array_equal(p, q):
        return 0.0
    some = p > 0
    return max(0.0, float(np.sum(p[some] * np.log(p[some] / np.maximum(q[some], _LEAST_PROBABILITY)))))


def agreement(reference: Any, candidate: Any) -> float:
    """Return 1 where both are the same, else 0."""
    return float(reference == candidate)


_SNR = Measure(snr, "higher", "dB", math.inf)
_ERROR = Measure(largest_error, "lower", perfect=0.0)
_COSINE = Measure(cosine, "higher", perfect=1.0)
_ARRAYS = {"signal-to-noise ratio": _SNR, "cosine": _COSINE, "largest error": _ERROR}
# The cosine of two numbers is but their sign.
_NUMBERS = {"signal-to-noise ratio": _SNR, "largest error": _ERROR}
_AGREEMENT = {"agreement": Measure(agreement, "higher", "%", 1.0)}

MEASURES: Mapping[str, Mapping[str, Measure]] = {
    "picture": {
        "PSNR": Measure(lambda a, b: psnr(a.pixels, b.pixels, a.peak), "higher", "dB", math.inf),
        "SSIM": Measure(lambda a, b: ssim(a.pixels, b.pixels, a.peak), "higher", perfect=1.0),
    },
    "probabilities": {
        "top-1 agreement": Measure(top_1_agreement, "higher", "%", 1.0),
        "top-5 agreement": Measure(top_5_agreement, "higher", "%", 1.0),
        "KL divergence": Measure(kl_divergence, "lower", perfect=0.0),
    },
    "array": _ARRAYS,
    "dictionary": _ARRAYS,
    "number": _NUMBERS,
    "label": _AGREEMENT,
    "text": _AGREEMENT,
    "sequence": _AGREEMENT,
}
"""What is measured, by the kind of output; the most telling first."""
