"""The windows of convolution and pooling over planes, as layers state them."""

from collections.abc import Sequence
from typing import Any

from windfall.graph.shapes import Dim
from windfall.lowering.neural_network.context import LayerContext
from windfall.lowering.windows import LARGEST, Window, same_attributes

Pair = tuple[int, int]
"""One number for H, one for W."""


def pair(ctx: LayerContext, field: str, default: int, *, least: int = 1, message: Any = None) -> Pair:
    """Return a repeated field that holds [H, W], or nothing, which stands for a default.

    Args:
        ctx: The layer.
        field: The field's name.
        default: What both are where the field is empty.
        least: The smallest number that is allowed.
        message: The message that has the field, the layer's parameters by default.

    Raises:
        LoweringError: It does not hold two numbers, or one is out of range.
    """
    values = list(getattr(ctx.params if message is None else message, field))
    if not values:
        return default, default
    if len(values) != 2:
        raise ctx.error(field, "must have two numbers, for H and W, or none", value=values)
    if not all(least <= value <= LARGEST for value in values):
        raise ctx.error(field, f"must be {least} to {LARGEST} along both axes", value=values)
    return values[0], values[1]


def borders(ctx: LayerContext, field: str, amounts: Any) -> tuple[Pair, Pair]:
    """Return ``BorderAmounts`` as ((top, bottom), (left, right)); all 0 where there are none.

    Raises:
        LoweringError: There are edges for another number of axes than two, or one is too large.
    """
    edges = [(edge.startEdgeSize, edge.endEdgeSize) for edge in amounts.borderAmounts]
    if not edges:
        return (0, 0), (0, 0)
    if len(edges) != 2:
        raise ctx.error(field, "must have two borderAmounts, for H and W, or none", value=edges)
    if max(map(max, edges)) > LARGEST:
        raise ctx.error(field, f"must be at most {LARGEST} at every edge", value=edges)
    return edges[0], edges[1]


def top_left(ctx: LayerContext, same: Any) -> bool:
    """Return whether ``SamePadding.asymmetryMode`` puts an odd pixel at the start; a LoweringError if it is unknown."""
    if same.asymmetryMode not in (same.BOTTOM_RIGHT_HEAVY, same.TOP_LEFT_HEAVY):
        rule = "must be BOTTOM_RIGHT_HEAVY or TOP_LEFT_HEAVY"
        raise ctx.error("same.asymmetryMode", rule, value=same.asymmetryMode)
    return bool(same.asymmetryMode == same.TOP_LEFT_HEAVY)


def same_padding(ctx: LayerContext, window: Window, dims: Sequence[Dim], same: Any) -> dict[str, Any]:
    """Return the padding of ``SamePadding`` for a convolution or pooling as a node's attributes.

    Raises:
        LoweringError: The mode is unknown.
    """
    return same_attributes(window, dims, lower=top_left(ctx, same))


def check_fits(ctx: LayerContext, window: Window, dims: Sequence[Dim], edges: Sequence[Pair]) -> None:
    """Raise a LoweringError where the padded input is smaller than the window."""
    for axis, size, extent, edge in zip("HW", dims, window.extent, edges, strict=True):
        if size is not None and size + sum(edge) < extent:
            rule = f"spans {extent} pixels along {axis}, must be at most the input's {size} and padding {sum(edge)}"
            raise ctx.error("kernelSize", rule, value=list(window.kernel))
