"""Borders and repetitions, against NumPy."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import windfall
from tests.lowering.neural_network.strategies import few, random
from tests.programs import Input, Output, check_operator, run_operator

MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}


@few
@given(
    dims=st.lists(st.integers(2, 4), min_size=1, max_size=4), mode=st.sampled_from([None, *MODES]), data=st.data(),
    value=st.sampled_from([None, 2.5]),
)  # fmt: skip
def test_pad_is_numpys(dims: list[int], mode: str | None, data: st.DataObject, value: float | None) -> None:
    x = random(1, dims)
    count = data.draw(st.integers(1, len(dims)))
    pads = [[data.draw(st.integers(0, size - 1)) for _ in range(2)] for size in dims[-count:]]
    all_pads = [[0, 0]] * (len(dims) - count) + pads
    constant = {"constant_values": value or 0} if mode in (None, "constant") else {}
    expected = np.pad(x, all_pads, MODES[mode or "constant"], **constant)  # type: ignore[call-overload]
    fixed = {"x": Input(x), "mode": mode, "constant_val": None if value is None else np.float32(value)}
    check_operator("pad", expected, pad=np.array(pads).reshape(-1), **fixed)
    check_operator("pad", expected, pad=Input(np.array(all_pads).reshape(-1)), **fixed)


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.bool_, np.int8, np.uint16])
@pytest.mark.parametrize("reps", [[2, 1, 3], [1, 1, 1]])
def test_tile(dtype: Any, reps: list[int]) -> None:
    x = random(1, (2, 1, 3), 0, 2).astype(dtype)
    for wrap in (np.asarray, Input):
        check_operator("tile", np.tile(x, reps), x=Input(x), reps=wrap(np.array(reps)))


@pytest.mark.parametrize(
    ("operator", "arguments", "message"),
    [
        (
            "pad",
            {"pad": np.array([1, 1]), "mode": "wrap"},
            "mode is 'wrap', must be one of constant, reflect, replicate",
        ),
        ("pad", {"pad": np.array([1, 1, 1])}, r"pad is of shape \[3\], must be two numbers for each of at most 2 axes"),
        ("pad", {"pad": np.array([0, -1])}, r"pad is \[\[0, -1\]\], must be 0 to 2147483647 at every edge"),
        (
            "pad",
            {"pad": np.array([0, 3]), "mode": "reflect"},
            r"pad is \[\[0, 3\]\], must be smaller than the sizes \[3\]",
        ),
        ("tile", {"reps": np.array([1])}, r"reps is of shape \[1\], must be 2 numbers for an x of rank 2"),
        ("tile", {"reps": np.array([1, 0])}, r"reps is \[1, 0\], must be at least 1 along each axis"),
    ],
)
def test_what_does_not_fit_is_refused(operator: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(windfall.LoweringError, match=message):
        run_operator(operator, [Output(np.float32, (2, 3))], x=Input(np.zeros((2, 3))), **arguments)
