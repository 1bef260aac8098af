"""Parts of tensors of any rank, and axes in reverse, against NumPy and the specification's examples."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import windfall
from tests.lowering.neural_network.strategies import few, random, tensors
from tests.lowering.neural_network.symbolic import run_symbolic
from tests.support import run_layer
from windfall.errors import EngineError

NAMES = ("beginIds", "endIds", "strides", "beginMasks", "endMasks", "squeezeMasks")
EXAMPLE: dict[str, list[Any]] = {
    "beginIds": [1, 2, 3],
    "beginMasks": [True, False, True],
    "endIds": [3, -3, 2],
    "endMasks": [False, True, True],
    "strides": [2, 2, 2],
}


def sliced(x: NDArray[Any], fields: dict[str, list[Any]]) -> NDArray[Any]:
    """Index as NumPy does with the fields' numbers."""
    squeeze = fields.get("squeezeMasks") or [False] * x.ndim
    index = [
        begin if drop else slice(None if no_begin else begin, None if no_end else end, stride)
        for begin, end, stride, no_begin, no_end, drop in zip(
            *(fields[name] for name in NAMES[:-1]), squeeze, strict=True
        )
    ]
    result = x[tuple(index)]
    return result if result.ndim else result.reshape(1)


@st.composite
def sections(draw: Any) -> tuple[NDArray[Any], dict[str, list[Any]]]:
    """Return a tensor and the fields of a slice of it that is not empty."""
    x = draw(tensors(least_rank=1, most_rank=4))
    rows = []
    for size in x.shape:
        stride = draw(st.sampled_from([-3, -1, 1, 2]))
        masks = [draw(st.booleans()) for _ in range(3)]
        begin, end = draw(
            st.tuples(st.integers(-size, size - 1), st.integers(-size - 1, size)).filter(
                lambda ids, size=size, stride=stride, masks=masks: range(size)[  # type: ignore[misc]
                    slice(None if masks[0] else ids[0], None if masks[1] else ids[1], stride)
                ]
            )
        )
        rows.append((begin, end, stride, *masks))
    return x, {name: list(column) for name, column in zip(NAMES, zip(*rows, strict=True), strict=True)}


@few
@given(section=sections())
def test_a_stored_section_is_numpys(section: tuple[NDArray[Any], dict[str, list[Any]]]) -> None:
    x, fields = section
    np.testing.assert_array_equal(run_layer("sliceStatic", x, **fields), sliced(x, fields))
    np.testing.assert_array_equal(run_symbolic("sliceStatic", x, **fields), sliced(x, fields))


@few
@given(section=sections(), count=st.integers(1, 5))
def test_a_section_from_inputs_is_numpys(section: tuple[NDArray[Any], dict[str, list[Any]]], count: int) -> None:
    x, fields = section
    inputs = [fields[name] for name in NAMES[:count]]
    # What inputs hold does not count in the parameters; those may be longer than the rank.
    stored = {name: [0] * 5 if name in NAMES[:count] else [*values, 1] for name, values in fields.items()}
    del stored["beginIds"]
    np.testing.assert_array_equal(run_layer("sliceDynamic", x, *inputs, **stored), sliced(x, fields))


@pytest.mark.parametrize(("squeeze", "dims"), [([False] * 3, (2, 2, 3)), ([False, True, False], (2, 3))])
def test_slices_of_the_example(squeeze: list[bool], dims: tuple[int, ...]) -> None:
    x = random(0, (5, 5, 5))
    result = run_layer("sliceStatic", x, **EXAMPLE, squeezeMasks=squeeze)
    assert result.shape == dims
    np.testing.assert_array_equal(result, x[:3:2, 2, ::2] if squeeze[1] else x[:3:2, 2::2, ::2])


@pytest.mark.parametrize("begin", [[0, 0], [-1, -1], [1, -2]])
def test_what_is_squeezed_to_a_number_keeps_an_axis(begin: list[int]) -> None:
    x, zeros = random(0, (2, 3)), [0, 0]
    masks = {"beginMasks": zeros, "endMasks": zeros, "squeezeMasks": [1, 1]}
    result = run_layer("sliceStatic", x, beginIds=begin, endIds=zeros, strides=[-1, 1], **masks)
    np.testing.assert_array_equal(result, [x[tuple(begin)]])
    result = run_layer("sliceDynamic", x, begin, endIds=zeros, strides=[-1, 1], squeezeMasks=[1, 1])
    np.testing.assert_array_equal(result, [x[tuple(begin)]])


@few
@given(x=tensors(least_rank=1), data=st.data())
def test_a_part_of_a_size_is_numpys(x: NDArray[Any], data: st.DataObject) -> None:
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    begin = data.draw(st.integers(0, x.shape[axis] - 1))
    size = data.draw(st.integers(1, x.shape[axis] - begin))
    expected = np.take(x, range(begin, begin + size), axis)
    np.testing.assert_array_equal(run_layer("sliceBySize", x, [begin], axis=axis, size=size), expected)
    from_end = [begin - x.shape[axis]]
    np.testing.assert_array_equal(run_layer("sliceBySize", x, from_end, axis=axis, size=size), expected)


