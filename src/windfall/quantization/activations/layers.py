"""The layers of a graph that have kernels for 8-bit numbers."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import onnx_ir as ir


@dataclass(frozen=True)
class Layer:
    """A convolution or a product with a constant weight.

    Attributes:
        node: The node.
        x: Its input.
        weight: Its weight.
        bias: Its bias, None if it has none.
        axis: The axis of the weight that runs along the output's channels.
        output: Its output, behind the activation that engines compute along with it.
    """

    node: ir.Node
    x: ir.Value
    weight: ir.Value
    bias: ir.Value | None
    axis: int
    output: ir.Value

    @property
    def name(self) -> str:
        """The name of its output, by which it is found again when the graph is made anew."""
        return str(self.node.outputs[0].name)

    @property
    def needs_output(self) -> bool:
        """Whether ONNX Runtime computes in 8 bits only if the output is quantized, too."""
        return self.node.op_type == "Conv"


def layers(graph: ir.Graph) -> Iterator[Layer]:
    """Yield the layers of a graph, in its order; those inside loops stay as they are."""
    for node in graph:
        layer = _layer(node) if node.op_type in _AXES and not node.domain else None
        if layer is not None:
            yield layer


def origin(value: ir.Value) -> ir.Value:
    """Return the value whose numbers, or the largest of them, a value holds in another order."""
    node = value.producer()
    while node is not None and _MOVING.get(node.op_type, _never)(node):
        assert node.inputs[0] is not None, node
        value = node.inputs[0]
        node = value.producer()
    return value


def _never(_: ir.Node) -> bool:
    return False


def _pads_with_zeros_or_copies(node: ir.Node) -> bool:
    # Zeros have a place in every range, other numbers may not.
    return len(node.inputs) < 3 or node.inputs[2] is None


_MOVING: Mapping[str, Callable[[ir.Node], bool]] = {
    **dict.fromkeys(("MaxPool", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity"), lambda _: True),
    "Pad": _pads_with_zeros_or_copies,
    "Resize": lambda node: node.attributes.get_string("mode", "nearest") == "nearest",
}
"""The operators that compute no numbers, and which of their nodes do not."""


def _layer(node: ir.Node) -> Layer | None:
    x, weight, bias = [*node.inputs, None][:3]
    if x is None or weight is None or (bias is not None and not _is_vector(bias)):
        return None
    if any(value.dtype != ir.DataType.FLOAT for value in (x, weight)) or x.const_value is not None:
        return None
    if weight.const_value is None or not _AXES[node.op_type].fits(node, len(weight.const_value.shape)):
        return None
    return Layer(node, x, weight, bias, _AXES[node.op_type].axis(node), _activated(node.outputs[0]))


def _is_vector(bias: ir.Value) -> bool:
    return bias.const_value is not None and len(bias.const_value.shape) == 1


@dataclass(frozen=True)
class _Kind:
    """Which nodes of an operator are taken, and where their weight has its output channels."""

    fits: Callable[[ir.Node, int], bool]
    axis: Callable[[ir.Node], int]


def _is_plain_gemm(node: ir.Node, rank: int) -> bool:
    factors = (node.attributes.get_float("alpha", 1.0), node.attributes.get_float("beta", 1.0))
    return rank == 2 and factors == (1.0, 1.0) and not node.attributes.get_int("transA", 0)


_AXES: Mapping[str, _Kind] = {
    "Conv": _Kind(lambda _, rank: rank in (3, 4, 5), lambda _: 0),
    "Gemm": _Kind(_is_plain_gemm, lambda node: 0 if node.attributes.get_int("transB", 0) else 1),
    "MatMul": _Kind(lambda _, rank: rank == 2, lambda _: 1),
}
"""Transposed convolutions are not among them: ONNX Runtime has no such kernel of 8 bits, nor OpenVINO with AVX2."""


def _activated(value: ir.Value) -> ir.Value:
    """Return what stands behind a Relu or Clip, if that alone uses a value."""
    users = value.consumers()
    if len(users) != 1 or value.is_graph_output():
        return value
    (node,) = users
    if node.op_type == "Relu" or (node.op_type == "Clip" and all(v and v.const_value for v in node.inputs[1:])):
        result: ir.Value = node.outputs[0]
        return result
    return value
