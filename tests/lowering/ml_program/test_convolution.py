"""Convolution and its transpose, against PyTorch."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812  # PyTorch's own name for it
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import windfall
from tests.lowering.neural_network.strategies import few, random
from tests.programs import Input, Output, check_operator, run_operator

CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSES = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
COUNTS = st.integers(1, 3)
SMALL = st.integers(1, 3)


def padded(x: NDArray[np.float32], edges: Any) -> torch.Tensor:
    return torch.from_numpy(np.pad(x, [(0, 0), (0, 0), *edges]))


def same_edges(size: int, kernel: int, stride: int, dilation: int, lower: bool) -> tuple[int, int]:
    """TensorFlow's rule."""
    total = max(0, (-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size)
    return (total - total // 2, total // 2) if lower else (total // 2, total - total // 2)


def vectors(data: Any, count: int, *elements: Any) -> list[list[int]]:
    return [data.draw(st.lists(element, min_size=count, max_size=count)) for element in elements]


@few
@given(count=COUNTS, groups=SMALL, kind=st.sampled_from(["valid", "custom", None]), bias=st.booleans(), data=st.data())
def test_conv_is_pytorchs(count: int, groups: int, kind: str | None, bias: bool, data: st.DataObject) -> None:
    kernel, strides, dilations, before, after = vectors(data, count, SMALL, SMALL, SMALL, *[st.integers(0, 3)] * 2)
    edges = list(zip(before, after, strict=True)) if kind == "custom" else [(0, 0)] * count
    x, w = random(1, (2, 2 * groups, *[7, 9, 8][:count])), random(2, (3 * groups, 2, *kernel))
    b = random(3, [3 * groups]) if bias else None
    expected = CONVOLUTIONS[count](
        padded(x, edges), torch.from_numpy(w), None if b is None else torch.from_numpy(b), strides, 0, dilations, groups
    ).numpy()
    for wrap in (np.asarray, Input) if max(dilations) == 1 else (np.asarray,):
        check_operator(
            "conv",
            expected,
            x=Input(x),
            weight=wrap(w),
            bias=b if b is None else wrap(b),
            pad_type=kind,
            pad=np.ravel(edges),
            strides=np.array(strides),
            dilations=np.array(dilations),
            groups=groups,
            rtol=1e-4,
            atol=1e-4,
        )


@few
@given(count=COUNTS, lower=st.booleans(), data=st.data())
def test_conv_same(count: int, lower: bool, data: st.DataObject) -> None:
    kernel, strides, dilations, sizes = vectors(data, count, st.integers(1, 4), SMALL, SMALL, st.integers(5, 8))
    edges = [same_edges(*numbers, lower) for numbers in zip(sizes, kernel, strides, dilations, strict=True)]
    x, w = random(1, (1, 2, *sizes)), random(2, (3, 2, *kernel))
    expected = CONVOLUTIONS[count](padded(x, edges), torch.from_numpy(w), None, strides, 0, dilations).numpy()
    check_operator(
        "conv",
        expected,
        x=Input(x),
        weight=w,
        pad_type="same_lower" if lower else "same",
        strides=np.array(strides),
        dilations=np.array(dilations),
        rtol=1e-4,
        atol=1e-4,
    )


def test_conv_of_half_precision() -> None:
    x, w = random(1, (1, 2, 5, 5)).astype(np.float16), random(2, (3, 2, 3, 3)).astype(np.float16)
    expected = F.conv2d(torch.from_numpy(x).float(), torch.from_numpy(w).float()).numpy()
    # In float32, whatever the program declares.
    spec_type = Output(np.float16, expected.shape)
    (got,) = run_operator("conv", [spec_type], x=Input(x), weight=w)
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-3)


@few
@given(count=COUNTS, groups=SMALL, kind=st.sampled_from(["valid", "custom"]), bias=st.booleans(), data=st.data())
def test_conv_transpose_is_pytorchs(count: int, groups: int, kind: str, bias: bool, data: st.DataObject) -> None:
    kernel, strides, dilations, pad = vectors(data, count, SMALL, SMALL, SMALL, st.integers(0, 1))
    pad = pad if kind == "custom" else [0] * count
    x, w = random(1, (2, 2 * groups, *[4, 5, 6][:count])), random(2, (2 * groups, 3, *kernel))
    b = random(3, [3 * groups]) if bias else None
    bias_ = None if b is None else torch.from_numpy(b)
    expected = TRANSPOSES[count](
        torch.from_numpy(x), torch.from_numpy(w), bias_, strides, pad, 0, groups, dilations
    ).numpy()
    for wrap in (np.asarray, Input):
        check_operator(
            "conv_transpose",
            expected,
            x=Input(x),
            weight=wrap(w),
            bias=b if b is None else wrap(b),
            pad_type=kind,
            pad=np.repeat(pad, 2),
            strides=np.array(strides),
            dilations=np.array(dilations),
            groups=groups,
            rtol=1e-4,
            atol=1e-4,
        )


@few
@given(count=COUNTS, data=st.data())
def test_conv_transpose_same(count: int, data: st.DataObject) -> None:
    kernel, strides = vectors(data, count, st.integers(1, 4), SMALL)
    x, w = random(1, (1, 2, *[3, 5, 4][:count])), random(2, (2, 3, *kernel))
    whole = TRANSPOSES[count](torch.from_numpy(x), torch.from_numpy(w), None, strides, 0).numpy()
    # What is missing to size * stride is made of zeros.
    whole = np.pad(whole, [(0, 0), (0, 0), *[(0, max(0, s - k)) for s, k in zip(strides, kernel, strict=True)]])
    starts = [max(0, (k - s) // 2) for s, k in zip(strides, kernel, strict=True)]
    out = [size * stride for size, stride in zip(x.shape[2:], strides, strict=True)]
    expected = whole[(..., *[slice(start, start + size) for start, size in zip(starts, out, strict=True)])]
    fixed: dict[str, Any] = {"x": Input(x), "weight": w, "strides": np.array(strides), "rtol": 1e-4, "atol": 1e-4}
    check_operator("conv_transpose", expected, pad_type="same", **fixed)
    shape = np.array(expected.shape)
    for kind in ("same", "valid"):
        check_operator("conv_transpose", expected, pad_type=kind, output_shape=shape, symbolic=False, **fixed)


def test_a_padding_that_leads_to_the_output_shape_is_taken_as_it_is() -> None:
    x, w = random(1, (1, 2, 5)), random(2, (2, 3, 4))
    expected = F.conv_transpose1d(torch.from_numpy(x), torch.from_numpy(w), None, 2).numpy()[:, :, 2:]
    arguments = {"pad_type": "custom", "pad": np.array([2, 0]), "output_shape": np.array([1, 3, 10])}
    arguments["strides"] = np.array([2])
    check_operator("conv_transpose", expected, x=Input(x), weight=w, symbolic=False, rtol=1e-4, **arguments)


def error_of(operator: str, **arguments: Any) -> str:
    given = {"x": Input(random(1, (1, 4, 5, 5))), "weight": random(2, (6, 4, 3, 3))} | arguments
    with pytest.raises(windfall.FormatError) as error:
        run_operator(operator, [Output(np.float32, [None] * 4)], **given)
    return str(error.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": Input(random(1, (4, 5)))}, "x is of rank 2, must have rank 3 to 5, [n, C, *D]"),
        ({"weight": random(1, (6, 4, 3))}, "weight is of shape [6, 4, 3], must have the rank of x, 4"),
        ({"weight": random(1, (6, 2, 3, 3))}, "must have size 4 along axis 1 for 4 input channels in 1 groups"),
        ({"weight": random(1, (6, 4, 0, 3))}, "weight is of shape [6, 4, 0, 3], must have sizes of at least 1"),
        ({"groups": 3}, "groups is 3, must be a divisor of the 4 input channels"),
        ({"groups": 4, "weight": random(1, (6, 1, 3, 3))}, "groups is 4, must divide the 6 output channels"),
        ({"bias": random(1, [5])}, "bias is of shape [5], must be a vector of 6 output channels"),
        ({"strides": np.array([1])}, "strides is [1], must be 2 numbers of 1 to 2147483647"),
        ({"dilations": np.array([1, 0])}, "dilations is [1, 0], must be 2 numbers of 1 to 2147483647"),
        ({"pad_type": "full"}, "pad_type is 'full', must be valid, same, same_lower, custom"),
        ({"pad_type": "custom", "pad": np.array([1, 1])}, "pad is [1, 1], must be 4 numbers of 0 to 2147483647"),
        ({"dilations": np.array([3, 1])}, "weight is [3, 3], spans 7 along axis 2, must be at most the input's 5"),
        (
            {"pad_type": "same", "weight": Input(random(2, (6, 4, 3, 3)), [6, 4, None, 3])},
            "weight must have known sizes for pad_type same",
        ),
    ],
)
def test_conv_names_the_rule_that_is_broken(arguments: dict[str, Any], message: str) -> None:
    assert message in error_of("conv", **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weight": random(1, (6, 4, 3, 3))}, "must have size 4 along axis 0 for 4 input channels in 1 groups"),
        ({"pad_type": "same_lower"}, "pad_type is 'same_lower', must be valid, same, custom"),
        (
            {"pad_type": "custom", "pad": np.array([4, 3, 0, 0])},
            "pad is (4, 3), must leave at least 1 of the 7 entries along each axis",
        ),
        ({"output_shape": np.array([1, 5, 7])}, "output_shape is [1, 5, 7], must be 4 sizes, [n, C_out, *D_out]"),
        ({"output_shape": np.array([1, 5, 9, 7])}, "output_shape is [1, 5, 9, 7], must be 1 to 7 along axis 2"),
        (
            {"output_shape": np.array([1, 5, 7, 7]), "x": Input(random(1, (1, 4, 5, 5)), [1, 4, None, 5])},
            "output_shape needs an x whose size along axis 2 is known",
        ),
    ],
)
def test_conv_transpose_names_the_rule_that_is_broken(arguments: dict[str, Any], message: str) -> None:
    assert message in error_of("conv_transpose", **({"weight": random(2, (4, 5, 3, 3))} | arguments))
