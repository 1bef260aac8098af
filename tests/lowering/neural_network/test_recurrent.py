"""Simple recurrent layers and GRUs against PyTorch and the formulas of the specification."""

import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lowering.neural_network.recurrent_support import (
    ACTIVATIONS,
    choose,
    close,
    gru_fields,
    gru_reference,
    make_weights,
    rnn_reference,
    run,
    steps,
)
from tests.support import run_layer
from windfall.errors import LoweringError


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("reverse", [False, True])
def test_simple_recurrent_equals_pytorch(rng, nonlinearity, reverse):
    torch.manual_seed(0)
    module = torch.nn.RNN(3, 4, nonlinearity=nonlinearity)
    x, y_0 = rng.normal(size=(5, 2, 3)).astype(np.float32), rng.normal(size=(1, 2, 4)).astype(np.float32)
    # The layer gives its outputs in the order of computation, so nothing is flipped back.
    expected, last = module(torch.from_numpy(steps(x, reverse).copy()), torch.from_numpy(y_0))
    weights = {name: parameter.detach().numpy() for name, parameter in module.named_parameters()}
    got = run(
        "simpleRecurrent",
        x,
        y_0,
        outputs=2,
        inputVectorSize=3,
        outputVectorSize=4,
        activation={{"tanh": "tanh", "relu": "ReLU"}[nonlinearity]: {}},
        sequenceOutput=True,
        reverseInput=reverse,
        hasBiasVector=True,
        weightMatrix=weights["weight_ih_l0"],
        recursionMatrix=weights["weight_hh_l0"],
        biasVector=weights["bias_ih_l0"] + weights["bias_hh_l0"],
    )
    close(got[0], expected.detach())
    close(got[1], last.detach())


def test_gru_equals_pytorch_where_the_reset_gate_commutes_with_the_matrix(rng):
    # PyTorch multiplies by the reset gate after the matrix product; with a diagonal matrix that is the same.
    torch.manual_seed(0)
    module = torch.nn.GRU(3, 4)
    with torch.no_grad():
        module.weight_hh_l0[8:] = torch.diag(torch.diag(module.weight_hh_l0[8:]))
        module.bias_hh_l0[8:] = 0
    x, y_0 = rng.normal(size=(5, 2, 3)).astype(np.float32), rng.normal(size=(1, 2, 4)).astype(np.float32)
    expected, last = module(torch.from_numpy(x), torch.from_numpy(y_0))
    w_ih, w_hh, b_ih, b_hh = (p.detach().numpy() for p in module.parameters())
    weights = {}
    for index, gate in enumerate("rzo"):
        rows = slice(4 * index, 4 * index + 4)
        weights |= {f"W{gate}": w_ih[rows], f"R{gate}": w_hh[rows], f"b{gate}": b_ih[rows] + b_hh[rows]}
    got = run("gru", x, y_0, outputs=2, **gru_fields(weights))
    close(got[0], expected.detach())
    close(got[1], last.detach())


SIZES = st.integers(1, 4)


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_simple_recurrent_and_gru_equal_the_formulas(data):
    draw = data.draw
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    seq, batch, size_in, size = (draw(SIZES) for _ in range(4))
    sequence, reverse, bias = (draw(st.booleans()) for _ in range(3))
    # Large inputs reach the limit of 50.
    x = (rng.normal(size=(seq, batch, size_in)) * draw(st.sampled_from([1, 40]))).astype(np.float32)
    y_0 = rng.normal(size=(1, batch, size)).astype(np.float32)
    common = {"sequenceOutput": sequence, "reverseInput": reverse}
    f, g = (draw(st.sampled_from(list(ACTIVATIONS))) for _ in range(2))
    if draw(st.booleans()):
        w = make_weights(rng, "zro", size_in, size, bias=bias)
        expected = gru_reference(w, steps(x, reverse), y_0[0], (f, g))
        fields = gru_fields(w, hasBiasVectors=bias, activations=choose(f, g), **common)
        got = run("gru", x, y_0, outputs=2, **fields)
    else:
        w = {"W": rng.normal(size=(size, size_in)), "R": rng.normal(size=(size, size)), "b": rng.normal(size=size)}
        w = {name: array.astype(np.float32) for name, array in w.items()} | {"b": w["b"].astype(np.float32) * bias}
        expected = rnn_reference(w, steps(x, reverse), y_0[0], f)
        fields = {"weightMatrix": w["W"], "recursionMatrix": w["R"], "biasVector": w["b"], "hasBiasVector": bias}
        sizes = {"inputVectorSize": size_in, "outputVectorSize": size, "activation": choose(f)[0]}
        got = run("simpleRecurrent", x, y_0, outputs=2, **sizes, **fields, **common)
    atol = 1e-5 * max(1, np.abs(expected).max())
    close(got[0], expected if sequence else expected[-1:], rtol=1e-4, atol=atol)
    close(got[1], expected[-1:], rtol=1e-4, atol=atol)


