"""Fold a scale and a bias that stand before a convolution into its weights."""

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes import InPlacePass, PassResult

Floats = NDArray[np.float32]


class FoldAffineIntoConv(InPlacePass):
    """Let the first convolution do what an image's preprocessing does: ``channelScale * x + bias``.

    Before: x -> Mul(scale) -> Add(bias) -> [Pad(reflect or edge)] -> Conv(W, b) -> y
    After:  x -> [Pad(reflect or edge)] -> Conv(W * scale, b + sum over C, kH, kW of W * bias) -> y

    A bias may not go into a convolution that pads with zeros: the zeros would have to be ``-bias / scale``. Then it
    stays, and so does the scale before it. Reflected and repeated borders hold biased values already.
    Mul and Add stay as they are if others use them.
    """

    def call(self, model: ir.Model) -> PassResult:
        """See ``onnx_ir.passes.PassBase.call``."""
        modified = False
        for node in list(model.graph):
            while node.op_type == "Conv" and _fold_one(model.graph, node):
                modified = True
        return PassResult(model, modified)


def _fold_one(graph: ir.Graph, conv: ir.Node) -> bool:
    """Fold the Mul or Add before one convolution; False if there is none that can be folded."""
    pad, affine = _before(conv)
    weight = conv.inputs[1]
    if affine is None or weight is None or weight.const_value is None or conv.attributes.get_int("group", 1) != 1:
        return False
    channels = weight.const_value.shape.numpy()[1]
    operand = _per_channel(affine, channels)
    if operand is None or (affine.op_type == "Add" and _pads_with_zeros(conv)):
        return False
    _FOLDS[affine.op_type](graph, conv, operand.reshape(1, channels, 1, 1))
    (pad or conv).replace_input_with(0, affine.inputs[0])
    graph.remove(affine, safe=True)
    return True


def _before(conv: ir.Node) -> tuple[ir.Node | None, ir.Node | None]:
    """Return the Pad, if any, and the Mul or Add before it, if any, that the convolution alone uses."""
    pad = None
    producer = _only_producer(conv)
    if producer is not None and producer.op_type == "Pad" and producer.attributes.get_string("mode") in _COPYING:
        pad, producer = producer, _only_producer(producer)
    return pad, producer if producer is not None and producer.op_type in _FOLDS else None


_COPYING = ("reflect", "edge")


def _only_producer(node: ir.Node) -> ir.Node | None:
    """Return the node that makes a node's first input, if nothing else uses it."""
    value = node.inputs[0]
    if value is None or value.is_graph_output() or len(value.uses()) != 1:
        return None
    return value.producer()


def _per_channel(node: ir.Node, channels: int) -> Floats | None:
    """Return the constant operand of a Mul or Add as one number per channel, None if it is anything else."""
    operand = node.inputs[1]
    if operand is None or operand.const_value is None:
        return None
    array = operand.const_value.numpy()
    per_channel = array.ndim >= 3 and array.size == channels == array.shape[-3]
    return np.broadcast_to(array.reshape(-1), channels) if array.size == 1 or per_channel else None


def _pads_with_zeros(conv: ir.Node) -> bool:
    auto_pad = conv.attributes.get_string("auto_pad", "NOTSET")
    return auto_pad not in ("NOTSET", "VALID") or any(conv.attributes.get_ints("pads", ()))


def _fold_scale(graph: ir.Graph, conv: ir.Node, scale: Floats) -> None:
    _set_constant(graph, conv, 1, _constant(conv, 1) * scale)


def _fold_bias(graph: ir.Graph, conv: ir.Node, bias: Floats) -> None:
    moved = (_constant(conv, 1).astype(np.float64) * bias).sum(axis=(1, 2, 3))
    if len(conv.inputs) > 2 and conv.inputs[2] is not None:
        moved = moved + _constant(conv, 2)
    conv.resize_inputs(3)
    _set_constant(graph, conv, 2, moved.astype(np.float32))


_FOLDS = {"Mul": _fold_scale, "Add": _fold_bias}


def _constant(conv: ir.Node, index: int) -> Floats:
    value = conv.inputs[index]
    assert value is not None, conv
    assert value.const_value is not None, conv
    return value.const_value.numpy()


def _set_constant(graph: ir.Graph, conv: ir.Node, index: int, array: Floats) -> None:
    """Give a convolution an initializer of its own; others may use the one it had."""
    name = f"{conv.name}.folded{index}"
    if name in graph.initializers:
        value = graph.initializers[name]
    else:
        value = ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(ir.DataType.FLOAT))
    value.const_value = ir.tensor(array)
    graph.register_initializer(value)
    conv.replace_input_with(index, value)
