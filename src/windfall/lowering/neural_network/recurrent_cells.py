"""What the recurrent layers have in common: activations, stacked weights, sequences and states.

Source: the section "Recurrent Layers" in NeuralNetwork.proto.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windfall.lowering.neural_network.context import LayerContext, Value
from windfall.lowering.recurrence import Activation

GATE_LIMIT = 50.0
"""The formulas of all recurrent layers clip what goes into an activation to +-50; not what goes into an LSTM's h()."""


def read_activations(ctx: LayerContext, field: str, count: int, message: Any = None) -> list[Activation]:
    """Return the activations in a repeated field.

    Raises:
        LoweringError: There are more or fewer than ``count``, or one is not for recurrent layers.
    """
    stored = getattr(ctx.params if message is None else message, field)
    if len(stored) != count:
        raise ctx.error(field, f"has {len(stored)} entries, must have {count}", value=None)
    return [read_activation(ctx, f"{field}[{index}]", params) for index, params in enumerate(stored)]


def read_activation(ctx: LayerContext, field: str, params: Any) -> Activation:
    """Return one activation.

    Its message may be empty: coremltools' builder writes linear, scaledTanh and sigmoidHard without parameters, and its
    tests compare such models with NumPy's x, tanh(x) and min(max(0.2 x + 0.5, 0), 1). With parameters scaledTanh is
    1.7159 tanh(2/3 x); of the latter two the specification allows no others.
    """
    kind = params.WhichOneof("NonlinearityType")
    if kind not in _READERS:
        raise ctx.error(field, f"must be one of {', '.join(_READERS)}", value=kind or "not set")
    return _READERS[kind](ctx, field, getattr(params, kind))


def _plain(name: str) -> Callable[[LayerContext, str, Any], Activation]:
    return lambda _ctx, _field, _params: Activation(name)


def _linear(_ctx: LayerContext, _field: str, params: Any) -> Activation:
    empty = params.alpha == 0 and params.beta == 0
    return Activation("Affine", 1.0, 0.0) if empty else Activation("Affine", params.alpha, params.beta)


def _fixed(name: str, alpha: float, beta: float, empty: Activation) -> Callable[[LayerContext, str, Any], Activation]:
    def read(ctx: LayerContext, field: str, params: Any) -> Activation:
        if params.alpha == 0 and params.beta == 0:
            return empty
        # The comments write 1.7159 also as 1.71.
        if abs(params.alpha - alpha) < 0.01 and abs(params.beta - beta) < 0.01:
            return Activation(name, params.alpha, params.beta)
        stored = f"{type(params).__name__} with alpha {params.alpha:.6g} and beta {params.beta:.6g}"
        raise ctx.error(field, f"recurrent layers take only alpha {alpha:.6g} and beta {beta:.6g}", value=stored)

    return read


_READERS: dict[str, Callable[[LayerContext, str, Any], Activation]] = {
    "linear": _linear,
    "sigmoid": _plain("Sigmoid"),
    "tanh": _plain("Tanh"),
    "ReLU": _plain("Relu"),
    "scaledTanh": _fixed("ScaledTanh", 1.7159, 2 / 3, Activation("Tanh")),
    "sigmoidHard": _fixed("HardSigmoid", 0.2, 0.5, Activation("HardSigmoid", 0.2, 0.5)),
}


def read_sizes(ctx: LayerContext) -> tuple[int, int]:
    """Return ``inputVectorSize`` and ``outputVectorSize``; a LoweringError if one is 0."""
    for field in ("inputVectorSize", "outputVectorSize"):
        if getattr(ctx.params, field) < 1:
            raise ctx.error(field, "must be at least 1")
    return int(ctx.params.inputVectorSize), int(ctx.params.outputVectorSize)


def stack(ctx: LayerContext, message: Any, fields: Iterable[str], dims: Sequence[int]) -> NDArray[np.float32]:
    """Return the weights in some fields one below the other, with an axis for the direction in front."""
    return np.concatenate([ctx.weights(field, dims, message=message) for field in fields])[np.newaxis]


