"""Recurrent operators, against PyTorch and the formulas of the definitions."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import windfall
from tests.lowering.neural_network.recurrent_support import (
    Array,
    gru_reference,
    lstm_reference,
    make_weights,
)
from tests.lowering.neural_network.strategies import few, random
from tests.programs import Input, Output, check_operator, run_operator

# The reference's name for each activation.
ACTIVATIONS = {
    "tanh": "tanh",
    "scaled_tanh": "tanh",
    "sigmoid": "sigmoid",
    "hard_sigmoid": "sigmoidHard",
    "relu": "ReLU",
    "linear": "linear",
}
NAMES = st.sampled_from(sorted(ACTIVATIONS))


def weights_of(gates: str, seed: int = 3, **flags: bool) -> dict[str, Array]:
    """Small ones: the reference clips what goes into an activation to +-50, which is for neural networks alone."""
    made = make_weights(np.random.default_rng(seed), gates, 3, 4, **flags)
    return {name: array * np.float32(0.4) for name, array in made.items()}


def stacked(weights: dict[str, Array], kind: str, gates: str) -> Array:
    return np.concatenate([weights[kind + gate] for gate in gates])


def in_order(x: Array, direction: str) -> Array:
    return x[::-1] if direction == "reverse" else x


def check(operator: str, expected: Any, *, sequence: bool, **arguments: Any) -> None:
    """Compare all states, or the last, and the finals."""
    every, *finals = expected
    states = every if sequence else every[-1:]
    check_operator(operator, [states, *finals], output_sequence=sequence, rtol=1e-4, atol=1e-5, opset=8, **arguments)


@few
@given(length=st.integers(1, 4), sequence=st.booleans(), bias=st.booleans(), name=NAMES,
       direction=st.sampled_from(["forward", "reverse"]))  # fmt: skip
def test_rnn(length: int, sequence: bool, bias: bool, name: str, direction: str) -> None:
    w, x, h = weights_of("o", bias=bias), random(1, (length, 2, 3)), random(2, (2, 4))
    states, state = [], h
    for x_t in in_order(x, direction):
        # A GRU that is never reset and keeps nothing of the state before.
        kept = {"Wr": 0 * w["Wo"], "Rr": 0 * w["Ro"], "br": np.full(4, 99)}
        kept |= {"Wz": 0 * w["Wo"], "Rz": 0 * w["Ro"], "bz": np.full(4, -99)}
        state = gru_reference(w | kept, x_t[np.newaxis], state, ("sigmoid", ACTIVATIONS[name]))[0]
        states.append(state)
    weights = {"weight_ih": w["Wo"], "weight_hh": w["Ro"], "bias": w["bo"] if bias else None}
    expected = [np.float32(states), np.float32(state)]
    given = {"x": Input(x), "initial_h": Input(h), "activation": name, "direction": direction}
    check("rnn", expected, sequence=sequence, **given, **weights)


@few
@given(length=st.integers(1, 4), sequence=st.booleans(), bias=st.booleans(), names=st.tuples(NAMES, NAMES),
       direction=st.sampled_from(["forward", "reverse"]))  # fmt: skip
def test_gru(length: int, sequence: bool, bias: bool, names: tuple[str, str], direction: str) -> None:
    w, x, h = weights_of("roz", bias=bias), random(1, (length, 2, 3), -1, 1), random(2, (2, 4), -1, 1)
    f, g = (ACTIVATIONS[name] for name in names)
    states = gru_reference(w, in_order(x, direction), h, (f, g)).astype(np.float32)
    check(
        "gru",
        [states, states[-1]],
        sequence=sequence,
        x=Input(x),
        initial_h=Input(h),
        weight_ih=stacked(w, "W", "roz"),
        weight_hh=stacked(w, "R", "roz"),
        bias=stacked(w, "b", "roz") if bias else None,
        recurrent_activation=names[0],
        activation=names[1],
        direction=direction,
    )


@pytest.mark.parametrize("sequence", [False, True])
def test_gru_with_reset_after_is_pytorchs(sequence: bool) -> None:
    torch.manual_seed(0)
    module = torch.nn.GRU(3, 4)
    x, h = random(1, (5, 2, 3)), random(2, (2, 4))
    every, last = (a.detach().numpy() for a in module(torch.from_numpy(x), torch.from_numpy(h[np.newaxis])))

    def weight(name: str) -> Array:
        reset, update, new = np.split(getattr(module, f"{name}_l0").detach().numpy(), 3)
        return np.concatenate([reset, new, update])

    weights = {"weight_ih": weight("weight_ih"), "weight_hh": weight("weight_hh")}
    biases = {"input_bias": weight("bias_ih"), "bias": weight("bias_hh")}
    given = {"x": Input(x), "initial_h": Input(h), "reset_after": True}
    check("gru", [every, last[0]], sequence=sequence, **given, **weights, **biases)


def lstm_arguments(
    w: dict[str, Array], suffix: str = "", *, bias: bool = True, peephole: bool = True
) -> dict[str, Any]:
    given = {"weight_ih": stacked(w, "W", "ifoz"), "weight_hh": stacked(w, "R", "ifoz")}
    given |= {"bias": stacked(w, "b", "ifoz")} if bias else {}
    given |= {"peephole": stacked(w, "p", "ifo")} if peephole else {}
    return {name + suffix: array for name, array in given.items()}


@few
@given(length=st.integers(1, 4), sequence=st.booleans(), bias=st.booleans(), peephole=st.booleans(),
       names=st.tuples(NAMES, NAMES, NAMES), direction=st.sampled_from(["forward", "reverse"]),
       clip=st.sampled_from([None, 0.3, 50.0]))  # fmt: skip
def test_lstm(
    length: int, sequence: bool, bias: bool, peephole: bool, names: Any, direction: str, clip: float | None
) -> None:
    w = weights_of("ifoz", bias=bias, peepholes=peephole)
    x, h, c = random(1, (length, 2, 3), -1, 1), random(2, (2, 4), -1, 1), random(3, (2, 4), -1, 1)
    functions = [ACTIVATIONS[name] for name in names]
    limit = np.inf if clip is None else clip
    states, memory = lstm_reference(w, in_order(x, direction), h, c, functions, limit=limit)  # type: ignore[arg-type]
    check(
        "lstm",
        [np.float32(states), np.float32(states[-1]), np.float32(memory)],
        sequence=sequence,
        x=Input(x),
        initial_h=Input(h),
        initial_c=Input(c),
        recurrent_activation=names[0],
        cell_activation=names[1],
        activation=names[2],
        direction=direction,
        clip=None if clip is None else np.float32(clip),
        **lstm_arguments(w, bias=bias, peephole=peephole),
    )


@pytest.mark.parametrize("sequence", [False, True])
@pytest.mark.parametrize("clip", [None, 0.5])
@pytest.mark.parametrize("back_has_all", [False, True])
def test_lstm_in_both_directions(sequence: bool, clip: float | None, back_has_all: bool) -> None:
    forward = weights_of("ifoz", peepholes=True)
    back = weights_of("ifoz", 4, bias=back_has_all, peepholes=back_has_all)
    x, h, c = random(1, (5, 2, 3)), random(2, (2, 8)), random(3, (2, 8))
    limit, functions = np.inf if clip is None else clip, ("sigmoid", "tanh", "tanh")
    one, memory = lstm_reference(forward, x, h[:, :4], c[:, :4], functions, limit=limit)
    other, memory_back = lstm_reference(back, x[::-1], h[:, 4:], c[:, 4:], functions, limit=limit)
    last = np.concatenate([one[-1], other[-1]], axis=1).astype(np.float32)
    # In the order of the inputs, whatever the direction; but without the sequence the last of each.
    every = np.concatenate([one, other[::-1]], axis=2).astype(np.float32) if sequence else last[np.newaxis]
    check(
        "lstm",
        [every, last, np.concatenate([memory, memory_back], axis=1).astype(np.float32)],
        sequence=sequence,
        x=Input(x),
        initial_h=Input(h),
        initial_c=Input(c),
        direction="bidirectional",
        clip=None if clip is None else np.float32(clip),
        **lstm_arguments(forward),
        **lstm_arguments(back, "_back", bias=back_has_all, peephole=back_has_all),
    )


def test_lstm_without_clip_has_no_limit() -> None:
    w = {name: np.full_like(array, 3) for name, array in weights_of("ifoz", peepholes=True).items()}
    x, zeros = np.full((6, 1, 3), 30, np.float32), np.zeros((1, 4), np.float32)
    given = {"x": Input(x), "initial_h": Input(zeros), "initial_c": Input(zeros), "cell_activation": "linear"}
    outputs = [Output(np.float32, dims) for dims in ((1, 1, 4), (1, 4), (1, 4))]
    _, _, memory = run_operator("lstm", outputs, **given, **lstm_arguments(w))
    # Six times 3 * 3 * 30 and more of the states; +-50 is a limit of neural networks alone.
    assert memory.min() > 6 * 270


def error_of(operator: str, **arguments: Any) -> str:
    gates = {"rnn": 1, "gru": 3, "lstm": 4}[operator]
    given = {"x": Input(random(1, (5, 2, 3))), "initial_h": Input(random(2, (2, 4)))}
    given |= {"initial_c": Input(random(3, (2, 4)))} if operator == "lstm" else {}
    weights = {"weight_ih": random(4, (4 * gates, 3)), "weight_hh": random(5, (4 * gates, 4))}
    outputs = [Output(np.float32, [None] * 3), *[Output(np.float32, [None] * 2)] * (2 if operator == "lstm" else 1)]
    with pytest.raises(windfall.FormatError) as error:
        run_operator(operator, outputs, **(given | weights | arguments))
    return str(error.value)


@pytest.mark.parametrize(
    ("operator", "arguments", "message"),
    [
        ("rnn", {"direction": "bidirectional"}, "direction is 'bidirectional', must be forward, reverse"),
        ("rnn", {"activation": "gelu"}, "activation is 'gelu', must be one of tanh, scaled_tanh, sigmoid, hard_sig"),
        ("rnn", {"x": Input(random(1, (2, 3)))}, "x is of rank 2, must have rank 3, [s, b, I]"),
        ("rnn", {"weight_ih": random(4, (4, 2))}, "weight_ih is of shape [4, 2], must have the shape [4, 3]"),
        ("gru", {"weight_hh": random(5, [12])}, "weight_hh is of shape [12], must be a matrix of at least 1 column"),
        ("gru", {"weight_hh": random(5, (8, 4))}, "weight_hh is of shape [8, 4], must have the shape [12, 4]"),
        ("gru", {"bias": random(5, [24])}, "bias is of shape [24], must have the shape [12]"),
        ("gru", {"initial_h": Input(random(2, (3, 4)))}, "initial_h is of shape [3, 4], must be [2, 4], [b, D*H]"),
        ("lstm", {"direction": "bidirectional"}, "weight_ih_back is missing, must be given where direction is bidir"),
        ("lstm", {"peephole": random(5, [16])}, "peephole is of shape [16], must have the shape [12]"),
        ("lstm", {"clip": np.float32(-1)}, "clip is -1.0, must be at least 0"),
    ],
)
def test_the_rule_that_is_broken(operator: str, arguments: dict[str, Any], message: str) -> None:
    assert message in error_of(operator, **arguments)
