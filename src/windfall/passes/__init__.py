"""Rewrites of a graph into a faster one that computes the same.

``order.py`` has the passes and the order they run in.
"""

from windfall.passes.order import FIRED, optimize

__all__ = ["FIRED", "optimize"]
