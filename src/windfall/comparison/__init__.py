"""Compare models: what they give for the same samples, what they weigh, how long they take."""

from windfall.comparison.measures import Measure
from windfall.comparison.results import ComparedModel, Comparison, Score, WorstSample
from windfall.comparison.running import compare

__all__ = ["ComparedModel", "Comparison", "Measure", "Score", "WorstSample", "compare"]
