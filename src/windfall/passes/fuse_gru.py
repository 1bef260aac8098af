"""Use GRU where a loop stands for it."""

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import InPlacePass, PassResult

from windfall.passes.emitting import Emitter
from windfall.passes.gru_loops import Gru, gru_of
from windfall.passes.loops import learn_shapes, take_apart
from windfall.passes.nodes import integers_of, layer_of, replace, replace_value

_INT32_MAX = 2**31 - 1
"""A Slice that ends here or later ends where the values do."""


class FuseGru(InPlacePass):
    """Compute a recurrent layer with one operator, as coremltools makes a loop of each layer and direction of one.

    Before: h0, zeros -> Concat -> buffer [T + 1, B, H] -> Loop -> Slice(1:) -> y, where step i takes x[i] as x and
            buffer[i] as h, and adds to buffer[i + 1]: z * h + (1 - z) * Tanh(Gemm(x) + r * Gemm(h)),
            with z = Sigmoid(Gemm(x) + Gemm(h)), and so r
    After:  x [T, B, I], h0 [1, B, H] -> GRU(linear_before_reset=1) -> Squeeze -> y [T, B, H]

    Indices and the condition may be computed in any way: what they are in each step is computed beforehand, see
    ``Steps``. Where others use the buffer with h0, it is put together behind the GRU. Of NaN, ONNX Runtime's GRU makes
    other numbers.
    """

    def call(self, model: ir.Model) -> PassResult:
        """See ``onnx_ir.passes.PassBase.call``."""
        modified = False
        for node in list(model.graph):
            found = gru_of(model.graph, node) if node.op_type == "Loop" and node.domain == "" else None
            if found is not None:
                _rewrite(model, found)
                # The next loop may read what this one has made.
                learn_shapes(model.graph)
                modified = True
        return PassResult(model, modified)


def _rewrite(model: ir.Model, found: Gru) -> None:
    emit = Emitter(model, found.loop, layer_of(found.loop))
    y = _recurrence(emit, found)
    take_apart(found.loop)
    for node, index in found.states.uses():
        if node.graph is model.graph and index == 0 and _leaves_first_out(node, found):
            replace(node, _without_direction(emit, found, y))
    if found.states.uses() or found.states.is_graph_output():
        parts = (_state(emit, found), _without_direction(emit, found, y))
        replace_value(found.states, emit.op("Concat", *parts, dims=found.states.shape, axis=0))


def _state(emit: Emitter, found: Gru) -> ir.Value:
    return found.state if isinstance(found.state, ir.Value) else emit.constant(found.state, "state")


def _recurrence(emit: Emitter, found: Gru) -> ir.Value:
    """Emit the GRU, and return its states [T, 1, B, H]."""
    bias = np.concatenate([found.joined("Wb"), found.joined("Rb")])
    weights = [emit.constant(array[None], "weights") for array in (found.joined("W"), found.joined("R"), bias)]
    # A state of zeros is left out, as a constant one is for a batch of this size alone; see ``stacking.py``.
    is_zero = isinstance(found.state, np.ndarray) and not found.state.any()
    states = [] if is_zero else [None, _state(emit, found)]

    def gru(x: ir.Value, length: int | None) -> ir.Value:
        dims = [length, 1, found.batch, found.width]
        return emit.op("GRU", x, *weights, *states, dims=dims, hidden_size=found.width, linear_before_reset=1)

    if isinstance(found.length, int):
        return gru(found.x, found.length)
    # One step more than there are: of none, ONNX Runtime's GRU ends the process.
    y = gru(_with_zeros_behind(emit, found.x), None)
    start, end, axis = (emit.constant(np.array([number]), "const") for number in (0, -1, 0))
    return emit.op("Slice", y, start, end, axis, dims=[found.length, 1, found.batch, found.width])


def _with_zeros_behind(emit: Emitter, x: ir.Value) -> ir.Value:
    """[T, B, I] -> [T + 1, B, I]."""
    assert x.shape is not None, x
    dims = x.shape[1:]
    return emit.op("Concat", x, emit.constant(np.zeros((1, *dims), np.float32)), dims=[None, *dims], axis=0)


def _without_direction(emit: Emitter, found: Gru, y: ir.Value) -> ir.Value:
    """[T, 1, B, H] -> [T, B, H]."""
    return emit.op("Squeeze", y, emit.constant(np.array([1]), "axes"), dims=found.dims)


def _leaves_first_out(node: ir.Node, found: Gru) -> bool:
    """Whether a node takes all rows but the first of the buffer."""
    if node.op_type != "Slice" or node.domain != "":
        return False
    start, end, axes, step = (integers_of(node, index) for index in range(1, 5))
    last = found.length + 1 if isinstance(found.length, int) else _INT32_MAX
    given = (axes if len(node.inputs) > 3 else [0], step if len(node.inputs) > 4 else [1])
    return start == [1] and end is not None and end[0] >= last and given in (([0], [1]), ([-3], [1]))
