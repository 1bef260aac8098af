"""A convolution over blocks of pixels gives what the one over pixels gives."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.passes.graphs import check_rewritten, graph_of, normal

from windfall.passes.convolution_over_blocks import ConvolutionOverBlocks

OVER_BLOCKS = ["SpaceToDepth", "Conv", "DepthToSpace"]


def conv(kernel=(9, 9), outputs=3, inputs=16, bias=True, **attributes):
    def build(g, x):
        weight = g.constant(normal(outputs, inputs, *kernel))
        return g.op("Conv", x, weight, g.constant(normal(outputs)) if bias else None, **attributes)

    return build


@settings(max_examples=15, deadline=None)
@given(
    st.sampled_from([(9, 9, 4), (7, 7, 2), (9, 13, 4), (7, 9, 2)]),
    st.integers(1, 4),
    st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(0, 1), st.integers(0, 2)),
    st.booleans(),
)
def test_numbers_stay(kernel, outputs: int, pads, bias: bool) -> None:
    height, width, block = kernel
    x = normal(2, 16, 4 * block + height - 1, 3 * block + width - 1, seed=1)
    x = x[:, :, : x.shape[2] // block * block, : x.shape[3] // block * block]
    build = conv((height, width), outputs, bias=bias, pads=[pad * block for pad in pads])
    check_rewritten(ConvolutionOverBlocks(), build, x, OVER_BLOCKS)


def test_to_one_channel_a_smaller_kernel_pays() -> None:
    check_rewritten(ConvolutionOverBlocks(), conv((5, 5), 1), normal(1, 16, 12, 16), OVER_BLOCKS)


@pytest.mark.parametrize(
    ("changes", "dims"),
    [
        ({}, (1, 16, 17, 16)),  # no block divides 17
        ({"pads": [1, 0, 0, 0]}, (1, 16, 16, 16)),
        ({"kernel": (8, 8)}, (1, 16, 16, 16)),
        ({"kernel": (5, 5)}, (1, 16, 16, 16)),
        ({"outputs": 5}, (1, 16, 16, 16)),
        ({"inputs": 15}, (1, 15, 16, 16)),
        ({"strides": [2, 2]}, (1, 16, 16, 16)),
        ({"dilations": [1, 1], "auto_pad": "SAME_UPPER"}, (1, 16, 16, 16)),
        ({"group": 2, "inputs": 16, "outputs": 4}, (1, 32, 16, 16)),
    ],
)
def test_what_does_not_divide_or_pay_stays(changes, dims) -> None:
    check_rewritten(ConvolutionOverBlocks(), conv(**changes), normal(*dims, seed=1), ["Conv"])


def test_unknown_sizes_stay() -> None:
    assert not ConvolutionOverBlocks()(graph_of(conv(), [1, 16, "H", 16])).modified
