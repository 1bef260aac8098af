"""Hold rounded activations as uint8, whatever the model calls them."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import InPlacePass, PassResult

from windfall.passes.emitting import Emitter
from windfall.passes.nodes import array_of, layer_of, number_of
from windfall.passes.rounded import LEAST_CODE, MOST_CODE, limited, steps_of

_SHIFT = 128
_MOST_SIGNED = 127


class UnsignedCodes(InPlacePass):
    """Move codes of int8 into the range of uint8.

    Before: x -> QuantizeLinear(s, int8 z) -> codes -> DequantizeLinear(s, int8 z) -> y
    After:  x -> QuantizeLinear(s, uint8 z + 128) -> codes -> DequantizeLinear(s, uint8 z + 128) -> y
    or, where x is never below 0,
            x -> QuantizeLinear(s, uint8 0) -> Clip(most=127 - z) -> codes -> DequantizeLinear(s, uint8 0) -> y

    The numbers stay the same. ONNX Runtime does the first for x86-64, where its kernels take uint8, but version 1.32
    fails on nodes behind a Reshape. In the second, z being 0 mostly, a code has 7 bits, so that two products with
    weights of 8 fit into 16: for processors without VNNI that is what their fastest kernels need to be exact.
    Codes that anything else uses stay.
    """

    def call(self, model: ir.Model) -> PassResult:
        """See ``onnx_ir.passes.PassBase.call``."""
        chosen = [node for node in model.graph if node.op_type == "QuantizeLinear" and _can_move(node)]
        for node in chosen:
            _move(model, node)
        return PassResult(model, bool(chosen))


def _is_signed(node: ir.Node) -> bool:
    zero = array_of(node, 2)
    return zero is not None and zero.dtype == np.int8


def _can_move(node: ir.Node) -> bool:
    codes = node.outputs[0]
    if not _is_signed(node) or codes.is_graph_output() or "output_dtype" in node.attributes:
        return False
    return all(user.op_type == "DequantizeLinear" and _is_signed(user) for user in codes.consumers())


def _move(model: ir.Model, node: ir.Node) -> None:
    codes = node.outputs[0]
    users = list(codes.consumers())
    zeros = [array for each in (node, *users) if (array := array_of(each, 2)) is not None]
    codes.type = ir.TensorType(ir.DataType.UINT8)
    one = zeros[0].size == 1 and all(np.array_equal(zero, zeros[0]) for zero in zeros)
    shift = -int(zeros[0].item()) if one and never_negative(node.inputs[0]) else _SHIFT
    for each, zero in zip((node, *users), zeros, strict=True):
        moved = (zero.astype(np.int16) + shift).astype(np.uint8)
        each.replace_input_with(2, Emitter(model, each, layer_of(each)).constant(moved, "zero"))
    if users and _MOST_SIGNED + shift < MOST_CODE:
        emit = Emitter(model, users[0], layer_of(node))
        narrow = limited(emit, codes, LEAST_CODE, _MOST_SIGNED + shift)
        for user in users:
            user.replace_input_with(0, narrow)


def most_code(value: ir.Value | None) -> int:
    """Return the largest code that a value of rounded numbers may stand for."""
    node = None if value is None else value.producer()
    while node is not None and node.op_type in ("DequantizeLinear", *_MOVING) and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    if node is None or node.op_type != "Clip":
        return MOST_CODE
    most = array_of(node, 2)
    return MOST_CODE if most is None or most.dtype != np.uint8 else int(most.item())


_MOVING = ("Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")


def never_negative(value: ir.Value | None) -> bool:
    """Whether nothing in a value is below 0, as far as some nodes before it tell."""
    waiting: list[tuple[ir.Value | None, int]] = [(value, 0)]
    while waiting:
        last, depth = waiting.pop()
        node = None if last is None else last.producer()
        if node is None or node.domain or depth > _FARTHEST:
            return False
        if _RAISING.get(node.op_type, _never)(node):
            continue
        if node.op_type not in _KEEPING:
            return False
        inputs: Sequence[ir.Value | None] = node.inputs if node.op_type in _OF_ALL else node.inputs[:1]
        waiting.extend((each, depth + 1) for each in inputs)
    return True


_FARTHEST = 8


def _never(_node: ir.Node) -> bool:
    return False


def _always(_node: ir.Node) -> bool:
    return True


def _has_floor(clip: ir.Node) -> bool:
    least = number_of(clip, 1, -1.0)
    return least is not None and least >= 0


def _starts_at_zero(node: ir.Node) -> bool:
    steps = steps_of(node, "DequantizeLinear")
    return steps is not None and steps.zero == LEAST_CODE


_RAISING: Mapping[str, Callable[[ir.Node], bool]] = {
    **dict.fromkeys(("Relu", "Sigmoid", "Softmax"), _always),
    "Clip": _has_floor,
    "DequantizeLinear": _starts_at_zero,
}
"""The operators whose results are never below 0, and which of their nodes."""
_OF_ALL = frozenset({"Add", "Concat"})
_KEEPING = _OF_ALL | {"AveragePool", "GlobalAveragePool", "MaxPool", "ReduceMean", *_MOVING}
"""The operators whose results are not below 0 where their inputs are not."""
