"""LSTM, GRU and RNN through both engines."""

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from windfall.errors import EngineError
from windfall.graph.builder import GraphBuilder, build_model
from windfall.runtime.engine import EngineOptions, engine_named
from windfall.runtime.serialize import serialize
from windfall.runtime.serialized import SerializedModel

pytest.importorskip("openvino", reason="it is no dependency of other processors")
from windfall.runtime.openvino.program import OpenVino  # needs the import above

ONE = EngineOptions(1)
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
ACTIVATIONS = {
    "LSTM": [None, ["Sigmoid", "Tanh", "Tanh"]],
    "GRU": [None, ["Sigmoid", "Tanh"]],
    "RNN": [None, ["Tanh"], ["Relu"], ["Sigmoid"]],
}


def recurrent(
    operator: str,
    x: np.ndarray,
    size: int,
    direction: str = "forward",
    *,
    has_bias: bool = True,
    states: tuple[np.ndarray | None, ...] = (),
    outputs: tuple[int, ...] = (0,),
    scale: float = 1.0,
    lengths: bool = False,
    peepholes: bool = False,
    **attributes: Any,
) -> SerializedModel:
    """Return a graph of one node, with inputs x, s0, s1 and outputs y0 .. as chosen."""
    rng = np.random.default_rng(size)
    directions, rows = 2 if direction == "bidirectional" else 1, GATES[operator] * size
    made = GraphBuilder("g", ["x", "s0", "s1"])
    made.prefix = "layer"

    def weight(*dims: int) -> ir.Value:
        return made.constant((scale * rng.normal(size=(directions, *dims))).astype(np.float32))

    inputs: list[ir.Value | None] = [made.input("x", ir.DataType.FLOAT, x.shape)]
    inputs += [weight(rows, x.shape[2]), weight(rows, size), weight(2 * rows) if has_bias else None]
    inputs.append(made.constant(np.full(x.shape[1], x.shape[0], np.int32)) if lengths else None)
    inputs += [
        None if state is None else made.input(f"s{place}", ir.DataType.FLOAT, state.shape)
        for place, state in enumerate(states)
    ]
    if peepholes:
        inputs += [None] * (7 - len(inputs)) + [weight(3 * size)]
    while inputs[-1] is None:
        inputs.pop()
    count = 3 if operator == "LSTM" else 2
    found = made.ops(operator, *inputs, outputs=count, hidden_size=size, direction=direction, **attributes)
    made.graph.outputs.extend(made.rename(found[place], f"y{place}") for place in outputs)
    return serialize(build_model(made.graph))


def both(model: SerializedModel, feeds: dict[str, np.ndarray]) -> list[list[np.ndarray]]:
    programs = (engine_named("onnxruntime").compile(model, ONE), OpenVino().compile(model, ONE))
    return [program.run(feeds) for program in programs]


