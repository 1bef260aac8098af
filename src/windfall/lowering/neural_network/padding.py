"""Padding and cropping of planes.

Source: ``PaddingLayerParams`` and ``CropLayerParams`` in NeuralNetwork.proto.
"""

from collections.abc import Callable, Sequence
from typing import Any

from windfall.graph.shapes import Dim
from windfall.lowering.neural_network.context import LayerContext, Value
from windfall.lowering.neural_network.views import on_planes
from windfall.lowering.neural_network.windows import Pair, borders, pair
from windfall.lowering.windows import onnx_pads

_MODES = {"constant": "constant", "reflection": "reflect", "replication": "edge"}
"""ONNX's name for each member of ``oneof PaddingType``."""


def lower_padding(ctx: LayerContext, x: Value) -> Value:
    """Add rows and columns: a constant, the reflected interior, or the repeated border.

    Source: ``PaddingLayerParams``.

    Args:
        ctx: The layer and the graph being built.
        x: [*batch, H, W], rank 2 or more.

    Returns:
        [*batch, top + H + bottom, left + W + right].

    Raises:
        LoweringError: The type is not set, or a reflection is not smaller than the input.
    """
    rank = ctx.rank(x)
    if rank < 2:
        raise ctx.error("input", f"has rank {rank}, must have rank 2 or more", value=None)
    return _pad(ctx, x) if rank == 2 else _pad_planes(ctx, x)


def _pad(ctx: LayerContext, x: Value) -> Value:
    kind = ctx.params.WhichOneof("PaddingType")
    if kind is None:
        raise ctx.error("PaddingType", "must be constant, reflection or replication", value="not set")
    edges = borders(ctx, "paddingAmounts", ctx.params.paddingAmounts)
    rank = ctx.rank(x)
    if kind == "reflection":
        _check_reflection(ctx, ctx.shape(x)[-2:], edges)
    if not any(map(any, edges)):
        return ctx.op("Identity", x)
    fill = ctx.floats(ctx.params.constant.value) if kind == "constant" else None
    axes = ctx.integers([rank - 2, rank - 1], "axes")
    return ctx.op("Pad", x, ctx.integers(onnx_pads(edges), "pads"), fill, axes, mode=_MODES[kind])


# On rank 4 views, so that no reshape stands between the padding and a convolution.
_pad_planes = on_planes(_pad)


def _check_reflection(ctx: LayerContext, dims: Sequence[Dim], edges: Sequence[Pair]) -> None:
    """The border itself is not repeated, so there are size - 1 pixels to reflect."""
    for axis, size, edge in zip("HW", dims, edges, strict=True):
        if size is not None and max(edge) >= size:
            rule = f"must be smaller than the input for a reflection, which has {size} along {axis}"
            raise ctx.error("paddingAmounts", rule, value=list(edges))


@on_planes
def lower_crop(ctx: LayerContext, x: Value, reference: Value | None = None) -> Value:
    """Cut rows and columns off, by given amounts or down to the size of a second input.

    Source: ``CropLayerParams``.

    Args:
        ctx: The layer and the graph being built.
        x: [*batch, C, H, W].
        reference: [*batch, C', H_out, W_out]; only its last two sizes count. Without it ``cropAmounts`` do.

    Returns:
        [*batch, C, H_out, W_out].

    Raises:
        LoweringError: Nothing would be left, or the cut reaches beyond the input.
    """
    return _crop_by_amounts(ctx, x) if reference is None else _crop_to(ctx, x, reference)


def _crop_by_amounts(ctx: LayerContext, x: Value) -> Value:
    if len(ctx.params.cropAmounts.borderAmounts) != 2:
        rule = "must have two borderAmounts, for H and W, where the layer has one input"
        raise ctx.error("cropAmounts", rule, value=list(ctx.params.cropAmounts.borderAmounts))
    edges = borders(ctx, "cropAmounts", ctx.params.cropAmounts)
    for axis, size, edge in zip("HW", ctx.shape(x)[2:], edges, strict=True):
        if size is not None and sum(edge) >= size:
            rule = f"must leave at least one pixel of {size} along {axis}"
            raise ctx.error("cropAmounts", rule, value=list(edges))
    # An end of 0 would mean the start; beyond the last pixel means the last.
    ends = [-end if end else 2**31 - 1 for _, end in edges]
    return _slice(ctx, x, [start for start, _ in edges], ctx.integers(ends))


def _crop_to(ctx: LayerContext, x: Value, reference: Value) -> Value:
    if len(ctx.params.offset) != 2:
        raise ctx.error("offset", "must have two numbers, for H and W, where the layer has two inputs")
    offset = pair(ctx, "offset", 0, least=0)
    wanted = ctx.shape(reference)[2:]
    for axis, size, start, out in zip("HW", ctx.shape(x)[2:], offset, wanted, strict=True):
        if None not in (size, out) and start + out > size:  # type: ignore[operator]
            rule = f"and {out} pixels of the second input reach beyond the input, which has {size} along {axis}"
            raise ctx.error("offset", rule)
    if None not in wanted:
        ends = ctx.integers([start + out for start, out in zip(offset, wanted, strict=True)])  # type: ignore[operator]
        return _slice(ctx, x, offset, ends)
    sizes = ctx.sizes(reference, 2)
    cut = _slice(ctx, x, offset, ctx.op("Add", sizes, ctx.integers(offset)) if any(offset) else sizes)
    # A slice that reaches beyond the input just ends there; the reshape fails then.
    return ctx.reshape(cut, ctx.sizes(x, 0, 2), sizes)


def _slice(ctx: LayerContext, x: Value, starts: Sequence[int], ends: Value) -> Value:
    return ctx.op("Slice", x, ctx.integers(starts), ends, ctx.integers([2, 3]))


LOWERINGS: dict[str, Callable[..., Any]] = {"padding": lower_padding, "crop": lower_crop}
