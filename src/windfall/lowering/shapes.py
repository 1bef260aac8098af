"""The shapes that a model is lowered for."""

from collections.abc import Mapping

InputShapes = Mapping[str, tuple[int | str, ...]]
"""The shape of each graph input; a string is a size that stays symbolic."""
