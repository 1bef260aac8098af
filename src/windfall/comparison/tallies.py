"""Measures over many samples, in memory that does not grow with their number."""

import math

from windfall.comparison.measures import Measure
from windfall.comparison.results import Score


class Tally:
    """One measure, sample after sample.

    Attributes:
        measure: What is measured.
    """

    def __init__(self, output: str, name: str, measure: Measure) -> None:
        self.measure = measure
        self._output = output
        self._name = name
        self._count = 0
        self._equal = 0
        self._sum = 0.0
        self._least = (math.inf, "")
        self._most = (-math.inf, "")
        # An infinite value that means equal results would drown all others in the mean.
        perfect = measure.perfect
        self._left_out = perfect if perfect is not None and math.isinf(perfect) else None

    def add(self, value: float, sample: str) -> None:
        """Take in the value of a sample."""
        self._count += 1
        if value == self._left_out:
            self._equal += 1
        else:
            self._sum += value
        if self._replaces(self._least[0], value, value < self._least[0]):
            self._least = (value, sample)
        if self._replaces(self._most[0], value, value > self._most[0]):
            self._most = (value, sample)

    def _replaces(self, old: float, value: float, beyond: bool) -> bool:
        """Tell whether a value is a new end; the first NaN is both ends for good."""
        return self._count == 1 or (not math.isnan(old) and (beyond or math.isnan(value)))

    def score(self) -> Score | None:
        """Return the result, None if the measure applied to no sample."""
        if not self._count:
            return None
        counted = self._count - self._equal
        mean = self._sum / counted if counted else (self._left_out or 0.0)
        return Score(
            self._output,
            self._name,
            self.measure.unit,
            self.measure.better,
            mean,
            self._least[0],
            self._most[0],
            self._least[1],
            self._most[1],
            self._equal,
        )
