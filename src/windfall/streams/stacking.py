"""Let a graph compute several items at once, each as if it were alone: the axis along which they lie is followed.

The graph is that of one item, and what is followed is an axis of size 1. Each operator of the table says where its
output has that axis, given where its inputs have it, and which sizes it holds are that of the axis. What is not in the
table, or mixes the items, ends the search: the items are computed one by one.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from windfall.features.binding import Binder
from windfall.features.networks import NetworkBinder
from windfall.features.rows import RowBinder

if TYPE_CHECKING:
    import onnx_ir as ir
    from numpy.typing import NDArray


class _Mixed(Exception):  # noqa: N818  # no error: the search ends
    """The items are not apart, or nobody knows."""


def item_axes(binder: Binder, feeds: Mapping[str, "NDArray[np.generic]"]) -> dict[str, int] | None:
    """Return the axis of each input along which items can lie; None where an input has none of size 1."""
    if isinstance(binder, RowBinder):
        return None
    axes = {}
    for name, array in feeds.items():
        is_array = binder.inputs[name].type.HasField("multiArrayType")
        # Tensors are [Seq, Batch, C, H, W] in networks of rank 5.
        axis = 1 if isinstance(binder, NetworkBinder) and binder.rank5 and is_array else 0
        if array.ndim < 2 or array.shape[axis] != 1:
            return None
        axes[name] = axis
    return axes or None


def stack_items(graph: "ir.Graph", inputs: Mapping[str, int], count: int) -> list[int] | None:
    """Change the graph of one item to one of several.

    Args:
        graph: The graph; it is changed, also where there is no way.
        inputs: The axis of each input along which items lie, of size 1.
        count: How many items there are to be.

    Returns:
        The axis of each output along which the items lie; None where they would not be apart.
    """
    axes: dict[Any, int] = {value: inputs[value.name] for value in graph.inputs if value.name is not None}
    try:
        for node in list(graph):
            found = _axes(_Node(node, axes, count))
            axes |= dict(zip(node.outputs, found, strict=False))
        for value, axis in axes.items():
            _resize_axis(value, axis, count)
    except _Mixed:
        return None
    outputs = [axes.get(value) for value in graph.outputs]
    return None if None in outputs else [axis for axis in outputs if axis is not None]


def _resize_axis(value: "ir.Value", axis: int, count: int) -> None:
    import onnx_ir as ir

    if value.shape is None or value.shape[axis] != 1:
        raise _Mixed
    value.shape = ir.Shape([*value.shape[:axis], count, *value.shape[axis + 1 :]])


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

    def set_number(self, index: int, place: int) -> None:
        """Put how many items there are into an input that is a constant."""
        import onnx_ir as ir

        numbers = np.array(self.numbers(index), np.int64)
        numbers[place] = self.count
        graph = self.node.graph
        assert isinstance(graph, ir.Graph)
        value = ir.Value(name=f"{self.node.outputs[0].name}:stacked:{index}", const_value=ir.tensor(numbers))
        value.type, value.shape = ir.TensorType(ir.DataType.INT64), ir.Shape(numbers.shape)
        graph.register_initializer(value)
        self.node.replace_input_with(index, value)

    def attribute(self, name: str, default: Any) -> Any:
        """Return an attribute."""
        found = self.node.attributes.get(name)
        return default if found is None else found.value

    def only_first(self) -> int:
        """Return the axis of the first input, which alone may have it."""
        if self.axes[0] is None or any(axis is not None for axis in self.axes[1:]):
            raise _Mixed
        return self.axes[0]


def _axes(node: _Node) -> Sequence[int]:
    """Return where the outputs of a node have the axis; nothing if no input has it.

    Raises:
        _Mixed: The items are not apart any more.
    """
    if any(_has_graph(attribute) for attribute in node.node.attributes.values()):
        raise _Mixed
    if all(axis is None for axis in node.axes):
        return []
    rule = _RULES.get(node.node.op_type) if node.node.domain in ("", "ai.onnx") else None
    if rule is None:
        raise _Mixed
    found = rule(node)
    return [found] * len(node.node.outputs) if isinstance(found, int) else found


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
        # What repeats an item has no place for others.
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
    axes = node.attribute("axes", None)
    if before[0] != after[0] or node.attribute("coordinate_transformation_mode", "") == "tf_crop_and_resize":
        raise _Mixed
    if len(node.inputs) > 3 and node.inputs[3] is not None and (axes is None or 0 in axes):
        node.set_number(3, 0 if axes is None else list(axes).index(0))
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
    """The axis is found again where as many numbers lie before it."""
    place = _place(node)
    target = node.numbers(1)
    if target[place] > 0 or (target[place] == 0 and place != node.axes[0]):
        node.set_number(1, place)
    return place


def _place(node: _Node) -> int:
    axis = node.only_first()
    before, after = node.dims(node.inputs[0]), node.dims(node.node.outputs[0])
    lead = math.prod(before[:axis])
    for place, size in enumerate(after):
        if size == 1 and math.prod(after[:place]) == lead and 0 not in before:
            return place
    raise _Mixed


def _flatten(node: _Node) -> int:
    axis, at = node.only_first(), int(node.attribute("axis", 1))
    rank = len(node.dims(node.inputs[0]))
    if not axis < (at + rank if at < 0 else at) or _place(node) != 0:
        raise _Mixed
    return 0


def _squeeze(node: _Node) -> int:
    axis, rank = node.only_first(), len(node.dims(node.inputs[0]))
    away = {place % rank for place in node.numbers(1)}
    if not away or axis in away:
        raise _Mixed
    return axis - sum(place < axis for place in away)


def _unsqueeze(node: _Node) -> int:
    axis, rank = node.only_first(), len(node.dims(node.node.outputs[0]))
    new = {place % rank for place in node.numbers(1)}
    return [place for place in range(rank) if place not in new][axis]


def _gemm(node: _Node) -> int:
    addend = node.inputs[2] if len(node.inputs) > 2 else None
    dims = [] if addend is None else node.dims(addend)
    if node.attribute("transA", 0) or (len(dims) == 2 and dims[0] != 1):
        raise _Mixed
    return _first_axis(node)


def _matmul(node: _Node) -> int:
    """One matrix for all items, or one for each: then the axis is among those before the matrices."""
    left, right = (len(node.dims(value)) for value in node.inputs)
    if node.axes[0] is None or (node.axes[1] is None and right != 2):
        raise _Mixed
    aligned = {axis - own for axis, own in zip(node.axes, (left, right), strict=True) if axis is not None}
    axis = aligned.pop()
    if aligned or axis == -1 or (node.axes[1] is not None and axis >= -2):
        raise _Mixed
    return max(left, right) + axis


def _attention(node: _Node) -> int:
    """Items are the batch, of which a mask may have one for all of them."""
    mask = node.inputs[3] if len(node.inputs) > 3 else None
    batches = [axis for index, axis in enumerate(node.axes) if index != 3 and node.inputs[index] is not None]
    if any(axis != 0 for axis in batches):
        raise _Mixed
    if mask is not None and node.axes[3] is not None and (node.axes[3] != 0 or len(node.dims(mask)) != 4):
        raise _Mixed
    return 0


def _expand(node: _Node) -> int:
    before, after = node.dims(node.inputs[0]), node.dims(node.node.outputs[0])
    axis = node.only_first() + len(after) - len(before)
    if after[axis] != 1:
        raise _Mixed
    node.set_number(1, axis - len(after))
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
    data, rank = node.dims(node.inputs[0]), len(node.dims(node.inputs[1]))
    other = int(node.attribute("axis", 0)) % len(data)
    if node.axes[0] is None and node.axes[1] is not None:
        return other + node.axes[1]
    axis = node.only_first()
    if other == axis:
        raise _Mixed
    return axis if axis < other else axis - 1 + rank


def _recurrent(node: _Node) -> Sequence[int]:
    """X is [seq, batch, input], states are [directions, batch, hidden]; so are the outputs, but for Y."""
    present = {index for index, value in enumerate(node.inputs) if value is not None}
    states = [node.axes[index] for index in (5, 6) if index in present]
    if node.attribute("layout", 0) or node.axes[0] != 1 or 4 in present or any(axis != 1 for axis in states):
        raise _Mixed
    if any(node.axes[index] is not None for index in present - {0, 5, 6}):
        raise _Mixed
    return [2, 1, 1]


def _rounding(node: _Node) -> int:
    axis = node.only_first()
    dims = node.dims(node.inputs[1])
    if dims and int(node.attribute("axis", 1)) % len(node.dims(node.inputs[0])) == axis:
        raise _Mixed
    return axis


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
_RULES: Mapping[str, Callable[[_Node], int | Sequence[int]]] = {
    **dict.fromkeys(_ELEMENTWISE, _elementwise),
    **dict.fromkeys(_IMAGES, _first_axis),
    **dict.fromkeys(_REDUCTIONS, _reduce),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), _recurrent),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), _rounding),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax", "LpNormalization"), _along(-1)),
    **dict.fromkeys(("ArgMax", "ArgMin"), _along(0)),
    "Attention": _attention,
    "Concat": _concat,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Gemm": _gemm,
    "LayerNormalization": _layer_normalization,
    "MatMul": _matmul,
    "Pad": _pad,
    "Reshape": _reshape,
    "Resize": _resize,
    "Slice": _slice,
    "Split": _along(0),
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
