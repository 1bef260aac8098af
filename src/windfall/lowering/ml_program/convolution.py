"""Convolution and its transpose.

Source: ``conv.py`` among coremltools' operator definitions. Its ``conv_quantized`` is for neural networks alone.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import onnx_ir as ir

from windfall.graph.shapes import Dim
from windfall.lowering.ml_program.context import Ints, OperationContext, Value
from windfall.lowering.ml_program.sliding import along_axes, check_fits, check_pad_type, edges_of, spatial
from windfall.lowering.windows import (
    Edge,
    Window,
    cut,
    cut_attributes,
    full_size,
    onnx_pads,
    padded_same,
    same_attributes,
)


def lower_conv(  # noqa: PLR0913, PLR0917 - the operator's own parameters
    ctx: OperationContext,
    x: Value,
    weight: Value,
    bias: Value | None = None,
    strides: Ints | None = None,
    pad_type: str = "valid",
    pad: Ints | None = None,
    dilations: Ints | None = None,
    groups: int = 1,
) -> Value:
    """Convolve over one to three spatial axes.

    Args:
        ctx: The operation and the graph being built.
        x: float [n, C_in, *D], rank 3 to 5.
        weight: float [C_out, C_in / groups, *K].
        bias: float [C_out]; none by default.
        strides: The step along each axis of D; 1 by default.
        pad_type: ``valid``, ``same``, ``same_lower`` or ``custom``.
        pad: For ``custom``, how much to pad before and after each axis of D.
        dilations: How far apart the window's entries lie along each axis of D; 1 by default.
        groups: How many groups the channels fall into.

    Returns:
        [n, C_out, *D_out].

    Raises:
        LoweringError: Sizes do not fit each other, or an argument is out of range.
    """
    dims = spatial(ctx, x)
    _check_weight(ctx, x, weight, groups, axis=1)
    c_out = ctx.shape(weight)[0]
    if c_out is not None and c_out % groups:
        raise ctx.error("groups", f"must divide the {c_out} output channels", value=groups)
    _check_bias(ctx, bias, c_out)
    window = _window(ctx, weight, strides, dilations)
    kind = check_pad_type(ctx, pad_type)
    if kind.startswith("same"):
        x, padding = _same(ctx, x, window, dims, lower=kind == "same_lower")
    else:
        edges = edges_of(ctx, pad if kind == "custom" else None, len(dims))
        padding = {"pads": onnx_pads(edges)}
        if window.kernel:
            check_fits(ctx, "weight", window, dims, edges)
    result = ctx.op("Conv", x, weight, bias, group=groups, **_attributes(window), **padding)
    return _ranked(result, x, c_out)


def _window(ctx: OperationContext, weight: Value, strides: Ints | None, dilations: Ints | None) -> Window:
    """Return the window; its kernel is empty where a size of it is known only at run time."""
    kernel = tuple(dim for dim in ctx.shape(weight)[2:] if dim is not None)
    count = ctx.rank(weight) - 2
    if len(kernel) == count and min(kernel) < 1:
        raise ctx.error("weight", "must have sizes of at least 1", value=f"of shape {list(ctx.shape(weight))}")
    return Window(
        kernel if len(kernel) == count else (),
        along_axes(ctx, "strides", strides, count),
        along_axes(ctx, "dilations", dilations, count),
    )


def _attributes(window: Window) -> dict[str, Any]:
    return window.attributes() | ({} if window.kernel else {"kernel_shape": None})


def _same(
    ctx: OperationContext, x: Value, window: Window, dims: Sequence[Dim], *, lower: bool
) -> tuple[Value, dict[str, Any]]:
    """Return the input and the attributes for a padding that leads to ceil(size / stride) outputs."""
    _check_kernel_known(ctx, window, "same")
    attributes = same_attributes(window, dims, lower=lower)
    if "auto_pad" in attributes and max(window.dilation) > 1:
        return padded_same(ctx, x, window, lower=lower), {}
    return x, attributes


def _check_kernel_known(ctx: OperationContext, window: Window, why: str) -> None:
    if not window.kernel:
        raise ctx.error("weight", f"must have known sizes for pad_type {why}")


def _check_weight(ctx: OperationContext, x: Value, weight: Value, groups: int, *, axis: int) -> None:
    """Check the ranks, and the weight's size along the axis of the input channels.

    Raises:
        LoweringError: They do not fit each other.
    """
    channels, dims = ctx.shape(x)[1], ctx.shape(weight)
    if len(dims) != ctx.rank(x):
        raise ctx.error("weight", f"must have the rank of x, {ctx.rank(x)}", value=f"of shape {list(dims)}")
    if groups < 1 or (channels is not None and channels % groups):
        raise ctx.error("groups", f"must be a divisor of the {channels} input channels", value=groups)
    wanted = channels if axis == 0 or channels is None else channels // groups
    if None not in (wanted, dims[axis]) and dims[axis] != wanted:
        rule = f"must have size {wanted} along axis {axis} for {channels} input channels in {groups} groups"
        raise ctx.error("weight", rule, value=f"of shape {list(dims)}")


def _check_bias(ctx: OperationContext, bias: Value | None, channels: Dim) -> None:
    if bias is None:
        return
    dims = ctx.shape(bias)
    if len(dims) != 1 or (None not in (channels, dims[0]) and dims[0] != channels):
        raise ctx.error(
            "bias", f"must be a vector of {channels or 'all'} output channels", value=f"of shape {list(dims)}"
        )


def _ranked(result: Value, x: Value, channels: Dim) -> Value:
    """Say of what rank a result is: inference does not where the kernel's sizes are known only at run time."""
    if result.shape is None and x.shape is not None:
        result.shape = ir.Shape([x.shape[0], channels, *[None] * (len(x.shape) - 2)])
    return result


