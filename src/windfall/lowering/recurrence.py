"""What recurrent nodes have in common: activations, and biases as ONNX has them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from windfall.graph.builder import GraphBuilder
from windfall.lowering.context import GraphContext, Value


@dataclass(frozen=True)
class Activation:
    """An activation by its name in ONNX's RNN, GRU and LSTM, with its parameters."""

    name: str
    alpha: float | None = None
    beta: float | None = None

    def bound(self, limit: float) -> float:
        """Return the largest absolute value that it gives for inputs of up to ``limit``, which may be infinity."""
        return _BOUNDS[self.name](limit, self.alpha or 0.0, self.beta or 0.0)

    @property
    def saturates(self) -> bool:
        """Whether inputs beyond +-50 give what +-50 gives, to 2e-22 (sigmoid) or exactly (the others)."""
        return self.name in ("Sigmoid", "Tanh", "HardSigmoid", "ScaledTanh")

    def apply(self, graph: GraphBuilder, x: Value) -> Value:
        """Add the nodes that compute it."""
        if self.name == "HardSigmoid":
            return graph.op("HardSigmoid", x, alpha=self.alpha, beta=self.beta)
        if self.alpha is None or self.beta is None:
            return graph.op(self.name, x)
        alpha, beta = (graph.constant(np.float32(value)) for value in (self.alpha, self.beta))
        if self.name == "ScaledTanh":
            return graph.op("Mul", graph.op("Tanh", graph.op("Mul", x, beta)), alpha)
        return graph.op("Add", graph.op("Mul", x, alpha), beta)


_BOUNDS: Mapping[str, Callable[[float, float, float], float]] = {
    "Sigmoid": lambda _limit, _alpha, _beta: 1.0,
    "HardSigmoid": lambda _limit, _alpha, _beta: 1.0,
    "Tanh": lambda _limit, _alpha, _beta: 1.0,
    "ScaledTanh": lambda _limit, alpha, _beta: abs(alpha),
    "Relu": lambda limit, _alpha, _beta: limit,
    "Affine": lambda limit, alpha, beta: abs(alpha) * limit + abs(beta) if alpha else abs(beta),
}


def fused_attributes(
    gates: Sequence[Activation], *others: Activation, limit: float | None, directions: int = 1
) -> dict[str, Any]:
    """Return the attributes of ONNX's RNN, GRU and LSTM that say which activations they compute.

    Args:
        gates: The activations whose inputs are clipped.
        others: Those whose inputs are not, as an LSTM's h().
        limit: To what they are clipped, at least 50; None for no limit. Without need there is no ``clip``: engines are
            faster so.
        directions: How often all of them are given, once for each direction.
    """
    activations = [*gates, *others] * directions
    return {
        "activations": [activation.name for activation in activations],
        # Consumed in order by those activations that have the parameter.
        "activation_alpha": [a.alpha for a in activations if a.alpha is not None] or None,
        "activation_beta": [a.beta for a in activations if a.beta is not None] or None,
        "clip": None if all(gate.saturates for gate in gates) else limit,
    }


def doubled_bias(bias: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return ONNX's two bias vectors, the input's and the recursion's, for Core ML's one: [D, N] -> [D, 2*N]."""
    return np.concatenate([bias, np.zeros_like(bias)], axis=1)


def rnn(
    ctx: GraphContext, x: Value, weights: Sequence[Value | None], state: Value | None, **attributes: Any
) -> Sequence[Value]:
    """Add an RNN, and return all its states [T, D, B, H] and the last [D, B, H].

    Args:
        ctx: The graph being built.
        x: [T, B, I].
        weights: W, R and B as ONNX has them.
        state: The first state [D, B, H], None for zeros.
        attributes: The node's.
    """
    return ctx.ops("RNN", x, *weights, None, state, outputs=2, **attributes)


def gru(
    ctx: GraphContext, x: Value, weights: Sequence[Value | None], state: Value | None, **attributes: Any
) -> Sequence[Value]:
    """Add a GRU, as ``rnn`` adds an RNN.

    Of no steps, ONNX Runtime's GRU ends the process. Where there may be none, it is given one more, and told to leave
    that out.
    """
    if ctx.shape(x)[0]:
        return ctx.ops("GRU", x, *weights, None, state, outputs=2, **attributes)
    lengths = ctx.op("Cast", ctx.op("Expand", ctx.sizes(x, 0, 1), ctx.sizes(x, 1, 2)), to=ir.DataType.INT32)
    longer = ctx.op("Pad", x, ctx.integers([0, 0, 0, 1, 0, 0]))
    every, last = ctx.ops("GRU", longer, *weights, lengths, state, outputs=2, **attributes)
    return ctx.op("Slice", every, *(ctx.integers([number]) for number in (0, -1, 0))), last
