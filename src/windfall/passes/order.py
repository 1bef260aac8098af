"""The passes, in the order they run."""

from collections.abc import Sequence

import onnx_ir as ir
from onnx_ir.passes import InPlacePass
from onnx_ir.passes.common import RemoveUnusedNodesPass

PASSES: Sequence[InPlacePass] = (
    # Lowerings leave rank 5 values behind that nobody reads; all later passes look at users of values.
    RemoveUnusedNodesPass(),
)


def optimize(model: ir.Model) -> None:
    """Run all passes on a graph, in place."""
    for rewrite in PASSES:
        rewrite(model)
