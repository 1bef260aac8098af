"""Pooling: the maximum, mean or L2 norm of a window that moves over the spatial axes.

Source: ``pool.py`` among coremltools' operator definitions, and ``spatial_dimensions_out_shape`` beside it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from windfall.graph.shapes import Dim
from windfall.lowering.ml_program.context import Ints, OperationContext, Value
from windfall.lowering.ml_program.sliding import along_axes, check_fits, check_pad_type, edges_of, spatial
from windfall.lowering.pooling import Padding, l2, maximum, may_be_empty, mean, needs_sizes, rounded_up
from windfall.lowering.windows import Edge, Window, onnx_pads, same_attributes


def lower_max_pool(
    ctx: OperationContext,
    x: Value,
    kernel_sizes: Ints,
    pad_type: str,
    strides: Ints | None = None,
    pad: Ints | None = None,
    ceil_mode: bool = False,
) -> Value:
    """Take the maximum of each window; padding never is one.

    Args:
        ctx: The operation and the graph being built.
        x: float [n, C, *D], rank 3 to 5.
        kernel_sizes: The size of the window along each axis of D.
        pad_type: ``valid``, ``same``, ``same_lower`` or ``custom``.
        strides: The step along each axis of D; 1 by default.
        pad: For ``custom``, how much to pad before and after each axis of D.
        ceil_mode: Round the sizes of the output up, not down.

    Returns:
        [n, C, *D_out].

    Raises:
        LoweringError: Sizes do not fit each other, an argument is out of range, or a window may hold padding alone.
    """
    window, padding = _prepared(ctx, x, kernel_sizes, strides, pad_type, pad, ceil_mode)
    _check_not_empty(ctx, window, padding)
    return maximum(ctx, x, window, padding)


def lower_avg_pool(  # noqa: PLR0913, PLR0917 - the operator's own parameters
    ctx: OperationContext,
    x: Value,
    kernel_sizes: Ints,
    pad_type: str,
    strides: Ints | None = None,
    pad: Ints | None = None,
    exclude_padding_from_average: bool = False,
    ceil_mode: bool = False,
) -> Value:
    """Take the mean of each window; what rounding up adds beyond the padding never counts.

    Args:
        ctx: The operation and the graph being built.
        x: float [n, C, *D], rank 3 to 5.
        kernel_sizes: The size of the window along each axis of D.
        pad_type: ``valid``, ``same``, ``same_lower`` or ``custom``.
        strides: The step along each axis of D; 1 by default.
        pad: For ``custom``, how much to pad before and after each axis of D.
        exclude_padding_from_average: Whether padding does not count; else it counts as zeros.
        ceil_mode: Round the sizes of the output up, not down.

    Returns:
        [n, C, *D_out].

    Raises:
        LoweringError: Sizes do not fit each other, an argument is out of range, a window may hold nothing that counts,
            or rounding up needs sizes that are unknown.
    """
    window, padding = _prepared(ctx, x, kernel_sizes, strides, pad_type, pad, ceil_mode)
    if exclude_padding_from_average:
        _check_not_empty(ctx, window, padding)
    elif any(padding.declared.get("pads", ())):
        _check_sizes(ctx, window, padding)
    return mean(ctx, x, window, padding, count_padding=not exclude_padding_from_average)


def lower_l2_pool(
    ctx: OperationContext,
    x: Value,
    kernel_sizes: Ints,
    pad_type: str,
    strides: Ints | None = None,
    pad: Ints | None = None,
    ceil_mode: bool = False,
) -> Value:
    """Take the square root of the sum of the squares of each window.

    Args:
        ctx: The operation and the graph being built.
        x: float [n, C, *D], rank 3 to 5.
        kernel_sizes: The size of the window along each axis of D.
        pad_type: ``valid``, ``same``, ``same_lower`` or ``custom``.
        strides: The step along each axis of D; 1 by default.
        pad: For ``custom``, how much to pad before and after each axis of D.
        ceil_mode: Round the sizes of the output up, not down.

    Returns:
        [n, C, *D_out].

    Raises:
        LoweringError: Sizes do not fit each other, an argument is out of range, or rounding up needs sizes that are
            unknown.
    """
    window, padding = _prepared(ctx, x, kernel_sizes, strides, pad_type, pad, ceil_mode)
    _check_sizes(ctx, window, padding)
    return l2(ctx, x, window, padding)


def _prepared(
    ctx: OperationContext,
    x: Value,
    kernel_sizes: Ints,
    strides: Ints | None,
    pad_type: str,
    pad: Ints | None,
    ceil_mode: bool,
) -> tuple[Window, Padding]:
    """Return what all of these operators read of their arguments."""
    dims = spatial(ctx, x)
    count = len(dims)
    window = Window(along_axes(ctx, "kernel_sizes", kernel_sizes, count), along_axes(ctx, "strides", strides, count))
    kind = check_pad_type(ctx, pad_type)
    if not kind.startswith("same"):
        edges = edges_of(ctx, pad if kind == "custom" else None, count)
        return window, _declared(ctx, window, dims, edges, ceil_mode=ceil_mode)
    if ceil_mode:
        raise ctx.error("ceil_mode", f"must be false where pad_type is {kind}", value=ceil_mode)
    return window, Padding(same_attributes(window, dims, lower=kind == "same_lower"))


def _declared(
    ctx: OperationContext, window: Window, dims: Sequence[Dim], edges: Sequence[Edge], *, ceil_mode: bool
) -> Padding:
    if not ceil_mode:
        check_fits(ctx, "kernel_sizes", window, dims, edges)
        return Padding({"pads": onnx_pads(edges)})
    if any(before != after for before, after in edges):
        raise ctx.error("pad", "must be the same before and after an axis where ceil_mode is true", value=edges)
    check_fits(ctx, "kernel_sizes", window, dims, edges)
    padding = rounded_up(window, dims, tuple(before for before, _ in edges))
    if padding is None:
        rule = "leave the last window without an entry, must be at most kernel_sizes where ceil_mode is true"
        raise ctx.error("strides", rule, value=list(window.stride))
    return padding


def _check_not_empty(ctx: OperationContext, window: Window, padding: Padding) -> None:
    if may_be_empty(window, padding):
        pads = padding.attributes()["pads"]
        rule = f"must be larger than the padding {pads}: padding alone has no maximum or mean"
        raise ctx.error("kernel_sizes", rule, value=list(window.kernel))


def _check_sizes(ctx: OperationContext, window: Window, padding: Padding) -> None:
    if needs_sizes(window, padding):
        rule = "needs an x whose sizes are known, or strides of at most kernel_sizes less the padding"
        raise ctx.error("ceil_mode", rule, value=None)


LOWERINGS: Mapping[str, Callable[..., Any]] = {
    "avg_pool": lower_avg_pool,
    "l2_pool": lower_l2_pool,
    "max_pool": lower_max_pool,
}
