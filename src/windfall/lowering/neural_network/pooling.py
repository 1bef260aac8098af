"""Pooling over planes.

Source: ``PoolingLayerParams`` in NeuralNetwork.proto.
"""

from collections.abc import Callable, Sequence

from windfall.errors import LoweringError
from windfall.graph.shapes import Dim
from windfall.lowering.neural_network.context import LayerContext, Value
from windfall.lowering.neural_network.views import on_planes
from windfall.lowering.neural_network.windows import borders, check_fits, pair, same_padding
from windfall.lowering.pooling import Padding, l2, maximum, may_be_empty, mean, needs_sizes, rounded_up
from windfall.lowering.windows import Window, onnx_pads


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


def _valid(ctx: LayerContext, window: Window, dims: Sequence[Dim]) -> Padding:
    edges = borders(ctx, "valid.paddingAmounts", ctx.params.valid.paddingAmounts)
    check_fits(ctx, window, dims, edges)
    return Padding({"pads": onnx_pads(edges)})


def _same(ctx: LayerContext, window: Window, dims: Sequence[Dim]) -> Padding:
    return Padding(same_padding(ctx, window, dims, ctx.params.same))


def _include_last_pixel(ctx: LayerContext, window: Window, dims: Sequence[Dim]) -> Padding:
    amounts = pair(ctx, "paddingAmounts", 0, least=0, message=ctx.params.includeLastPixel)
    # Rounding up adds at most stride - 1 pixels.
    edges = [(amount, amount + stride - 1) for amount, stride in zip(amounts, window.stride, strict=True)]
    check_fits(ctx, window, dims, edges)
    padding = rounded_up(window, dims, amounts)
    if padding is None:
        rule = "leaves the last window without a pixel, must be at most kernelSize, or includeLastPixel have padding"
        raise ctx.error("stride", rule, value=list(window.stride))
    return padding


def _max(ctx: LayerContext, x: Value, window: Window, padding: Padding) -> Value:
    _check_not_empty(ctx, window, padding)
    return maximum(ctx, x, window, padding)


def _average(ctx: LayerContext, x: Value, window: Window, padding: Padding) -> Value:
    if ctx.params.avgPoolExcludePadding:
        _check_not_empty(ctx, window, padding)
    elif any(padding.declared.get("pads", ())) and needs_sizes(window, padding):
        raise _unknown_sizes(ctx)
    return mean(ctx, x, window, padding, count_padding=not ctx.params.avgPoolExcludePadding)


def _l2(ctx: LayerContext, x: Value, window: Window, padding: Padding) -> Value:
    if needs_sizes(window, padding):
        raise _unknown_sizes(ctx)
    return l2(ctx, x, window, padding)


def _unknown_sizes(ctx: LayerContext) -> LoweringError:
    """The engines' own rounding up has no sum, and no padding that counts beside padding that does not."""
    rule = f"with {_type(ctx)} needs an input whose H and W are known when the model is loaded, or a smaller stride"
    return ctx.error("includeLastPixel", rule, value=None)


def _check_not_empty(ctx: LayerContext, window: Window, padding: Padding) -> None:
    if may_be_empty(window, padding):
        top, left, bottom, right = padding.attributes()["pads"]
        shown = f"[{top}, {bottom}], [{left}, {right}]"
        rule = f"must be larger than the padding {shown}: padding alone has no maximum or mean"
        raise ctx.error("kernelSize", rule, value=list(window.kernel))


_PADDINGS: dict[str, Callable[[LayerContext, Window, Sequence[Dim]], Padding]] = {
    "valid": _valid,
    "same": _same,
    "includeLastPixel": _include_last_pixel,
}

_POOLINGS: dict[str, Callable[[LayerContext, Value, Window, Padding], Value]] = {
    "MAX": _max,
    "AVERAGE": _average,
    "L2": _l2,
}

LOWERINGS = {"pooling": lower_pooling}
