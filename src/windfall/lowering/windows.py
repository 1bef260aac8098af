"""What convolution and pooling have in common: a window that moves over the spatial axes, and the padding around it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from windfall.graph.shapes import Dim
from windfall.lowering.context import GraphContext, Value

LARGEST = 2**31 - 1
"""No size, stride or padding may be larger; engines hold them in signed integers."""

Sizes = tuple[int, ...]
"""One number for each spatial axis."""
Edge = tuple[int, int]
"""What is added, or cut off, before and after one spatial axis."""


@dataclass(frozen=True)
class Window:
    """The kernel's size, stride and dilation along each spatial axis; no dilation stands for 1."""

    kernel: Sizes
    stride: Sizes
    dilation: Sizes = ()

    @property
    def extent(self) -> Sizes:
        """How many entries the window spans: (kernel - 1) * dilation + 1."""
        dilation = self.dilation or (1,) * len(self.kernel)
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, dilation, strict=True))

    def attributes(self) -> dict[str, Any]:
        """Return the attributes of a Conv, ConvTranspose, MaxPool or AveragePool node."""
        dilations = list(self.dilation) if any(d != 1 for d in self.dilation) else None
        return {"kernel_shape": list(self.kernel), "strides": list(self.stride), "dilations": dilations}


def onnx_pads(edges: Sequence[Edge]) -> list[int]:
    """Return the edges of all axes in ONNX's order: all starts, then all ends."""
    return [start for start, _ in edges] + [end for _, end in edges]


def split(total: int, *, lower: bool) -> Edge:
    """Split a padding into start and end; ``lower`` puts an odd entry at the start."""
    small, large = total // 2, total - total // 2
    return (large, small) if lower else (small, large)


def same_edges(window: Window, dims: Sequence[Dim], *, lower: bool) -> list[Edge] | None:
    """Return the padding that leads to ceil(size / stride) outputs; None where it depends on a size that is unknown."""
    edges = []
    for size, extent, stride in zip(dims, window.extent, window.stride, strict=True):
        if stride == 1:
            total = extent - 1
        elif size is None:
            return None
        else:
            total = max(0, (-(-size // stride) - 1) * stride + extent - size)
        edges.append(split(total, lower=lower))
    return edges


def same_attributes(window: Window, dims: Sequence[Dim], *, lower: bool) -> dict[str, Any]:
    """Return that padding as a node's attributes; where it depends on unknown sizes, the engine works it out."""
    edges = same_edges(window, dims, lower=lower)
    if edges is None:
        return {"auto_pad": "SAME_LOWER" if lower else "SAME_UPPER"}
    return {"pads": onnx_pads(edges)}


def padded_same(ctx: GraphContext, x: Value, window: Window, *, lower: bool, fill: float = 0) -> Value:
    """Add that padding by nodes that work it out at run time, for the windows for which engines do not.

    Args:
        ctx: The graph being built.
        x: [N, C, *D].
        window: The window over D.
        lower: Whether an odd entry goes to the start.
        fill: What is added.
    """
    sizes, stride = ctx.sizes(x, 2), ctx.integers(window.stride)
    # max(0, (ceil(size / stride) - 1) * stride + extent - size)
    steps = ctx.op("Div", ctx.op("Sub", sizes, ctx.integers(1)), stride)
    spanned = ctx.op("Add", ctx.op("Mul", steps, stride), ctx.integers(window.extent))
    total = ctx.op("Max", ctx.op("Sub", spanned, sizes), ctx.integers(0))
    small = ctx.op("Div", total, ctx.integers(2))
    large = ctx.op("Sub", total, small)
    pads = ctx.op("Concat", *((large, small) if lower else (small, large)), axis=0)
    return ctx.op("Pad", x, pads, ctx.floats(fill), ctx.integers(range(2, ctx.rank(x))))


def cut(total: int, *, lower: bool = False) -> Edge:
    """Split what a deconvolution cuts off into start and end; below 0, to be added, it is all at the end."""
    return split(total, lower=lower) if total >= 0 else (0, total)


def cut_attributes(edges: Sequence[Edge]) -> dict[str, Any]:
    """Return the attributes of a ConvTranspose for what it cuts off; an end below 0 adds entries."""
    extra = [max(0, -end) for _, end in edges]
    pads = onnx_pads([(start, max(0, end)) for start, end in edges])
    return {"pads": pads, "output_padding": extra if any(extra) else None}


def full_size(window: Window, dims: Sequence[Dim]) -> list[Dim]:
    """Return how many entries a deconvolution makes along each axis before it cuts any off."""
    return [
        None if size is None else (size - 1) * stride + extent
        for size, extent, stride in zip(dims, window.extent, window.stride, strict=True)
    ]
