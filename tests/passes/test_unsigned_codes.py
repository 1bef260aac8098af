"""Codes of int8 become such of uint8, which stand for the same numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.passes.graphs import check_rewritten, graph_of, operators

from windfall.passes.nodes import array_of
from windfall.passes.unsigned_codes import UnsignedCodes, most_code, never_negative

X = np.linspace(-30, 30, 4001, dtype=np.float32).reshape(1, 4001)
Q, DQ = "QuantizeLinear", "DequantizeLinear"


def rounded(g, x, zero, scale=0.1):
    step, point = g.constant(np.float32(scale)), g.constant(np.asarray(zero))
    return g.op(DQ, g.op(Q, x, step, point), step, point)


@pytest.mark.parametrize("zero", [-128, -5, 0, 127])
def test_any_zero_point(zero: int) -> None:
    model = check_rewritten(UnsignedCodes(), lambda g, x: rounded(g, x, np.int8(zero)), X, [Q, DQ], changed=True)
    moved = [array_of(node, 2) for node in model.graph]
    assert [(array.dtype, int(array)) for array in moved] == [(np.uint8, zero + 128)] * 2


@pytest.mark.parametrize("zero", [-127, -5, 0, 127])
def test_what_is_never_negative_has_fewer_bits(zero: int) -> None:
    model = check_rewritten(
        UnsignedCodes(), lambda g, x: rounded(g, g.op("Relu", x), np.int8(zero)), X, ["Relu", Q, "Clip", DQ]
    )
    assert int(array_of(model.graph[3], 2)) == 0
    assert most_code(model.graph[3].outputs[0]) == 127 - zero


@given(st.integers(-128, 127), st.floats(0.015625, 4, width=32), st.booleans())
def test_numbers_stay_the_same(zero: int, scale: float, positive: bool) -> None:
    def build(g, x):
        return rounded(g, g.op("Relu" if positive else "Abs", x), np.int8(zero), scale)

    limit = ["Clip"] if positive and zero > -128 else []
    check_rewritten(UnsignedCodes(), build, X, ["Relu" if positive else "Abs", Q, *limit, DQ], changed=True)


def test_scales_along_an_axis() -> None:
    x = np.linspace(-3, 3, 12, dtype=np.float32).reshape(1, 3, 4)

    def build(g, x):
        step, point = g.constant(np.float32([0.1, 0.2, 0.01])), g.constant(np.int8([-4, 0, 9]))
        return g.op(DQ, g.op(Q, x, step, point, axis=1), step, point, axis=1)

    check_rewritten(UnsignedCodes(), build, x, [Q, DQ], changed=True)


def with_codes_used(g, x):
    step, point = g.constant(np.float32(0.1)), g.constant(np.int8(0))
    codes = g.op(Q, x, step, point)
    return g.op("Add", g.op("Cast", codes, to=1), g.op(DQ, codes, step, point))


def test_codes_that_others_use_stay() -> None:
    check_rewritten(UnsignedCodes(), with_codes_used, X, [Q, "Cast", DQ, "Add"])
    check_rewritten(UnsignedCodes(), lambda g, x: rounded(g, x, np.uint8(3)), X, [Q, DQ])


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda g, x: g.op("Relu", x), True),
        (lambda g, x: g.op("Clip", x, g.constant(np.float32(0)), g.constant(np.float32(6))), True),
        (lambda g, x: g.op("Clip", x, g.constant(np.float32(-1)), g.constant(np.float32(6))), False),
        (lambda g, x: g.op("Add", g.op("Relu", x), g.op("Sigmoid", x)), True),
        (lambda g, x: g.op("Add", g.op("Relu", x), x), False),
        (lambda g, x: g.op("Concat", g.op("Relu", x), g.op("Sigmoid", x), axis=1), True),
        (lambda g, x: g.op("Flatten", rounded(g, x, np.uint8(0))), True),
        (lambda g, x: rounded(g, x, np.uint8(1)), False),
        (lambda g, x: g.op("Neg", g.op("Relu", x)), False),
    ],
)
def test_what_is_known_of_signs(build, expected: bool) -> None:
    model = graph_of(build, X.shape)
    assert never_negative(model.graph.outputs[0]) is expected
    assert not expected or operators(model)
