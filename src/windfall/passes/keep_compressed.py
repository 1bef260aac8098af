"""Hold quantized weights as they are stored; the graph makes numbers of them while it runs."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes import InPlacePass, PassResult

from windfall.graph.attributes import bodies_of
from windfall.graph.compressed import Compressed, CompressedTensor, compressed_of, is_compressed, linear_form
from windfall.passes.compressed_convolutions import keep_in_convolution
from windfall.passes.compressed_products import LARGEST_PART, matrix_of, multiply, multiply_by_parts
from windfall.passes.emitting import Emitter
from windfall.passes.nodes import replace
from windfall.passes.run_time_weights import as_indices, can_expand, codes, expand
from windfall.runtime.serialized import COMPRESSED

_SMALLEST = 1024
"""Weights of fewer elements are not worth the nodes."""


class KeepCompressed(InPlacePass):
    """Let nodes use the codes of quantized weights, in place of the numbers that these stand for.

    Before: x, W -> MatMul or Gemm -> y                   W a ``CompressedTensor``
    After:  x, codes of W, scales -> MatMulNBits -> y     where that is as fast
    Before: W, i -> Gather -> y
    After:  codes of W, i -> Gather -> Cast -> Sub, Mul -> y
    Before: x, W -> Conv -> y, and all other nodes
    After:  codes of W, scales -> DequantizeLinear -> w;  x, w -> Conv -> y

    A weight that has no such form stays as it is, and is expanded when the graph is serialized.
    """

    def call(self, model: ir.Model) -> PassResult:
        """See ``onnx_ir.passes.PassBase.call``."""
        _move_transposes(model)
        outer = dict(_outer_nodes(model.graph))
        values = [value for value in model.graph.initializers.values() if is_compressed(value)]
        modified = False
        for value in values:
            modified |= _keep(model, value, outer)
        if modified:
            model.metadata_props[COMPRESSED] = "1"
        return PassResult(model, modified)


def _move_transposes(model: ir.Model) -> None:
    """Take transposed codes in place of a transposed weight."""
    for value in [value for value in model.graph.initializers.values() if is_compressed(value)]:
        for node, _ in list(value.uses()):
            if node.op_type == "Transpose" and not node.outputs[0].is_graph_output():
                _transpose(model, value, node)
        _drop_unused(model, value)


def _transpose(model: ir.Model, value: ir.Value, node: ir.Node) -> None:
    tensor = value.const_value
    assert isinstance(tensor, CompressedTensor), value
    perm = node.attributes.get_ints("perm") or list(reversed(range(len(tensor.compressed.dims))))
    moved = Emitter(model, node, str(value.name)).stored(tensor.transposed(perm), "transposed")
    node.outputs[0].replace_all_uses_with(moved)
    assert node.graph is not None, node
    node.graph.remove(node, safe=True)


def _outer_nodes(graph: ir.Graph) -> Iterator[tuple[ir.Node, ir.Node]]:
    """Give each node, those in bodies too, and the node of the outermost graph that it is or lies in."""
    for top in graph:
        yield top, top
        for body in bodies_of(top):
            yield from ((inner, top) for inner in ir.traversal.RecursiveGraphIterator(body))


def _keep(model: ir.Model, value: ir.Value, outer: Mapping[ir.Node, ir.Node]) -> bool:
    """Let the users of a weight use its codes; False if none can."""
    weight, modified = compressed_of(value), False
    if weight.size < _SMALLEST or not weight.is_finite or value.is_graph_output():
        return False
    layer = str(value.name).rpartition(".")[0] or str(value.name)
    expandable = can_expand(weight)
    expanded: dict[ir.Node, ir.Value] = {}
    for node, index in list(value.uses()):
        keep = _RULES.get((node.op_type, index))
        if node.domain == "" and keep is not None and keep(Emitter(model, node, layer), node, weight):
            modified = True
        elif expandable:
            # In a loop a weight is expanded once, before it; elsewhere where it is used, to be there no longer.
            top = outer[node]
            if top not in expanded:
                expanded[top] = expand(Emitter(model, top, layer), weight)
            node.replace_input_with(index, expanded[top])
            modified = True
    _drop_unused(model, value)
    return modified


def _drop_unused(model: ir.Model, value: ir.Value) -> None:
    if not value.uses() and not value.is_graph_output():
        model.graph.initializers.pop(str(value.name))


def _keep_in_gemm(emit: Emitter, node: ir.Node, weight: Compressed) -> bool:
    attributes = node.attributes
    plain = all(attributes.get_float(name, 1.0) == 1.0 for name in ("alpha", "beta"))
    if not plain or attributes.get_int("transA"):
        return False
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    return _replace_product(emit, node, weight if attributes.get_int("transB") else weight.transposed((1, 0)), bias)


def _keep_in_matmul(emit: Emitter, node: ir.Node, weight: Compressed) -> bool:
    return len(weight.dims) == 2 and _replace_product(emit, node, weight.transposed((1, 0)), None)


def _replace_product(emit: Emitter, node: ir.Node, weight: Compressed, bias: ir.Value | None) -> bool:
    """Put ``x * transpose(weight) + bias`` in the place of a node."""
    x, result = node.inputs[0], node.outputs[0]
    if x is None or x.shape is None or len(x.shape) < 2:
        return False
    lead = [dim for dim in x.shape[:-1] if isinstance(dim, int)]
    matrix = matrix_of(weight, math.prod(lead) if len(lead) == len(x.shape) - 1 else None)
    if matrix is not None:
        product = multiply(emit, x, matrix, result.shape, f"{node.name}~q")
    elif weight.size > LARGEST_PART and weight.has_rows and can_expand(weight.rows(0, 1)):
        product = multiply_by_parts(emit, x, weight, result.shape)
    else:
        return False
    if bias is not None:
        product = emit.op("Add", product, bias, dims=result.shape)
    replace(node, product)
    return True


def _keep_in_gather(emit: Emitter, node: ir.Node, weight: Compressed) -> bool:
    """Look up rows of codes of a matrix, then what they stand for."""
    places, result = node.inputs[1], node.outputs[0]
    if len(weight.dims) != 2 or node.attributes.get_int("axis") or places is None or result.shape is None:
        return False
    stored = codes(emit, weight, weight.dims)
    assert stored.dtype is not None, stored
    rows = emit.op("Gather", stored, places, dtype=stored.dtype, dims=result.shape, name=f"{node.name}~q")
    found = _look_up_rows(emit, rows, weight) if weight.table is not None else _scale_rows(emit, rows, places, weight)
    if found is None:
        return False
    replace(node, found)
    return True


def _look_up_rows(emit: Emitter, rows: ir.Value, weight: Compressed) -> ir.Value | None:
    assert weight.table is not None, weight
    if weight.table.size != weight.table.shape[-1]:
        return None
    table = emit.constant(weight.table.reshape(-1), "table")
    return emit.op("Gather", table, as_indices(emit, rows), dims=rows.shape)


def _scale_rows(emit: Emitter, rows: ir.Value, places: ir.Value, weight: Compressed) -> ir.Value | None:
    """Compute ``scale * (code - zero) + rest`` for rows of codes [*points, D]."""
    form = linear_form(weight)
    groups = form.scale.shape[0]
    if form.scale.shape[1] != 1:
        return None

    def of_rows(part: NDArray[Any], name: str) -> ir.Value:
        if groups == 1:
            return emit.constant(part.astype(np.float32).reshape(-1), name)
        every = np.repeat(part, weight.dims[0] // groups, 0).astype(np.float32)
        return emit.op("Gather", emit.constant(every, name), places)  # [*points, 1]

    values = emit.op("Cast", rows, dims=rows.shape, to=ir.DataType.FLOAT)
    if form.zero.any():
        values = emit.op("Sub", values, of_rows(form.zero, "zero"), dims=rows.shape)
    values = emit.op("Mul", values, of_rows(form.scale, "scale"), dims=rows.shape)
    return values if form.rest is None else emit.op("Add", values, of_rows(form.rest, "rest"), dims=rows.shape)


_RULES: Mapping[tuple[str, int], Callable[[Emitter, ir.Node, Compressed], bool]] = {
    ("Gemm", 1): _keep_in_gemm,
    ("MatMul", 1): _keep_in_matmul,
    ("Gather", 0): _keep_in_gather,
    ("Conv", 1): keep_in_convolution,
}
"""What replaces a node by one that takes codes, by its operator and the index of the weight; False if it cannot."""
