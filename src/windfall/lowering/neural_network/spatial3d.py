"""Convolution and pooling over three spatial axes.

Source: ``Convolution3DLayerParams``, ``Pooling3DLayerParams``, ``GlobalPooling3DLayerParams`` in NeuralNetwork.proto.
"""

from collections.abc import Sequence
from typing import Any

from windfall.graph.shapes import Dim
from windfall.lowering.neural_network.context import LayerContext, Value
from windfall.lowering.pooling import Padding, maximum, mean
from windfall.lowering.windows import LARGEST, Window, cut, cut_attributes, onnx_pads, same_attributes

_AXES = ("Depth", "Height", "Width")
_EDGES = (("Front", "Back"), ("Top", "Bottom"), ("Left", "Right"))

_Edges = Sequence[tuple[int, int]]
"""The padding before and after each spatial axis."""


def lower_convolution_3d(ctx: LayerContext, x: Value) -> Value:
    """Convolve over depth, height and width, or the transpose of that ("deconvolution").

    Source: ``Convolution3DLayerParams``. The message leaves open how a deconvolution's weights lie; coremltools'
    builder writes [inputChannels, outputChannels / nGroups, D, H, W], as for two axes.

    Args:
        ctx: The layer and the graph being built.
        x: [N, C, D, H, W].

    Returns:
        [N, outputChannels, D_out, H_out, W_out].

    Raises:
        LoweringError: Sizes do not fit each other.
    """
    params, dims = ctx.params, _spatial(ctx, x)
    (groups,) = _numbers(ctx, ["nGroups"])
    kernel, strides, dilations = (_along_axes(ctx, field) for field in ("kernel", "stride", "dilation"))
    _check_channels(ctx, x, groups)
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    weights = ctx.weight("weights", (*_channels(ctx, groups), *kernel))
    bias = ctx.weight("bias", (params.outputChannels,)) if params.hasBias else None
    attributes: dict[str, Any] = {"kernel_shape": kernel, "strides": strides, "dilations": dilations, "group": groups}
    if params.isDeconvolution:
        return ctx.op("ConvTranspose", x, weights, bias, **attributes, **_cut_edges(ctx, dims, extent, strides))
    return ctx.op("Conv", x, weights, bias, **attributes, **_padding(ctx, dims, extent, strides))


