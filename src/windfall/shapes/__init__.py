"""Flexible shapes: let a model take inputs of many sizes, and find out which it can take."""

from windfall.shapes.checking import check
from windfall.shapes.report import AxisSizes, Obstacle, ShapeReport, Trial
from windfall.shapes.setting import clear, set_range
from windfall.shapes.setting import enumerate_sizes as enumerate  # noqa: A004  # windfall.shapes.enumerate is its name

__all__ = ["AxisSizes", "Obstacle", "ShapeReport", "Trial", "check", "clear", "enumerate", "set_range"]
