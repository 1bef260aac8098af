"""Use LayerNormalization where an instance normalization stands for it."""

import math

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import InPlacePass, PassResult

from windfall.passes.emitting import Emitter
from windfall.passes.nodes import Floats, array_of, constant_dims, dims_of, layer_of, only_producer, replace


class FuseLayerNormalization(InPlacePass):
    """Normalize each row with one operator, as coremltools makes a layer normalization of several layers.

    Before: x [.., C, D] -> Reshape [.., C, 1, D] -> InstanceNormalization(1, 0) -> Mul(scale [D]) -> Add(bias [D]) -> y
    After:  x -> LayerNormalization(scale, bias) -> Reshape [.., C, 1, D] -> y

    With one row for each channel the two are the same. The Reshape may be missing, and those that are left in a row
    become one, see ``MergeReshapes``.
    """

    def call(self, model: ir.Model) -> PassResult:
        """See ``onnx_ir.passes.PassBase.call``."""
        modified = False
        for node in list(model.graph):
            if node.op_type == "Add" and node.domain == "":
                modified |= _rewrite(model, node)
        return PassResult(model, modified)


def _rewrite(model: ir.Model, adding: ir.Node) -> bool:
    scaling, bias = _by_row(adding)
    norm, scale = (None, None) if scaling is None or scaling.op_type != "Mul" else _by_row(scaling)
    if norm is None or scale is None or bias is None or not _is_of_rows(norm):
        return False
    dims = dims_of(norm.inputs[0])
    assert dims is not None, norm
    x = _before_reshape(norm, dims[-1])
    emit = Emitter(model, adding, layer_of(adding))
    epsilon = norm.attributes.get_float("epsilon", 1e-5)
    parts = (emit.constant(scale, "scale"), emit.constant(bias, "bias"))
    y = emit.op("LayerNormalization", x, *parts, dims=dims_of(x), axis=-1, epsilon=epsilon)
    if x is not norm.inputs[0]:
        y = emit.op("Reshape", y, emit.constant(np.array(dims, np.int64), "sizes"), dims=dims)
    replace(adding, y)
    return True


def _by_row(node: ir.Node) -> tuple[ir.Node | None, Floats | None]:
    """Return what makes an operand of a Mul or Add, and the constant [D] that is the other, for each row alike."""
    dims = dims_of(node.outputs[0])
    for index in (0, 1):
        size = constant_dims(node, 1 - index)
        if dims and size and size[-1] == math.prod(size) == dims[-1] and dims_of(node.inputs[index]) == dims:
            array = array_of(node, 1 - index)
            return only_producer(node.inputs[index]), None if array is None else array.reshape(-1)
    return None, None


def _is_of_rows(node: ir.Node) -> bool:
    """Whether a node normalizes each row of its input by itself, and does no more."""
    dims = dims_of(node.inputs[0])
    if node.op_type != "InstanceNormalization" or dims is None or math.prod(dims[2:-1]) != 1 or len(dims) < 3:
        return False
    if dims[-1] == 1:  # ONNX Runtime 1.30 refuses rows of one number
        return False
    scale, bias = array_of(node, 1), array_of(node, 2)
    is_plain = scale is not None and bias is not None and bool(np.all(scale == 1) and np.all(bias == 0))
    return is_plain and node.outputs[0].dtype == ir.DataType.FLOAT


def _before_reshape(node: ir.Node, width: int) -> ir.Value:
    """Return what a Reshape before a node is given, if that has the same rows; else the node's input."""
    x = node.inputs[0]
    assert x is not None, node
    reshape = x.producer()
    if reshape is None or reshape.op_type != "Reshape" or reshape.inputs[0] is None:
        return x
    source = dims_of(reshape.inputs[0])
    return reshape.inputs[0] if source and source[-1] == width else x