def to_steps(ctx: LayerContext, x: Value, size: int) -> Value:
    """Return the input [Seq, Batch, C, H, W] as [Seq, Batch, ``inputVectorSize``].

    Raises:
        LoweringError: The rank is not 5 or C*H*W is not ``inputVectorSize``.
    """
    _check_vector(ctx, x, "inputVectorSize", size)
    return ctx.reshape(x, ctx.sizes(x, 0, 2), [size])


def to_state(ctx: LayerContext, state: Value | None, steps: Value, size: int) -> Value | None:
    """Return a state [1, Batch or 1, C, 1, 1] as [1, Batch, ``outputVectorSize``]; None remains None, for zeros.

    A batch of 1 is repeated for all of the input's: state inputs are mostly optional, and then come without a batch.
    [Batch, C, 1, 1, 1] is taken, too: coremltools converts its operator ``rnn`` to a layer with such a state.

    Raises:
        LoweringError: The shape is another one.
    """
    if state is None:
        return None
    if ctx.rank(state) == 5 and ctx.shape(state)[1:] == (size, 1, 1, 1) and ctx.shape(state)[0] == ctx.shape(steps)[1]:
        state = ctx.reshape(state, 1, ctx.sizes(state, 0, 1), [size, 1, 1])
    _check_vector(ctx, state, "outputVectorSize", size)
    length, batch = ctx.shape(state)[:2]
    wanted = ctx.shape(steps)[1]
    if length not in (1, None) or (None not in (batch, wanted) and batch not in (1, wanted)):
        raise ctx.error(
            "input", f"must have Seq 1 and Batch {wanted}", value=f"a state of shape {list(ctx.shape(state))}"
        )
    # [1, b, C, 1, 1] -> [1, b, C] -> [1, Batch, C]
    state = ctx.reshape(state, ctx.sizes(state, 0, 2), [size])
    if batch is not None and batch == wanted:
        return state
    if wanted is not None:
        return ctx.op("Expand", state, ctx.integers([1, wanted, 1]))
    return ctx.op(
        "Expand", state, ctx.op("Concat", ctx.integers([1]), ctx.sizes(steps, 1, 2), ctx.integers([1]), axis=0)
    )


def _check_vector(ctx: LayerContext, x: Value, field: str, size: int) -> None:
    dims = ctx.shape(x)
    if len(dims) != 5:
        raise ctx.error("input", f"has rank {len(dims)}, must be [Seq, Batch, C, 1, 1]; expand its rank", value=None)
    vector = [dim for dim in dims[2:] if dim is not None]
    if len(vector) == 3 and math.prod(vector) != size:
        raise ctx.error(field, f"must be C*H*W of the input, which has the shape {list(dims)}")


def from_state(ctx: LayerContext, state: Value, steps: Value, size: int) -> Value:
    """Return a state as the layer gives it: [1, Batch, C] -> [1, Batch, C, 1, 1]."""
    return ctx.reshape(state, 1, ctx.sizes(steps, 1, 2), [size, 1, 1])


def from_steps(ctx: LayerContext, outputs: Value, steps: Value, size: int, *, reverse: bool) -> Value:
    """Return all steps as the layer gives them: [Seq, 1, Batch, C] -> [Seq, Batch, C, 1, 1].

    With ``reverseInput`` they come in the order they were computed in, that of the last input first: the tests of
    coremltools' own recurrent operators, which compare with PyTorch on Macs, expect what a forward layer gives for the
    reversed input. The layer in ONNX gives them in the order of the inputs.
    """
    if reverse:
        start, end, axis, step = (ctx.integers([value]) for value in (-1, np.iinfo(np.int64).min, 0, -1))
        outputs = ctx.op("Slice", outputs, start, end, axis, step)
    return ctx.reshape(outputs, ctx.sizes(steps, 0, 2), [size, 1, 1])
