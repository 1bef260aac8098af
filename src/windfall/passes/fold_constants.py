"""Compute what depends on constants alone once, and not in each prediction."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes import InPlacePass, PassResult

from windfall.errors import EngineError
from windfall.graph.attributes import bodies_of
from windfall.passes.emitting import Emitter
from windfall.passes.nodes import dims_of, layer_of, replace_value
from windfall.runtime.engine import EngineOptions
from windfall.runtime.onnxruntime import OnnxRuntime
from windfall.runtime.serialized import SerializedModel

_BUDGET = 2**23
"""Bytes that all results may have together: they are in memory, and in the cache, where weights lie in their file."""
_MOST_READ = 2**26
"""Bytes that all they are computed from may have together: those are read for it, and are in memory for a while."""
_KEPT = frozenset({
    "Bernoulli", "DequantizeLinear", "Multinomial", "QuantizeLinear", "RandomNormalLike", "RandomUniformLike",
})  # fmt: skip
"""Operators that draw numbers, or of whose operands engines make use."""
_MOVES = frozenset({"Cast", "Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
"""Operators that engines apply to a weight when they compile a graph: it stays in its file until then."""
_TYPES = frozenset({
    ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE, ir.DataType.BOOL, ir.DataType.INT8, ir.DataType.INT16,
    ir.DataType.INT32, ir.DataType.INT64, ir.DataType.UINT8, ir.DataType.UINT16, ir.DataType.UINT32,
    ir.DataType.UINT64,
})  # fmt: skip
"""The types that NumPy has."""


class FoldConstants(InPlacePass):
    """Put constants in the place of what is computed from constants alone.

    Before: mask, places -> GatherND -> Cast -> m;  m, 0, -inf -> Where -> bias;  scores, bias -> Add
    After:  scores, bias -> Add                                                      bias being a constant

    Engines do so, too, when they compile a graph, but before that OpenVINO may not be given one with such operators:
    the masks of nearly all transformers. ONNX Runtime computes the constants. What it cannot compute stays, to fail
    where it is run; so does what would need more memory than ``_BUDGET``, from there on.
    """

    def call(self, model: ir.Model) -> PassResult:
        """See ``onnx_ir.passes.PassBase.call``."""
        nodes = _constant_nodes(model.graph)
        wanted = _results(nodes)
        arrays = _computed(model, nodes, wanted) if wanted else []
        for value, array in zip(wanted, arrays, strict=False):
            node = value.producer()
            assert node is not None, value
            replace_value(value, Emitter(model, node, layer_of(node)).constant(array))
        return PassResult(model, modified=bool(arrays))


def _constant_nodes(graph: ir.Graph) -> Sequence[ir.Node]:
    """Return the nodes of which all operands are constants, or results of such nodes, within the budget."""
    nodes: list[ir.Node] = []
    known: set[ir.Value] = set()
    left = _BUDGET
    for node in graph:
        size = _size(node.outputs)
        if _may_be_computed(node, known) and size is not None and size <= left:
            nodes.append(node)
            known.update(node.outputs)
            left -= size
    return nodes


def _may_be_computed(node: ir.Node, known: set[ir.Value]) -> bool:
    operands = [value for value in node.inputs if value is not None]
    if not operands or node.domain != "" or node.op_type in _KEPT:
        return False
    if node.op_type in _MOVES and operands[0] not in known:
        return False
    return not bodies_of(node) and all(value in known or _is_constant(value) for value in operands)


def _is_constant(value: ir.Value) -> bool:
    size = _size([value])
    return value.const_value is not None and not value.is_graph_input() and size is not None and size <= _BUDGET


def _size(values: Iterable[ir.Value]) -> int | None:
    """Return how many bytes values have; None if that is known only at run time, or NumPy has no such type."""
    size = 0.0
    for value in values:
        dims = dims_of(value)
        if dims is None or value.dtype not in _TYPES or value.is_graph_output():
            return None
        size += math.prod(dims) * value.dtype.itemsize
    return int(size)


def _results(nodes: Sequence[ir.Node]) -> list[ir.Value]:
    """Return what others than these nodes use."""
    inside = set(nodes)
    outputs = [value for node in nodes for value in node.outputs]
    return [value for value in outputs if any(user not in inside for user, _ in value.uses())]


def _computed(model: ir.Model, nodes: Sequence[ir.Node], wanted: Sequence[ir.Value]) -> Sequence[NDArray[Any]]:
    """Compute values with ONNX Runtime; returns none if it cannot, or would have to read too much."""
    from onnx import helper, numpy_helper

    operands = [value for node in nodes for value in node.inputs if value is not None]
    stored = {value.name: value.const_value for value in operands if value.const_value is not None}
    if sum(tensor.nbytes for tensor in stored.values()) > _MOST_READ:
        return []
    constants = [numpy_helper.from_array(tensor.numpy(), name) for name, tensor in stored.items()]
    protos = [ir.to_proto(node) for node in nodes]
    graph = helper.make_graph(protos, "constants", [], [ir.to_proto(value) for value in wanted], constants)
    versions = [helper.make_opsetid("", model.graph.opset_imports[""])]
    proto = helper.make_model(graph, opset_imports=versions, ir_version=model.ir_version)
    try:
        program = OnnxRuntime().compile(
            SerializedModel(proto.SerializeToString(), {}, None), EngineOptions(threads=1, device="cpu")
        )
        return program.run({})
    except EngineError:
        return []