def lower_conv_transpose(  # noqa: PLR0913, PLR0917 - the operator's own parameters
    ctx: OperationContext,
    x: Value,
    weight: Value,
    bias: Value | None = None,
    pad: Ints | None = None,
    output_shape: Ints | None = None,
    pad_type: str = "valid",
    strides: Ints | None = None,
    dilations: Ints | None = None,
    groups: int = 1,
) -> Value:
    """Compute the transpose of a convolution over one to three spatial axes.

    The padding is cut off. Where it does not lead to ``output_shape``, the difference is split as for ``same``: evenly,
    an odd entry at the end.

    Args:
        ctx: The operation and the graph being built.
        x: float [n, C_in, *D], rank 3 to 5.
        weight: float [C_in, C_out / groups, *K].
        bias: float [C_out]; none by default.
        pad: For ``custom``, how much to cut off before and after each axis of D.
        output_shape: [n, C_out, *D_out].
        pad_type: ``valid``, ``same`` for D_out = D * strides, or ``custom``.
        strides: The step along each axis of D_out; 1 by default.
        dilations: How far apart the window's entries lie along each axis of D_out; 1 by default.
        groups: How many groups the channels fall into.

    Returns:
        [n, C_out, *D_out].

    Raises:
        LoweringError: Sizes do not fit each other, or an argument is out of range.
    """
    dims = spatial(ctx, x)
    _check_weight(ctx, x, weight, groups, axis=0)
    per_group = ctx.shape(weight)[1]
    c_out = None if per_group is None else per_group * groups
    _check_bias(ctx, bias, c_out)
    window = _window(ctx, weight, strides, dilations)
    kind = check_pad_type(ctx, pad_type, ("valid", "same", "custom"))
    edges = edges_of(ctx, pad if kind == "custom" else None, len(dims))
    if kind == "same" and output_shape is None:
        _check_kernel_known(ctx, window, "same")
        # (size - 1) * stride + extent entries are cut to size * stride.
        edges = [cut(extent - stride) for extent, stride in zip(window.extent, window.stride, strict=True)]
    if output_shape is not None:
        _check_kernel_known(ctx, window, f"{kind} with output_shape")
        edges = to_output_shape(ctx, window, dims, output_shape, edges)
    elif window.kernel:
        _check_left(ctx, window, dims, edges)
    attributes = _attributes(window) | cut_attributes(edges)
    result = ctx.op("ConvTranspose", x, weight, bias, group=groups, **attributes)
    return _ranked(result, x, c_out)


def _check_left(ctx: OperationContext, window: Window, dims: Sequence[Dim], edges: Sequence[Edge]) -> None:
    for full, edge in zip(full_size(window, dims), edges, strict=True):
        if full is not None and full <= sum(edge):
            raise ctx.error("pad", f"must leave at least 1 of the {full} entries along each axis", value=edge)


def to_output_shape(
    ctx: OperationContext, window: Window, dims: Sequence[Dim], output_shape: Ints, edges: Sequence[Edge]
) -> list[Edge]:
    """Return what to cut off each axis for a given output."""
    if len(output_shape) != len(dims) + 2:
        raise ctx.error("output_shape", f"must be {len(dims) + 2} sizes, [n, C_out, *D_out]", value=list(output_shape))
    found = []
    sizes = zip(full_size(window, dims), window.stride, output_shape[2:], edges, strict=True)
    for axis, (full, stride, out, edge) in enumerate(sizes, 2):
        if full is None:
            raise ctx.error("output_shape", f"needs an x whose size along axis {axis} is known", value=None)
        if not 1 <= out < full + stride:
            rule = f"must be 1 to {full + stride - 1} along axis {axis}"
            raise ctx.error("output_shape", rule, value=list(output_shape))
        found.append(edge if sum(edge) == full - out else cut(full - out))
    return found


LOWERINGS: Mapping[str, Callable[..., Any]] = {"conv": lower_conv, "conv_transpose": lower_conv_transpose}