def test_a_state_of_the_shape_that_coremltools_gives_it():
    rng = np.random.default_rng(1)
    w = {name: rng.normal(size=(4, size)).astype(np.float32) for name, size in (("W", 2), ("R", 4))}
    x, y_0 = rng.normal(size=(3, 2, 2, 1, 1)).astype(np.float32), rng.normal(size=(2, 4)).astype(np.float32)
    fields = {"inputVectorSize": 2, "outputVectorSize": 4, "weightMatrix": w["W"], "recursionMatrix": w["R"]}
    states = [y_0.reshape(shape) for shape in ((1, 2, 4, 1, 1), (2, 4, 1, 1, 1))]
    one, other = (run_layer("simpleRecurrent", x, y, outputs=2, activation={"tanh": {}}, **fields)[0] for y in states)
    np.testing.assert_array_equal(one, other)


def test_empty_activations_have_the_parameters_that_coremltools_means():
    def run_rnn(activation: dict[str, Any], x: float) -> float:
        one = np.ones(1, np.float32)
        fields = {"inputVectorSize": 1, "outputVectorSize": 1, "weightMatrix": one, "recursionMatrix": one}
        x_0, y_0 = np.full((1, 1, 1), x), np.zeros((1, 1, 1))
        return run("simpleRecurrent", x_0, y_0, outputs=2, activation=activation, **fields)[0].item()

    close(run_rnn({"sigmoidHard": {}}, 1.0), 0.7)
    close(run_rnn({"sigmoidHard": {"alpha": 0.2, "beta": 0.5}}, 1.0), 0.7)
    close(run_rnn({"scaledTanh": {}}, 1.0), np.tanh(1))
    close(run_rnn({"scaledTanh": {"alpha": 1.71, "beta": 0.6667}}, 1.0), 1.71 * np.tanh(0.6667))
    close(run_rnn({"linear": {}}, 3.0), 3)
    close(run_rnn({"linear": {"alpha": 2.0, "beta": -1.0}}, 3.0), 5)
    close(run_rnn({"linear": {"alpha": 2.0, "beta": -1.0}}, 60.0), 99)


def test_quantized_weights_are_used():
    codes = bytes([0, 64, 128, 255])
    quantization = {"numberOfBits": 8, "linearQuantization": {"scale": [0.01, 0.02], "bias": [-1.0, -2.0]}}
    fields = {
        "inputVectorSize": 2,
        "outputVectorSize": 2,
        "activation": {"linear": {}},
        "weightMatrix": {"rawValue": codes, "quantization": quantization},
        "recursionMatrix": np.eye(2, dtype=np.float32),
    }
    x, y_0 = np.array([[[1.0, 2.0]]]), np.array([[[3.0, 4.0]]])
    got = run("simpleRecurrent", x, y_0, outputs=2, **fields)[0]
    # [[-1, -0.36], [0.56, 3.1]] times [1, 2], and y_0
    close(got, [[[-1.72 + 3, 6.76 + 4]]])


def test_states_of_another_shape_are_an_error(rng):
    fields = gru_fields(make_weights(rng, "zro", 3, 4))
    x = np.zeros((2, 2, 3))
    with pytest.raises(
        LoweringError, match=r"input is a state of shape \[1, 3, 4, 1, 1\], must have Seq 1 and Batch 2"
    ):
        run("gru", x, np.zeros((1, 3, 4)), outputs=2, **fields)
    with pytest.raises(
        LoweringError, match=r"input is a state of shape \[2, 2, 4, 1, 1\], must have Seq 1 and Batch 2"
    ):
        run("gru", x, np.zeros((2, 2, 4)), outputs=2, **fields)
    shape = re.escape("[2, 2, 5, 1, 1]")
    with pytest.raises(
        LoweringError, match=rf"inputVectorSize is 3, must be C\*H\*W of the input, which has the shape {shape}"
    ):
        run("gru", np.zeros((2, 2, 5)), outputs=2, **fields)
    with pytest.raises(LoweringError, match="outputVectorSize is 4, must be C"):
        run("gru", x, np.zeros((1, 2, 3)), outputs=2, **fields)
    with pytest.raises(LoweringError, match=r"has rank 3, must be \[Seq, Batch, C, 1, 1\]; expand its rank"):
        run_layer("gru", x, outputs=2, **fields)


def test_a_simple_recurrent_layer_needs_its_state_and_two_outputs():
    one = np.ones(1, np.float32)
    fields = {"inputVectorSize": 1, "outputVectorSize": 1, "weightMatrix": one, "recursionMatrix": one}
    fields |= {"activation": {"tanh": {}}}
    with pytest.raises(LoweringError, match=r"input is \['x0'\], must be 2 names"):
        run("simpleRecurrent", np.zeros((1, 1, 1)), outputs=2, **fields)
    with pytest.raises(LoweringError, match=r"output is \['y0'\], must"):
        run_layer("simpleRecurrent", np.zeros((1, 1, 1, 1, 1)), np.zeros((1, 1, 1, 1, 1)), **fields)
