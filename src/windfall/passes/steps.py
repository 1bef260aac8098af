"""Compute beforehand what a loop does with its counter: indices, sizes, and whether it goes on."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from windfall.passes.nodes import integers_of

Numbers: TypeAlias = NDArray[Any]
"""What a value of a few elements is in each step: [steps, elements], or [1, elements] if it is always the same."""
_MOST_ELEMENTS = 8
_MOST_VALUES, _DEEPEST = 64, 32
"""More values, and nodes in a row, no loop needs for counting; the graph may be a hostile one."""


class Steps:
    """The steps of a loop.

    Args:
        count: How many there are.
        lengths: The sizes of values along their first axes, where they are not known beforehand.
        counters: Values that are 0 in the first step, 1 in the second, and so on.
    """

    def __init__(self, count: int, lengths: Mapping[ir.Value, int], counters: Iterable[ir.Value] = ()) -> None:
        self.count = count
        self._lengths = lengths
        self._symbols = {_first_dim(value): size for value, size in lengths.items() if _first_dim(value) is not None}
        self._found: dict[ir.Value, Numbers | None] = {}
        self._depth = 0
        for value in counters:
            assert value.dtype is not None, value
            self._found[value] = np.arange(count, dtype=value.dtype.numpy())[:, None]

    def is_counting(self, value: ir.Value | None, start: int) -> bool:
        """Whether a value is one number, which is this one in the first step, and one more in each that follows."""
        return self.equals(value, np.arange(start, start + self.count)[:, None])

    def equals(self, value: ir.Value | None, numbers: Numbers) -> bool:
        """Whether a value is known, and has these elements."""
        found = self.numbers(value)
        return found is not None and found.shape[1] == numbers.shape[1] and bool(np.all(found == numbers))

    def numbers(self, value: ir.Value | None) -> Numbers | None:
        """Return what a value is in each step; None if that is not known."""
        if value is None:
            return None
        if value not in self._found:
            self._found[value] = None
            if len(self._found) <= _MOST_VALUES and self._depth < _DEEPEST:
                self._depth += 1
                self._found[value] = self._computed(value)
                self._depth -= 1
        return self._found[value]

    def _computed(self, value: ir.Value) -> Numbers | None:
        node = value.producer()
        if node is None:
            return _constant(value)
        rule = _RULES.get(node.op_type) if node.domain == "" else None
        with np.errstate(all="ignore"):
            return None if rule is None else rule(self, node)

    def dims(self, value: ir.Value | None) -> list[int] | None:
        """Return the shape of a value; None if it is not known, even with the lengths that are."""
        if value is None or value.shape is None:
            return None
        dims = [dim if isinstance(dim, int) else self._symbols.get(dim.value, -1) for dim in value.shape]
        if value in self._lengths:
            dims[0] = self._lengths[value]
        return None if -1 in dims else dims


def _first_dim(value: ir.Value) -> str | None:
    first = value.shape[0] if value.shape else None
    return first.value if isinstance(first, ir.SymbolicDim) else None


def _constant(value: ir.Value) -> Numbers | None:
    if value.const_value is None:
        return None
    dims = value.const_value.shape.numpy()
    is_small = math.prod(dims) == 1 or (len(dims) == 1 and dims[0] <= _MOST_ELEMENTS)
    return value.const_value.numpy().reshape(1, -1) if is_small else None


def _elementwise(compute: Callable[..., Numbers]) -> Callable[[Steps, ir.Node], Numbers | None]:
    def rule(steps: Steps, node: ir.Node) -> Numbers | None:
        known = [found for found in map(steps.numbers, node.inputs) if found is not None]
        widths = {found.shape[1] for found in known} - {1}
        return compute(*known) if len(known) == len(node.inputs) and len(widths) <= 1 else None

    return rule


def _cast(steps: Steps, node: ir.Node) -> Numbers | None:
    x = steps.numbers(node.inputs[0])
    return None if x is None else x.astype(ir.DataType(node.attributes.get_int("to", 0)).numpy())


def _where(steps: Steps, node: ir.Node) -> Numbers | None:
    condition = steps.numbers(node.inputs[0])
    if condition is None or condition.shape[1] != 1 or condition.all() != condition.any():
        return None
    return steps.numbers(node.inputs[1 if condition.all() else 2])


def _compress(steps: Steps, node: ir.Node) -> Numbers | None:
    kept = steps.numbers(node.inputs[1])
    return _moved(steps, node) if kept is not None and kept.shape[1] == 1 and kept.all() else None


def _moved(steps: Steps, node: ir.Node) -> Numbers | None:
    x = steps.numbers(node.inputs[0])
    return x if x is not None and x.shape[1] == 1 else None


def _shape(steps: Steps, node: ir.Node) -> Numbers | None:
    dims = steps.dims(node.inputs[0])
    start, end = node.attributes.get_int("start", 0), node.attributes.get_int("end", len(dims or ()))
    return None if dims is None else np.array([dims[start:end]], np.int64)


def _slice(steps: Steps, node: ir.Node) -> Numbers | None:
    x, start, end = steps.numbers(node.inputs[0]), integers_of(node, 1), integers_of(node, 2)
    step = integers_of(node, 4) if len(node.inputs) > 4 and node.inputs[4] is not None else [1]
    if x is None or start is None or end is None or step is None or not len(start) == len(end) == len(step) == 1:
        return None
    return x[:, start[0] : end[0] : step[0]]


def _concat(steps: Steps, node: ir.Node) -> Numbers | None:
    parts = [found for found in map(steps.numbers, node.inputs) if found is not None]
    if len(parts) < len(node.inputs) or any(len(part) != 1 for part in parts):
        return None
    joined = np.concatenate(parts, 1)
    return joined if joined.shape[1] <= _MOST_ELEMENTS else None


def _gather(steps: Steps, node: ir.Node) -> Numbers | None:
    table, places = steps.numbers(node.inputs[0]), steps.numbers(node.inputs[1])
    if table is None or places is None or len(table) != 1 or places.shape[1] != 1:
        return None
    size = table.shape[1]
    return table[0][places] if np.all((places >= -size) & (places < size)) else None


_RULES: Mapping[str, Callable[[Steps, ir.Node], Numbers | None]] = {
    "Abs": _elementwise(np.abs),
    "Add": _elementwise(np.add),
    "And": _elementwise(np.logical_and),
    "Cast": _cast,
    "Compress": _compress,
    "Concat": _concat,
    "Equal": _elementwise(np.equal),
    "Gather": _gather,
    "Greater": _elementwise(np.greater),
    "GreaterOrEqual": _elementwise(np.greater_equal),
    "Less": _elementwise(np.less),
    "LessOrEqual": _elementwise(np.less_equal),
    "Mul": _elementwise(np.multiply),
    "Not": _elementwise(np.logical_not),
    "Or": _elementwise(np.logical_or),
    "Reshape": _moved,
    "Shape": _shape,
    "Slice": _slice,
    "Squeeze": _moved,
    "Sub": _elementwise(np.subtract),
    "Unsqueeze": _moved,
    "Where": _where,
}
"""What operators make of a few numbers; those that change shapes, and do not join or cut, of one number alone."""
