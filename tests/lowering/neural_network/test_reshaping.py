"""Reshapes, permutations and rearrangements against NumPy and the examples of NeuralNetwork.proto."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.lowering.neural_network.strategies import few, random, seeds, tensors
from tests.support import run_layer
from windfall.errors import LoweringError

sizes = st.integers(1, 3)


@few
@given(x=tensors(), last=st.booleans())
def test_flatten(x: NDArray[Any], last: bool) -> None:
    y = run_layer("flatten", x, mode="CHANNEL_LAST" if last else "CHANNEL_FIRST")
    rows = np.moveaxis(x, -3, -1) if last else x
    np.testing.assert_array_equal(y, rows.reshape(*x.shape[:-3], -1, 1, 1))


def reshaped(x: NDArray[Any], target: list[int], last: bool) -> NDArray[Any]:
    """Reshape each element of the batch as the proto describes it."""
    elements = []
    for element in np.moveaxis(x, 1, 0):  # [Seq, C, H, W]
        flat = np.moveaxis(element, -3, -1) if last else element
        *seq, channels, height, width = [*([len(x)] if len(target) == 3 else []), *target]
        inner = [height, width, channels] if last else [channels, height, width]
        result = flat.reshape(*seq, *inner)
        elements.append(np.moveaxis(result, -1, -3) if last else result)
    return np.stack(elements, axis=1)


@few
@given(dims=st.lists(sizes, min_size=5, max_size=5), order=st.permutations(range(4)), data=st.data(), seed=seeds)
def test_reshape(dims: list[int], order: list[int], data: Any, seed: int) -> None:
    x = random(seed, dims)
    last, keep_sequence = data.draw(st.booleans()), data.draw(st.booleans())
    factors = [dims[0], *dims[2:]]
    # Every order of the same factors is a valid target; with three sizes the sequence stays out of it.
    target = [dims[2:][i - 1] for i in order if i] if keep_sequence else [factors[i] for i in order]
    y = run_layer("reshape", x, targetShape=target, mode="CHANNEL_LAST" if last else "CHANNEL_FIRST")
    np.testing.assert_array_equal(y, reshaped(x, target, last))


def test_reshape_to_another_sequence_keeps_the_elements_of_the_batch_apart() -> None:
    x = np.arange(8, dtype=np.float32).reshape(4, 2, 1, 1, 1)
    y = run_layer("reshape", x, rank5=True, targetShape=[2, 2, 1, 1])
    np.testing.assert_array_equal(y[:, 0].ravel(), [0, 2, 4, 6])
    np.testing.assert_array_equal(y[:, 1].ravel(), [1, 3, 5, 7])


@pytest.mark.parametrize(
    ("dims", "target", "message"),
    [
        ((1, 2, 2), [4, 1, 1], r"input has rank 3, must have rank 5, \[Seq, Batch, C, H, W\]"),
        ((1, 1, 1, 2, 2), [4], r"targetShape is \[4\], must be \[C, H, W\] or \[Seq, C, H, W\], all of them positive"),
        ((1, 1, 1, 2, 2), [-1, 1, 1], r"targetShape is \[-1, 1, 1\], must be .* all of them positive"),
        (
            (1, 1, 1, 2, 2),
            [3, 1, 1],
            r"targetShape is \[3, 1, 1\], must have as many values as the input's \[1, 2, 2\]",
        ),
        ((3, 1, 1, 2, 2), [2, 2, 2, 2], r"targetShape is .* must have as many values as the input's \[3, 1, 2, 2\]"),
    ],
)
def test_a_reshape_that_does_not_fit_is_refused(dims: tuple[int, ...], target: list[int], message: str) -> None:
    with pytest.raises(LoweringError, match=message):
        run_layer("reshape", np.ones(dims), targetShape=target)


@few
@given(dims=st.lists(sizes, min_size=5, max_size=5), order=st.permutations(range(4)), seed=seeds)
def test_permute_reorders_all_but_the_batch(dims: list[int], order: list[int], seed: int) -> None:
    x = random(seed, dims)
    elements = [element.transpose(order) for element in np.moveaxis(x, 1, 0)]
    np.testing.assert_array_equal(run_layer("permute", x, axis=order), np.stack(elements, axis=1))


@pytest.mark.parametrize(
    ("axis", "expected"),
    [
        ([0, 3, 1, 2], (2, 3, 6, 4, 5)),  # [Seq, B, W, C, H]
        ([3, 1, 2, 0], (6, 3, 4, 5, 2)),  # [W, B, C, H, Seq]
        ([0, 3, 2, 1], (2, 3, 6, 5, 4)),  # [Seq, B, W, H, C]
        ([], (2, 3, 4, 5, 6)),
    ],
)
def test_permute_gives_the_shapes_of_the_spec_examples(axis: list[int], expected: tuple[int, ...]) -> None:
    assert run_layer("permute", np.ones((2, 3, 4, 5, 6)), rank5=True, axis=axis).shape == expected


@pytest.mark.parametrize(
    ("dims", "axis", "message"),
    [
        ((1, 2, 2), [0, 1, 2, 3], r"input has rank 3, must have rank 5, \[Seq, Batch, C, H, W\]"),
        ((1, 1, 1, 2, 2), [0, 1, 2], r"axis is \[0, 1, 2\], must be a permutation of \[0, 1, 2, 3\]"),
        ((1, 1, 1, 2, 2), [0, 1, 2, 2], r"axis is \[0, 1, 2, 2\], must be a permutation of \[0, 1, 2, 3\]"),
    ],
)
def test_an_axis_that_is_no_permutation_is_refused(dims: tuple[int, ...], axis: list[int], message: str) -> None:
    with pytest.raises(LoweringError, match=message):
        run_layer("permute", np.ones(dims), axis=axis)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("DEPTH_TO_SPACE", [[[1, 5, 2, 6], [9, 13, 10, 14]], [[3, 7, 4, 8], [11, 15, 12, 16]]]),
        ("PIXEL_SHUFFLE", [[[1, 3, 2, 4], [5, 7, 6, 8]], [[9, 11, 10, 12], [13, 15, 14, 16]]]),
    ],
)
def test_reorganize_data_matches_the_spec_example(mode: str, expected: list[list[list[int]]]) -> None:
    x = np.arange(1, 17, dtype=np.float32).reshape(8, 1, 2)
    np.testing.assert_array_equal(run_layer("reorganizeData", x, mode=mode, blockSize=2), expected)
    if mode == "DEPTH_TO_SPACE":
        back = run_layer("reorganizeData", expected, mode="SPACE_TO_DEPTH", blockSize=2)
        np.testing.assert_array_equal(back, x)


@few
@given(x=tensors(), block=st.integers(2, 3), seed=seeds)
def test_pixel_shuffle_agrees_with_pytorch(x: NDArray[Any], block: int, seed: int) -> None:
    x = random(seed, (*x.shape[:-3], x.shape[-3] * block**2, *x.shape[-2:]))
    y = run_layer("reorganizeData", x, mode="PIXEL_SHUFFLE", blockSize=block)
    np.testing.assert_array_equal(y, torch.nn.functional.pixel_shuffle(torch.tensor(x), block).numpy())


@few
@given(x=tensors(), block=st.integers(2, 3), seed=seeds)
def test_depth_to_space_undoes_space_to_depth(x: NDArray[Any], block: int, seed: int) -> None:
    *lead, height, width = x.shape
    x = random(seed, (*lead, height * block, width * block))
    depth = run_layer("reorganizeData", x, mode="SPACE_TO_DEPTH", blockSize=block)
    assert depth.shape == (*lead[:-1], lead[-1] * block**2, height, width)
    np.testing.assert_array_equal(run_layer("reorganizeData", depth, mode="DEPTH_TO_SPACE", blockSize=block), x)


@pytest.mark.parametrize(
    ("dims", "mode", "block", "message"),
    [
        ((4, 2, 2), "SPACE_TO_DEPTH", 1, "blockSize is 1, must be at least 2"),
        ((4, 2, 3), "SPACE_TO_DEPTH", 2, "blockSize is 2, must divide the input's height and width, 2 and 3"),
        ((6, 2, 2), "PIXEL_SHUFFLE", 2, "blockSize is 2, its square must divide the input's number of channels, 6"),
    ],
)
def test_blocks_that_do_not_come_out_even_are_refused(
    dims: tuple[int, ...], mode: str, block: int, message: str
) -> None:
    with pytest.raises(LoweringError, match=message):
        run_layer("reorganizeData", np.ones(dims), mode=mode, blockSize=block)


@few
@given(x=tensors(least_rank=5), repeats=st.integers(0, 3))
def test_sequence_repeat(x: NDArray[Any], repeats: int) -> None:
    y = run_layer("sequenceRepeat", x, nRepetitions=repeats)
    # 0 repetitions stand for 1.
    np.testing.assert_array_equal(y, np.tile(x, (repeats or 1, 1, 1, 1, 1)))


def test_sequence_repeat_needs_a_sequence() -> None:
    with pytest.raises(LoweringError, match="input has rank 4, must have rank 5 or more"):
        run_layer("sequenceRepeat", np.ones((1, 1, 1, 1)), nRepetitions=2)
