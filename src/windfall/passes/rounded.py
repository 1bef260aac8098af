"""What is rounded to codes of 8 bits, and how: ``QuantizeLinear`` and ``DequantizeLinear`` with one scale for all."""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from windfall.passes.emitting import Emitter
from windfall.passes.nodes import array_of, layer_of, number_of, only_user, replace

LEAST_CODE, MOST_CODE = 0, 255


@dataclass(frozen=True)
class Steps:
    """Codes of uint8: ``scale * (code - zero)``.

    Attributes:
        scale: float32, above 0.
        zero: 0 to 255.
    """

    scale: np.float32
    zero: int

    def code(self, number: float) -> int:
        """Return the code of a number, as ``QuantizeLinear`` rounds it."""
        with np.errstate(over="ignore"):
            steps = np.rint(np.float32(number) / self.scale) + self.zero
        return int(np.clip(steps, LEAST_CODE, MOST_CODE))


def steps_of(node: ir.Node | None, op_type: str) -> Steps | None:
    """Return how a node makes codes of numbers, or numbers of codes; None for other nodes and several scales."""
    if node is None or node.op_type != op_type or node.domain:
        return None
    scale, zero = array_of(node, 1), array_of(node, 2)
    if scale is None or zero is None or scale.size != 1 or zero.size != 1 or zero.dtype != np.uint8:
        return None
    step = np.float32(scale.item())
    return Steps(step, int(zero.item())) if np.isfinite(step) and step > 0 else None


def given_steps(value: ir.Value | None) -> Steps | None:
    """Return how the numbers of a value were rounded, those that nodes have moved, too; None if they were not."""
    node = None if value is None else value.producer()
    while node is not None and node.op_type in _MOVING and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    return steps_of(node, "DequantizeLinear")


_MOVING = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})


@dataclass(frozen=True)
class Rounding:
    """The rounding of a value, or of what an activation makes of it.

    Attributes:
        node: The ``QuantizeLinear``.
        steps: How it rounds.
        move: A Reshape between the value and the others, if any.
        activation: A Relu or Clip between the value and it, if any.
    """

    node: ir.Node
    steps: Steps
    move: ir.Node | None
    activation: ir.Node | None


def rounding_of(value: ir.Value) -> Rounding | None:
    """Return how a value is rounded; None if anything else uses it or what lies behind it."""
    user, move, activation = only_user(value), None, None
    if user is not None and user.op_type == "Reshape" and user.inputs[0] is value:
        move, user = user, only_user(user.outputs[0])
    if user is not None and user.op_type in ("Relu", "Clip") and _limits(user) is not None:
        activation, user = user, only_user(user.outputs[0])
    steps = steps_of(user, "QuantizeLinear")
    return None if user is None or steps is None else Rounding(user, steps, move, activation)


def _limits(activation: ir.Node) -> tuple[float, float] | None:
    """Return the least and the largest number that a Relu or Clip gives; None if they are not constant."""
    if activation.op_type == "Relu":
        return 0.0, float("inf")
    least, most = number_of(activation, 1, -float("inf")), number_of(activation, 2, float("inf"))
    return None if least is None or most is None or not least <= most else (least, most)


def round_first(model: ir.Model, value: ir.Value, rounding: Rounding) -> bool:
    """Let a value be rounded itself, and what lies behind it take codes; False if nothing does.

    Before: value -> [Reshape] -> [Relu or Clip] -> QuantizeLinear -> codes
    After:  value -> QuantizeLinear -> [Reshape] -> [Clip(codes of the limits)] -> codes

    Rounding never turns two numbers round, so that the codes are the same. The Clip is left out where all codes lie
    between the limits. Engines fuse a layer with the rounding right behind it alone.
    """
    node, move = rounding.node, rounding.move
    if move is None and rounding.activation is None:
        return False
    emit = Emitter(model, node, layer_of(node))
    codes = emit.op("QuantizeLinear", value, *node.inputs[1:], dtype=ir.DataType.UINT8, dims=value.shape)
    if move is not None:
        kept = {name: attribute.value for name, attribute in move.attributes.items()}
        shape = move.outputs[0].shape
        codes = emit.op("Reshape", codes, move.inputs[1], dtype=ir.DataType.UINT8, dims=shape, **kept)
    limits = None if rounding.activation is None else _limits(rounding.activation)
    if limits is not None:
        low, high = (rounding.steps.code(limit) for limit in limits)
        codes = codes if _lies_within(node.outputs[0], low, high) else limited(emit, codes, low, high)
    replace(node, codes)
    return True


def _lies_within(codes: ir.Value, low: int, high: int) -> bool:
    """Whether limits change nothing, as all codes lie between them, or as the only user has narrower ones."""
    least, most = LEAST_CODE, MOST_CODE
    user = only_user(codes)
    if user is not None and user.op_type == "Clip":
        found = [array_of(user, index) for index in (1, 2)]
        least, most = (
            edge if array is None else int(array.item()) for edge, array in zip((least, most), found, strict=True)
        )
    return low <= least and high >= most


def limited(emit: Emitter, codes: ir.Value, low: int, high: int) -> ir.Value:
    """Limit codes."""
    edges = emit.constant(np.uint8(low), "least"), emit.constant(np.uint8(high), "most")
    return emit.op("Clip", codes, *edges, dtype=ir.DataType.UINT8, dims=codes.shape)
