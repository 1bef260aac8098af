"""The smallest model that still does what it must: bits and mode for each layer, found on samples."""

from windfall.shrinking.results import CurvePoint, KeptMetric, LayerChoice, ShrinkResult
from windfall.shrinking.shrink import shrink

__all__ = ["CurvePoint", "KeptMetric", "LayerChoice", "ShrinkResult", "shrink"]
