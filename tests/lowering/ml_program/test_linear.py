"""Products of matrices, against NumPy; the shapes are those of the definitions' examples."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import windfall
from tests.lowering.neural_network.strategies import few, random
from tests.programs import Input, Output, check_operator, run_operator


def whole(seed: int, dims: Any) -> Any:
    return random(seed, dims, -9, 9).astype(np.int32)


@pytest.mark.parametrize("dims", [(4,), (3, 4), (2, 3, 4), (2, 1, 3, 4)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("make", [random, whole])
def test_linear(dims: tuple[int, ...], bias: bool, make: Any) -> None:
    x, w, b = make(1, dims), make(2, (5, 4)), make(3, [5])
    expected = x @ w.T + (b if bias else 0)
    check_operator("linear", expected, x=Input(x), weight=w, bias=b if bias else None, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("weight_type", [np.float16, np.float32, np.int32])
@pytest.mark.parametrize("x_type", [np.float32, np.int32])
def test_linear_of_two_types(x_type: Any, weight_type: Any) -> None:
    x, w, b = whole(1, (2, 3)).astype(x_type), whole(2, (4, 3)).astype(weight_type), whole(3, [4]).astype(weight_type)
    expected = (x.astype(np.int32) @ w.astype(np.int32).T + b.astype(np.int32)).astype(x_type)
    check_operator("linear", expected, x=Input(x), weight=w, bias=b)


MATRICES = [
    ((10, 4, 3), (5, 10, 3, 2)),
    ((4, 3), (3, 2)),
    ((4,), (10, 4, 3)),
    ((10, 3, 4), (4,)),
    ((3,), (3,)),
    ((2, 1, 3, 4), (5, 4, 2)),
]


@pytest.mark.parametrize(("one", "other"), MATRICES)
@pytest.mark.parametrize("make", [random, whole])
def test_matmul_broadcasts_as_numpy_does(one: tuple[int, ...], other: tuple[int, ...], make: Any) -> None:
    x, y = make(1, one), make(2, other)
    for fixed in ({"x": Input(x), "y": Input(y)}, {"x": Input(x), "y": y}, {"x": x, "y": Input(y)}):
        check_operator("matmul", x @ y, rtol=1e-4, atol=1e-4, **fixed)


@few
@given(batch=st.lists(st.integers(1, 3), max_size=2), sizes=st.tuples(*[st.integers(1, 4)] * 3), over_x=st.booleans(),
       over_y=st.booleans())  # fmt: skip
def test_matmul_of_transposed(batch: list[int], sizes: tuple[int, int, int], over_x: bool, over_y: bool) -> None:
    m, k, n = sizes
    x, y = random(1, (*batch, m, k)), random(2, (*batch[:1], k, n)) if len(batch) < 2 else random(2, (k, n))
    given = [np.swapaxes(a, -1, -2) if over else a for a, over in ((x, over_x), (y, over_y))]
    arrays = [np.ascontiguousarray(a) for a in given]
    flags = {"transpose_x": over_x, "transpose_y": over_y}
    check_operator("matmul", x @ y, x=Input(arrays[0]), y=Input(arrays[1]), rtol=1e-4, atol=1e-5, **flags)


def test_matmul_takes_the_type_of_what_is_not_constant() -> None:
    x, y = whole(1, (2, 3)), whole(2, (3, 4)).astype(np.float32)
    check_operator("matmul", (x @ y.astype(np.int32)), x=Input(x), y=y)
    check_operator("matmul", (x.astype(np.float32) @ y), x=x, y=Input(y))


@pytest.mark.parametrize(
    ("equation", "one", "other"),
    [
        ("nchw,nwhu->nchu", (2, 3, 4, 5), (2, 5, 4, 6)),
        ("abcd,adce->abce", (1, 3, 4, 5), (2, 5, 1, 6)),
        ("nchw, nwhu -> nchu", (2, 3, 1, 5), (1, 5, 4, 6)),
        ("chw,whr->chr", (3, 4, 5), (5, 4, 6)),
        ("chw,whr->chr", (3, 1, 5), (5, 4, 6)),
    ],
)
def test_einsum(equation: str, one: tuple[int, ...], other: tuple[int, ...]) -> None:
    x, y = random(1, one), random(2, other)
    # NumPy's einsum takes sizes of 1 as they are for any letter.
    expected = np.einsum(equation, x, y)
    check_operator("einsum", expected, values=[Input(x), Input(y)], equation=equation, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("operator", "arguments", "message"),
    [
        (
            "linear",
            {"x": Input(random(1, (2, 3))), "weight": random(2, (4, 5))},
            "weight is of shape [4, 5], must be a matrix of as many columns as the last axis of x, [2, 3], has entries",
        ),
        (
            "linear",
            {"x": Input(random(1, (2, 3))), "weight": random(2, (4, 3)), "bias": random(3, [3])},
            "bias is of shape [3], must be a vector of 4",
        ),
        (
            "linear",
            {"x": Input(whole(1, (2, 3))), "weight": random(2, (4, 3))},
            "weight must be known whole numbers where the other factor is of whole numbers",
        ),
        (
            "matmul",
            {"x": Input(random(1, [3])), "y": random(2, (3, 4)), "transpose_x": True},
            "x is of rank 1, must have rank 2 or more where transpose_x is true",
        ),
        ("matmul", {"x": Input(random(1, (2, 3))), "y": random(2, (4, 5))}, "arguments do not fit the operator"),
        (
            "einsum",
            {"values": [Input(random(1, (2, 3, 4))), Input(random(2, (4, 3, 5)))], "equation": "ij,jk->ik"},
            "equation is 'ij,jk->ik', must be abc,cbd->abd or abcd,adce->abce but for the letters",
        ),
        (
            "einsum",
            {"values": [Input(random(1, (2, 3, 4))), Input(random(2, (4, 3, 5)))], "equation": "nchw,nwhu->nchu"},
            "values is of ranks 3 and 3, must have rank 4",
        ),
        (
            "einsum",
            {"values": [Input(random(1, (2, 3, 4)))], "equation": "nchw,nwhu->nchu"},
            "values is 1, must be 2 tensors",
        ),
    ],
)
def test_the_rule_that_is_broken(operator: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(windfall.FormatError) as error:
        run_operator(operator, [Output(np.float32, [None, None])], **arguments)
    assert message in str(error.value)


def test_a_wrong_size_known_only_at_run_time_makes_the_prediction_fail() -> None:
    x = Input(random(1, (2, 6)), [None, None])
    with pytest.raises(windfall.EngineError):
        run_operator("linear", [Output(np.float32, [None, 4])], x=x, weight=random(2, (4, 3)))
