"""Convolutions with weights of codes.

An engine's zero point is a code, Core ML's bias is any number; the rest between them is the same for all weights of an
output channel. Adding it to the weights takes longer than computing what it does to the result, where the result has
fewer elements:

    conv(x, W + rest) = conv(x, W) + rest * (sum of x under the kernel, over all channels)
"""

import math
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from windfall.graph.compressed import Compressed, Floats, linear_form
from windfall.passes.emitting import Emitter
from windfall.passes.run_time_weights import can_expand, expand


def keep_in_convolution(emit: Emitter, node: ir.Node, weight: Compressed) -> bool:
    """Convolve with expanded codes, and add what the rest does; False where that is of no use."""
    x, result = node.inputs[0], node.outputs[0]
    rest = _rest(weight)
    small = _elements(result) <= weight.size
    if rest is None or not small or node.attributes.get_int("group", 1) != 1 or x is None or not can_expand(weight):
        return False
    form = linear_form(weight)
    node.replace_input_with(1, expand(emit, replace(weight, scale=form.scale, zero=form.zero, bias=None)))
    sums = _sums(emit, x, node, weight.dims[2:])
    per_channel = np.broadcast_to(rest.reshape(-1), weight.dims[:1]).reshape(-1, *[1] * (len(weight.dims) - 2))
    added = emit.op("Mul", sums, emit.constant(per_channel, "rest"), dims=result.shape)
    add_behind(emit, node, added)
    return True


def _rest(weight: Compressed) -> Floats | None:
    """Return the rest for each output channel; None if it is 0 or differs inside of one."""
    if weight.table is not None:
        return None
    rest = linear_form(weight).rest
    return rest if rest is not None and rest.size == rest.shape[0] in (1, weight.dims[0]) else None


def _elements(value: ir.Value) -> float:
    known = [dim for dim in value.shape or () if isinstance(dim, int)]
    return math.prod(known) if value.shape is not None and len(known) == len(value.shape) else math.inf


def _sums(emit: Emitter, x: ir.Value, node: ir.Node, kernel: tuple[int, ...]) -> ir.Value:
    """Return the sum of the entries under the kernel at each of its places, [N, C, *D] -> [N, 1, *D_out]."""
    summed = emit.op("ReduceSum", x, emit.constant(np.array([1], np.int64), "axes"), keepdims=1)
    moves = any(node.attributes.get_ints("pads", ())) or any(s > 1 for s in node.attributes.get_ints("strides", ()))
    if math.prod(kernel) == 1 and not moves:
        return summed
    ones = emit.constant(np.ones((1, 1, *kernel), np.float32), "ones")
    same = {name: attribute.value for name, attribute in node.attributes.items()}
    return emit.op("Conv", summed, ones, **same)


def add_behind(emit: Emitter, node: ir.Node, other: ir.Value) -> None:
    """Let the users of a node's output take the sum of it and another value."""
    old, graph = node.outputs[0], node.graph
    assert graph is not None, node
    name, shape = old.name, old.shape
    total = emit.op("Add", None, other, dims=shape)
    old.replace_all_uses_with(total, replace_graph_outputs=True)
    adding = total.producer()
    assert adding is not None, total
    adding.replace_input_with(0, old)
    graph.remove(adding)
    graph.insert_after(node, adding)
    old.name, total.name = f"{name}~codes", name
