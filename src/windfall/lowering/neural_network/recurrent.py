"""Simple recurrent layers and gated recurrent units; see ``lstm`` for the others.

Source: ``SimpleRecurrentLayerParams``, ``GRULayerParams`` in NeuralNetwork.proto.
"""

from collections.abc import Callable, Sequence
from typing import Any

from windfall.lowering.neural_network.context import LayerContext, Value
from windfall.lowering.neural_network.recurrent_cells import (
    GATE_LIMIT,
    from_state,
    from_steps,
    read_activation,
    read_activations,
    read_sizes,
    stack,
    to_state,
    to_steps,
)
from windfall.lowering.recurrence import doubled_bias, fused_attributes, gru, rnn


def lower_simple_recurrent(ctx: LayerContext, x: Value, h: Value) -> list[Value]:
    """Compute y_t = f(clip(W x_t + R y_{t-1} + b)) for each vector of a sequence.

    Source: ``SimpleRecurrentLayerParams``.

    Args:
        ctx: The layer and the graph being built.
        x: [Seq, Batch, inputVectorSize, 1, 1].
        h: y_0, [1, Batch, outputVectorSize, 1, 1]; the specification wants it always.

    Returns:
        The outputs, [Seq, Batch, outputVectorSize, 1, 1] with ``sequenceOutput``, else [1, ...], the last; and the
        state after the last step, [1, Batch, outputVectorSize, 1, 1].

    Raises:
        LoweringError: A weight, an activation or an input does not fit.
    """
    params = ctx.params
    size_in, size_out = read_sizes(ctx)
    weights = [
        stack(ctx, params, ["weightMatrix"], (size_out, size_in)),
        stack(ctx, params, ["recursionMatrix"], (size_out, size_out)),
    ]
    if params.hasBiasVector:
        weights.append(doubled_bias(stack(ctx, params, ["biasVector"], (size_out,))))
    attributes = fused_attributes([read_activation(ctx, "activation", params.activation)], limit=GATE_LIMIT)
    return _lower(ctx, rnn, (x, h), weights, attributes)


# ONNX's order of the gates, in which its new memory is the specification's output gate.
_GRU_GATES = ("updateGate", "resetGate", "outputGate")


def lower_gru(ctx: LayerContext, x: Value, h: Value | None = None) -> list[Value]:
    """Compute gated recurrent units.

    Source: ``GRULayerParams``::

        z_t = f(clip(W_z x_t + R_z y_{t-1} + b_z))
        r_t = f(clip(W_r x_t + R_r y_{t-1} + b_r))
        o_t = g(clip(W_o x_t + R_o (y_{t-1} * r_t) + b_o))
        y_t = (1 - z_t) * o_t + z_t * y_{t-1}

    The reset gate comes before the matrix product: ONNX's ``linear_before_reset`` is 0.

    Args:
        ctx: The layer and the graph being built.
        x: [Seq, Batch, inputVectorSize, 1, 1].
        h: y_0, [1, Batch, outputVectorSize, 1, 1]; zeros by default.

    Returns:
        The outputs, [Seq, Batch, outputVectorSize, 1, 1] with ``sequenceOutput``, else [1, ...], the last; and the
        state after the last step, [1, Batch, outputVectorSize, 1, 1].

    Raises:
        LoweringError: A weight, an activation or an input does not fit.
    """
    params = ctx.params
    size_in, size_out = read_sizes(ctx)
    weights = [
        stack(ctx, params, [f"{gate}WeightMatrix" for gate in _GRU_GATES], (size_out, size_in)),
        stack(ctx, params, [f"{gate}RecursionMatrix" for gate in _GRU_GATES], (size_out, size_out)),
    ]
    if params.hasBiasVectors:
        weights.append(doubled_bias(stack(ctx, params, [f"{gate}BiasVector" for gate in _GRU_GATES], (size_out,))))
    attributes = fused_attributes(read_activations(ctx, "activations", 2), limit=GATE_LIMIT)
    return _lower(ctx, gru, (x, h), weights, attributes)


def _lower(
    ctx: LayerContext,
    node: Callable[..., Sequence[Value]],
    inputs: tuple[Value, Value | None],
    weights: list[Any],
    attributes: dict[str, Any],
) -> list[Value]:
    """Add an RNN or GRU node, between reshapes; ``weights`` are W, R and maybe B as ONNX has them."""
    size_in, size_out = read_sizes(ctx)
    reverse = ctx.params.reverseInput
    steps = to_steps(ctx, inputs[0], size_in)
    state = to_state(ctx, inputs[1], steps, size_out)
    names = ("weights", "recursion", "bias")
    values: list[Value | None] = [ctx.constant(array, name) for array, name in zip(weights, names, strict=False)]
    values += [None] * (3 - len(values))
    direction = "reverse" if reverse else "forward"
    every, last = node(ctx, steps, values, state, hidden_size=size_out, direction=direction, **attributes)
    final = from_state(ctx, last, steps, size_out)
    if ctx.params.sequenceOutput:
        return [from_steps(ctx, every, steps, size_out, reverse=reverse), final]
    return [final, final]


LOWERINGS = {"simpleRecurrent": lower_simple_recurrent, "gru": lower_gru}
