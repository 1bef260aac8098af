"""Pooling over planes.

Source: ``PoolingLayerParams`` in NeuralNetwork.proto.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from windfall.errors import LoweringError
from windfall.graph.builder import Dim
from windfall.lowering.neural_network.context import LayerContext, Value
from windfall.lowering.neural_network.views import on_planes
from windfall.lowering.neural_network.windows import (
    Pair,
    Window,
    borders,
    check_fits,
    onnx_pads,
    pair,
    same_padding,
)


@dataclass(frozen=True)
class _Padding:
    """Padding that counts as pixels where an average counts padding, and padding that never does.

    Attributes:
        declared: A node's ``pads`` or ``auto_pad`` attribute.
        beyond: Pixels that ``includeLastPixel`` adds at the end of (H, W).
        ceil: The engine is to add those itself, since the sizes are known only at run time.
    """

    declared: dict[str, Any]
    beyond: Pair = (0, 0)
    ceil: bool = False

    def attributes(self) -> dict[str, Any]:
        """Return everything as a node's attributes."""
        if not any(self.beyond):
            return self.declared | ({"ceil_mode": 1} if self.ceil else {})
        top, left, bottom, right = self.declared["pads"]
        return {"pads": [top, left, bottom + self.beyond[0], right + self.beyond[1]]}


@on_planes
def lower_pooling(ctx: LayerContext, x: Value) -> Value:
    """Take the maximum, mean or L2 norm of a window that moves over H and W.

    Source: ``PoolingLayerParams``. The proto does not say what L2 is; coremltools' test of ``l2_pool`` expects
    2.236068 for a window of 1 and 2, so it is sqrt(sum of squares), as with Metal's MPSCNNPoolingL2Norm.

    Padding never wins a maximum. A mean counts it unless ``avgPoolExcludePadding`` is set; pixels that
    ``includeLastPixel`` adds beyond ``paddingAmounts`` are never counted, as with PyTorch's ``ceil_mode``.

    Args:
        ctx: The layer and the graph being built.
        x: [*batch, C, H, W].

    Returns:
        [*batch, C, H_out, W_out]; H_out = W_out = 1 where ``globalPooling`` is set.

    Raises:
        LoweringError: Sizes do not fit each other, the padding is not set, or a window would hold padding alone.
    """
    if ctx.params.globalPooling:
        return _global(ctx, x)
    window = Window(pair(ctx, "kernelSize", 3), pair(ctx, "stride", 1))
    kind = ctx.params.WhichOneof("PoolingPaddingType")
    if kind is None:
        raise ctx.error("PoolingPaddingType", "must be valid, same or includeLastPixel", value="not set")
    padding = _PADDINGS[kind](ctx, window, ctx.shape(x)[2:])
    return _POOLINGS[_type(ctx)](ctx, x, window, padding)


def _type(ctx: LayerContext) -> str:
    types = type(ctx.params).PoolingType
    if ctx.params.type not in types.values():
        raise ctx.error("type", "must be MAX, AVERAGE or L2")
    return str(types.Name(ctx.params.type))


def _global(ctx: LayerContext, x: Value) -> Value:
    """Pool over everything; kernelSize, stride and padding do not count."""
    kind = _type(ctx)
    if kind == "L2":
        return ctx.op("ReduceL2", x, ctx.integers([2, 3]), keepdims=1)
    return ctx.op({"MAX": "GlobalMaxPool", "AVERAGE": "GlobalAveragePool"}[kind], x)


def _valid(ctx: LayerContext, window: Window, dims: Sequence[Dim]) -> _Padding:
    edges = borders(ctx, "valid.paddingAmounts", ctx.params.valid.paddingAmounts)
    check_fits(ctx, window, dims, edges)
    return _Padding({"pads": onnx_pads(edges)})


def _same(ctx: LayerContext, window: Window, dims: Sequence[Dim]) -> _Padding:
    return _Padding(same_padding(ctx, window, dims, ctx.params.same))


def _include_last_pixel(ctx: LayerContext, window: Window, dims: Sequence[Dim]) -> _Padding:
    amounts = pair(ctx, "paddingAmounts", 0, least=0, message=ctx.params.includeLastPixel)
    # Rounding up adds at most stride - 1 pixels.
    edges = [(amount, amount + stride - 1) for amount, stride in zip(amounts, window.stride, strict=True)]
    check_fits(ctx, window, dims, edges)
    declared = {"pads": [*amounts, *amounts]}
    if None not in dims:
        height, width = (_beyond(ctx, window, dims, amounts, axis) for axis in (0, 1))
        return _Padding(declared, (height, width))
    if not any(amounts) and any(stride > kernel for stride, kernel in zip(window.stride, window.kernel, strict=True)):
        raise _empty_window(ctx, window)
    return _Padding(declared, ceil=True)


