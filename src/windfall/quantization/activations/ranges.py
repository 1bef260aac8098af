"""The range of numbers that 8 bits stand for: all that were seen, or fewer in finer steps."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEVELS = 255
"""The largest of the whole numbers that activations become, the smallest is 0."""
_BINS = 4096
_SHARES = np.linspace(1.0, 0.2, 81)
"""The shares of a range that are tried."""


@dataclass(frozen=True)
class Range:
    """What activations become.

    Attributes:
        scale: The size of a step, a float32.
        zero: The whole number that stands for 0.
    """

    scale: float
    zero: int

    @classmethod
    def of(cls, low: float, high: float) -> "Range":
        """Return the steps for numbers from low to high; 0 is always one of them, so that padding is exact."""
        low, high = min(low, 0.0), max(high, 0.0)
        scale = max(np.float32((high - low) / LEVELS), np.finfo(np.float32).tiny)
        return cls(float(scale), int(np.clip(np.rint(-low / scale), 0, LEVELS)))

    def rounded(self, numbers: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the numbers that are left of some, as ``QuantizeLinear`` and ``DequantizeLinear`` compute them."""
        whole = np.clip(np.rint(numbers / np.float32(self.scale)) + self.zero, 0, LEVELS)
        result: NDArray[np.float32] = ((whole - self.zero) * np.float32(self.scale)).astype(np.float32)
        return result


def best_range(numbers: NDArray[np.float32], low: float, high: float) -> Range:
    """Return the range with the least mean squared error.

    The ends of the range are drawn in together, then each alone; the errors are those of a histogram.

    Args:
        numbers: Some of the numbers.
        low: The smallest of all.
        high: The largest of all.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    if not low < high:
        return Range.of(low, high)
    counts, edges = np.histogram(numbers, _BINS, (low, high))
    used = counts > 0
    centres = ((edges[:-1] + edges[1:]) / 2)[used].astype(np.float32)

    def best(candidates: Iterable[tuple[float, float]]) -> tuple[float, float]:
        def error(ends: tuple[float, float]) -> float:
            return float(np.dot(counts[used], np.square(Range.of(*ends).rounded(centres) - centres, dtype=np.float64)))

        return min(candidates, key=error)

    low, high = best((low * share, high * share) for share in _SHARES)
    low, high = best((low, high * share) for share in _SHARES)
    return Range.of(*best((low * share, high) for share in _SHARES))
