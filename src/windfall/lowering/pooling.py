"""The maximum, mean or L2 norm of a window that moves over the spatial axes.

Padding never wins a maximum. A mean may count it; what rounding up adds beyond the padding is never counted, as with
PyTorch's ``ceil_mode``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from windfall.graph.shapes import Dim
from windfall.lowering.context import GraphContext, Value
from windfall.lowering.windows import Sizes, Window, onnx_pads, padded_same


@dataclass(frozen=True)
class Padding:
    """Padding that a mean may count, and padding that it never does.

    Attributes:
        declared: A node's ``pads`` or ``auto_pad`` attribute.
        beyond: What rounding up adds at the end of each axis.
        ceil: The engine is to add that itself, since the sizes are known only at run time.
    """

    declared: dict[str, Any]
    beyond: Sizes = ()
    ceil: bool = False

    def attributes(self) -> dict[str, Any]:
        """Return everything as a node's attributes."""
        if not any(self.beyond):
            return self.declared | ({"ceil_mode": 1} if self.ceil else {})
        pads = self.declared["pads"]
        count = len(self.beyond)
        ends = [end + more for end, more in zip(pads[count:], self.beyond, strict=True)]
        return {"pads": [*pads[:count], *ends]}


def rounded_up(window: Window, dims: Sequence[Dim], amounts: Sizes) -> Padding | None:
    """Return the padding that leads to ceil((size + 2 * amount - kernel) / stride) + 1 outputs.

    A last window that would begin behind the pixels is left out where there is padding.

    Args:
        window: The window.
        dims: The spatial sizes.
        amounts: The padding on each side of each axis.

    Returns:
        None if the last window would have nothing in it, or may have, the sizes being unknown.
    """
    declared = {"pads": onnx_pads([(amount, amount) for amount in amounts])}
    if None in dims:
        empty = not any(amounts) and any(s > k for s, k in zip(window.stride, window.kernel, strict=True))
        return None if empty else Padding(declared, ceil=True)
    beyond = []
    for size, kernel, stride, amount in zip(dims, window.kernel, window.stride, amounts, strict=True):
        assert size is not None
        last = -(-(size + 2 * amount - kernel) // stride) * stride  # the last window's start
        if any(amounts) and last >= size + amount:
            last -= stride
        if last >= size + amount:
            return None
        beyond.append(max(0, last + kernel - (size + 2 * amount)))
    return Padding(declared, tuple(beyond))


def may_be_empty(window: Window, padding: Padding) -> bool:
    """Tell whether a window may hold padding alone, which has no maximum, and no mean if padding does not count."""
    pads = padding.attributes().get("pads", ())
    return any(pad >= size for pad, size in zip(pads, window.kernel * 2, strict=False))


def needs_sizes(window: Window, padding: Padding) -> bool:
    """Tell whether a mean that counts padding, or an L2 norm, cannot be rounded up without knowing the sizes.

    Else no window begins behind the pixels, so that none has to be left out.
    """
    if not padding.ceil:
        return False
    count = len(window.kernel)
    sizes = zip(window.stride, window.kernel, padding.declared["pads"][:count], strict=True)
    return any(stride > kernel - amount for stride, kernel, amount in sizes)


def maximum(ctx: GraphContext, x: Value, window: Window, padding: Padding) -> Value:
    """Return the maximum of each window over [N, C, *D]; none may be empty."""
    x, padding = _worked_out(ctx, x, window, padding, -np.inf)
    return ctx.op("MaxPool", x, **window.attributes(), **padding.attributes())


def mean(ctx: GraphContext, x: Value, window: Window, padding: Padding, *, count_padding: bool) -> Value:
    """Return the mean of each window over [N, C, *D].

    Args:
        ctx: The graph being built.
        x: [N, C, *D].
        window: The window over D.
        padding: The padding; ``needs_sizes`` must not hold if it counts, ``may_be_empty`` not if it does not.
        count_padding: Whether the declared padding counts as zeros.
    """
    whole, rest = _worked_out(ctx, x, window, padding, 0)
    if rest is not padding:
        average = _average(ctx, whole, window, {}, count_padding=True)
        return average if count_padding else ctx.op("Div", average, _share_of_pixels(ctx, x, window, padding))
    if not count_padding:
        return _average(ctx, x, window, padding.attributes(), count_padding=False)
    if not any(padding.beyond) and not padding.ceil and not may_be_empty(window, padding):
        return _average(ctx, x, window, padding.declared, count_padding=True)
    # With the declared padding made pixels, the rest is padding that is not counted.
    rest = Padding({"pads": [0] * 2 * len(window.kernel)}, padding.beyond, padding.ceil)
    return _average(ctx, _pad(ctx, x, padding.declared["pads"]), window, rest.attributes(), count_padding=False)


def l2(ctx: GraphContext, x: Value, window: Window, padding: Padding) -> Value:
    """Return sqrt(sum of squares) of each window over [N, C, *D]; ``needs_sizes`` must not hold."""
    # sqrt(mean of squares * window size); OpenVINO has no LpPool.
    squares = ctx.op("Mul", x, x)
    squares, padding = _worked_out(ctx, squares, window, padding, 0)
    attributes = padding.attributes()
    if padding.ceil:
        count = len(window.kernel)
        pads = padding.declared["pads"]
        # Rounding up: as many more as make up another window, if there is anything left for it.
        ends = [end + stride - 1 for end, stride in zip(pads[count:], window.stride, strict=True)]
        attributes = {"pads": [*pads[:count], *ends]}
    if padding.ceil or may_be_empty(window, padding):
        squares, attributes = _pad(ctx, squares, attributes["pads"]), {}
    average = _average(ctx, squares, window, attributes, count_padding=True)
    return ctx.op("Sqrt", ctx.op("Mul", average, ctx.floats(np.prod(window.kernel))))


def _worked_out(ctx: GraphContext, x: Value, window: Window, padding: Padding, fill: float) -> tuple[Value, Padding]:
    """Add the padding that the engine is to work out where ONNX Runtime would not: steps larger than the window.

    For these its pooling takes a negative padding, which is to be none.
    """
    auto_pad = padding.declared.get("auto_pad")
    if auto_pad is None or all(stride <= kernel for stride, kernel in zip(window.stride, window.kernel, strict=True)):
        return x, padding
    padded = padded_same(ctx, x, window, lower=auto_pad == "SAME_LOWER", fill=fill)
    return padded, Padding({})


def _share_of_pixels(ctx: GraphContext, x: Value, window: Window, padding: Padding) -> Value:
    """Return which part of each window is no padding, [1, 1, *D_out]."""
    sizes = ctx.op("Concat", ctx.integers([1, 1]), ctx.sizes(x, 2), axis=0)
    ones, _ = _worked_out(ctx, ctx.op("Expand", ctx.floats(1), sizes), window, padding, 0)
    return _average(ctx, ones, window, {}, count_padding=True)


def _average(ctx: GraphContext, x: Value, window: Window, attributes: dict[str, Any], *, count_padding: bool) -> Value:
    return ctx.op("AveragePool", x, **window.attributes(), **attributes, count_include_pad=int(count_padding))


def _pad(ctx: GraphContext, x: Value, pads: Sequence[int]) -> Value:
    if not any(pads):
        return x
    return ctx.op("Pad", x, ctx.integers(pads, "pads"), None, ctx.integers(range(2, ctx.rank(x)), "axes"))
