"""The curve of size against a metric, as places from 0 to 1: what the picture and the text both draw."""

import math
from typing import NamedTuple

from windfall.comparison.numbers import number_text
from windfall.shrinking.results import CurvePoint, ShrinkResult
from windfall.text import bytes_text


class PlotPoint(NamedTuple):
    """A model: its place, both from 0 to 1, what it is, and what it is in words."""

    x: float
    y: float
    kind: str
    text: str


class Plot(NamedTuple):
    """A curve.

    Attributes:
        title: What is drawn.
        points: The models, from the smallest to the largest; the chosen one last.
        bound: What was asked for.
        low: The value at the bottom.
        high: The value at the top.
        left: The size on the left in words.
        right: The size on the right in words.
        top: The value at the top in words.
        bottom: The value at the bottom in words.
    """

    title: str
    points: tuple[PlotPoint, ...]
    bound: float
    low: float
    high: float
    left: str
    right: str
    top: str
    bottom: str

    def row(self, value: float) -> float | None:
        """Return the place of a value, None if it lies outside."""
        return (value - self.low) / (self.high - self.low) if self.low <= value <= self.high else None


def plot_of(result: ShrinkResult) -> Plot | None:
    """Return the curve of the first metric, None if fewer than two models have a finite value of it."""
    metric = result.kept[0]
    points = [point for point in result.curve if math.isfinite(point.values[0])]
    if len(points) < 2:
        return None
    values = [point.values[0] for point in points] + ([metric.bound] if math.isfinite(metric.bound) else [])
    sizes = [point.size for point in points]
    low, high = min(values), max(values)
    high = high if high > low else low + 1
    width = max(sizes) - min(sizes) or 1

    def placed(point: CurvePoint) -> PlotPoint:
        kind = "chosen" if point.chosen else ("alike" if point.width else "mixed")
        text = f"{point.width or 'bits for each layer'}: {bytes_text(point.size)}, {number_text(point.values[0], unit)}"
        return PlotPoint((point.size - min(sizes)) / width, (point.values[0] - low) / (high - low), kind, text)

    unit = metric.score.unit
    placed_points = sorted(map(placed, points), key=lambda point: (point.kind == "chosen", point.x))
    ends = bytes_text(min(sizes)), bytes_text(max(sizes)), number_text(high, unit), number_text(low, unit)
    return Plot(f"Size and {metric.name}", tuple(placed_points), metric.bound, low, high, *ends)
