"""The passes, in the order they run.

What was tried and left out, with the reason: constant folding (lowerings emit constants where they know them).
"""

from collections.abc import Sequence

import onnx_ir as ir
from onnx_ir.passes import InPlacePass
from onnx_ir.passes.common import RemoveUnusedNodesPass

from windfall.passes.fold_affine_into_conv import FoldAffineIntoConv
from windfall.passes.remove_identities import RemoveIdentities

PASSES: Sequence[InPlacePass] = (
    # Lowerings leave rank 5 values behind that nobody reads; all later passes look at users of values.
    RemoveUnusedNodesPass(),
    # An Identity between two nodes hides them from each other.
    RemoveIdentities(),
    FoldAffineIntoConv(),
    # Initializers that the passes before have replaced are still there.
    RemoveUnusedNodesPass(),
)


def optimize(model: ir.Model) -> None:
    """Run all passes on a graph, in place."""
    for rewrite in PASSES:
        rewrite(model)
