"""Recurrent operators.

Source: ``recurrent.py`` among coremltools' operator definitions. In all of them s is the length of the sequence, b the
batch, I the size of an input, H that of a state and D the number of directions. Where a definition leaves something
open, coremltools' tests of it, which passed on Macs, decide.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windfall.lowering.lstm_cell import LstmCell, compute
from windfall.lowering.ml_program.context import Constant, OperationContext, Value
from windfall.lowering.recurrence import Activation, fused_attributes, gru, rnn
from windfall.spec.proto import MIL_pb2

_ACTIVATIONS: Mapping[str, Activation] = {
    "tanh": Activation("Tanh"),
    # With the defaults of the operator of that name, 1 and 1: the tests compare with tanh.
    "scaled_tanh": Activation("Tanh"),
    "sigmoid": Activation("Sigmoid"),
    "hard_sigmoid": Activation("HardSigmoid", 0.2, 0.5),
    "sigmoid_hard": Activation("HardSigmoid", 0.2, 0.5),
    "relu": Activation("Relu"),
    "linear": Activation("Affine", 1.0, 0.0),
}
_DIRECTIONS: Mapping[str, tuple[bool, ...]] = {
    "forward": (False,),
    "reverse": (True,),
    "bidirectional": (False, True),
}
"""For each direction that there is, whether it begins at the end."""

# The place of each of ONNX's gates, or peepholes, among Core ML's.
_LSTM_GATES = (0, 2, 1, 3)  # input, output, forget, cell; Core ML: input, forget, output, cell
_PEEPHOLES = (0, 2, 1)
_GRU_GATES = (2, 0, 1)  # update, reset, new; Core ML: reset, new, update


def lower_rnn(  # noqa: PLR0913, PLR0917 - the operator's own parameters
    ctx: OperationContext,
    x: Value,
    initial_h: Value,
    weight_ih: Constant,
    weight_hh: Constant,
    bias: Constant | None = None,
    direction: str = "forward",
    output_sequence: bool = False,
    activation: str = "tanh",
) -> Sequence[Value]:
    """Compute h_t = activation(W x_t + R h_{t-1} + b) for each input of a sequence.

    Args:
        ctx: The operation and the graph being built.
        x: float [s, b, I].
        initial_h: float [b, H].
        weight_ih: W, [H, I].
        weight_hh: R, [H, H].
        bias: b, [H]; zeros by default.
        direction: ``forward``, or ``reverse`` to begin with the last input, whose output comes first then.
        output_sequence: Whether to give the states after all steps, or after the last.
        activation: What is applied to a sum.

    Returns:
        The states, [s, b, H] or [1, b, H]; and the last, [b, H].

    Raises:
        LoweringError: A shape does not fit, or there is no such direction or activation.
    """
    backward = _directions(ctx, direction, ("forward", "reverse"))
    size = _state_size(ctx, weight_hh)
    weights = [
        _rows(ctx, "weight_ih", [weight_ih], (0,), size, (_input_size(ctx, x, weight_ih),)),
        _rows(ctx, "weight_hh", [weight_hh], (0,), size, (size,)),
        _biases(ctx, {"bias": [bias], "": [None]}, (0,), size),
    ]
    attributes = fused_attributes([_activation(ctx, "activation", activation)], limit=None)
    every, last = _recurrent_node(ctx, rnn, x, initial_h, weights, backward, attributes)
    return _outputs(ctx, every, [last], backward, output_sequence=output_sequence)


def lower_gru(  # noqa: PLR0913, PLR0917 - the operator's own parameters
    ctx: OperationContext,
    x: Value,
    initial_h: Value,
    weight_ih: Constant,
    weight_hh: Constant,
    bias: Constant | None = None,
    direction: str = "forward",
    output_sequence: bool = False,
    recurrent_activation: str = "sigmoid",
    activation: str = "tanh",
    reset_after: bool = False,
    input_bias: Constant | None = None,
) -> Sequence[Value]:
    """Compute gated recurrent units.

    With f the recurrent activation and g the other one::

        r_t = f(W_r x_t + a_r + R_r h_{t-1} + b_r)
        z_t = f(W_z x_t + a_z + R_z h_{t-1} + b_z)
        o_t = g(W_o x_t + a_o + R_o (r_t * h_{t-1}) + b_o)
        h_t = (1 - z_t) * o_t + z_t * h_{t-1}

    and with ``reset_after``, as PyTorch has it::

        o_t = g(W_o x_t + a_o + r_t * (R_o h_{t-1} + b_o))

    The definition says the latter of both, and the reverse of ``reset_after``; the tests have it as above.

    Args:
        ctx: The operation and the graph being built.
        x: float [s, b, I].
        initial_h: float [b, H].
        weight_ih: W_r, W_o and W_z below each other, [3*H, I].
        weight_hh: R_r, R_o and R_z likewise, [3*H, H].
        bias: b_r, b_o and b_z likewise, [3*H]; zeros by default.
        direction: ``forward``, or ``reverse`` to begin with the last input, whose output comes first then.
        output_sequence: Whether to give the states after all steps, or after the last.
        recurrent_activation: f.
        activation: g.
        reset_after: See above; from iOS 18 on.
        input_bias: a_r, a_o and a_z likewise, [3*H]; zeros by default.

    Returns:
        The states, [s, b, H] or [1, b, H]; and the last, [b, H].

    Raises:
        LoweringError: A shape does not fit, or there is no such direction or activation.
    """
    backward = _directions(ctx, direction, ("forward", "reverse"))
    size = _state_size(ctx, weight_hh)
    weights = [
        _rows(ctx, "weight_ih", [weight_ih], _GRU_GATES, size, (_input_size(ctx, x, weight_ih),)),
        _rows(ctx, "weight_hh", [weight_hh], _GRU_GATES, size, (size,)),
        _biases(ctx, {"input_bias": [input_bias], "bias": [bias]}, _GRU_GATES, size),
    ]
    gates = [
        _activation(ctx, "recurrent_activation", recurrent_activation),
        _activation(ctx, "activation", activation),
    ]
    attributes = fused_attributes(gates, limit=None) | {"linear_before_reset": int(reset_after)}
    every, last = _recurrent_node(ctx, gru, x, initial_h, weights, backward, attributes)
    return _outputs(ctx, every, [last], backward, output_sequence=output_sequence)


def lower_lstm(  # noqa: PLR0913, PLR0917 - the operator's own parameters
    ctx: OperationContext,
    x: Value,
    initial_h: Value,
    initial_c: Value,
    weight_ih: Constant,
    weight_hh: Constant,
    bias: Constant | None = None,
    peephole: Constant | None = None,
    weight_ih_back: Constant | None = None,
    weight_hh_back: Constant | None = None,
    bias_back: Constant | None = None,
    peephole_back: Constant | None = None,
    direction: str = "forward",
    output_sequence: bool = False,
    recurrent_activation: str = "sigmoid",
    cell_activation: str = "tanh",
    activation: str = "tanh",
    clip: float | None = None,
) -> Sequence[Value]:
    """Compute a long short-term memory, in one direction or in both.

    With f the recurrent activation, g that of the cell and h the other one::

        i_t = f(W_i x_t + R_i h_{t-1} + p_i * c_{t-1} + b_i)
        f_t = f(W_f x_t + R_f h_{t-1} + p_f * c_{t-1} + b_f)
        z_t = g(W_z x_t + R_z h_{t-1} + b_z)
        c_t = limit(f_t * c_{t-1} + i_t * z_t)                           to +-clip
        o_t = f(W_o x_t + R_o h_{t-1} + p_o * c_t + b_o)
        h_t = o_t * h(c_t)

    Args:
        ctx: The operation and the graph being built.
        x: float [s, b, I].
        initial_h: float [b, D*H], that of the way forward first.
        initial_c: Likewise.
        weight_ih: W_i, W_f, W_o and W_z below each other, [4*H, I].
        weight_hh: R_i, R_f, R_o and R_z likewise, [4*H, H].
        bias: b_i, b_f, b_o and b_z likewise, [4*H]; zeros by default.
        peephole: p_i, p_f and p_o likewise, [3*H]; zeros by default.
        weight_ih_back: W of the way back; for ``bidirectional``, as all that follow.
        weight_hh_back: R of the way back.
        bias_back: b of the way back.
        peephole_back: p of the way back.
        direction: ``forward``, ``bidirectional``, or ``reverse`` to begin with the last input, whose output comes
            first then.
        output_sequence: Whether to give the states after all steps, or after the last.
        recurrent_activation: f.
        cell_activation: g.
        activation: h.
        clip: To what c_t is limited; not at all by default.

    Returns:
        The states, [s, b, D*H] or [1, b, D*H]; the last h and the last c of each direction, each [b, D*H].

    Raises:
        LoweringError: A shape does not fit, a weight of the way back is missing, or there is no such direction or
            activation.
    """
    backward = _directions(ctx, direction, tuple(_DIRECTIONS))
    if clip is not None and not clip >= 0:
        raise ctx.error("clip", "must be at least 0", value=clip)
    both = len(backward) == 2
    for argument, weight in (("weight_ih_back", weight_ih_back), ("weight_hh_back", weight_hh_back)):
        if both and weight is None:
            raise ctx.error(argument, "is missing, must be given where direction is bidirectional")
    size, count = _state_size(ctx, weight_hh), len(backward)
    peepholes = [peephole, peephole_back][:count]
    input_size = _input_size(ctx, x, weight_ih)
    cell = LstmCell(
        size=size,
        activations=[
            _activation(ctx, "recurrent_activation", recurrent_activation),
            _activation(ctx, "cell_activation", cell_activation),
            _activation(ctx, "activation", activation),
        ],
        limit=clip,
        gate_limit=None,
        coupled=False,
        backward=backward,
        weights=_rows(ctx, "weight_ih", [weight_ih, weight_ih_back][:count], _LSTM_GATES, size, (input_size,)),
        recursion=_rows(ctx, "weight_hh", [weight_hh, weight_hh_back][:count], _LSTM_GATES, size, (size,)),
        bias=_biases(ctx, {"bias": [bias, bias_back][:count], "": [None] * count}, _LSTM_GATES, size),
        peepholes=_rows(ctx, "peephole", peepholes, _PEEPHOLES, size, ()) if any(peepholes) else None,
    )
    h, c = _state(ctx, "initial_h", initial_h, x, size, count), _state(ctx, "initial_c", initial_c, x, size, count)
    every, *last = compute(ctx, cell, x, h, c)
    return _outputs(ctx, every, last, backward, output_sequence=output_sequence)


def _directions(ctx: OperationContext, direction: str, allowed: Sequence[str]) -> tuple[bool, ...]:
    if direction not in allowed:
        raise ctx.error("direction", f"must be {', '.join(allowed)}", value=repr(direction))
    return _DIRECTIONS[direction]


def _activation(ctx: OperationContext, argument: str, name: str) -> Activation:
    if name.lower() not in _ACTIVATIONS:
        raise ctx.error(argument, f"must be one of {', '.join(_ACTIVATIONS)}", value=repr(name))
    return _ACTIVATIONS[name.lower()]


def _state_size(ctx: OperationContext, weight_hh: Constant) -> int:
    if len(weight_hh.dims) != 2 or weight_hh.dims[1] < 1:
        raise ctx.error("weight_hh", "must be a matrix of at least 1 column", value=f"of shape {list(weight_hh.dims)}")
    return weight_hh.dims[1]


def _input_size(ctx: OperationContext, x: Value, weight_ih: Constant) -> int:
    """Return the size of an input, checking that x and the weight agree on it."""
    dims = ctx.shape(x)
    if len(dims) != 3:
        raise ctx.error("x", "must have rank 3, [s, b, I]", value=f"of rank {len(dims)}")
    size = dims[2] if dims[2] is not None else weight_ih.dims[-1] if weight_ih.dims else 0
    if size < 1:
        raise ctx.error("x", "must have inputs of at least 1 number", value=f"of shape {list(dims)}")
    return size


def _rows(
    ctx: OperationContext,
    argument: str,
    given: Sequence[Constant | None],
    order: Sequence[int],
    size: int,
    rest: tuple[int, ...],
) -> Value:
    """Return a weight of all directions in ONNX's order of gates, [D, gates * size, *rest]; read when needed.

    Args:
        ctx: The operation and the graph being built.
        argument: The weight's name in the definition.
        given: The weight of each direction, [gates * size, *rest]; None for zeros.
        order: The place of each of ONNX's gates among Core ML's.
        size: How many rows a gate has.
        rest: The other sizes.
    """
    dims = (len(order) * size, *rest)
    _check_dims(ctx, argument, given, dims)
    constant = Constant(MIL_pb2.FLOAT32, (len(given), *dims), lambda: _stacked(given, dims, order))
    return constant.value(ctx.graph, argument)


def _biases(
    ctx: OperationContext,
    given: Mapping[str, Sequence[Constant | None]],
    order: Sequence[int],
    size: int,
) -> Value | None:
    """Return ONNX's two biases, that of the inputs and that of the states, [D, 2 * gates * size]; None for none.

    Args:
        ctx: The operation and the graph being built.
        given: For both, its name in the definition and what there is of it for each direction.
        order: The place of each of ONNX's gates among Core ML's.
        size: How many values a gate has.
    """
    if not any(bias is not None for biases in given.values() for bias in biases):
        return None
    dims = (len(order) * size,)
    for argument, biases in given.items():
        _check_dims(ctx, argument, biases, dims)
    halves = [_stacked(biases, dims, order) for biases in given.values()]
    return ctx.constant(np.concatenate(halves, axis=1), "bias")


def _check_dims(ctx: OperationContext, argument: str, given: Sequence[Constant | None], dims: tuple[int, ...]) -> None:
    for name, weight in zip((argument, f"{argument}_back"), given, strict=False):
        if weight is not None and weight.dims != dims:
            raise ctx.error(name, f"must have the shape {list(dims)}", value=f"of shape {list(weight.dims)}")


def _stacked(given: Sequence[Constant | None], dims: tuple[int, ...], order: Sequence[int]) -> NDArray[Any]:
    """Return the weight of each direction with its gates in another order, zeros where there is none."""
    stacked = np.zeros((len(given), *dims), np.float32)
    for direction, weight in enumerate(given):
        if weight is not None:
            stacked[direction] = weight.array.reshape(len(order), -1)[list(order)].reshape(dims)
    return stacked


def _state(ctx: OperationContext, argument: str, state: Value, x: Value, size: int, directions: int) -> Value:
    """Return an initial state [b, D*H] as [D, b, H]."""
    dims, batch = ctx.shape(state), ctx.shape(x)[1]
    wanted = (batch, directions * size)
    if len(dims) != 2 or any(None not in pair and pair[0] != pair[1] for pair in zip(dims, wanted, strict=True)):
        rule = f"must be {['?' if batch is None else batch, directions * size]}, [b, D*H]"
        raise ctx.error(argument, rule.replace("'", ""), value=f"of shape {list(dims)}")
    split = ctx.reshape(state, ctx.sizes(state, 0, 1), directions, size)
    return ctx.op("Transpose", split, perm=[1, 0, 2])


def _recurrent_node(
    ctx: OperationContext,
    node: Callable[..., Sequence[Value]],
    x: Value,
    initial_h: Value,
    weights: Sequence[Value | None],
    backward: tuple[bool, ...],
    attributes: dict[str, Any],
) -> Sequence[Value]:
    """Add an RNN or GRU of one direction; ``weights`` are W, R and B as ONNX has them."""
    size = ctx.shape(_present(weights[1]))[-1] or 0
    state = _state(ctx, "initial_h", initial_h, x, size, 1)
    direction = "reverse" if backward[0] else "forward"
    return node(ctx, x, weights, state, hidden_size=size, direction=direction, **attributes)


def _present(value: Value | None) -> Value:
    assert value is not None
    return value


def _outputs(
    ctx: OperationContext,
    every: Value,
    last: Sequence[Value],
    backward: tuple[bool, ...],
    *,
    output_sequence: bool,
) -> list[Value]:
    """Return what an operator gives, for what its node does: [s, D, b, H] and some of [D, b, H].

    With one direction the states come in the order they were computed in, that of the last input first for
    ``reverse``; ONNX gives them in the order of the inputs.
    """
    width = len(backward) * (ctx.shape(last[0])[2] or 0)
    finals = [ctx.reshape(ctx.op("Transpose", state, perm=[1, 0, 2]), ctx.sizes(state, 1, 2), width) for state in last]
    if not output_sequence:
        return [ctx.op("Unsqueeze", finals[0], ctx.integers([0])), *finals]
    states = ctx.op("Transpose", every, perm=[0, 2, 1, 3])
    states = ctx.reshape(states, ctx.sizes(every, 0, 1), ctx.sizes(every, 2, 3), width)
    if backward == (True,):
        start, end, axis, step = (ctx.integers([value]) for value in (-1, np.iinfo(np.int64).min, 0, -1))
        states = ctx.op("Slice", states, start, end, axis, step)
    return [states, *finals]


LOWERINGS: Mapping[str, Callable[..., Any]] = {"gru": lower_gru, "lstm": lower_lstm, "rnn": lower_rnn}