def _channels(ctx: LayerContext, groups: int) -> tuple[int, int]:
    """Return the first two sizes of the weights."""
    c_in, c_out = ctx.params.inputChannels, ctx.params.outputChannels
    return (c_in, c_out // groups) if ctx.params.isDeconvolution else (c_out, c_in // groups)


def _check_channels(ctx: LayerContext, x: Value, groups: int) -> None:
    for field in ("inputChannels", "outputChannels"):
        (channels,) = _numbers(ctx, [field])
        if channels % groups:
            raise ctx.error(field, f"must be a multiple of nGroups, which is {groups}")
    if ctx.shape(x)[1] not in (None, ctx.params.inputChannels):
        raise ctx.error("inputChannels", f"must be the input's number of channels, {ctx.shape(x)[1]}")


def _spatial(ctx: LayerContext, x: Value) -> tuple[Dim, ...]:
    if ctx.rank(x) != 5:
        raise ctx.error("input", f"has rank {ctx.rank(x)}, must have rank 5, [N, C, D, H, W]", value=None)
    return ctx.shape(x)[2:]


def _numbers(ctx: LayerContext, fields: Sequence[str], least: int = 1) -> list[int]:
    values = [int(getattr(ctx.params, field)) for field in fields]
    for field, value in zip(fields, values, strict=True):
        if not least <= value <= LARGEST:
            raise ctx.error(field, f"must be at least {least}")
    return values


def _along_axes(ctx: LayerContext, field: str) -> list[int]:
    """Return, e.g., kernelDepth, kernelHeight and kernelWidth."""
    return _numbers(ctx, [field + axis for axis in _AXES])


def _custom(ctx: LayerContext) -> _Edges:
    return [
        (before, after)
        for before, after in (_numbers(ctx, [f"customPadding{edge}" for edge in edges], least=0) for edges in _EDGES)
    ]


def _padding_type(ctx: LayerContext) -> str:
    kind = ctx.params.DESCRIPTOR.fields_by_name["paddingType"].enum_type.values_by_number.get(ctx.params.paddingType)
    if kind is None:
        raise ctx.error("paddingType", "must be CUSTOM, VALID or SAME")
    return str(kind.name)


def _padding(ctx: LayerContext, dims: Sequence[Dim], extent: Sequence[int], strides: Sequence[int]) -> dict[str, Any]:
    """Return the padding as a node's attributes."""
    if _padding_type(ctx) == "SAME":
        return same_attributes(Window(tuple(extent), tuple(strides)), dims, lower=False)
    edges = _custom(ctx) if _padding_type(ctx) == "CUSTOM" else [(0, 0)] * 3
    for axis, size, span, edge in zip(_AXES, dims, extent, edges, strict=True):
        if size is not None and size + sum(edge) < span:
            rule = f"spans {span} along this axis, must be at most the input's {size} and padding {sum(edge)}"
            raise ctx.error(f"kernel{axis}", rule)
    return {"pads": onnx_pads(edges)}


def _cut_edges(ctx: LayerContext, dims: Sequence[Dim], extent: Sequence[int], strides: Sequence[int]) -> dict[str, Any]:
    """Return what a deconvolution cuts off ("pads") and adds at the end, as attributes.

    As for two axes: SAME makes stride times as many entries; ``outputShape`` overrides the padding unless that leads to
    it, and an odd entry is cut at the end.
    """
    kind = _padding_type(ctx)
    edges: _Edges = _custom(ctx) if kind == "CUSTOM" else [(0, 0)] * 3
    if kind == "SAME":
        edges = [cut(span - stride) for span, stride in zip(extent, strides, strict=True)]
    if ctx.params.outputShape:
        edges = _to_output_shape(ctx, dims, extent, strides, edges)
    for axis, size, span, stride, edge in zip(_AXES, dims, extent, strides, edges, strict=True):
        if size is not None and (size - 1) * stride + span <= sum(edge):
            raise ctx.error(f"customPadding of {axis}", "must leave something of the output", value=edge)
    return cut_attributes(edges)


def _to_output_shape(
    ctx: LayerContext, dims: Sequence[Dim], extent: Sequence[int], strides: Sequence[int], edges: _Edges
) -> _Edges:
    target = list(ctx.params.outputShape)
    if len(target) != 3:
        raise ctx.error("outputShape", "must be [D, H, W]", value=target)
    found = []
    for axis, size, span, stride, out, edge in zip(_AXES, dims, extent, strides, target, edges, strict=True):
        if size is None:
            rule = f"needs an input whose {axis.lower()} is known when the model is loaded"
            raise ctx.error("outputShape", rule, value=target)
        full = (size - 1) * stride + span
        if not 1 <= out < full + stride:
            raise ctx.error("outputShape", f"must be 1 to {full + stride - 1} along {axis.lower()}", value=target)
        found.append(edge if sum(edge) == full - out else cut(full - out))
    return found


def lower_pooling_3d(ctx: LayerContext, x: Value) -> Value:
    """Take the maximum or mean of a window that moves over depth, height and width.

    Source: ``Pooling3DLayerParams``. "All padding types pad the input shape with zeros": so they count in a mean unless
    ``countExcludePadding`` is set. But none is ever a maximum, as coremltools' test of its operator ``max_pool`` has
    it, which compares negative numbers.

    Args:
        ctx: The layer and the graph being built.
        x: [N, C, D, H, W].

    Returns:
        [N, C, D_out, H_out, W_out].

    Raises:
        LoweringError: Sizes do not fit each other, or a window may hold nothing that counts.
    """
    dims, kernel, strides = _spatial(ctx, x), _along_axes(ctx, "kernel"), _along_axes(ctx, "stride")
    window, padding = Window(tuple(kernel), tuple(strides)), Padding(_padding(ctx, dims, kernel, strides))
    op_type = _pooling(ctx, "MaxPool", "AveragePool")
    if op_type == "MaxPool" or ctx.params.countExcludePadding:
        _check_not_alone(ctx, kernel, padding.declared)
    if op_type == "MaxPool":
        return maximum(ctx, x, window, padding)
    return mean(ctx, x, window, padding, count_padding=not ctx.params.countExcludePadding)


def _pooling(ctx: LayerContext, of_max: str, of_average: str) -> str:
    op_type = {0: of_max, 1: of_average}.get(ctx.params.type)
    if op_type is None:
        raise ctx.error("type", "must be MAX or AVERAGE")
    return op_type


def _check_not_alone(ctx: LayerContext, kernel: Sequence[int], padding: dict[str, Any]) -> None:
    pads = padding.get("pads", [0] * 6)
    for axis, size, before, after in zip(_AXES, kernel, pads[:3], pads[3:], strict=True):
        if size <= max(before, after):
            rule = f"must be larger than the padding {[before, after]}: it has no maximum or mean"
            raise ctx.error(f"kernel{axis}", rule)


def lower_global_pooling_3d(ctx: LayerContext, x: Value) -> Value:
    """Take the maximum or mean over depth, height and width.

    Source: ``GlobalPooling3DLayerParams``.

    Args:
        ctx: The layer and the graph being built.
        x: [N, C, D, H, W].

    Returns:
        [N, C, 1, 1, 1].

    Raises:
        LoweringError: The rank is not 5, or ``type`` is unknown.
    """
    _spatial(ctx, x)
    return ctx.op(_pooling(ctx, "GlobalMaxPool", "GlobalAveragePool"), x)


LOWERINGS = {
    "convolution3d": lower_convolution_3d,
    "pooling3d": lower_pooling_3d,
    "globalPooling3d": lower_global_pooling_3d,
}
