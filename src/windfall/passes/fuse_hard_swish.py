"""Use HardSwish where other operators stand for it."""

import math

import onnx_ir as ir
from onnx_ir.passes import InPlacePass, PassResult

from windfall.passes.emitting import Emitter
from windfall.passes.nodes import dims_of, layer_of, number_of, only_producer, replace

_SIXTH = 1 / 6
_ROUNDING = 1e-6
"""How far float32 may be from the number that is meant, relative to it."""


class FuseHardSwish(InPlacePass):
    """Use the operator that engines have for ``x * clip(x / 6 + 1/2, 0, 1)``.

    Before: x -> HardSigmoid(alpha=1/6, beta=1/2) -> s;  x, s -> Mul -> y
    Before: x -> Add(3) -> Clip(0, 6) -> c;  x, c -> Mul -> Div(6) or Mul(1/6) -> y     in any order of the last two
    After:  x -> HardSwish -> y
    Before: x -> Where(x >= -3, x, 0) -> HardSwish -> y                                as coremltools converts it
    After:  x -> HardSwish -> y

    What is no number may become another: of a NaN, ``Where`` makes 0, and engines differ in what they clip it to.
    """

    def call(self, model: ir.Model) -> PassResult:
        """See ``onnx_ir.passes.PassBase.call``."""
        modified = False
        for node in list(model.graph):
            x = _without_threshold(_argument(node))
            if x is not None and node.outputs[0].dtype == ir.DataType.FLOAT:
                dims = dims_of(node.outputs[0])
                replace(
                    node, Emitter(model, node, layer_of(node)).op("HardSwish", x, dims=dims or node.outputs[0].shape)
                )
                modified = True
        return PassResult(model, modified)


def _argument(node: ir.Node) -> ir.Value | None:
    """Return x if a node computes the hard swish of x."""
    if node.domain != "":
        return None
    if node.op_type == "Mul":
        for x, other in (node.inputs, reversed(node.inputs)):
            gate = only_producer(other)
            if x is not None and gate is not None and (_is_gate(gate, x) or _is_gate_of_six(_sixth_of(gate), x)):
                return x
    product = _sixth_of(node)
    return None if product is None else _product_with_gate(product)


def _without_threshold(value: ir.Value | None) -> ir.Value | None:
    """Return x for ``x if x >= -3 else 0``, of which the hard swish is the same as of x; else the value."""
    where = None if value is None else value.producer()
    if where is None or where.op_type != "Where" or number_of(where, 2, 1) != 0 or where.inputs[0] is None:
        return value
    x, test = where.inputs[1], where.inputs[0].producer()
    if test is None or test.op_type != "GreaterOrEqual" or test.inputs[0] is not x or number_of(test, 1, 0) != -3:
        return value
    return x


def _product_with_gate(value: ir.Value) -> ir.Value | None:
    product = only_producer(value)
    if product is None or product.op_type != "Mul":
        return None
    for x, other in (product.inputs, reversed(product.inputs)):
        if x is not None and _is_gate_of_six(other, x):
            return x
    return None


def _is_gate(node: ir.Node, x: ir.Value) -> bool:
    """Whether a node computes clip(x / 6 + 1/2, 0, 1)."""
    if node.op_type != "HardSigmoid" or node.inputs[0] is not x:
        return False
    alpha, beta = node.attributes.get_float("alpha", 0.2), node.attributes.get_float("beta", 0.5)
    return math.isclose(alpha, _SIXTH, rel_tol=_ROUNDING) and math.isclose(beta, 0.5, rel_tol=_ROUNDING)


def _is_gate_of_six(value: ir.Value | None, x: ir.Value) -> bool:
    """Whether a value is clip(x + 3, 0, 6)."""
    clip = only_producer(value)
    if clip is None or clip.op_type != "Clip" or (number_of(clip, 1, -1), number_of(clip, 2, -1)) != (0, 6):
        return False
    adding = only_producer(clip.inputs[0])
    if adding is None or adding.op_type != "Add":
        return False
    ways = ((0, 1), (1, 0))
    return any(adding.inputs[i] is x and number_of(adding, j, 0) == 3 for i, j in ways)


def _sixth_of(node: ir.Node) -> ir.Value | None:
    """Return the value that a node divides by 6."""
    if node.op_type == "Div" and number_of(node, 1, 0) == 6:
        return node.inputs[0]
    if node.op_type != "Mul":
        return None
    for index in (0, 1):
        number = number_of(node, 1 - index, 0)
        if number is not None and math.isclose(number, _SIXTH, rel_tol=_ROUNDING):
            return node.inputs[index]
    return None
