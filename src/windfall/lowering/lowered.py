"""What every lowering produces."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import onnx_ir as ir

InputShapes = Mapping[str, tuple[int | str, ...]]
"""The shape of each graph input; a string is a size that stays symbolic."""


@dataclass
class LoweredModel:
    """A model as an ONNX graph.

    Graph inputs and outputs carry the names of the model's features, or of the inner values asked for.

    Attributes:
        model: The ONNX model; weights are initializers that share the arrays they were decoded into.
        probabilities: The graph output that holds a classifier's probabilities, None for other models.
    """

    model: ir.Model
    probabilities: str | None = None
    notes: list[str] = field(default_factory=list)
