"""Look-ups for OpenVINO: NumPy computes and checks their indices before OpenVINO runs.

OpenVINO does not look whether an index lies within its axis, and rounds int64 to 32 bits. The indices of a language
model's embeddings come from its inputs, by a few operators on a few numbers. So these are taken out of the graph:

    Before: ids -> Cast -> Less, Where -> Gather(table) -> ..
    After:  indices -> Gather(table) -> ..

NumPy computes what became an input; an index that is beyond its axis is the error that ONNX Runtime gives.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from windfall.errors import EngineError
from windfall.runtime.failures import run_error
from windfall.runtime.values import Values, attribute

Array = NDArray[Any]
Function = Callable[..., Any]

_FLOAT, _INT32, _INT64, _BOOL = 1, 6, 7, 9
"""Members of ``TensorProto.DataType``."""
_WHOLE = frozenset({_INT32, _INT64, _BOOL})
_TYPES = _WHOLE | {_FLOAT}


@dataclass(frozen=True)
class Lookup:
    """The indices of a Gather.

    Attributes:
        node: The name of the Gather.
        source: What the indices are called where they may be negative.
        size: The size of the axis that they belong to.
    """

    node: str
    source: str
    size: int

    def checked(self, indices: Array) -> Array:
        """Return indices from 0 to ``size`` - 1, int32.

        Raises:
            EngineError: One is beyond the axis; in the words in which ONNX Runtime's error is shown.
        """
        beyond = (indices < -self.size) | (indices >= self.size)
        if beyond.any():
            text = (
                f"Non-zero status code returned while running Gather node. Name:'{self.node}' Status Message: "
                f"indices element out of data bounds, idx={indices.flat[beyond.argmax()]} must be within the inclusive "
                f"range [{-self.size},{self.size - 1}]"
            )
            raise EngineError(run_error(RuntimeError(text)))
        return np.where(indices < 0, indices + self.size, indices).astype(np.int32)


@dataclass(frozen=True)
class Step:
    """A node that NumPy computes: from the values ``inputs``, "" for none, the value ``output``."""

    function: Function
    inputs: Sequence[str]
    output: str


class Indices:
    """What NumPy computes from the inputs of a model before OpenVINO runs.

    Attributes:
        inputs: The declared NumPy type and shape of the inputs that are used, None for a size that is left open.
        constants: The constants that the steps use.
        steps: The nodes, in order.
        given: The values that OpenVINO is given as they are.
        lookups: The indices that it is given, by the names of its inputs.
    """

    def __init__(self, values: Values, steps: Sequence[Step], given: Sequence[str], lookups: Mapping[str, Lookup]):
        used = {name for step in steps for name in step.inputs} | {lookup.source for lookup in lookups.values()}
        self.inputs = {port.name: _declared(port) for port in values.ports if port.name in used}
        self.constants = {name: values.constant(name) for name in used if name in values.initializers}
        self.steps = steps
        self.given = given
        self.lookups = lookups

    def feeds(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Return what OpenVINO is fed.

        Raises:
            EngineError: An index is beyond its axis, or an input is missing or of another type or shape.
        """
        for name in self.inputs.keys() - feeds.keys():
            raise EngineError(f"OpenVINO failed: input {name!r} is missing")
        found = {**self.constants, **{name: _fitting(name, feeds[name], *self.inputs[name]) for name in self.inputs}}
        with np.errstate(all="ignore"):  # whole numbers wrap around, and casts do what they do in ONNX Runtime
            for step in self.steps:
                found[step.output] = np.asarray(step.function(*(found[name] if name else None for name in step.inputs)))
        checked = {name: lookup.checked(found[lookup.source]) for name, lookup in self.lookups.items()}
        return {**feeds, **{name: found[name] for name in self.given}, **checked}


def take_indices(graph: onnx.GraphProto, is_gap: Callable[[onnx.NodeProto, Values], object]) -> Indices | None:
    """Take the look-ups' indices, and other whole numbers that OpenVINO would round, out of a graph.

    Args:
        graph: The graph; what NumPy computes becomes an input of it, and inputs that it alone uses are left out.
        is_gap: Tells whether OpenVINO is not given a node.

    Returns:
        What NumPy computes, None if there is nothing; then the graph is as it was.
    """
    values = Values(graph)
    known = _computable(graph, values)
    lookups = _lookups(graph, values, known)
    wanted = {lookup.source for lookup in lookups.values()}
    wanted |= {node.output[0] for node in graph.node if node.output[0] in known and is_gap(node, values)}
    steps = _needed(graph, known, wanted)
    moved = {step.output for step in steps}
    kept = [node for node in graph.node if node.output[0] not in moved]
    renamed = {lookup.node: name for name, lookup in lookups.items()}
    used = {name for node in kept for name in _used(node, renamed)} | {port.name for port in graph.output}
    given = [step.output for step in steps if step.output in used]
    # A result of the model is computed by the engine that runs it, and int64 would be rounded.
    hindered = any(values.types[name] == _INT64 or name in {port.name for port in graph.output} for name in given)
    if hindered or not (lookups or steps):
        return None
    indices = Indices(values, steps, given, lookups)
    _rewrite(graph, indices, kept, renamed, used)
    return indices


