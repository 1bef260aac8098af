"""What a lowering sees of the classical model it lowers and of the graph it adds to."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from windfall.errors import LoweringError
from windfall.graph.builder import GraphBuilder
from windfall.lowering.context import GraphContext, Value

__all__ = ["ModelContext", "Value"]


class ModelContext(GraphContext):
    """One model and the graph being built.

    Attributes:
        spec: The ``Model`` message.
        kind: The member of its oneof ``Type`` that is set.
        params: That member's message.
        graph: The graph being built; ``op`` and its neighbours here are shortcuts to it.
    """

    def __init__(self, spec: Any, name: str, graph: GraphBuilder) -> None:
        self.spec = spec
        self.kind: str = spec.WhichOneof("Type")
        self.params = getattr(spec, self.kind)
        self.graph = graph
        self._name = name

    def doubles(self, array: ArrayLike, name: str = "const") -> Value:
        """Add numbers as float64, which classical models compute in."""
        return self.graph.constant(np.asarray(array, np.float64), name)

    def error(self, field: str, rule: str, value: object = None) -> LoweringError:
        """Return the error for a field that breaks a rule.

        Args:
            field: Its name in the spec.
            rule: What is wrong, e.g. "must be at least 2".
            value: The value it has, None to say nothing of it.
        """
        shown = "" if value is None else f" is {value},"
        return LoweringError(f"cannot lower {self._name} ({self.kind}): {field}{shown} {rule}")
