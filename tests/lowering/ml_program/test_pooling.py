"""Pooling, against PyTorch and against windows taken one by one."""

import itertools
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

OPERATORS = st.sampled_from(["max_pool", "avg_pool", "l2_pool"])
COUNTS = st.integers(1, 3)
KERNELS, STRIDES, SIZES = st.integers(1, 4), st.integers(1, 3), st.integers(4, 7)
REDUCTIONS = {
    "max_pool": lambda part, _: np.nanmax(part),
    "avg_pool": lambda _, counted: np.nanmean(counted),
    "l2_pool": lambda part, _: np.sqrt(np.nansum(part**2)),
}


def pooled(
    operator: str, x: NDArray[np.float32], kernel: Any, strides: Any, edges: Any, out: Any, exclude: bool = False
) -> NDArray[np.float32]:
    """Take the windows one by one; NaN is what no mean counts, as is all beyond ``edges``."""
    counted = np.pad(x.astype(np.float64), [(0, 0), (0, 0), *edges], constant_values=np.nan if exclude else 0)
    counted = np.pad(counted, [(0, 0), (0, 0), *[(0, 9)] * len(edges)], constant_values=np.nan)
    pixels = [(0, 0), (0, 0), *[(before, after + 9) for before, after in edges]]
    whole = np.pad(x.astype(np.float64), pixels, constant_values=np.nan)
    result = np.zeros((*x.shape[:2], *out))
    for place in np.ndindex(*result.shape):
        windows = [slice(i * s, i * s + k) for i, s, k in zip(place[2:], strides, kernel, strict=True)]
        cut = (*place[:2], *windows)
        result[place] = REDUCTIONS[operator](whole[cut], counted[cut])
    return result.astype(np.float32)


def vectors(data: Any, count: int, *elements: Any) -> list[list[int]]:
    return [data.draw(st.lists(element, min_size=count, max_size=count)) for element in elements]


def check(operator: str, expected: Any, x: Any, exclude: bool = False, **arguments: Any) -> None:
    flag = {"exclude_padding_from_average": exclude} if operator == "avg_pool" else {}
    given = {name: np.array(value) if isinstance(value, list) else value for name, value in arguments.items()}
    check_operator(operator, expected, x=Input(x), **flag, **given)


