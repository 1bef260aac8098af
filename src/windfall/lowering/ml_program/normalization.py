"""Normalization: by stored or computed statistics, of channels, of neighbouring channels, of any axes.

Source: ``normalization.py`` among coremltools' operator definitions.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from windfall.graph.shapes import Dim
from windfall.lowering.ml_program.context import Ints, OperationContext, Value
from windfall.lowering.normalization import (
    divided_by_length,
    divided_by_neighbours,
    standardized,
    standardized_instances,
)


def lower_batch_norm(
    ctx: OperationContext,
    x: Value,
    mean: Value,
    variance: Value,
    gamma: Value | None = None,
    beta: Value | None = None,
    epsilon: float = 1e-5,
) -> Value:
    """Compute ``gamma * (x - mean) / sqrt(variance + epsilon) + beta`` for each channel.

    Args:
        ctx: The operation and the graph being built.
        x: float [n, C, *D], rank 3 to 5.
        mean: float [C], as are the following three.
        variance: See above.
        gamma: Ones by default.
        beta: Zeros by default.
        epsilon: See above.

    Returns:
        The same shape.

    Raises:
        LoweringError: x has another rank, or a vector another length.
    """
    channels = _channels(ctx, x, 5, mean=mean, variance=variance, gamma=gamma, beta=beta)
    if channels is None:
        raise ctx.error("mean", "must be of known length")
    gamma = ctx.floats(np.ones(channels), "gamma") if gamma is None else gamma
    beta = ctx.floats(np.zeros(channels), "beta") if beta is None else beta
    return ctx.op("BatchNormalization", x, gamma, beta, mean, variance, epsilon=epsilon)


def _channels(ctx: OperationContext, x: Value, most: int, **vectors: Value | None) -> Dim:
    """Return the number of channels, checking that each vector has as many values.

    Raises:
        LoweringError: One has not, or x has a rank below 3 or above ``most``.
    """
    dims = ctx.shape(x)
    if not 3 <= len(dims) <= most:
        raise ctx.error("x", f"must have rank 3 to {most}, [n, C, *D]", value=f"of rank {len(dims)}")
    channels = dims[1]
    for argument, vector in vectors.items():
        have = (channels,) if vector is None else ctx.shape(vector)
        if len(have) != 1 or (None not in (channels, have[0]) and have[0] != channels):
            raise ctx.error(
                argument, f"must be a vector of {channels or 'all'} channels", value=f"of shape {list(have)}"
            )
        channels = have[0] if channels is None else channels
    return channels


def lower_instance_norm(
    ctx: OperationContext, x: Value, gamma: Value | None = None, beta: Value | None = None, epsilon: float = 1e-5
) -> Value:
    """Standardize each channel of each instance by its own mean and variance, then scale and shift it.

    Args:
        ctx: The operation and the graph being built.
        x: float [n, C, *D], rank 3 to 5.
        gamma: float [C], the scale; ones by default.
        beta: float [C], the shift; zeros by default.
        epsilon: Is added to the variance.

    Returns:
        The same shape.

    Raises:
        LoweringError: x has another rank, or a vector another length.
    """
    channels = _channels(ctx, x, 5, gamma=gamma, beta=beta)
    if channels is None or (gamma is None and beta is None):
        rank = [1] * (ctx.rank(x) - 2)
        return _scaled(ctx, standardized_instances(ctx, x, epsilon), gamma, beta, [-1, *rank])
    gamma = ctx.floats(np.ones(channels), "gamma") if gamma is None else gamma
    beta = ctx.floats(np.zeros(channels), "beta") if beta is None else beta
    return ctx.op("InstanceNormalization", x, gamma, beta, epsilon=epsilon)


def _scaled(ctx: OperationContext, x: Value, gamma: Value | None, beta: Value | None, shape: Sequence[int]) -> Value:
    """Multiply by gamma and add beta, as far as they are there, both brought to a shape."""
    if gamma is not None:
        x = ctx.op("Mul", x, ctx.reshape(gamma, shape))
    return x if beta is None else ctx.op("Add", x, ctx.reshape(beta, shape))


def lower_l2_norm(ctx: OperationContext, x: Value, epsilon: float = 1e-6) -> Value:
    """Divide by ``sqrt(sum of squares + epsilon)``, the sum over the last three axes.

    Args:
        ctx: The operation and the graph being built.
        x: float, rank 3 or more.
        epsilon: See above.

    Returns:
        The same shape.

    Raises:
        LoweringError: x has another rank.
    """
    if ctx.rank(x) < 3:
        raise ctx.error("x", "must have rank 3 or more", value=f"of rank {ctx.rank(x)}")
    return divided_by_length(ctx, x, epsilon)


def lower_layer_norm(
    ctx: OperationContext,
    x: Value,
    axes: Ints | None = None,
    gamma: Value | None = None,
    beta: Value | None = None,
    epsilon: float = 1e-5,
) -> Value:
    """Standardize along some axes together, then scale and shift each element of them.

    Args:
        ctx: The operation and the graph being built.
        x: float, any shape.
        axes: The axes; all by default.
        gamma: The scale, of the sizes of x along these axes in the order of x; ones by default.
        beta: The shift, likewise; zeros by default.
        epsilon: Is added to the variance.

    Returns:
        The same shape.

    Raises:
        LoweringError: There is no such axis, or a weight has another shape.
    """
    rank = ctx.rank(x)
    along = sorted({ctx.axis("axes", axis, rank) for axis in (range(rank) if axes is None else axes)})
    if not along:
        raise ctx.error("axes", "must name at least one axis", value=[])
    sizes = _sizes_along(ctx, x, along, gamma=gamma, beta=beta)
    # ONNX has this for the last axes alone, and wants the scale.
    if along[-1] - along[0] == len(along) - 1 and along[-1] == rank - 1 and None not in sizes:
        scale = ctx.floats(np.ones([size or 0 for size in sizes]), "gamma") if gamma is None else gamma
        return ctx.op("LayerNormalization", x, scale, beta, axis=along[0], epsilon=epsilon)
    by_axis = dict(zip(along, sizes, strict=True))
    shape = [(by_axis[axis] or -1) if axis in by_axis else 1 for axis in range(rank)]
    return _scaled(ctx, standardized(ctx, x, along, epsilon), gamma, beta, shape)


def _sizes_along(ctx: OperationContext, x: Value, along: Sequence[int], **weights: Value | None) -> Sequence[Dim]:
    """Return the sizes along some axes, as far as x or a weight knows them; each weight must have them."""
    sizes = [ctx.shape(x)[axis] for axis in along]
    for argument, weight in weights.items():
        dims = sizes if weight is None else ctx.shape(weight)
        pairs = list(zip(dims, sizes, strict=False))
        if len(dims) != len(sizes) or any(None not in pair and pair[0] != pair[1] for pair in pairs):
            shown = ["?" if size is None else size for size in sizes]
            raise ctx.error(argument, f"must have the sizes of x along axes, {shown}", value=f"of shape {list(dims)}")
        sizes = [have if size is None else size for have, size in pairs]
    return sizes


def lower_local_response_norm(
    ctx: OperationContext, x: Value, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Value:
    """Divide by ``(k + alpha / size * sum of squares) ** beta``, the sum over a window of channels.

    Args:
        ctx: The operation and the graph being built.
        x: float [n, C, *D], rank 3 to 5; channels beyond the ends count as 0.
        size: How many channels a window has.
        alpha: See above.
        beta: See above.
        k: See above.

    Returns:
        The same shape.

    Raises:
        LoweringError: x has another rank, or ``size`` is below 1.
    """
    _channels(ctx, x, 5)
    if size < 1:
        raise ctx.error("size", "must be at least 1", value=size)
    planes = x if ctx.rank(x) == 4 else ctx.reshape(x, ctx.sizes(x, 0, 2), 1, -1)
    divided = divided_by_neighbours(ctx, planes, size=size, alpha=alpha, beta=beta, k=k)
    return ctx.reshape(divided, ctx.sizes(x))


LOWERINGS: Mapping[str, Callable[..., Any]] = {
    "batch_norm": lower_batch_norm,
    "instance_norm": lower_instance_norm,
    "l2_norm": lower_l2_norm,
    "layer_norm": lower_layer_norm,
    "local_response_norm": lower_local_response_norm,
}
