"""Convolution and deconvolution.

Source: ``ConvolutionLayerParams`` in NeuralNetwork.proto.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windfall.graph.shapes import Dim
from windfall.lowering.neural_network.context import LayerContext, Value
from windfall.lowering.neural_network.views import on_planes
from windfall.lowering.neural_network.windows import Pair, borders, check_fits, pair, same_padding, top_left
from windfall.lowering.windows import Edge, Window, cut, cut_attributes, full_size, onnx_pads


@on_planes
def lower_convolution(ctx: LayerContext, x: Value, weights: Value | None = None) -> Value:
    """Convolve over H and W, or the transpose of that ("deconvolution").

    Source: ``ConvolutionLayerParams``; padding by ``ValidPadding`` or ``SamePadding``.

    ``dilationFactor`` of a deconvolution is said to be ignored, but NeuralNetworkShapes.cpp computes with it and
    coremltools converts PyTorch's dilated ConvTranspose2d to it; so it counts here.

    Args:
        ctx: The layer and the graph being built.
        x: [*batch, C, H, W].
        weights: [outputChannels, C / nGroups, kernelHeight, kernelWidth]; the layer's own weights by default.

    Returns:
        [*batch, outputChannels, H_out, W_out].

    Raises:
        LoweringError: Sizes do not fit each other, or the padding is not set.
    """
    params = ctx.params
    groups = params.nGroups or 1
    window = window_of(ctx)
    _check_channels(ctx, x, groups)
    kernel = _own_weights(ctx, window, groups) if weights is None else _checked_weights(ctx, weights, window)
    bias = ctx.constant(ctx.weights("bias", [params.outputChannels]), "bias") if params.hasBias else None
    op_type = "ConvTranspose" if params.isDeconvolution else "Conv"
    attributes = window.attributes() | padding(ctx, window, ctx.shape(x)[2:])
    return ctx.op(op_type, x, kernel, bias, group=groups, **attributes)


def window_of(ctx: LayerContext) -> Window:
    """Return the layer's kernel, stride and dilation; a LoweringError if they are out of range."""
    return Window(pair(ctx, "kernelSize", 3), pair(ctx, "stride", 1), pair(ctx, "dilationFactor", 1))


def padding(ctx: LayerContext, window: Window, dims: Sequence[Dim]) -> dict[str, Any]:
    """Return the attributes for what is added around an input of the sizes H, W, or cut off a deconvolution's output.

    Raises:
        LoweringError: Sizes do not fit each other, or the padding is not set.
    """
    return (_deconvolution if ctx.params.isDeconvolution else _convolution)(ctx, window, dims)


def _check_channels(ctx: LayerContext, x: Value, groups: int) -> None:
    params = ctx.params
    for field in ("kernelChannels", "outputChannels"):
        if getattr(params, field) < 1:
            raise ctx.error(field, "must be at least 1")
    for field in ("kernelChannels", "outputChannels") if params.isDeconvolution else ("outputChannels",):
        if getattr(params, field) % groups:
            raise ctx.error(field, f"must be a multiple of nGroups, which is {groups}")
    channels = ctx.shape(x)[1]
    expected = params.kernelChannels * (1 if params.isDeconvolution else groups)
    if channels not in (None, expected):
        raise ctx.error("input", f"has {channels} channels, kernelChannels and nGroups ask for {expected}", value=None)


