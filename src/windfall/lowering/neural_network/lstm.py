"""Long short-term memory, in one direction or in both.

Source: ``LSTMParams``, ``LSTMWeightParams``, ``UniDirectionalLSTMLayerParams`` and ``BiDirectionalLSTMLayerParams`` in
NeuralNetwork.proto::

    i_t = f(clip(W_i x_t + R_i y_{t-1} + p_i * c_{t-1} + b_i))
    f_t = f(clip(W_f x_t + R_f y_{t-1} + p_f * c_{t-1} + b_f))       1 - i_t with coupledInputAndForgetGate
    z_t = g(clip(W_z x_t + R_z y_{t-1} + b_z))
    c_t = limit(c_{t-1} * f_t + i_t * z_t)                           to +-cellClipThreshold
    o_t = f(clip(W_o x_t + R_o y_{t-1} + p_o * c_t + b_o))
    y_t = h(c_t) * o_t

ONNX's LSTM computes the same but for one thing: it does not limit c_t (its own ``clip`` is the one of the formulas).
See ``lstm_cell``.

``forgetBias`` adds nothing, although its comment says that a vector of ones is added to b_f. coremltools 2 and 3 set
it from Keras' ``unit_forget_bias``, which concerns the initial value of b_f only, passed the trained biases unchanged,
and their numeric tests against Keras passed on Macs. A published activity classifier keeps 97 % of its recorded
labels without the addition and 90 % with it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from windfall.lowering.lstm_cell import LstmCell, compute
from windfall.lowering.neural_network.context import LayerContext, Value
from windfall.lowering.neural_network.recurrent_cells import (
    GATE_LIMIT,
    from_state,
    from_steps,
    read_activations,
    read_sizes,
    stack,
    to_state,
    to_steps,
)
from windfall.lowering.recurrence import Activation, doubled_bias

_DEFAULT_CELL_LIMIT = 50.0

# In ONNX's order.
_GATES = ("inputGate", "outputGate", "forgetGate", "blockInput")
_PEEPHOLES = ("inputGatePeepholeVector", "outputGatePeepholeVector", "forgetGatePeepholeVector")


def lower_uni_directional_lstm(
    ctx: LayerContext, x: Value, h: Value | None = None, c: Value | None = None
) -> list[Value]:
    """Compute an LSTM; see this module.

    Source: ``UniDirectionalLSTMLayerParams``.

    Args:
        ctx: The layer and the graph being built.
        x: [Seq, Batch, inputVectorSize, 1, 1].
        h: y_0, [1, Batch, outputVectorSize, 1, 1]; zeros by default.
        c: c_0, likewise.

    Returns:
        The outputs, [Seq, Batch, outputVectorSize, 1, 1] with ``sequenceOutput``, else [1, ...], the last; then y and c
        after the last step, each [1, Batch, outputVectorSize, 1, 1].

    Raises:
        LoweringError: A weight, an activation or an input does not fit.
    """
    params = ctx.params
    cell = _read_cell(ctx, [params.weightParams], read_activations(ctx, "activations", 3), (params.reverseInput,))
    steps = to_steps(ctx, x, int(params.inputVectorSize))
    every, last, memory = compute(
        ctx, cell, steps, to_state(ctx, h, steps, cell.size), to_state(ctx, c, steps, cell.size)
    )
    last, memory = (from_state(ctx, state, steps, cell.size) for state in (last, memory))
    if not params.params.sequenceOutput:
        return [last, last, memory]
    return [from_steps(ctx, every, steps, cell.size, reverse=params.reverseInput), last, memory]


def lower_bi_directional_lstm(
    ctx: LayerContext,
    x: Value,
    h: Value | None = None,
    c: Value | None = None,
    h_back: Value | None = None,
    c_back: Value | None = None,
) -> list[Value]:
    """Compute two LSTMs, one from the first input on, one from the last, and put their outputs side by side.

    Source: ``BiDirectionalLSTMLayerParams``; its comment shows the order of the outputs.

    Args:
        ctx: The layer and the graph being built.
        x: [Seq, Batch, inputVectorSize, 1, 1].
        h: y_0 of the first LSTM, [1, Batch, outputVectorSize, 1, 1]; zeros by default.
        c: c_0 of the first LSTM, likewise.
        h_back: y_0 of the second, likewise.
        c_back: c_0 of the second, likewise.

    Returns:
        The outputs, [Seq, Batch, 2*outputVectorSize, 1, 1] with ``sequenceOutput``, else [1, ...], those after the last
        step of each; then the four states after the last step, in the order of the inputs.

    Raises:
        LoweringError: A weight, an activation or an input does not fit.
    """
    params = ctx.params
    if len(params.weightParams) != 2:
        raise ctx.error("weightParams", f"has {len(params.weightParams)} entries, must have 2", value=None)
    activations = read_activations(ctx, "activationsForwardLSTM", 3)
    if read_activations(ctx, "activationsBackwardLSTM", 3) != activations:
        raise ctx.error("activationsBackwardLSTM", "must be the same as activationsForwardLSTM", value=None)
    cell = _read_cell(ctx, params.weightParams, activations, (False, True))
    steps = to_steps(ctx, x, int(params.inputVectorSize))
    given = [to_state(ctx, state, steps, cell.size) for state in (h, c, h_back, c_back)]
    every, last, memory = compute(ctx, cell, steps, _pair(ctx, given[0::2]), _pair(ctx, given[1::2]))
    # [2, Batch, C] -> two of [1, Batch, C]
    y, y_back = ctx.ops("Split", last, outputs=2, axis=0, num_outputs=2)
    cell_state, cell_state_back = ctx.ops("Split", memory, outputs=2, axis=0, num_outputs=2)
    if params.params.sequenceOutput:
        # [Seq, 2, Batch, C] -> [Seq, Batch, 2, C]
        joined = ctx.op("Transpose", every, perm=[0, 2, 1, 3])
        joined = ctx.reshape(joined, ctx.sizes(steps, 0, 2), [2 * cell.size, 1, 1])
    else:
        joined = from_state(ctx, ctx.op("Concat", y, y_back, axis=2), steps, 2 * cell.size)
    finals = (y, cell_state, y_back, cell_state_back)
    return [joined, *(from_state(ctx, state, steps, cell.size) for state in finals)]


def _pair(ctx: LayerContext, states: Sequence[Value | None]) -> Value | None:
    """Return the states of both directions as [2, Batch, C], None if both are None."""
    present = next((state for state in states if state is not None), None)
    if present is None:
        return None
    zeros = ctx.op("Mul", present, ctx.floats(0)) if None in states else None
    return ctx.op("Concat", *(zeros if state is None else state for state in states), axis=0)


def _read_cell(
    ctx: LayerContext, directions: Sequence[Any], activations: Sequence[Activation], backward: tuple[bool, ...]
) -> LstmCell:
    """Read the parameters; ``directions`` are the ``LSTMWeightParams``."""
    size_in, size = read_sizes(ctx)
    params = ctx.params.params
    limit = params.cellClipThreshold
    if not limit >= 0:
        raise ctx.error("params.cellClipThreshold", "must be at least 0", value=limit)

    def gather(name: str, fields: Sequence[str], dims: Sequence[int]) -> Value:
        array = np.concatenate([stack(ctx, message, fields, dims) for message in directions])
        return ctx.constant(doubled_bias(array) if name == "bias" else array, name)

    return LstmCell(
        size=size,
        activations=activations,
        limit=limit or _DEFAULT_CELL_LIMIT,
        gate_limit=GATE_LIMIT,
        coupled=params.coupledInputAndForgetGate,
        backward=backward,
        weights=gather("weights", [f"{gate}WeightMatrix" for gate in _GATES], (size, size_in)),
        recursion=gather("recursion", [f"{gate}RecursionMatrix" for gate in _GATES], (size, size)),
        bias=gather("bias", [f"{gate}BiasVector" for gate in _GATES], (size,)) if params.hasBiasVectors else None,
        peepholes=gather("peepholes", _PEEPHOLES, (size,)) if params.hasPeepholeVectors else None,
    )


LOWERINGS = {
    "uniDirectionalLSTM": lower_uni_directional_lstm,
    "biDirectionalLSTM": lower_bi_directional_lstm,
}
