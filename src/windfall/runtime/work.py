"""How much a graph computes, and holds: the multiplications of its convolutions and products, and its weights."""

import math
from collections.abc import Callable, Mapping, Sequence

import onnx

from windfall.runtime.values import Values

Shapes = Mapping[str, Sequence[int]]


def multiplications(graph: onnx.GraphProto) -> int:
    """Return how many multiplications one run takes; sizes that are not known, and bodies of loops, do not count."""
    counted = [node for node in graph.node if node.op_type in _COUNTS]
    if not counted:
        return 0
    shapes = {name: dims or (0,) for name, dims in Values(graph).shapes.items()}
    return sum(_COUNTS[node.op_type](node, shapes) for node in counted)


def input_size(graph: onnx.GraphProto) -> int:
    """Return how many numbers the inputs of a graph have together; sizes that are not known count as 1."""
    dims = [[dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim] for value in graph.input]
    return sum(map(math.prod, dims))


def weight_count(graph: onnx.GraphProto) -> int:
    """Return how many numbers the constants of a graph have together."""
    return sum(math.prod(tensor.dims) for tensor in graph.initializer)


def _convolution(node: onnx.NodeProto, shapes: Shapes) -> int:
    # Each output element is a sum over a filter: W is [C_out, C_in / groups, *kernel].
    return _count(node.output[0], shapes) * math.prod(shapes.get(node.input[1], (0,))[1:])


def _transposed(node: onnx.NodeProto, shapes: Shapes) -> int:
    # Each input element is spread over a filter: W is [C_in, C_out / groups, *kernel].
    return _count(node.input[0], shapes) * math.prod(shapes.get(node.input[1], (0,))[1:])


def _product(node: onnx.NodeProto, shapes: Shapes) -> int:
    # Each output element is a sum over the last axis of A; Gemm may say that it is the first.
    dims = shapes.get(node.input[0], (0,))
    transposed = any(each.name == "transA" and each.i for each in node.attribute)
    return _count(node.output[0], shapes) * (dims[0] if transposed else dims[-1])


def _attention(node: onnx.NodeProto, shapes: Shapes) -> int:
    # Each query is compared with all keys, and the values of all keys are summed for it.
    keys = sum(shapes.get(name, (0, 0))[-2] for name in (*node.input[1:2], *node.input[4:5]))
    return (_count(node.input[0], shapes) + _count(node.output[0], shapes)) * keys


def _count(name: str, shapes: Shapes) -> int:
    return math.prod(shapes.get(name, (0,)))


_COUNTS: Mapping[str, Callable[[onnx.NodeProto, Shapes], int]] = {
    "Attention": _attention,
    "Conv": _convolution,
    "ConvTranspose": _transposed,
    "Gemm": _product,
    "MatMul": _product,
}