@settings(deadline=None, max_examples=60)
@given(
    operator=st.sampled_from(sorted(GATES)),
    sizes=st.tuples(st.integers(1, 9), st.integers(1, 3), st.integers(1, 20), st.integers(1, 20)),
    direction=st.sampled_from(["forward", "reverse", "bidirectional"]),
    has_bias=st.booleans(),
    given_states=st.tuples(st.booleans(), st.booleans()),
    outputs=st.lists(st.integers(0, 2), min_size=1, max_size=3, unique=True),
    data=st.data(),
)
def test_both_engines_give_the_same(
    operator: str,
    sizes: tuple[int, ...],
    direction: str,
    has_bias: bool,
    given_states: tuple[bool, bool],
    outputs: list[int],
    data: st.DataObject,
) -> None:
    steps, batch, width, size = sizes
    rng = np.random.default_rng(steps)
    x = rng.normal(size=(steps, batch, width)).astype(np.float32)
    dims = (2 if direction == "bidirectional" else 1, batch, size)
    states = tuple(rng.normal(size=dims).astype(np.float32) if is_given else None for is_given in given_states)
    states = states[: 2 if operator == "LSTM" else 1]
    most = 2 if operator == "LSTM" else 1
    activations = data.draw(st.sampled_from(ACTIVATIONS[operator]))
    attributes: dict[str, Any] = {"activations": None if activations is None else activations * dims[0]}
    if operator == "GRU":
        attributes["linear_before_reset"] = data.draw(st.integers(0, 1))
    chosen = tuple(sorted({min(place, most) for place in outputs}))
    model = recurrent(
        operator, x, size, direction, has_bias=has_bias, states=states, outputs=chosen, scale=0.4, **attributes
    )
    feeds = {"x": x, **{f"s{place}": state for place, state in enumerate(states) if state is not None}}
    for one, other in zip(*both(model, feeds), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("operator", GATES)
@pytest.mark.parametrize("extreme", [np.inf, -np.inf, 1e30, -1e30, 1e-40, -0.0])
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_extreme_numbers_are_the_same(operator: str, extreme: float, direction: str) -> None:
    x = np.random.default_rng(1).normal(size=(5, 2, 3)).astype(np.float32)
    x[2, 1, 0] = extreme
    one, other = both(recurrent(operator, x, 4, direction), {"x": x})
    np.testing.assert_allclose(other[0], one[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("operator", GATES)
def test_large_weights_are_the_same(operator: str) -> None:
    x = np.random.default_rng(1).normal(size=(5, 2, 3)).astype(np.float32)
    one, other = both(recurrent(operator, x, 4, scale=1000), {"x": x})
    np.testing.assert_allclose(other[0], one[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("operator", ["LSTM", "GRU"])
def test_nan_stays_nan_as_in_numpy(operator: str) -> None:
    x = np.random.default_rng(1).normal(size=(5, 2, 3)).astype(np.float32)
    x[2, 1, 0] = np.nan
    # ONNX Runtime goes on with other numbers instead.
    one, other = both(recurrent(operator, x, 4), {"x": x})
    assert not np.isnan(one[0]).any()
    assert np.isnan(other[0][2:, :, 1]).all()
    np.testing.assert_allclose(other[0][:2], one[0][:2], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(other[0][:, :, 0], one[0][:, :, 0], rtol=1e-4, atol=1e-5)


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("LSTM", {"clip": 3.0}, "it ignores clip"),
    ("GRU", {"clip": 3.0}, "it ignores clip"),
    ("RNN", {"clip": 3.0}, "it ignores clip"),
    ("LSTM", {"input_forget": 1}, "it ignores input_forget"),
    ("LSTM", {"activations": ["Sigmoid", "Relu", "Tanh"]}, "its activations are others than the usual ones"),
    ("GRU", {"activations": ["HardSigmoid", "Tanh"]}, "its activations are others than the usual ones"),
    ("RNN", {"activations": ["Affine"]}, "its activations are others than the usual ones"),
    ("LSTM", {"lengths": True}, "its sequences of different lengths and peepholes were not compared"),
    ("LSTM", {"peepholes": True}, "its sequences of different lengths and peepholes were not compared"),
]


@pytest.mark.parametrize(("operator", "fields", "reason"), REFUSED, ids=lambda case: str(case)[:30])
def test_what_openvino_computes_otherwise_is_not_given_to_it(
    operator: str, fields: dict[str, Any], reason: str
) -> None:
    x = np.zeros((5, 2, 3), np.float32)
    with pytest.raises(EngineError) as error:
        OpenVino().compile(recurrent(operator, x, 4, **fields), ONE)
    assert str(error.value).startswith(f"OpenVINO does not take the model: operator {operator}: {reason}")


def test_weights_that_are_computed_are_a_gap() -> None:
    x = np.zeros((5, 2, 3), np.float32)
    made = GraphBuilder("g", ["x", "w"])
    weights = made.op("Neg", made.input("w", ir.DataType.FLOAT, (1, 4, 3)))
    recursion = made.constant(np.ones((1, 4, 4), np.float32))
    (y, _) = made.ops("RNN", made.input("x", ir.DataType.FLOAT, x.shape), weights, recursion, outputs=2, hidden_size=4)
    made.graph.outputs.append(made.rename(y, "y"))
    with pytest.raises(EngineError, match=r"operator RNN: its weights are known only at run time$"):
        OpenVino().compile(serialize(build_model(made.graph)), ONE)