@pytest.mark.parametrize("begin", [2, -1, -4])
def test_a_part_that_leaves_the_axis_fails(begin: int) -> None:
    with pytest.raises(EngineError, match="out of data bounds"):
        run_layer("sliceBySize", np.ones(3), [begin], size=2)


@few
@given(x=tensors(least_rank=1), data=st.data())
def test_reverse_is_numpys(x: NDArray[Any], data: st.DataObject) -> None:
    dims = data.draw(st.lists(st.booleans(), min_size=x.ndim, max_size=x.ndim))
    expected = np.flip(x, [axis for axis, reverse in enumerate(dims) if reverse])
    np.testing.assert_array_equal(run_layer("reverse", x, reverseDim=dims), expected)
    np.testing.assert_array_equal(torch.flip(torch.tensor(x), [i for i, r in enumerate(dims) if r]), expected)


@pytest.mark.parametrize(
    ("x", "lengths", "expected"),
    [
        ([[0, 1, 2, 3], [4, 5, 6, 7]], [3, 0], [[2, 1, 0, 3], [4, 5, 6, 7]]),
        (
            np.arange(12).reshape(2, 3, 2),
            [2, 3],
            [[[2, 3], [0, 1], [4, 5]], [[10, 11], [8, 9], [6, 7]]],
        ),
    ],
)
def test_sequences_of_the_examples(x: Any, lengths: list[int], expected: Any) -> None:
    np.testing.assert_array_equal(run_layer("reverseSeq", x, lengths, batchAxis=0, sequenceAxis=1), expected)


@few
@given(x=tensors(least_rank=2), data=st.data())
def test_the_start_of_each_sequence_is_reversed(x: NDArray[Any], data: st.DataObject) -> None:
    batch = data.draw(st.integers(0, x.ndim - 2))
    sequence = data.draw(st.integers(batch + 1, x.ndim - 1))
    most = x.shape[sequence]
    lengths = data.draw(st.lists(st.integers(0, most), min_size=x.shape[batch], max_size=x.shape[batch]))
    expected = x.copy()
    for row, length in enumerate(lengths):
        one = np.moveaxis(expected, (batch, sequence), (0, 1))[row]
        one[:length] = one[:length][::-1].copy()
    fields = {"batchAxis": batch - x.ndim, "sequenceAxis": sequence}
    np.testing.assert_array_equal(run_layer("reverseSeq", x, lengths, **fields), expected)
    np.testing.assert_array_equal(run_symbolic("reverseSeq", x, np.array(lengths), **fields), expected)


@pytest.mark.parametrize(
    ("layer_type", "inputs", "fields", "message"),
    [
        ("sliceStatic", [(5,) * 3], EXAMPLE | {"endIds": [1]}, r"endIds is \[1\], must be 3 values for an input of"),
        ("sliceStatic", [(5,) * 3], EXAMPLE | {"strides": [0, 1, 1], "beginMasks": []}, "strides is .* must not be 0"),
        (
            "sliceStatic",
            [(5,) * 3],
            EXAMPLE | {"beginIds": [0, 5, 0]},
            "beginIds and endIds take nothing of axis 1, which has size 5",
        ),
        (
            "sliceStatic",
            [(5,) * 3],
            EXAMPLE | {"beginIds": [5, 0, 0], "squeezeMasks": [True, False, False]},
            "beginIds and endIds take nothing of axis 0, which has size 5",
        ),
        ("sliceDynamic", [(5,), (1,)], {"endIds": []}, r"endIds is \[\], must be 1 values for an input of rank 1"),
        ("sliceDynamic", [(5,), (2,)], {}, r"input for beginIds has shape \[2\], must be a vector of 1"),
        ("sliceDynamic", [(5,)] + [(1,)] * 6, {}, "squeezeMasks must be known when the model is loaded"),
        ("sliceBySize", [(5,), (1,)], {"size": 6}, "size is 6, must be 1 to 5 along axis 0"),
        ("sliceBySize", [(5,), (2,)], {"size": 1}, r"input for begin has shape \[2\], must be a vector of 1"),
        ("reverse", [(5,)], {"reverseDim": [True] * 2}, "reverseDim is .*, must be 1 values for an input of rank 1"),
        ("reverseSeq", [(2, 3), (3,)], {"batchAxis": 1}, "batchAxis is 1, must be before sequenceAxis, which is 0"),
        ("reverseSeq", [(2, 3), (2,)], {}, r"batchAxis and sequenceAxis is \[0, 0\], must name each axis once"),
    ],
)
def test_what_does_not_fit_is_refused(
    layer_type: str, inputs: list[tuple[int, ...]], fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(windfall.LoweringError, match=message):
        run_layer(layer_type, *map(np.ones, inputs), **fields)
