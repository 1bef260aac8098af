"""LSTMs against PyTorch and the formulas of the specification."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import windfall
from tests.lowering.neural_network.recurrent_support import (
    ACTIVATIONS,
    Array,
    bi_lstm_fields,
    choose,
    close,
    from_rank5,
    lstm_fields,
    lstm_reference,
    make_weights,
    run,
    steps,
    to_rank5,
)
from tests.support import layer_spec
from windfall.errors import LoweringError
from windfall.lowering.neural_network.network import lower_network
from windfall.spec.modelfile import from_spec


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def torch_lstm_weights(module: torch.nn.LSTM, suffix: str = "") -> dict[str, Array]:
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    w_ih, w_hh, b_ih, b_hh = (getattr(module, f"{name}_l0{suffix}").detach().numpy() for name in names)
    weights, size = {}, module.hidden_size
    for index, gate in enumerate("ifzo"):
        rows = slice(size * index, size * (index + 1))
        weights |= {f"W{gate}": w_ih[rows], f"R{gate}": w_hh[rows], f"b{gate}": b_ih[rows] + b_hh[rows]}
    return weights


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("sequence", [False, True])
@pytest.mark.parametrize("limit", [50000.0, 20.0])
def test_uni_directional_lstm_equals_pytorch(rng, reverse, sequence, limit):
    torch.manual_seed(0)
    module = torch.nn.LSTM(3, 4)
    x = rng.normal(size=(6, 2, 3)).astype(np.float32)
    y_0, c_0 = rng.normal(size=(2, 1, 2, 4)).astype(np.float32)
    expected, (last, memory) = module(
        torch.from_numpy(steps(x, reverse).copy()), (torch.from_numpy(y_0), torch.from_numpy(c_0))
    )
    params = {"sequenceOutput": sequence, "cellClipThreshold": limit}
    fields = lstm_fields(torch_lstm_weights(module), params, reverseInput=reverse)
    got = run("uniDirectionalLSTM", x, y_0, c_0, outputs=3, **fields)
    close(got[0], (expected if sequence else last).detach())
    close(got[1], last.detach())
    close(got[2], memory.detach())


@pytest.mark.parametrize("sequence", [False, True])
def test_bi_directional_lstm_equals_pytorch(rng, sequence):
    torch.manual_seed(0)
    module = torch.nn.LSTM(3, 4, bidirectional=True)
    x = rng.normal(size=(6, 2, 3)).astype(np.float32)
    y_0, c_0 = rng.normal(size=(2, 2, 2, 4)).astype(np.float32)
    expected, (last, memory) = module(torch.from_numpy(x), (torch.from_numpy(y_0), torch.from_numpy(c_0)))
    weights = torch_lstm_weights(module), torch_lstm_weights(module, "_reverse")
    fields = bi_lstm_fields(*weights, {"sequenceOutput": sequence})
    states = y_0[:1], c_0[:1], y_0[1:], c_0[1:]
    got = run("biDirectionalLSTM", x, *states, outputs=5, **fields)
    finals = last.detach().numpy()
    close(got[0], expected.detach() if sequence else np.concatenate([finals[:1], finals[1:]], axis=2))
    for result, state in zip(got[1:], (last[:1], memory[:1], last[1:], memory[1:]), strict=True):
        close(result, state.detach())


SIZES = st.integers(1, 4)


GATE_ACTIVATIONS = st.sampled_from(["sigmoid", "sigmoidHard", "sigmoid", "tanh", "ReLU", "linear", "scaledTanh"])
LSTM_PARAMS = st.fixed_dictionaries(
    {
        "sequenceOutput": st.booleans(),
        "hasBiasVectors": st.booleans(),
        "forgetBias": st.booleans(),
        "hasPeepholeVectors": st.booleans(),
        "coupledInputAndForgetGate": st.booleans(),
        "cellClipThreshold": st.sampled_from([0.0, 0.25, 2.0, 6.0, 50000.0]),
    }
)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_uni_directional_lstm_equals_the_formulas(data):
    draw = data.draw
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    seq, batch, size_in, size = (draw(SIZES) for _ in range(4))
    params, reverse, states = draw(LSTM_PARAMS), draw(st.booleans()), draw(st.integers(0, 2))
    activations = draw(GATE_ACTIVATIONS), *(draw(st.sampled_from(list(ACTIVATIONS))) for _ in range(2))
    flags = {"bias": params["hasBiasVectors"], "peepholes": params["hasPeepholeVectors"]}
    w = make_weights(rng, "ifzo", size_in, size, **flags)
    x = (rng.normal(size=(seq, batch, size_in)) * draw(st.sampled_from([1, 40]))).astype(np.float32)
    y_0, c_0 = rng.normal(size=(2, 1, batch, size), scale=draw(st.sampled_from([1, 5]))).astype(np.float32)
    y_0, c_0 = y_0 * (states > 0), c_0 * (states > 1)
    limit = params["cellClipThreshold"] or 50.0
    coupled = params["coupledInputAndForgetGate"]
    expected, memory = lstm_reference(w, steps(x, reverse), y_0[0], c_0[0], activations, coupled=coupled, limit=limit)
    fields = lstm_fields(w, params, activations=choose(*activations), reverseInput=reverse)
    got = run("uniDirectionalLSTM", x, *[y_0, c_0][:states], outputs=3, **fields)
    scale = max(1, np.abs(expected).max(), np.abs(memory).max())
    near = partial(close, rtol=1e-3, atol=2e-5 * scale)
    near(got[0], expected if params["sequenceOutput"] else expected[-1:])
    near(got[1], expected[-1:])
    near(got[2], memory[np.newaxis])


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_bi_directional_lstm_equals_the_formulas(data):
    draw = data.draw
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    seq, batch, size_in, size = (draw(SIZES) for _ in range(4))
    params, count = draw(LSTM_PARAMS), draw(st.integers(0, 4))
    flags = {"bias": params["hasBiasVectors"], "peepholes": params["hasPeepholeVectors"]}
    forward, backward = (make_weights(rng, "ifzo", size_in, size, **flags) for _ in range(2))
    x = rng.normal(size=(seq, batch, size_in), scale=4).astype(np.float32)
    states = rng.normal(size=(4, 1, batch, size)).astype(np.float32)
    states[count:] = 0
    compute = partial(
        lstm_reference,
        activations=("sigmoid", "tanh", "tanh"),
        coupled=params["coupledInputAndForgetGate"],
        limit=params["cellClipThreshold"] or 50.0,
    )
    y, c = compute(forward, x, states[0, 0], states[1, 0])
    y_back, c_back = compute(backward, x[::-1], states[2, 0], states[3, 0])
    got = run("biDirectionalLSTM", x, *states[:count], outputs=5, **bi_lstm_fields(forward, backward, params))
    # { [yf_1, yb_3], [yf_2, yb_2], [yf_3, yb_1] }, or { [yf_3, yb_3] }
    last = np.concatenate([y[-1:], y_back[-1:]], axis=2)
    near = partial(close, rtol=1e-4, atol=1e-4)
    near(got[0], np.concatenate([y, y_back[::-1]], axis=2) if params["sequenceOutput"] else last)
    for result, state in zip(got[1:], (y[-1], c, y_back[-1], c_back), strict=True):
        near(result, state[np.newaxis])


def node_types(spec: Any) -> set[str]:
    return {node.op_type for node in windfall.load(spec).compiled.onnx.graph.node}


def ones_lstm(limit: float, length: int, *, state: float | None = None, rank5: bool = False) -> tuple[Any, list[Array]]:
    """Return a layer whose c_t grows by almost 1 in each step from ``state`` on, and its inputs."""
    w = {f"{kind}{gate}": np.zeros((1, 1), np.float32) for kind in "WR" for gate in "ifzo"}
    w |= {f"b{gate}": np.full(1, 30, np.float32) for gate in "ifzo"}
    x = np.zeros((length, 1, 1, 1, 1), np.float32)
    states = [] if state is None else [np.zeros((1, 1, 1, 1, 1), np.float32), np.full((1, 1, 1, 1, 1), state, "f")]
    fields = lstm_fields(w, {"cellClipThreshold": limit}, activations=choose("sigmoid", "tanh", "linear"))
    return layer_spec("uniDirectionalLSTM", x, *states, outputs=3, rank5=rank5, **fields), [x, *states]


@pytest.mark.parametrize(
    ("limit", "length", "state", "control"),
    [(50000.0, 60, None, set()), (0.0, 60, None, {"Scan"}), (0.0, 50, None, set()), (0.0, 10, 1.0, {"If"})],
)
def test_an_lstm_is_one_node_where_the_cell_cannot_reach_its_limit(limit, length, state, control):
    spec, _ = ones_lstm(limit, length, state=state)
    assert node_types(spec) & {"LSTM", "Scan", "If"} == (control or {"LSTM"})


@pytest.mark.parametrize(
    ("state", "length", "limit", "expected"),
    [(None, 60, 0.0, 50), (45.0, 3, 0.0, 48), (48.5, 3, 0.0, 50), (700.0, 3, 0.0, 50), (49000.0, 3, 50000.0, 49003)],
)
def test_cell_clip_threshold_limits_the_cell_and_0_stands_for_50(state, length, limit, expected):
    spec, inputs = ones_lstm(limit, length, state=state)
    results = windfall.load(spec).predict({f"x{index}": array for index, array in enumerate(inputs)})
    close(results["y2"].item(), expected)
    close(results["y0"].ravel()[-1], expected)


def test_forget_bias_adds_nothing(rng):
    w = make_weights(rng, "ifzo", 3, 4)
    x = rng.normal(size=(4, 2, 3))
    with_flag, without = (
        run("uniDirectionalLSTM", x, outputs=3, **lstm_fields(w, {"forgetBias": flag})) for flag in (True, False)
    )
    np.testing.assert_array_equal(with_flag[0], without[0])


def test_optional_states_in_the_rank_5_mapping_are_zeros_for_every_sequence(rng):
    w = make_weights(rng, "ifzo", 3, 4)
    x = rng.normal(size=(5, 2, 3)).astype(np.float32)
    template = [np.zeros((3,)), np.zeros((4,)), np.zeros((4,))]
    spec = layer_spec("uniDirectionalLSTM", *template, outputs=3, rank5=True, **lstm_fields(w))
    for feature in spec.description.input[1:]:
        feature.type.isOptional = True
    model = windfall.load(spec)
    expected, memory = lstm_reference(
        make_zero_peepholes(w), x, np.zeros((2, 4)), np.zeros((2, 4)), ("sigmoid", "tanh", "tanh")
    )
    results = model.predict({"x0": x})
    close(from_rank5(results["y0"]), expected)
    close(from_rank5(results["y2"]), memory[np.newaxis])


def make_zero_peepholes(w: Mapping[str, Array]) -> dict[str, Array]:
    return {**w} | {f"p{gate}": np.zeros(1) for gate in "ifo"}


@pytest.mark.parametrize("limit", [0.25, 6.0, 50000.0])
@pytest.mark.parametrize("states", [0, 2])
def test_sequence_length_and_batch_may_be_known_at_run_time_only(rng, limit, states):
    w = make_weights(rng, "ifzo", 3, 4, peepholes=True)
    params = {"cellClipThreshold": limit, "hasPeepholeVectors": True}
    fields = lstm_fields(w, params)
    example = [np.zeros((1, 1, size, 1, 1)) for size in (3, 4, 4)[: 1 + states]]
    spec = layer_spec("uniDirectionalLSTM", *example, outputs=3, **fields)
    shapes = {"x0": ("seq", "batch", 3, 1, 1), "x1": (1, "batch", 4, 1, 1), "x2": (1, "batch", 4, 1, 1)}
    lowered = lower_network(from_spec(spec), {f"x{i}": shapes[f"x{i}"] for i in range(1 + states)})
    session = ort.InferenceSession(ir.to_proto(lowered).SerializeToString())
    for seq, batch in ((1, 1), (7, 2)):
        x = rng.normal(size=(seq, batch, 3)).astype(np.float32)
        given_states = rng.normal(size=(2, 1, batch, 4)).astype(np.float32) * bool(states)
        feeds = {f"x{i}": to_rank5(a) for i, a in enumerate([x, *given_states][: 1 + states])}
        got = session.run(["y0", "y1", "y2"], feeds)
        expected, memory = lstm_reference(
            w, x, given_states[0, 0], given_states[1, 0], ("sigmoid", "tanh", "tanh"), limit=limit
        )
        close(from_rank5(got[0]), expected)
        close(from_rank5(got[2]), memory[np.newaxis])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"outputVectorSize": 0}, "outputVectorSize is 0, must be at least 1"),
        ({"activations": choose("tanh", "tanh")}, "activations has 2 entries, must have 3"),
        (
            {"activations": choose("tanh", "leakyReLU", "tanh")},
            "activations[1] is leakyReLU, must be one of linear, sigmoid, tanh, ReLU, scaledTanh, sigmoidHard",
        ),
        ({"activations": [{}, {"tanh": {}}, {"tanh": {}}]}, "activations[0] is not set, must be one of"),
        (
            {"activations": [{"sigmoidHard": {"alpha": 0.3, "beta": 0.5}}, *choose("tanh", "tanh")]},
            "ActivationSigmoidHard with alpha 0.3 and beta 0.5, recurrent layers take only alpha 0.2 and beta 0.5",
        ),
        ({"params": {"cellClipThreshold": -1.0}}, "params.cellClipThreshold is -1.0, must be at least 0"),
        ({"params": {"hasPeepholeVectors": True}}, "inputGatePeepholeVector has no values, must have 4"),
    ],
)
def test_what_does_not_fit_is_an_error(rng, change, message):
    fields = lstm_fields({k: w for k, w in make_weights(rng, "ifzo", 3, 4).items() if k[0] != "p"}) | change
    with pytest.raises(LoweringError) as error:
        run("uniDirectionalLSTM", np.zeros((2, 1, 3)), outputs=3, **fields)
    assert message in str(error.value)


def test_both_directions_need_weights_and_the_same_activations(rng):
    w = make_weights(rng, "ifzo", 3, 4)
    fields = bi_lstm_fields(w, w)
    x = np.zeros((2, 1, 3))
    with pytest.raises(LoweringError, match="weightParams has 1 entries, must have 2"):
        run("biDirectionalLSTM", x, outputs=5, **fields | {"weightParams": fields["weightParams"][:1]})
    other = {"activationsBackwardLSTM": choose("sigmoid", "tanh", "ReLU")}
    with pytest.raises(LoweringError, match="activationsBackwardLSTM must be the same as activationsForwardLSTM"):
        run("biDirectionalLSTM", x, outputs=5, **fields | other)
