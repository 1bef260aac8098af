"""The formulas of the recurrent layers written down in NumPy, their weights, and the fields that hold them."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.support import run_layer

Array = NDArray[Any]

ACTIVATIONS = {
    "linear": lambda x: x,
    "sigmoid": lambda x: 0.5 + 0.5 * np.tanh(x / 2),
    "tanh": np.tanh,
    "ReLU": lambda x: np.maximum(x, 0),
    "scaledTanh": np.tanh,  # as it is without parameters
    "sigmoidHard": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
}
close = partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5)


def clip(x: Array) -> Array:
    return np.clip(x, -50, 50)


def to_rank5(x: Array) -> Array:
    return np.asarray(x, np.float32)[..., np.newaxis, np.newaxis]


def from_rank5(x: Array) -> Array:
    return np.asarray(x).reshape(x.shape[:3])


def run(layer_type: str, *inputs: Array, outputs: int, **fields: Any) -> list[Array]:
    """Run a layer on [Seq, Batch, C] arrays."""
    results = run_layer(layer_type, *map(to_rank5, inputs), outputs=outputs, **fields)
    assert all(result.shape[3:] == (1, 1) for result in results)
    return [from_rank5(result) for result in results]


def choose(*names: str) -> list[dict[str, dict[str, float]]]:
    return [{name: {}} for name in names]


# References, all on [Seq, Batch, C] and in the order of computation


def steps(x: Array, reverse: bool) -> Array:
    return x[::-1] if reverse else x


def rnn_reference(w: Mapping[str, Array], x: Array, y: Array, activation: str) -> Array:
    outputs = []
    for x_t in x:
        y = ACTIVATIONS[activation](clip(x_t @ w["W"].T + y @ w["R"].T + w["b"]))
        outputs.append(y)
    return np.stack(outputs)


def gru_reference(w: Mapping[str, Array], x: Array, y: Array, activations: tuple[str, str]) -> Array:
    f, g = (ACTIVATIONS[name] for name in activations)
    outputs = []
    for x_t in x:
        z = f(clip(x_t @ w["Wz"].T + y @ w["Rz"].T + w["bz"]))
        r = f(clip(x_t @ w["Wr"].T + y @ w["Rr"].T + w["br"]))
        c = y * r
        o = g(clip(x_t @ w["Wo"].T + c @ w["Ro"].T + w["bo"]))
        y = (1 - z) * o + z * y
        outputs.append(y)
    return np.stack(outputs)


def lstm_reference(
    w: Mapping[str, Array],
    x: Array,
    y: Array,
    c: Array,
    activations: tuple[str, str, str],
    *,
    coupled: bool = False,
    limit: float = 50.0,
) -> tuple[Array, Array]:
    """Return all y and the last c."""
    f, g, h = (ACTIVATIONS[name] for name in activations)
    outputs = []
    for x_t in x:
        i = f(clip(x_t @ w["Wi"].T + y @ w["Ri"].T + w["pi"] * c + w["bi"]))
        forget = f(clip(x_t @ w["Wf"].T + y @ w["Rf"].T + w["pf"] * c + w["bf"]))
        z = g(clip(x_t @ w["Wz"].T + y @ w["Rz"].T + w["bz"]))
        c = c * (1 - i if coupled else forget) + i * z
        c = np.clip(c, -limit, limit)
        o = f(clip(x_t @ w["Wo"].T + y @ w["Ro"].T + w["po"] * c + w["bo"]))
        y = h(c) * o
        outputs.append(y)
    return np.stack(outputs), c


# Weights and the fields that hold them


def make_weights(
    rng: np.random.Generator, gates: str, size_in: int, size: int, *, bias: bool = True, peepholes: bool = False
) -> dict[str, Array]:
    draw = partial(rng.normal, scale=0.7)
    weights = {f"W{gate}": draw(size=(size, size_in)) for gate in gates}
    weights |= {f"R{gate}": draw(size=(size, size)) for gate in gates}
    weights |= {f"b{gate}": draw(size=size) * bias for gate in gates}
    weights |= {f"p{gate}": draw(size=size) * peepholes for gate in "ifo"}
    return {name: array.astype(np.float32) for name, array in weights.items()}


LSTM_GATES = {"i": "inputGate", "f": "forgetGate", "z": "blockInput", "o": "outputGate"}
GRU_GATES = {"z": "updateGate", "r": "resetGate", "o": "outputGate"}
KINDS = {"W": "WeightMatrix", "R": "RecursionMatrix", "b": "BiasVector", "p": "PeepholeVector"}


def gate_fields(weights: Mapping[str, Array], gates: Mapping[str, str]) -> dict[str, Array]:
    return {gates[name[1]] + KINDS[name[0]]: array for name, array in weights.items() if name[1] in gates}


def gru_fields(w: Mapping[str, Array], **fields: Any) -> dict[str, Any]:
    size, size_in = w["Wz"].shape
    arrays = {name: a for name, a in w.items() if name[0] != "p"}
    defaults = {"activations": choose("sigmoid", "tanh"), "sequenceOutput": True, "hasBiasVectors": True}
    sizes = {"inputVectorSize": size_in, "outputVectorSize": size}
    return {**sizes, **defaults, **gate_fields(arrays, GRU_GATES), **fields}


def lstm_fields(w: Mapping[str, Array], params: Mapping[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    size, size_in = w["Wi"].shape
    defaults = {"sequenceOutput": True, "hasBiasVectors": True, "cellClipThreshold": 50000.0}
    return {
        "inputVectorSize": size_in,
        "outputVectorSize": size,
        "activations": choose("sigmoid", "tanh", "tanh"),
        "params": {**defaults, **(params or {})},
        "weightParams": gate_fields(w, LSTM_GATES),
        **fields,
    }


def bi_lstm_fields(
    forward: Mapping[str, Array], backward: Mapping[str, Array], params: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    fields = lstm_fields(forward, params)
    activations = fields.pop("activations")
    fields["weightParams"] = [gate_fields(w, LSTM_GATES) for w in (forward, backward)]
    return fields | {"activationsForwardLSTM": activations, "activationsBackwardLSTM": activations}
