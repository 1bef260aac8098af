"""Operators that stand for the hard swish become it."""

import numpy as np
import pytest
import torch
from tests.passes.graphs import check_rewritten, graph_of, operators, run

from windfall.passes import optimize
from windfall.passes.fuse_hard_swish import FuseHardSwish

X = np.linspace(-4, 4, 33, dtype=np.float32).reshape(3, 11)  # -3 and 3 are among them


def constant(g, number: float):
    return g.constant(np.float32(number))


def by_sigmoid(g, x, alpha=1 / 6, swap=False):
    parts = (x, g.op("HardSigmoid", x, alpha=alpha, beta=0.5))
    return g.op("Mul", *(parts[::-1] if swap else parts))


def gate_of_six(g, x, most=6, shift=3):
    return g.op("Clip", g.op("Add", x, constant(g, shift)), constant(g, 0), constant(g, most))


FORMS = {
    "sigmoid": by_sigmoid,
    "sigmoid first": lambda g, x: by_sigmoid(g, x, swap=True),
    "divided": lambda g, x: g.op("Div", g.op("Mul", x, gate_of_six(g, x)), constant(g, 6)),
    "sixth": lambda g, x: g.op("Mul", constant(g, 1 / 6), g.op("Mul", gate_of_six(g, x), x)),
    "gate divided": lambda g, x: g.op("Mul", x, g.op("Div", gate_of_six(g, x), constant(g, 6))),
    "gate by a sixth": lambda g, x: g.op("Mul", g.op("Mul", gate_of_six(g, x), constant(g, 1 / 6)), x),
}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_becomes_one_node(form: str) -> None:
    model = graph_of(FORMS[form], X.shape)
    expected = run(model, X)
    optimize(model)
    assert operators(model) == ["HardSwish"]
    np.testing.assert_allclose(run(model, X), expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(run(model, X), torch.nn.functional.hardswish(torch.from_numpy(X)).numpy(), atol=1e-6)
    assert not FuseHardSwish()(model).modified


def test_the_threshold_of_coremltools_goes_too() -> None:
    def build(g, x):
        shown = g.op("Where", g.op("GreaterOrEqual", x, constant(g, -3)), x, constant(g, 0))
        return by_sigmoid(g, shown)

    model = graph_of(build, X.shape)
    expected = run(model, X)
    optimize(model)
    assert operators(model) == ["HardSwish"]
    np.testing.assert_allclose(run(model, X), expected, rtol=1e-6, atol=1e-6)


def with_used_gate(g, x):
    gate = g.op("HardSigmoid", x, alpha=1 / 6, beta=0.5)
    return g.op("Add", g.op("Mul", x, gate), gate)


@pytest.mark.parametrize(
    ("build", "left"),
    [
        (lambda g, x: by_sigmoid(g, x, alpha=0.2), ["HardSigmoid", "Mul"]),
        (lambda g, x: by_sigmoid(g, x, alpha=float(np.float16(1 / 6))), ["HardSigmoid", "Mul"]),
        (lambda g, x: g.op("Mul", x, gate_of_six(g, x)), ["Add", "Clip", "Mul"]),
        (lambda g, x: g.op("Div", g.op("Mul", x, gate_of_six(g, x, 5)), constant(g, 6)), ["Add", "Clip", "Mul", "Div"]),
        (lambda g, x: g.op("Div", g.op("Mul", x, gate_of_six(g, x, 6, 2)), constant(g, 6)),
         ["Add", "Clip", "Mul", "Div"]),
        (with_used_gate, ["HardSigmoid", "Mul", "Add"]),
    ],
)  # fmt: skip
def test_what_differs_stays(build, left) -> None:
    check_rewritten(FuseHardSwish(), build, X, left)