@few
@given(operator=OPERATORS, count=COUNTS, exclude=st.booleans(), data=st.data())
def test_custom_padding(operator: str, count: int, exclude: bool, data: st.DataObject) -> None:
    kernel, strides, sizes = vectors(data, count, KERNELS, STRIDES, SIZES)
    edges = [tuple(data.draw(st.integers(0, k - 1)) for _ in range(2)) for k in kernel]
    x = random(1, (1, 2, *sizes))
    out = [(n + sum(e) - k) // s + 1 for n, k, s, e in zip(sizes, kernel, strides, edges, strict=True)]
    expected = pooled(operator, x, kernel, strides, edges, out, exclude)
    pad = [amount for edge in edges for amount in edge]
    check(operator, expected, x, exclude, kernel_sizes=kernel, strides=strides, pad_type="custom", pad=pad)


@few
@given(operator=OPERATORS, count=COUNTS, exclude=st.booleans(), lower=st.booleans(), data=st.data())
def test_same_padding(operator: str, count: int, exclude: bool, lower: bool, data: st.DataObject) -> None:
    kernel, strides, sizes = vectors(data, count, KERNELS, STRIDES, SIZES)
    x = random(1, (1, 2, *sizes))
    out = [-(-n // s) for n, s in zip(sizes, strides, strict=True)]
    totals = [max(0, (o - 1) * s + k - n) for o, s, k, n in zip(out, strides, kernel, sizes, strict=True)]
    edges = [(total // 2, total - total // 2)[:: -1 if lower else 1] for total in totals]
    expected = pooled(operator, x, kernel, strides, edges, out, exclude)
    kind = "same_lower" if lower else "same"
    check(operator, expected, x, exclude, kernel_sizes=kernel, strides=strides, pad_type=kind)


@few
@given(operator=OPERATORS, count=st.integers(1, 2), exclude=st.booleans(), data=st.data())
def test_rounding_up(operator: str, count: int, exclude: bool, data: st.DataObject) -> None:
    kernel, sizes = vectors(data, count, KERNELS, SIZES)
    strides = [data.draw(st.integers(1, min(3, k))) for k in kernel]
    amounts = [data.draw(st.integers(0, k - 1)) for k in kernel]
    x = random(1, (1, 2, *sizes))
    numbers = list(zip(sizes, kernel, strides, amounts, strict=True))
    out = [-(-(n + 2 * p - k) // s) + 1 for n, k, s, p in numbers]
    # A window that begins behind the pixels is left out.
    out = [o - (p > 0 and (o - 1) * s >= n + p) for o, (n, _, s, p) in zip(out, numbers, strict=True)]
    expected = pooled(operator, x, kernel, strides, [(p, p) for p in amounts], out, exclude)
    arguments = {"kernel_sizes": np.array(kernel), "strides": np.array(strides), "pad": np.repeat(amounts, 2)}
    counts = operator == "l2_pool" or (operator == "avg_pool" and not exclude and any(amounts))
    known = counts and any(s > k - p for _, k, s, p in numbers)
    flag = {"exclude_padding_from_average": exclude} if operator == "avg_pool" else {}
    check_operator(
        operator, expected, x=Input(x), pad_type="custom", ceil_mode=True, symbolic=not known, **flag, **arguments
    )


@pytest.mark.parametrize(("exclude", "ceil", "padding"), list(itertools.product([False, True], [False, True], [0, 1])))
def test_average_is_pytorchs(exclude: bool, ceil: bool, padding: int) -> None:
    x = random(1, (2, 3, 8, 7))
    expected = F.avg_pool2d(torch.from_numpy(x), 3, 2, padding, ceil, not exclude).numpy()
    fixed = {"kernel_sizes": [3, 3], "strides": [2, 2], "pad": [padding] * 4}
    check("avg_pool", expected, x, exclude, pad_type="custom", ceil_mode=ceil, **fixed)


def test_more_padding_than_kernel_counts_as_zeros() -> None:
    x = random(1, (1, 1, 4))
    for operator in ("avg_pool", "l2_pool"):
        expected = pooled(operator, x, [2], [1], [(3, 2)], [8])
        check(operator, expected, x, kernel_sizes=[2], pad_type="custom", pad=[3, 2])


def test_valid_padding_takes_no_pad_and_any_case() -> None:
    x = random(1, (1, 1, 4))
    expected = pooled("max_pool", x, [2], [1], [(0, 0)], [3])
    check("max_pool", expected, x, kernel_sizes=[2], pad_type="VALID", pad=[1, 1])


@pytest.mark.parametrize(
    ("operator", "arguments", "message"),
    [
        ("max_pool", {"x": Input(random(1, (2, 3)))}, "x is of rank 2, must have rank 3 to 5, [n, C, *D]"),
        ("max_pool", {"kernel_sizes": np.array([3])}, "kernel_sizes is [3], must be 2 numbers of 1 to 2147483647"),
        ("l2_pool", {"strides": np.array([0, 1])}, "strides is [0, 1], must be 2 numbers of 1 to 2147483647"),
        ("avg_pool", {"pad_type": "none"}, "pad_type is 'none', must be valid, same, same_lower, custom"),
        ("avg_pool", {"kernel_sizes": np.array([6, 1])}, "kernel_sizes is [6, 1], spans 6 along axis 2, must be at"),
        (
            "avg_pool",
            {"pad_type": "same", "ceil_mode": True},
            "ceil_mode is True, must be false where pad_type is same",
        ),
        (
            "avg_pool",
            {"pad_type": "custom", "pad": np.array([0, 1, 0, 0]), "ceil_mode": True},
            "must be the same before and after an axis where ceil_mode is true",
        ),
        (
            "max_pool",
            {"pad_type": "custom", "pad": np.array([3, 0, 0, 0])},
            "kernel_sizes is [3, 3], must be larger than the padding [3, 0, 0, 0]: padding alone has no maximum",
        ),
        (
            "max_pool",
            {"kernel_sizes": np.array([1, 1]), "strides": np.array([3, 1]), "ceil_mode": True},
            "strides is [3, 1], leave the last window without an entry, must be at most kernel_sizes where ceil_mode",
        ),
        (
            "l2_pool",
            {
                "x": Input(random(1, (1, 1, 5, 5)), [1, 1, None, 5]),
                "pad_type": "custom",
                "pad": np.array([1, 1, 0, 0]),
                "strides": np.array([3, 1]),
                "ceil_mode": True,
            },
            "ceil_mode needs an x whose sizes are known, or strides of at most kernel_sizes less the padding",
        ),
    ],
)
def test_the_rule_that_is_broken(operator: str, arguments: dict[str, Any], message: str) -> None:
    given = {"x": Input(random(1, (1, 1, 5, 5))), "kernel_sizes": np.array([3, 3]), "pad_type": "valid"} | arguments
    with pytest.raises(windfall.FormatError) as error:
        run_operator(operator, [Output(np.float32, [None] * 4)], **given)
    assert message in str(error.value)