def _computable(graph: onnx.GraphProto, values: Values) -> dict[str, Step]:
    """Return the nodes that NumPy can compute from inputs and small constants, by the names of what they make."""
    known: dict[str, Step] = {}
    sources = {port.name for port in graph.input if values.types[port.name] in _TYPES}
    for node in graph.node:
        build = _FUNCTIONS.get(node.op_type) if not node.domain and len(node.output) == 1 else None
        types = {values.types.get(name) for name in [*node.input, *node.output] if name}
        if build is None or not types <= (_TYPES if node.op_type in _MOVES else _WHOLE):
            continue
        is_known = all(_is_source(name, sources, values, known) for name in node.input)
        function = build(node, values) if is_known else None
        if function is not None:
            known[node.output[0]] = Step(function, _operands(node), node.output[0])
    return known


def _is_source(name: str, inputs: Collection[str], values: Values, known: Mapping[str, Step]) -> bool:
    return not name or name in inputs or name in known or values.constant(name) is not None


def _operands(node: onnx.NodeProto) -> list[str]:
    """Return what a function is given: of operators that move numbers the first input, as the rest are constants."""
    return list(node.input[:1] if node.op_type in _MOVES and node.op_type != "Concat" else node.input)


def _lookups(graph: onnx.GraphProto, values: Values, known: Mapping[str, Step]) -> dict[str, Lookup]:
    """Return the look-ups whose indices can be computed, by the new names of their indices."""
    inputs = {port.name for port in graph.input if values.types[port.name] in (_INT32, _INT64)}
    taken = {name for node in graph.node for name in (*node.input, *node.output)} | {port.name for port in values.ports}
    found: dict[str, Lookup] = {}
    names = [node.name for node in graph.node if node.op_type == "Gather"]
    for node in graph.node:
        if node.op_type != "Gather" or node.domain or (node.input[1] not in known and node.input[1] not in inputs):
            continue
        dims = values.shapes.get(node.input[0])
        if dims is None or names.count(node.name) != 1:
            continue
        size = dims[attribute(node, "axis", 0)]
        name = next(name for count in range(len(taken) + 1) if (name := f"indices:{len(found)}:{count}") not in taken)
        found[name] = Lookup(node.name, node.input[1], size)
    return found


def _needed(graph: onnx.GraphProto, known: Mapping[str, Step], wanted: Collection[str]) -> list[Step]:
    """Return the steps that lead to some values, in the order of the graph."""
    needed = set(wanted)
    steps = []
    for node in reversed(graph.node):
        step = known.get(node.output[0]) if node.output[0] in needed else None
        if step is not None:
            needed.update(step.inputs)
            steps.append(step)
    return steps[::-1]


def _used(node: onnx.NodeProto, renamed: Mapping[str, str]) -> list[str]:
    """Return the inputs that a node has after the rewrite."""
    name = renamed.get(node.name) if node.op_type == "Gather" else None
    return list(node.input) if name is None else [node.input[0], name]


def _rewrite(
    graph: onnx.GraphProto, indices: Indices, kept: Sequence[onnx.NodeProto], renamed: Mapping[str, str], used: set[str]
) -> None:
    """Leave out what NumPy computes, and make inputs of its results."""
    declared = {value.name: value for value in [*graph.value_info, *graph.input]}
    inputs = [port for port in graph.input if port.name in used or port.name not in indices.inputs]
    for name in [*indices.given, *indices.lookups]:
        lookup = indices.lookups.get(name)
        port = onnx.ValueInfoProto()
        port.CopyFrom(declared[name if lookup is None else lookup.source])
        port.name = name
        if lookup is not None:
            port.type.tensor_type.elem_type = _INT32
        inputs.append(port)
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in kept]
    for node in nodes:
        node.input[:] = _used(node, renamed)
    informed = [value for value in graph.value_info if value.name not in indices.given]
    for field, items in (("node", nodes), ("input", inputs), ("value_info", informed)):
        graph.ClearField(field)
        getattr(graph, field).extend(items)


def _declared(port: onnx.ValueInfoProto) -> tuple[np.dtype[Any], list[int | None]]:
    tensor = port.type.tensor_type
    dims = [dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim]
    return helper.tensor_dtype_to_np_dtype(tensor.elem_type), dims


