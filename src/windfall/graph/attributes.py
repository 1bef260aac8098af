"""Attributes of nodes."""

from collections.abc import Callable, Mapping
from typing import Any

import onnx_ir as ir
from onnx_ir.convenience import convert_attribute


def attribute(name: str, value: Any) -> ir.Attr:
    """Return an attribute of the kind that its value asks for."""
    kind = type(value)
    if kind in (list, tuple) and value and all(type(item) is int for item in value):
        return ir.AttrInt64s(name, value)
    # convert_attribute takes all there is, but is slow, as it looks at every protocol.
    return _ATTRIBUTES.get(kind, convert_attribute)(name, value)


def bodies_of(node: ir.Node) -> list[ir.Graph]:
    """Return the graphs that a node holds: what a loop repeats, and what a condition chooses among."""
    return [each.as_graph() for each in node.attributes.values() if each.type == ir.AttributeType.GRAPH]


_ATTRIBUTES: Mapping[type, Callable[[str, Any], ir.Attr]] = {
    bool: ir.AttrInt64,
    int: ir.AttrInt64,
    ir.DataType: ir.AttrInt64,
    float: ir.AttrFloat32,
    str: ir.AttrString,
}
