"""Blocks of pixels moved: against NumPy's reshape and transpose, after the formulas of PyTorch and TensorFlow."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import windfall
from tests.lowering.neural_network.strategies import few, random
from tests.programs import Input, Output, check_operator, run_operator


def shuffled(x: NDArray[Any], factor: int, adjacent: bool) -> NDArray[Any]:
    """Move channels into blocks: adjacent ones as torch.nn.PixelShuffle, else as tf.nn.depth_to_space."""
    n, c, h, w = x.shape
    if adjacent:
        parts = x.reshape(n, -1, factor, factor, h, w).transpose(0, 1, 4, 2, 5, 3)
    else:
        parts = x.reshape(n, factor, factor, -1, h, w).transpose(0, 3, 4, 1, 5, 2)
    return parts.reshape(n, c // factor**2, h * factor, w * factor)


@few
@given(n=st.integers(1, 2), c=st.integers(1, 2), h=st.integers(1, 2), w=st.integers(1, 3), factor=st.integers(1, 3))
def test_channels_become_blocks_and_blocks_channels(n: int, c: int, h: int, w: int, factor: int) -> None:
    x = random(1, (n, c * factor**2, h, w))
    for adjacent, there, back, argument in (
        (False, "depth_to_space", "space_to_depth", ("block_size", "block_size")),
        (True, "pixel_shuffle", "pixel_unshuffle", ("upscale_factor", "downscale_factor")),
    ):
        moved = shuffled(x, factor, adjacent)
        check_operator(there, moved, x=Input(x), **{argument[0]: factor})
        check_operator(back, x, x=Input(moved), **{argument[1]: np.uint32(factor) if adjacent else factor})


@few
@given(
    n=st.integers(1, 2), c=st.integers(1, 2), h=st.integers(1, 2), w=st.integers(1, 2),
    block=st.tuples(st.integers(1, 3), st.integers(1, 2)), crops=st.lists(st.integers(0, 1), min_size=4, max_size=4),
)  # fmt: skip
def test_the_batch_becomes_blocks_and_blocks_the_batch(
    n: int, c: int, h: int, w: int, block: tuple[int, int], crops: list[int]
) -> None:
    b0, b1 = block
    x = random(1, (b0 * b1 * n, c, h, w))
    parts = x.reshape(b0, b1, n, c, h, w).transpose(2, 3, 4, 0, 5, 1)
    full = parts.reshape(n, c, h * b0, w * b1)
    edges = np.array(crops).reshape(2, 2)
    edges[edges.sum(axis=1) >= full.shape[2:]] = 0
    (top, bottom), (left, right) = edges
    cropped = full[:, :, top : h * b0 - bottom, left : w * b1 - right]
    check_operator("batch_to_space", cropped, x=Input(x), block_shape=np.array(block), crops=edges)
    # The border that was cut off comes back as zeros.
    padded = np.pad(cropped, [(0, 0), (0, 0), *edges.tolist()])
    blocks = padded.reshape(n, c, h, b0, w, b1).transpose(3, 5, 0, 1, 2, 4).reshape(x.shape)
    check_operator("space_to_batch", blocks, x=Input(cropped), block_shape=np.array(block), paddings=edges)


@pytest.mark.parametrize(
    ("operator", "arguments", "message"),
    [
        ("depth_to_space", {"block_size": 0}, r"block_size is \[0, 0\], must be at least 1 along H and W"),
        ("depth_to_space", {"block_size": 2}, "block_size is 2, its square must divide the number of channels, 3"),
        (
            "pixel_shuffle",
            {"upscale_factor": 2},
            "upscale_factor is 2, its square must divide the number of channels, 3",
        ),
        ("space_to_depth", {"block_size": 2}, r"block_size is \[2, 2\], must divide the height and width, \[4, 5\]"),
        ("pixel_unshuffle", {"downscale_factor": 3}, r"downscale_factor is \[3, 3\], must divide the height and width"),
        (
            "space_to_batch",
            {"block_shape": [2, 2], "paddings": np.zeros(4, int)},
            r"paddings is \[0, 0, 0, 0\], must be two",
        ),
        (
            "space_to_batch",
            {"block_shape": [2, 2], "paddings": np.float32([[0, np.nan], [1, 1e38]])},
            r"paddings is \[\[0.0, nan\], .* must be two integers of at least 0 for H and two for W",
        ),
        (
            "space_to_batch",
            {"block_shape": [2], "paddings": np.zeros((2, 2), int)},
            r"block_shape is \[2\], must be at least 1",
        ),
        (
            "batch_to_space",
            {"block_shape": [2, 2], "crops": np.zeros((2, 2), int)},
            r"block_shape is \[2, 2\], its product must divide the batch of 1",
        ),
        (
            "batch_to_space",
            {"block_shape": [1, 1], "crops": np.array([[3, 2], [0, 0]])},
            r"crops is \[\[3, 2\], \[0, 0\]\], must be at most \[4, 5\] along each axis",
        ),
    ],
)
def test_what_does_not_fit_is_refused(operator: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(windfall.LoweringError, match=message):
        run_operator(operator, [Output(np.float32, [None] * 4)], x=Input(np.zeros((1, 3, 4, 5))), **arguments)


def test_images_have_four_axes() -> None:
    with pytest.raises(windfall.LoweringError, match=r"x is of rank 3, must have rank 4, \[n, C, H, W\]"):
        run_operator("pixel_shuffle", [Output(np.float32, [None] * 3)], x=Input(np.zeros((4, 2, 2))), upscale_factor=2)
