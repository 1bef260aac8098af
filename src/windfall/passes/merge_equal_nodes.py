"""Compute once what several nodes compute alike."""

import onnx_ir as ir
from onnx_ir.passes import PassResult
from onnx_ir.passes.common import CommonSubexpressionEliminationPass

from windfall.graph.builder import CUSTOM


class MergeEqualNodes(CommonSubexpressionEliminationPass):
    """Let one node stand for all of the same operator, inputs and attributes.

    Before: x -> Exp -> a -> node;  x -> Exp -> b -> other
    After:  x -> Exp -> a -> node and other

    A layer of the user's own may give something else each time; a graph with one stays as it is.
    """

    def call(self, model: ir.Model) -> PassResult:
        """See ``onnx_ir.passes.PassBase.call``."""
        if any(node.domain == CUSTOM or node.op_type == "Bernoulli" for node in model.graph):
            return PassResult(model, modified=False)
        return super().call(model)
