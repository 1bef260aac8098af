"""Attention, against PyTorch."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812  # PyTorch's own name for it
from hypothesis import given
from hypothesis import strategies as st

import windfall
from tests.lowering.neural_network.strategies import few, random
from tests.programs import Input, Output, check_operator, run_operator

OPERATOR = "scaled_dot_product_attention"


def attention(*arrays: Any) -> Any:
    return F.scaled_dot_product_attention(*(torch.from_numpy(np.atleast_2d(a)) for a in arrays)).numpy()


def inputs(batch: Any = (2, 3), length: int = 5, source: int = 7) -> tuple[Any, Any, Any]:
    dims = [(*batch, length, 4), (*batch, source, 4), (*batch, source, 6)]
    query, key, value = (random(seed, dim) for seed, dim in enumerate(dims))
    return query, key, value


def check(query: Any, key: Any, value: Any, mask: Any = None, *, constant: bool = False) -> None:
    arrays = (query, key, value) if mask is None else (query, key, value, mask)
    given = {"query": Input(query), "key": Input(key), "value": Input(value)}
    if mask is not None:
        given["attn_mask"] = mask if constant else Input(mask)
    check_operator(OPERATOR, attention(*arrays), rtol=1e-4, atol=1e-5, **given)


@few
@given(batch=st.lists(st.integers(1, 3), min_size=1, max_size=3), kind=st.sampled_from([None, "bool", "float"]),
       constant=st.booleans(), data=st.data())  # fmt: skip
def test_masks_of_all_shapes(batch: list[int], kind: str | None, constant: bool, data: st.DataObject) -> None:
    if kind is None:
        return check(*inputs(batch))
    full = [*batch, 5, 7]
    dims = [data.draw(st.sampled_from([1, size])) for size in full[:-1]] + [7]
    mask: Any = random(9, dims[data.draw(st.integers(0, len(dims) - 1)) :])
    mask = mask > -2 if kind == "bool" else np.where(mask > 2, -np.inf, mask).astype(np.float32)
    return check(*inputs(batch), mask, constant=constant)


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("kind", ["bool", "float"])
def test_a_query_that_sees_nothing_gets_zeros(kind: str, constant: bool) -> None:
    mask: Any = np.tri(5, 7, -1, dtype=bool)
    mask = mask if kind == "bool" else np.where(mask, np.float32(0), np.float32(-np.inf))
    check(*inputs(), mask, constant=constant)


def test_large_scores_do_not_overflow() -> None:
    query, key, value = inputs()
    check(query * 1e3, key * 1e3, value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"query": random(1, (5, 4))}, "query is of rank 2, key of 4 and value of 4, must all have the same rank of 3"),
        ({"key": random(1, (2, 3, 7, 5))}, "key is of size 5 there, must fit the others in E, which is 4"),
        ({"value": random(1, (2, 3, 6, 6))}, "value is of size 6 there, must fit the others in S, which is 7"),
        ({"value": random(1, (2, 1, 7, 6))}, "value is of size 1 there, must fit the others in batch, which is 3"),
        ({"attn_mask": random(1, (2, 7))}, "attn_mask is of size 2 there, must fit the others in [*batch, L, S]"),
        ({"attn_mask": random(1, (1, 1, 1, 1, 7))}, "attn_mask is of rank 5, must have rank 1 to 4"),
    ],
)
def test_the_rule_that_is_broken(arguments: dict[str, Any], message: str) -> None:
    given = dict(zip(("query", "key", "value"), inputs(), strict=True)) | arguments
    with pytest.raises(windfall.FormatError) as error:
        run_operator(OPERATOR, [Output(np.float32, [None] * 4)], **{name: Input(a) for name, a in given.items()})
    assert message in str(error.value)
