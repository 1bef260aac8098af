"""Put a finished graph into one that is being built."""

from collections.abc import Mapping

import onnx_ir as ir
from onnx_ir.convenience import replace_all_uses_with

from windfall.graph.attributes import bodies_of
from windfall.graph.builder import GraphBuilder


def splice(builder: GraphBuilder, inner: ir.Graph, inputs: Mapping[str, ir.Value]) -> dict[str, ir.Value]:
    """Move the nodes and initializers of a graph to the end of one that is being built.

    Args:
        builder: The graph being built; what is moved gets names that are new in it.
        inner: The finished graph; it is empty afterwards.
        inputs: The value to use in place of each of its inputs.

    Returns:
        The values of its outputs, by the names that they had.
    """
    replaced = {value: inputs[str(value.name)] for value in inner.inputs}
    outputs = {str(value.name): replaced.get(value, value) for value in inner.outputs}
    inner.outputs.clear()
    for value, other in replaced.items():
        replace_all_uses_with(value, other)
    for value in list(inner.initializers.values()):
        inner.initializers.pop(str(value.name))
        value.name = builder.unique(_scoped(builder, value))
        builder.graph.register_initializer(value)
    for domain, version in inner.opset_imports.items():
        builder.graph.opset_imports.setdefault(domain, version)
    nodes = list(inner)
    for node in ir.traversal.RecursiveGraphIterator(inner):
        node.name = builder.unique(_scoped(builder, node))
        _rename_values(builder, node)
    inner.remove(nodes)
    builder.graph.extend(nodes)
    return outputs


def _rename_values(builder: GraphBuilder, node: ir.Node) -> None:
    for value in (*node.outputs, *(value for body in bodies_of(node) for value in body.inputs)):
        value.name = builder.unique(_scoped(builder, value))


def _scoped(builder: GraphBuilder, named: ir.Value | ir.Node) -> str:
    return f"{builder.prefix}/{named.name}" if builder.prefix else str(named.name)