def _beyond(ctx: LayerContext, window: Window, dims: Sequence[Dim], amounts: Pair, axis: int) -> int:
    """Return how far the last window reaches beyond the padded input, by the formula on ``PoolingLayerParams``."""
    size, kernel, stride, amount = dims[axis], window.kernel[axis], window.stride[axis], amounts[axis]
    assert size is not None
    last = -(-(size + 2 * amount - kernel) // stride) * stride  # the last window's start
    if any(amounts) and last >= size + amount:
        last -= stride
    if last >= size + amount:
        raise _empty_window(ctx, window)
    return max(0, last + kernel - (size + 2 * amount))


def _empty_window(ctx: LayerContext, window: Window) -> LoweringError:
    rule = "leaves the last window without a pixel, must be at most kernelSize, or includeLastPixel have padding"
    return ctx.error("stride", rule, value=list(window.stride))


def _max(ctx: LayerContext, x: Value, window: Window, padding: _Padding) -> Value:
    attributes = padding.attributes()
    _check_pads(ctx, window, attributes)
    return ctx.op("MaxPool", x, **window.attributes(), **attributes)


def _average(ctx: LayerContext, x: Value, window: Window, padding: _Padding) -> Value:
    if ctx.params.avgPoolExcludePadding:
        attributes = padding.attributes()
        _check_pads(ctx, window, attributes)
        return ctx.op("AveragePool", x, **_average_attributes(window), **attributes, count_include_pad=0)
    partly = any(padding.beyond) or padding.ceil
    if not partly and not _too_wide(window, padding.declared):
        return ctx.op("AveragePool", x, **_average_attributes(window), **padding.declared, count_include_pad=1)
    if padding.ceil and any(padding.declared["pads"]):
        raise _needs_sizes(ctx)
    # With the declared padding made pixels, the rest is padding that is not counted.
    x = _pad(ctx, x, padding.declared["pads"])
    rest = _Padding({"pads": [0, 0, 0, 0]}, padding.beyond, padding.ceil)
    return ctx.op("AveragePool", x, **_average_attributes(window), **rest.attributes(), count_include_pad=0)


def _l2(ctx: LayerContext, x: Value, window: Window, padding: _Padding) -> Value:
    # sqrt(mean of squares * window size); OpenVINO has no LpPool.
    if padding.ceil:
        raise _needs_sizes(ctx)
    squares = ctx.op("Mul", x, x)
    attributes = padding.attributes()
    if _too_wide(window, attributes):
        squares, attributes = _pad(ctx, squares, attributes["pads"]), {}
    mean = ctx.op("AveragePool", squares, **_average_attributes(window), **attributes, count_include_pad=1)
    return ctx.op("Sqrt", ctx.op("Mul", mean, ctx.floats(np.prod(window.kernel))))


def _needs_sizes(ctx: LayerContext) -> LoweringError:
    """The engines' own rounding up has no sum, and no padding that counts beside padding that does not."""
    rule = f"with {_type(ctx)} needs an input whose H and W are known when the model is loaded"
    return ctx.error("includeLastPixel", rule, value=None)


def _average_attributes(window: Window) -> dict[str, Any]:
    return {"kernel_shape": list(window.kernel), "strides": list(window.stride)}


def _too_wide(window: Window, attributes: dict[str, Any]) -> bool:
    """Tell whether a window may hold padding alone, which the engines do not take."""
    return any(pad >= size for pad, size in zip(attributes.get("pads", ()), window.kernel * 2, strict=False))


def _check_pads(ctx: LayerContext, window: Window, attributes: dict[str, Any]) -> None:
    if _too_wide(window, attributes):
        top, left, bottom, right = attributes["pads"]
        shown = f"[{top}, {bottom}], [{left}, {right}]"
        rule = f"must be larger than the padding {shown}: padding alone has no maximum or mean"
        raise ctx.error("kernelSize", rule, value=list(window.kernel))


def _pad(ctx: LayerContext, x: Value, pads: Sequence[int]) -> Value:
    if not any(pads):
        return x
    return ctx.op("Pad", x, ctx.integers(pads, "pads"), None, ctx.integers([2, 3], "axes"))


_PADDINGS: dict[str, Callable[[LayerContext, Window, Sequence[Dim]], _Padding]] = {
    "valid": _valid,
    "same": _same,
    "includeLastPixel": _include_last_pixel,
}

_POOLINGS: dict[str, Callable[[LayerContext, Value, Window, _Padding], Value]] = {
    "MAX": _max,
    "AVERAGE": _average,
    "L2": _l2,
}

LOWERINGS = {"pooling": lower_pooling}
