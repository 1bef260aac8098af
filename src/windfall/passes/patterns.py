"""Find operators that are put together in a certain way."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import onnx_ir as ir

Found: TypeAlias = Mapping[str, ir.Value | None]
"""The values that stand where a pattern has names."""
ANY = "_"
"""The name of what may be another value each time."""
_COMMUTATIVE = frozenset({"Add", "Mul"})
_DEFAULTS: Mapping[str, Any] = {
    "alpha": 1.0, "axis": 0, "beta": 1.0, "reduction": "none", "transA": 0, "transB": 0,
}  # fmt: skip
"""What attributes are where they are left out."""


@dataclass(frozen=True)
class Op:
    """What a node with one output makes; see ``op``."""

    operator: str
    inputs: Sequence["Pattern"]
    attributes: Mapping[str, Any]
    name: str


Pattern: TypeAlias = str | float | Op | tuple["Pattern", ...]
"""A name stands for any value, the same wherever it comes; a number for that constant; a tuple for one of several."""


def op(operator: str, *inputs: Pattern, name: str = "", **attributes: Any) -> Op:
    """Describe a node: of which operator, and of what it makes its result.

    Args:
        operator: An operator of ONNX's default domain.
        inputs: Its inputs, in any order if it is an Add or Mul. Only a name may stand for one that is left out.
        name: The name of the result.
        attributes: Those that are not ``_DEFAULTS``; it has no others.
    """
    return Op(operator, inputs, attributes, name)


def matches(pattern: Pattern, value: ir.Value | None, found: Found) -> Iterator[Found]:
    """Give each way in which a value is what a pattern says, as the values that its names stand for.

    Args:
        pattern: The pattern. How many ways there are to try depends on it alone, not on the graph.
        value: The value, None for an input that is left out.
        found: What names are known to stand for.
    """
    if isinstance(pattern, str):
        yield from _named(pattern, value, found)
    elif isinstance(pattern, tuple):
        for each in pattern:
            yield from matches(each, value, found)
    elif value is not None:
        yield from _made(pattern, value, found) if isinstance(pattern, Op) else _number(pattern, value, found)


def _named(name: str, value: ir.Value | None, found: Found) -> Iterator[Found]:
    if name == ANY:
        yield found
    elif name not in found:
        yield {**found, name: value}
    elif found[name] is value:
        yield found


def _number(number: float, value: ir.Value, found: Found) -> Iterator[Found]:
    constant = value.const_value
    # A weight is not to be decoded for this.
    if constant is not None and constant.shape.numpy() in ((), (1,)) and constant.numpy().reshape(-1)[0] == number:
        yield found


def _made(pattern: Op, value: ir.Value, found: Found) -> Iterator[Found]:
    node = value.producer()
    if node is None or node.op_type != pattern.operator or node.domain != "" or len(node.outputs) != 1:
        return
    if len(node.inputs) > len(pattern.inputs) or not _has_attributes(node, pattern.attributes):
        return
    inputs = [*node.inputs, *[None] * (len(pattern.inputs) - len(node.inputs))]
    for named in _named(pattern.name or ANY, value, found):
        yield from _all(pattern.inputs, inputs, named)
        if pattern.operator in _COMMUTATIVE:
            yield from _all(pattern.inputs, inputs[::-1], named)


def _has_attributes(node: ir.Node, wanted: Mapping[str, Any]) -> bool:
    # ``Any`` for the values: what an attribute holds depends on its name.
    given: dict[str, Any] = {name: each.value for name, each in node.attributes.items()}
    names = {*given, *wanted}
    return all(given.get(name, _DEFAULTS.get(name)) == wanted.get(name, _DEFAULTS.get(name)) for name in names)


def _all(patterns: Sequence[Pattern], values: Sequence[ir.Value | None], found: Found) -> Iterator[Found]:
    if not patterns:
        yield found
        return
    for first in matches(patterns[0], values[0], found):
        yield from _all(patterns[1:], values[1:], first)
