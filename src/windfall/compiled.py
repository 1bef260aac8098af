"""A model compiled for some input shapes and outputs."""

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from windfall.runtime.engine import Program

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

    from windfall.runtime.plan import Plan
    from windfall.runtime.profile import LayerTime


class CompiledModel:
    """A model compiled for one set of input shapes and outputs.

    Attributes:
        outputs: The names of the values that it computes.
        program: What runs it.
    """

    def __init__(
        self,
        outputs: list[str],
        program: Program,
        lower: "Callable[[], ir.Model]",
        profile: "Callable[[Program, int], list[LayerTime]]",
    ) -> None:
        self.outputs = outputs
        self.program = program
        self._lower = lower
        self._profile = profile

    def profile(self, runs: int = 5) -> "list[LayerTime]":
        """Run the model several times, and return the median time of each layer, the longest first.

        Raises:
            UnsupportedError: The model is not one graph, since code of yours stands for parts of it.
            EngineError: It cannot be run with numbers of our own, or an input has no known size.
        """
        return self._profile(self.program, runs)

    @cached_property
    def plan(self) -> "Plan":
        """What runs the model and where the time goes; prints as tables. It is run some times to find out.

        Raises:
            UnsupportedError: The model is not one graph, since code of yours stands for parts of it.
            EngineError: It cannot be run with numbers of our own, or an input has no known size.
        """
        from windfall.passes import FIRED
        from windfall.runtime.plan import plan_of

        return plan_of(self.program, self.graph.meta.get(FIRED, {}), self.profile())

    @cached_property
    def graph(self) -> "ir.Model":
        """The graph after all rewrites; made anew when it is first asked for, as a program does without it."""
        return self._lower()

    @property
    def onnx(self) -> "onnx.ModelProto":
        """The ONNX model, complete with its weights."""
        from onnx_ir import to_proto

        return to_proto(self.graph)
