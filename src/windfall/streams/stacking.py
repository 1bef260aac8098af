"""Whether a graph computes several items at once, each as if it were alone: the axis along which they lie is followed.

Each operator of the table says where its output has that axis, given where its inputs have it. What is not in the
table, or mixes the items, ends the search: the items are computed one by one.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from windfall.features.binding import Binder, GraphShapes
from windfall.features.networks import NetworkBinder
from windfall.features.rows import RowBinder

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir as ir
    from numpy.typing import NDArray


class _Mixed(Exception):  # noqa: N818  # no error: the search ends
    """The items are not apart, or nobody knows."""


def stacked_shapes(
    binder: Binder, feeds: Mapping[str, "NDArray[np.generic]"], count: int
) -> tuple[GraphShapes, dict[str, int]] | None:
    """Return the shapes to compile for so many items, and the axis of each input along which they lie.

    None where an input has no such axis: its size in a prediction must be 1 there, and the model must not fix it.
    """
    if isinstance(binder, RowBinder):
        return None
    shapes, axes = binder.graph_shapes(feeds), {}
    for name, dims in shapes.items():
        is_array = binder.inputs[name].type.HasField("multiArrayType")
        is_network = isinstance(binder, NetworkBinder)
        axis = 1 if is_network and binder.rank5 and is_array else 0  # type: ignore[attr-defined]  # a network's
        given = feeds[name].shape
        if len(given) < 2 or given[axis] != 1 or not (is_network or isinstance(dims[axis], str)):
            return None
        shapes[name] = (*dims[:axis], count, *dims[axis + 1 :])
        axes[name] = axis
    return (shapes, axes) if axes else None


def output_axes(graph: "ir.Graph", inputs: Mapping[str, int], count: int) -> list[int] | None:
    """Return the axis of each output along which the items lie; None where they are not apart.

    Args:
        graph: A graph for so many items.
        inputs: The axis of each input.
        count: How many items there are.
    """
    axes: dict[Any, int] = {value: inputs[value.name] for value in graph.inputs if value.name is not None}
    try:
        for node in graph:
            found = _axis(_Node(node, axes, count))
            for output in node.outputs:
                if found is not None:
                    axes[output] = found
        outputs = [axes.get(value) for value in graph.outputs]
    except _Mixed:
        return None
    return None if None in outputs else [axis for axis in outputs if axis is not None]


class _Node:
    """A node, and where its inputs have the axis."""

    def __init__(self, node: "ir.Node", axes: Mapping[Any, int], count: int) -> None:
        self.node = node
        self.inputs = list(node.inputs)
        self.axes = [axes.get(value) for value in node.inputs]
        self.count = count

    def dims(self, value: "ir.Value | None") -> list[int]:
        """Return a known shape."""
        if value is None or value.shape is None or not all(isinstance(dim, int) for dim in value.shape):
            raise _Mixed
        return [int(dim) for dim in value.shape]  # type: ignore[arg-type]  # checked above

    def numbers(self, index: int) -> list[int]:
        """Return an input that is a constant; an empty list if it is left out."""
        value = self.inputs[index] if index < len(self.inputs) else None
        if value is None:
            return []
        producer = value.producer()
        constant = value.const_value
        if constant is None and producer is not None and producer.op_type == "Constant":
            constant = producer.attributes["value"].as_tensor() if "value" in producer.attributes else None
        if constant is None:
            raise _Mixed
        return [int(number) for number in constant.numpy().ravel()]

    def attribute(self, name: str, default: Any) -> Any:
        """Return an attribute."""
        found = self.node.attributes.get(name)
        return default if found is None else found.value

    def only_first(self) -> int:
        """Return the axis of the first input, which alone may have it."""
        if self.axes[0] is None or any(axis is not None for axis in self.axes[1:]):
            raise _Mixed
        return self.axes[0]


def _axis(node: _Node) -> int | None:
    """Return where the outputs of a node have the axis; None if no input has it.

    Raises:
        _Mixed: The items are not apart any more.
    """
    if any(_has_graph(attribute) for attribute in node.node.attributes.values()):
        raise _Mixed
    if all(axis is None for axis in node.axes):
        return None
    rule = _RULES.get(node.node.op_type) if node.node.domain in ("", "ai.onnx") else None
    if rule is None:
        raise _Mixed
    return rule(node)


def _has_graph(attribute: "ir.Attr") -> bool:
    import onnx_ir as ir

    return attribute.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)


def _elementwise(node: _Node) -> int:
    """Operands are aligned at their last axes."""
    present = [(value, axis) for value, axis in zip(node.inputs, node.axes, strict=True) if value is not None]
    ranks = [len(node.dims(value)) for value, _ in present]
    rank = max(ranks)
    found = {axis + rank - own for (_, axis), own in zip(present, ranks, strict=True) if axis is not None}
    if len(found) != 1:
        raise _Mixed
    (out,) = found
    for (value, axis), own in zip(present, ranks, strict=True):
        place = out - (rank - own)
        # A constant that has a number for each item is one for this very count.
        if axis is None and place >= 0 and node.dims(value)[place] != 1:
            raise _Mixed
    return out


def _first_axis(node: _Node) -> int:
    """Images, [N, C, ...], and constants; further outputs, such as the places of maxima, count over all items."""
    if node.only_first() != 0 or len(node.node.outputs) > 1:
        raise _Mixed
    return 0


def _resize(node: _Node) -> int:
    before, after = node.dims(node.inputs[0]), node.dims(node.node.outputs[0])
    if before[0] != after[0] or node.attribute("coordinate_transformation_mode", "") == "tf_crop_and_resize":
        raise _Mixed
    return _first_axis(node)


def _transpose(node: _Node) -> int:
    axis = node.only_first()
    perm = node.attribute("perm", None)
    return list(perm).index(axis) if perm is not None else len(node.dims(node.inputs[0])) - 1 - axis


def _along(default: int) -> Callable[[_Node], int]:
    """Operators that work along one axis, which must be another one."""

    def rule(node: _Node) -> int:
        axis, rank = node.only_first(), len(node.dims(node.inputs[0]))
        other = int(node.attribute("axis", default)) % rank
        if other == axis:
            raise _Mixed
        keeps = bool(node.attribute("keepdims", 1)) or node.node.op_type not in ("ArgMax", "ArgMin")
        return axis if keeps else axis - (other < axis)

    return rule


def _layer_normalization(node: _Node) -> int:
    axis, rank = node.only_first(), len(node.dims(node.inputs[0]))
    if int(node.attribute("axis", -1)) % rank <= axis:
        raise _Mixed
    return axis


def _reduce(node: _Node) -> int:
    axis, rank = node.only_first(), len(node.dims(node.inputs[0]))
    given = node.attribute("axes", None)
    over = {int(one) % rank for one in (given if given is not None else node.numbers(1))}
    if not over or axis in over:
        raise _Mixed
    return axis if node.attribute("keepdims", 1) else axis - sum(one < axis for one in over)


def _reshape(node: _Node) -> int:
    """The axis stays apart where as many numbers lie before it, and it has the same size."""
    axis = node.only_first()
    before, after = node.dims(node.inputs[0]), node.dims(node.node.outputs[0])
    lead = math.prod(before[:axis])
    for place, size in enumerate(after):
        if size == node.count and math.prod(after[:place]) == lead and 0 not in before:
            return place
    raise _Mixed


def _gemm(node: _Node) -> int:
    addend = node.inputs[2] if len(node.inputs) > 2 else None
    dims = [] if addend is None else node.dims(addend)
    if node.attribute("transA", 0) or (len(dims) == 2 and dims[0] != 1):
        raise _Mixed
    return _first_axis(node)


def _matmul(node: _Node) -> int:
    axis = node.only_first()
    left, right = node.dims(node.inputs[0]), node.dims(node.inputs[1])
    if axis == len(left) - 1 or len(right) != 2:
        raise _Mixed
    return axis


def _concat(node: _Node) -> int:
    found, rank = set(node.axes), len(node.dims(node.inputs[0]))
    axis = node.axes[0]
    if len(found) != 1 or axis is None or int(node.attribute("axis", 0)) % rank == axis:
        raise _Mixed
    return axis


def _pad(node: _Node) -> int:
    axis, rank = node.only_first(), len(node.dims(node.inputs[0]))
    pads, named = node.numbers(1), [place % rank for place in node.numbers(3)] or list(range(rank))
    if len(pads) != 2 * len(named):
        raise _Mixed
    if axis in named and (pads[named.index(axis)] or pads[len(named) + named.index(axis)]):
        raise _Mixed
    return axis


def _slice(node: _Node) -> int:
    axis, rank = node.only_first(), len(node.dims(node.inputs[0]))
    if axis in ([place % rank for place in node.numbers(3)] or list(range(len(node.numbers(1))))):
        raise _Mixed
    return axis


def _gather(node: _Node) -> int:
    axis, rank = node.only_first(), len(node.dims(node.inputs[0]))
    other = int(node.attribute("axis", 0)) % rank
    if other == axis:
        raise _Mixed
    return axis if axis < other else axis - 1 + len(node.dims(node.inputs[1]))


_ELEMENTWISE: Sequence[str] = (
    "Abs", "Add", "And", "Cast", "Ceil", "Celu", "Clip", "Cos", "Div", "Elu", "Equal", "Erf",
    "Exp", "Floor", "Gelu", "Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Less",
    "LessOrEqual", "Log", "Max", "Min", "Mish", "Mod", "Mul", "Neg", "Not", "Or", "PRelu", "Pow", "Reciprocal",
    "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin", "Softplus", "Softsign", "Sqrt", "Sub", "Sum", "Swish", "Tanh",
    "ThresholdedRelu", "Where", "Xor",
)  # fmt: skip
_IMAGES: Sequence[str] = (
    "AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "DepthToSpace", "GlobalAveragePool",
    "GlobalMaxPool", "GroupNormalization", "InstanceNormalization", "LRN", "LpPool", "MaxPool", "SpaceToDepth",
)  # fmt: skip
_REDUCTIONS: Sequence[str] = (
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
    "ReduceSum", "ReduceSumSquare",
)  # fmt: skip
_RULES: Mapping[str, Callable[[_Node], int]] = {
    **dict.fromkeys(_ELEMENTWISE, _elementwise),
    **dict.fromkeys(_IMAGES, _first_axis),
    **dict.fromkeys(_REDUCTIONS, _reduce),
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), _reshape),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax", "LpNormalization"), _along(-1)),
    **dict.fromkeys(("ArgMax", "ArgMin"), _along(0)),
    "Concat": _concat,
    "Gather": _gather,
    "Gemm": _gemm,
    "LayerNormalization": _layer_normalization,
    "MatMul": _matmul,
    "Pad": _pad,
    "Resize": _resize,
    "Slice": _slice,
    "Split": _along(0),
    "Transpose": _transpose,
}
