"""Normalization by statistics that are computed of the values themselves."""

from collections.abc import Sequence

import numpy as np

from windfall.lowering.context import GraphContext, Value


def centred(ctx: GraphContext, x: Value, axes: Sequence[int]) -> Value:
    """Subtract the mean along some axes."""
    return ctx.op("Sub", x, ctx.op("ReduceMean", x, ctx.integers(axes), name="mean"), name="centred")


def standardized(ctx: GraphContext, x: Value, axes: Sequence[int], epsilon: float) -> Value:
    """Return (x - mean) / sqrt(variance + epsilon), the variance that of all values, divided by their number."""
    moved = centred(ctx, x, axes)
    variance = ctx.op("ReduceMean", ctx.op("Mul", moved, moved), ctx.integers(axes), name="variance")
    return ctx.op("Div", moved, ctx.op("Sqrt", ctx.op("Add", variance, ctx.floats(epsilon)), name="deviation"))


def standardized_instances(ctx: GraphContext, x: Value, epsilon: float) -> Value:
    """Standardize each channel of each instance of [N, C, *D]."""
    channels = ctx.shape(x)[1]
    if channels is None:
        return standardized(ctx, x, range(2, ctx.rank(x)), epsilon)
    ones, zeros = ctx.floats(np.ones(channels), "ones"), ctx.floats(np.zeros(channels), "zeros")
    return ctx.op("InstanceNormalization", x, ones, zeros, epsilon=epsilon)


def divided_by_length(ctx: GraphContext, x: Value, epsilon: float) -> Value:
    """Divide by sqrt(sum of squares + epsilon), the sum over the last three axes."""
    total = ctx.op("ReduceSumSquare", x, ctx.integers((-3, -2, -1)))
    return ctx.op("Div", x, ctx.op("Sqrt", ctx.op("Add", total, ctx.floats(epsilon))))


def divided_by_neighbours(ctx: GraphContext, x: Value, *, size: int, alpha: float, beta: float, k: float) -> Value:
    """Divide by (k + alpha / size * sum of squares) ** beta, the sum over ``size`` neighbouring channels.

    Neither message nor definition places a window of even size n. Metal's kernel for it (documented as
    ``MPSCNNCrossChannelNormalization``) and PyTorch, with which coremltools tests it, reach n / 2 channels back and
    n / 2 - 1 ahead; ONNX does the reverse.

    Args:
        ctx: The graph being built.
        x: [N, C, H, W]; channels beyond the ends count as 0.
        size: How many channels a window has.
        alpha: See above.
        beta: See above.
        k: See above.
    """
    # Other values are outside what ONNX Runtime's LRN takes.
    if size % 2 and alpha > 0 and beta > 0:
        return ctx.op("LRN", x, alpha=alpha, beta=beta, bias=k, size=size)
    mean = _mean_of_squares(ctx, x, size)
    base = ctx.op("Add", ctx.op("Mul", mean, ctx.floats(alpha)), ctx.floats(k))
    return ctx.op("Div", x, ctx.op("Pow", base, ctx.floats(beta)))


def _mean_of_squares(ctx: GraphContext, x: Value, size: int) -> Value:
    """Return the sum of squares over ``size`` neighbouring channels, divided by ``size``."""
    squares = ctx.op("Mul", x, x)
    rows = ctx.reshape(squares, ctx.sizes(x, 0, 1), 1, ctx.sizes(x, 1, 2), -1)  # [N, C, H, W] -> [N, 1, C, H*W]
    pads = [size // 2, 0, (size - 1) // 2, 0]
    padded = ctx.op("Pad", rows, ctx.integers([0, 0, *pads[:2], 0, 0, *pads[2:]]))
    mean = ctx.op("AveragePool", padded, kernel_shape=[size, 1])
    return ctx.reshape(mean, ctx.sizes(x))
