"""Remove Identity nodes."""

import onnx_ir as ir
from onnx_ir.passes.common import IdentityEliminationPass


class RemoveIdentities(IdentityEliminationPass):
    """Let the users of an Identity use its input instead.

    Before: x -> Identity -> y -> node
    After:  x -> node

    An Identity between two graph outputs stays: without it one value would need two names.
    """

    def _try_eliminate_identity_node(self, node: ir.Node) -> bool:
        if any(value is None or value.is_graph_output() for value in node.inputs) and node.outputs[0].is_graph_output():
            return False
        return super()._try_eliminate_identity_node(node)