def _fitting(name: str, array: Array, dtype: np.dtype[Any], dims: Sequence[int | None]) -> Array:
    """Return an array that is fed, checked as OpenVINO would check an input."""
    sizes = zip(array.shape, dims, strict=False)
    if array.dtype != dtype or array.ndim != len(dims) or any(d is not None and d != size for size, d in sizes):
        raise EngineError(
            f"OpenVINO failed: input {name!r} is {array.dtype} {list(array.shape)}, must be {dtype} {list(dims)}"
        )
    return array


def _numbers(node: onnx.NodeProto, values: Values, place: int) -> list[int] | None:
    """Return an input that is a constant: sizes, axes and the like."""
    array = values.constant(node.input[place]) if place < len(node.input) else None
    return None if array is None else array.ravel().tolist()


def _always(function: Function) -> Callable[[onnx.NodeProto, Values], Function]:
    return lambda _node, _values: function


def _reshape(node: onnx.NodeProto, values: Values) -> Function | None:
    dims = _numbers(node, values, 1)
    if dims is None or (attribute(node, "allowzero", 0) and 0 in dims):
        return None
    return lambda x: x.reshape([x.shape[axis] if size == 0 else size for axis, size in enumerate(dims)])


def _squeeze(node: onnx.NodeProto, values: Values) -> Function | None:
    axes = _numbers(node, values, 1)
    return None if axes is None else lambda x: np.squeeze(x, tuple(axes))


def _unsqueeze(node: onnx.NodeProto, values: Values) -> Function | None:
    axes = _numbers(node, values, 1)
    return None if axes is None else lambda x: np.expand_dims(x, tuple(axes))


def _flatten(node: onnx.NodeProto, _values: Values) -> Function:
    axis = attribute(node, "axis", 1)
    return lambda x: x.reshape(int(np.prod(x.shape[:axis], dtype=np.int64)), -1)


def _slice(node: onnx.NodeProto, values: Values) -> Function | None:
    starts, ends, axes, steps = (_numbers(node, values, place) for place in (1, 2, 3, 4))
    if starts is None or ends is None or axes is None or (steps is None and len(node.input) > 4):
        return None
    parts = list(zip(axes, map(slice, starts, ends, steps or [1] * len(axes)), strict=True))

    def cut(x: Array) -> Array:
        places = [slice(None)] * x.ndim
        for axis, part in parts:
            places[axis] = part
        return x[tuple(places)]

    return cut


def _expand(node: onnx.NodeProto, values: Values) -> Function | None:
    dims = _numbers(node, values, 1)
    return None if dims is None else lambda x: np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(dims)))


def _concat(node: onnx.NodeProto, _values: Values) -> Function:
    axis = attribute(node, "axis", 0)
    return lambda *parts: np.concatenate(parts, axis)


def _transpose(node: onnx.NodeProto, _values: Values) -> Function:
    perm = attribute(node, "perm", None)
    return lambda x: np.transpose(x, perm)


def _cast(node: onnx.NodeProto, _values: Values) -> Function:
    dtype = helper.tensor_dtype_to_np_dtype(attribute(node, "to", 0))
    return lambda x: x.astype(dtype)


def _clip(x: Array, least: Array | None = None, most: Array | None = None) -> Array:
    x = x if least is None else np.maximum(x, least)
    return x if most is None else np.minimum(x, most)


_MOVES: Mapping[str, Callable[[onnx.NodeProto, Values], Function | None]] = {
    "Cast": _cast,
    "Concat": _concat,
    "Expand": _expand,
    "Flatten": _flatten,
    "Identity": _always(lambda x: x),
    "Reshape": _reshape,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
_FUNCTIONS: Mapping[str, Callable[[onnx.NodeProto, Values], Function | None]] = {
    **_MOVES,
    "Abs": _always(np.abs),
    "Add": _always(np.add),
    "And": _always(np.logical_and),
    "Clip": _always(_clip),
    "Equal": _always(np.equal),
    "Greater": _always(np.greater),
    "GreaterOrEqual": _always(np.greater_equal),
    "Less": _always(np.less),
    "LessOrEqual": _always(np.less_equal),
    "Max": _always(lambda *each: reduce(np.maximum, each)),
    "Min": _always(lambda *each: reduce(np.minimum, each)),
    "Mul": _always(np.multiply),
    "Neg": _always(np.negative),
    "Not": _always(np.logical_not),
    "Or": _always(np.logical_or),
    "Sub": _always(np.subtract),
    "Where": _always(np.where),
    "Xor": _always(np.logical_xor),
}
"""What NumPy computes; a function returns that of a node, None where its sizes are known only at run time.

The first ones move numbers of all types, the others compute with whole ones.
"""
