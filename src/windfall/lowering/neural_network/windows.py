"""What convolution and pooling have in common: a window that moves over a plane, and the padding around it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from windfall.graph.builder import Dim
from windfall.lowering.neural_network.context import LayerContext

Pair = tuple[int, int]
"""One number for H, one for W."""

LARGEST = 2**31 - 1
"""No size, stride or padding may be larger; engines hold them in signed integers."""


@dataclass(frozen=True)
class Window:
    """The kernel's size, stride and dilation, each as (H, W)."""

    kernel: Pair
    stride: Pair
    dilation: Pair = (1, 1)

    @property
    def extent(self) -> Pair:
        """How many pixels the window spans: (kernelSize - 1) * dilationFactor + 1."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True))  # type: ignore[return-value]

    def attributes(self) -> dict[str, Any]:
        """Return the attributes of a Conv, ConvTranspose, MaxPool or AveragePool node."""
        dilations = None if self.dilation == (1, 1) else list(self.dilation)
        return {"kernel_shape": list(self.kernel), "strides": list(self.stride), "dilations": dilations}


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


def onnx_pads(edges: Sequence[Pair]) -> list[int]:
    """Return ((top, bottom), (left, right)) in ONNX's order: all starts, then all ends."""
    return [start for start, _ in edges] + [end for _, end in edges]


def split(total: int, same: Any) -> Pair:
    """Split a padding into start and end as ``SamePadding.asymmetryMode`` says."""
    small, large = total // 2, total - total // 2
    return (large, small) if same.asymmetryMode == same.TOP_LEFT_HEAVY else (small, large)


def check_asymmetry(ctx: LayerContext, same: Any) -> None:
    """Raise a LoweringError where ``SamePadding.asymmetryMode`` is unknown."""
    if same.asymmetryMode not in (same.BOTTOM_RIGHT_HEAVY, same.TOP_LEFT_HEAVY):
        rule = "must be BOTTOM_RIGHT_HEAVY or TOP_LEFT_HEAVY"
        raise ctx.error("same.asymmetryMode", rule, value=same.asymmetryMode)


def same_padding(ctx: LayerContext, window: Window, dims: Sequence[Dim], same: Any) -> dict[str, Any]:
    """Return the padding of ``SamePadding`` for a convolution or pooling as a node's attributes.

    The output has ceil(size / stride) pixels along each axis. Where a size is known only at run time and the padding
    depends on it, the engine works it out by the same rule.

    Raises:
        LoweringError: The mode is unknown.
    """
    check_asymmetry(ctx, same)
    edges = []
    for size, extent, stride in zip(dims, window.extent, window.stride, strict=True):
        if stride == 1:
            total = extent - 1
        elif size is None:
            upper = same.asymmetryMode == same.BOTTOM_RIGHT_HEAVY
            return {"auto_pad": "SAME_UPPER" if upper else "SAME_LOWER"}
        else:
            total = max(0, (-(-size // stride) - 1) * stride + extent - size)
        edges.append(split(total, same))
    return {"pads": onnx_pads(edges)}


def check_fits(ctx: LayerContext, window: Window, dims: Sequence[Dim], edges: Sequence[Pair]) -> None:
    """Raise a LoweringError where the padded input is smaller than the window."""
    for axis, size, extent, edge in zip("HW", dims, window.extent, edges, strict=True):
        if size is not None and size + sum(edge) < extent:
            rule = f"spans {extent} pixels along {axis}, must be at most the input's {size} and padding {sum(edge)}"
            raise ctx.error("kernelSize", rule, value=list(window.kernel))