def _own_weights(ctx: LayerContext, window: Window, groups: int) -> Value:
    params = ctx.params
    if not params.isDeconvolution:
        kernel = (params.outputChannels, params.kernelChannels, *window.kernel)
        if groups == 1 or ctx.is_quantized("weights"):
            return ctx.weight("weights", kernel)
        # ONNX Runtime does not pack the weights of some grouped convolutions.
        return ctx.constant(ctx.weights("weights", kernel), "weights")
    dims = (params.kernelChannels, params.outputChannels // groups, *window.kernel)
    scales = params.weights.quantization.linearQuantization.scale
    if groups > 1 and len(scales) == params.outputChannels > 1:
        return ctx.constant(_scaled_by_output_channel(ctx, dims, groups), "weights")
    # coremltools quantizes along axis 1, with outputChannels / nGroups scales.
    return ctx.weight("weights", dims, channel_axis=1)


def _scaled_by_output_channel(ctx: LayerContext, dims: Sequence[int], groups: int) -> NDArray[np.float32]:
    """Decode a grouped deconvolution's weights that have a scale for each output channel, as the validator asks for.

    Output channel o is column o % (outputChannels / nGroups) of group o // (outputChannels / nGroups), so the scales
    run along no single axis.
    """
    plain = type(ctx.params)(weights=ctx.params.weights)
    linear = plain.weights.quantization.linearQuantization
    factors = []
    for field, neutral in (("scale", 1.0), ("bias", 0.0)):
        stored = list(getattr(linear, field)) or [neutral]
        count = len(stored)
        if count not in (1, ctx.params.outputChannels):
            rule = f"has a quantization {field} of {count} values, must be 1 or {ctx.params.outputChannels}"
            raise ctx.error("weights", rule, value=None)
        # [outputChannels] -> [nGroups, 1, outputChannels / nGroups, 1, 1]
        factors.append(np.array(stored, np.float32).reshape((groups, 1, -1, 1, 1) if count > 1 else (1,) * 5))
        getattr(linear, field)[:] = [neutral]
    grouped = ctx.weights("weights", (groups, dims[0] // groups, *dims[1:]), message=plain)
    scaled: NDArray[np.float32] = (grouped * factors[0] + factors[1]).reshape(dims)
    return scaled


def _checked_weights(ctx: LayerContext, weights: Value, window: Window) -> Value:
    params = ctx.params
    if params.isDeconvolution:
        raise ctx.error("input", "a deconvolution must have its weights in the layer", value=list(ctx.layer.input))
    expected = (params.outputChannels, params.kernelChannels, *window.kernel)
    dims = ctx.shape(weights)
    if any(have not in (None, want) for have, want in zip(dims, expected, strict=True)):
        raise ctx.error("input", f"holds weights of shape {list(dims)}, must be {list(expected)}", value=None)
    return weights


def _convolution(ctx: LayerContext, window: Window, dims: Sequence[Dim]) -> dict[str, Any]:
    kind = ctx.params.WhichOneof("ConvolutionPaddingType")
    if kind == "same":
        return same_padding(ctx, window, dims, ctx.params.same)
    if kind is None:
        raise ctx.error("ConvolutionPaddingType", "must be valid or same", value="not set")
    edges = borders(ctx, "valid.paddingAmounts", ctx.params.valid.paddingAmounts)
    check_fits(ctx, window, dims, edges)
    return {"pads": onnx_pads(edges)}


def _deconvolution(ctx: LayerContext, window: Window, dims: Sequence[Dim]) -> dict[str, Any]:
    """Return the pixels to cut off ("pads") and to add at the end, as attributes."""
    target = pair(ctx, "outputShape", 0) if ctx.params.outputShape else None
    kind = ctx.params.WhichOneof("ConvolutionPaddingType")
    lower = top_left(ctx, ctx.params.same)
    if target is not None:
        return cut_attributes(_to_output_shape(ctx, window, dims, target, lower=lower))
    if kind is None:
        raise ctx.error("ConvolutionPaddingType", "must be valid or same where outputShape is not set", value="not set")
    if kind == "same":
        # (size - 1) * stride + extent pixels are cut to size * stride.
        totals = [extent - stride for extent, stride in zip(window.extent, window.stride, strict=True)]
        return cut_attributes([cut(total, lower=lower) for total in totals])
    edges = borders(ctx, "valid.paddingAmounts", ctx.params.valid.paddingAmounts)
    for axis, size, full, edge in zip("HW", dims, full_size(window, dims), edges, strict=True):
        if full is not None and full <= sum(edge):
            rule = f"cuts all {full} pixels along {axis} that {size} make, must leave one"
            raise ctx.error("valid.paddingAmounts", rule, value=list(edges))
    return cut_attributes(edges)


def _to_output_shape(
    ctx: LayerContext, window: Window, dims: Sequence[Dim], target: Pair, *, lower: bool
) -> list[Edge]:
    """Return the edges to cut for ``outputShape``, which is said to override the padding.

    Edges that lead to ``outputShape`` are taken as they are: coremltools writes both, and means PyTorch's padding.
    Others do not count; the difference is then split as for ``same``.
    """
    full = full_size(window, dims)
    edges = borders(ctx, "valid.paddingAmounts", ctx.params.valid.paddingAmounts)
    found = []
    for axis, size, stride, out, edge in zip("HW", full, window.stride, target, edges, strict=True):
        if size is None:
            raise ctx.error("outputShape", f"needs an input whose size along {axis} is known when the model is loaded")
        total = size - out
        if -total >= stride:
            raise ctx.error("outputShape", f"must be at most {size + stride - 1} along {axis} for this input")
        found.append(edge if sum(edge) == total else cut(total, lower=lower))
    return found


LOWERINGS: dict[str, Callable[..., Value]] = {"convolution": lower_convolution}
