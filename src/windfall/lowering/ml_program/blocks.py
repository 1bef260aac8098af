"""Blocks of pixels moved between the axes of space and those of channels or of the batch.

Source: ``depth_to_space``, ``space_to_depth``, ``pixel_shuffle``, ``pixel_unshuffle``, ``space_to_batch``,
``batch_to_space`` in ``tensor_transformation.py`` among coremltools' operator definitions.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from windfall.lowering.ml_program.context import Array, Ints, OperationContext, Value
from windfall.lowering.sections import AFTER


def lower_depth_to_space(ctx: OperationContext, x: Value, block_size: int) -> Value:
    """Fill blocks of pixels from channels that lie C / b² apart.

    Args:
        ctx: The operation and the graph being built.
        x: float [n, C, H, W].
        block_size: b, at least 1; its square divides C.

    Returns:
        [n, C / b², H * b, W * b].

    Raises:
        LoweringError: x has another rank, or ``block_size`` does not fit.
    """
    _check_channels(ctx, "block_size", x, block_size)
    return ctx.op("DepthToSpace", x, blocksize=block_size, mode="DCR")


def lower_pixel_shuffle(ctx: OperationContext, x: Value, upscale_factor: int) -> Value:
    """Fill blocks of pixels from adjacent channels, as torch.nn.PixelShuffle does.

    Args:
        ctx: The operation and the graph being built.
        x: float [n, C, H, W].
        upscale_factor: f, at least 1; its square divides C.

    Returns:
        [n, C / f², H * f, W * f].

    Raises:
        LoweringError: x has another rank, or ``upscale_factor`` does not fit.
    """
    _check_channels(ctx, "upscale_factor", x, upscale_factor)
    return ctx.op("DepthToSpace", x, blocksize=upscale_factor, mode="CRD")


def lower_space_to_depth(ctx: OperationContext, x: Value, block_size: int) -> Value:
    """Move the pixels of each block to channels that lie C apart; the inverse of ``lower_depth_to_space``.

    Args:
        ctx: The operation and the graph being built.
        x: float [n, C, H, W].
        block_size: b, at least 1; divides H and W.

    Returns:
        [n, C * b², H / b, W / b].

    Raises:
        LoweringError: x has another rank, or ``block_size`` does not fit.
    """
    _check_space(ctx, "block_size", x, (block_size, block_size))
    return ctx.op("SpaceToDepth", x, blocksize=block_size)


def lower_pixel_unshuffle(ctx: OperationContext, x: Value, downscale_factor: int) -> Value:
    """Move the pixels of each block to adjacent channels; the inverse of ``lower_pixel_shuffle``.

    Args:
        ctx: The operation and the graph being built.
        x: float [n, C, H, W].
        downscale_factor: f, at least 1; divides H and W.

    Returns:
        [n, C * f², H / f, W / f].

    Raises:
        LoweringError: x has another rank, or ``downscale_factor`` does not fit.
    """
    _check_space(ctx, "downscale_factor", x, (downscale_factor, downscale_factor))
    # One channel at a time, so that those of a block stay together.
    planes = ctx.reshape(x, -1, 1, ctx.sizes(x, 2))
    moved = ctx.op("SpaceToDepth", planes, blocksize=downscale_factor)
    channels = ctx.shape(x)[1]
    return ctx.reshape(
        moved,
        ctx.sizes(x, 0, 1) if channels is None else -1,
        -1 if channels is None else channels * downscale_factor**2,
        ctx.sizes(moved, 2),
    )


def lower_space_to_batch(ctx: OperationContext, x: Value, block_shape: Ints, paddings: Array) -> Value:
    """Put a border of zeros around the planes, and move the pixels of each block to the batch.

    Args:
        ctx: The operation and the graph being built.
        x: float [n, C, H, W].
        block_shape: [b0, b1], the height and width of a block.
        paddings: [2, 2], how many pixels to add before and after H, and W.

    Returns:
        [b0 * b1 * n, C, H' / b0, W' / b1], where H' and W' are the sizes with the border.

    Raises:
        LoweringError: x has another rank, or an argument does not fit.
    """
    edges = _edges(ctx, "paddings", paddings)
    if edges.any():
        _check_rank(ctx, x)
        x = ctx.op("Pad", x, ctx.integers(edges.T.reshape(-1)), None, ctx.integers([2, 3]))
    b0, b1 = _check_space(ctx, "block_shape", x, block_shape)
    x = _divided(ctx, x, 3, b1)  # [n, C, H, W] -> [n, C, H, w, b1]
    x = _divided(ctx, x, 2, b0)  # -> [n, C, h, b0, w, b1]
    x = ctx.op("Transpose", x, perm=[3, 5, 0, 1, 2, 4])
    return ctx.reshape(x, -1, ctx.sizes(x, 3))


def lower_batch_to_space(ctx: OperationContext, x: Value, block_shape: Ints, crops: Array) -> Value:
    """Fill blocks of pixels from the batch, and cut a border off; the inverse of ``lower_space_to_batch``.

    Args:
        ctx: The operation and the graph being built.
        x: float [n, C, H, W].
        block_shape: [b0, b1], the height and width of a block.
        crops: [2, 2], how many pixels to cut off before and after H, and W.

    Returns:
        [n / (b0 * b1), C, H * b0 - cut, W * b1 - cut].

    Raises:
        LoweringError: x has another rank, or an argument does not fit.
    """
    edges = _edges(ctx, "crops", crops)
    b0, b1 = _blocks(ctx, "block_shape", x, block_shape)
    count = ctx.shape(x)[0]
    if count is not None and count % (b0 * b1):
        raise ctx.error("block_shape", f"its product must divide the batch of {count}", value=[b0, b1])
    x = ctx.reshape(x, b0, b1, -1, ctx.sizes(x, 1))
    x = ctx.op("Transpose", x, perm=[2, 3, 4, 0, 5, 1])  # [b0, b1, n, C, h, w] -> [n, C, h, b0, w, b1]
    x = _joined(ctx, _joined(ctx, x, 2), 3)
    return _cropped(ctx, x, edges) if edges.any() else x


def _cropped(ctx: OperationContext, x: Value, edges: Array) -> Value:
    dims = ctx.shape(x)[2:]
    if any(dim is not None and sum(pair) > dim for dim, pair in zip(dims, edges.tolist(), strict=True)):
        raise ctx.error("crops", f"must be at most {list(dims)} along each axis", value=edges.tolist())
    ends = np.where(edges[:, 1] == 0, AFTER, -edges[:, 1])
    return ctx.op("Slice", x, ctx.integers(edges[:, 0]), ctx.integers(ends), ctx.integers([2, 3]))


def _divided(ctx: OperationContext, x: Value, axis: int, block: int) -> Value:
    """Return [.., size, ..] as [.., size / block, block, ..]."""
    return ctx.reshape(x, ctx.sizes(x, 0, axis), -1, block, ctx.sizes(x, axis + 1))


def _joined(ctx: OperationContext, x: Value, axis: int) -> Value:
    """Return [.., size, block, ..] as [.., size * block, ..]."""
    return ctx.reshape(x, ctx.sizes(x, 0, axis), -1, ctx.sizes(x, axis + 2))


def _edges(ctx: OperationContext, argument: str, edges: Array) -> Array:
    if edges.shape != (2, 2) or edges.dtype.kind not in "iu" or edges.min() < 0:
        raise ctx.error(argument, "must be two integers of at least 0 for H and two for W", value=edges.tolist())
    found: Array = edges.astype(np.int64)
    return found


def _check_rank(ctx: OperationContext, x: Value) -> None:
    if ctx.rank(x) != 4:
        raise ctx.error("x", "must have rank 4, [n, C, H, W]", value=f"of rank {ctx.rank(x)}")


def _blocks(ctx: OperationContext, argument: str, x: Value, blocks: Sequence[int]) -> tuple[int, int]:
    _check_rank(ctx, x)
    if len(blocks) != 2 or not all(1 <= block < 2**31 for block in blocks):
        raise ctx.error(argument, "must be at least 1 along H and W", value=list(blocks))
    return blocks[0], blocks[1]


def _check_space(ctx: OperationContext, argument: str, x: Value, blocks: Sequence[int]) -> tuple[int, int]:
    found = _blocks(ctx, argument, x, blocks)
    dims = ctx.shape(x)[2:]
    if any(dim is not None and dim % block for dim, block in zip(dims, found, strict=True)):
        raise ctx.error(argument, f"must divide the height and width, {list(dims)}", value=list(found))
    return found


def _check_channels(ctx: OperationContext, argument: str, x: Value, factor: int) -> None:
    _blocks(ctx, argument, x, (factor, factor))
    channels = ctx.shape(x)[1]
    if channels is not None and channels % factor**2:
        raise ctx.error(argument, f"its square must divide the number of channels, {channels}", value=factor)


LOWERINGS: Mapping[str, Callable[..., Any]] = {
    "depth_to_space": lower_depth_to_space,
    "space_to_depth": lower_space_to_depth,
    "pixel_shuffle": lower_pixel_shuffle,
    "pixel_unshuffle": lower_pixel_unshuffle,
    "space_to_batch": lower_space_to_batch,
    "batch_to_space": lower_batch_to_space,
}
