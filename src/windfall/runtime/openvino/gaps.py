"""What is not given to OpenVINO: what it lacks, and what it computes otherwise than ONNX defines.

OpenVINO is given graphs of float32 numbers whose shapes are all known, made of operators that were compared with ONNX
Runtime on all kinds of attributes. All else is a gap, be it for caution: where OpenVINO reads beyond the end of a
tensor, say, it does not fail, but gives other numbers or ends the process.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import numpy as np
import onnx

from windfall.runtime.serialized import QUANTIZED
from windfall.runtime.values import Values, attribute

_FLOAT, _UINT8, _INT32, _INT64, _BOOL, _FLOAT16 = 1, 2, 6, 7, 9, 10
"""Members of ``TensorProto.DataType``."""
_COMPUTED = frozenset({_FLOAT})
_MOVED = frozenset({_FLOAT, _UINT8, _INT32, _INT64, _BOOL})
_LOGICAL = frozenset({_BOOL})

OPERATORS: Mapping[str, frozenset[int]] = {
    **dict.fromkeys(
        """
        Abs Acos Acosh Add Asin Asinh Atan Atanh Attention AveragePool BatchNormalization Ceil Clip Conv
        ConvTranspose Cos Cosh Div Elu Equal Erf Exp Expand Floor Gemm GlobalAveragePool GlobalMaxPool Greater
        GreaterOrEqual HardSigmoid InstanceNormalization LayerNormalization LeakyRelu Less LessOrEqual Log
        LogSoftmax LpPool MatMul Max MaxPool MeanVarianceNormalization Min Mul Neg Pad Pow PRelu Reciprocal
        ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMean ReduceProd ReduceSum ReduceSumSquare Relu
        Resize Round Selu Sigmoid Sign Sin Sinh Softmax Softplus Softsign Sqrt Sub Tan Tanh Gelu HardSwish Mish
        LSTM GRU RNN
        """.split(),  # noqa: SIM905  # a block of words is easier to read and to change
        _COMPUTED,
    ),
    **dict.fromkeys(
        """
        Concat DepthToSpace Flatten Gather Identity Reshape ScatterND Slice SpaceToDepth Split Squeeze Tile Transpose
        Unsqueeze Where Cast
        """.split(),  # noqa: SIM905  # as above
        _MOVED,
    ),
    **dict.fromkeys(["And", "Not", "Or", "Xor"], _LOGICAL),
}
"""The operators that OpenVINO is given, and the types of numbers that it is given them for."""

REASONS: Mapping[str, str] = {
    **dict.fromkeys(["If", "Loop", "Scan"], "its loops do not count, stop and fail as ONNX says"),
    **dict.fromkeys(["GatherElements", "GatherND", "ScatterElements"], "an index beyond its axis is no error there"),
    **dict.fromkeys(["TopK", "ArgMax", "ArgMin"], "which of equal elements comes first is another one"),
    **dict.fromkeys(["ReduceMax", "ReduceMin"], "it drops NaN, and takes infinity for a number"),
    "LRN": "it gives other numbers for some sizes",
    "ThresholdedRelu": "it gives NaN for -infinity",
    **dict.fromkeys(["Mod", "CumSum", "BitShift"], "they are used for whole numbers, which it rounds to 32 bits"),
    **dict.fromkeys(["NonMaxSuppression"], "it orders boxes of equal scores otherwise, and pads its result"),
    **dict.fromkeys(
        ["QuantizeLinear", "DequantizeLinear"], "it computes with other steps, which only 8-bit arithmetic allows"
    ),
    **dict.fromkeys(["NonZero", "Range", "Unique", "Compress", "Shape"], "their results have no known shape"),
    **dict.fromkeys(
        ["RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial"],
        "it draws other numbers",
    ),
}
"""Why an operator is not given to it, where there is more to say than that nobody compared it."""


_ROUNDING = frozenset({"QuantizeLinear", "DequantizeLinear"})
"""The operators around layers of 8-bit arithmetic; scales and zero points are constants there."""

RANGED = frozenset({"Shape", "Slice", "Reshape"})
"""The operators whose sizes may be computed, in a graph whose inputs have symbolic sizes."""


NodeGap = Callable[[onnx.NodeProto, Values], str | None]
"""Tells why an engine is not given a node of a graph, None if it is."""


def first_gap(
    model: onnx.ModelProto, *, ranged: bool = False, checked: Collection[str] = (), gap: NodeGap | None = None
) -> str | None:
    """Return what in a graph OpenVINO is not given, with the reason; None if it takes all of it. See ``gaps``."""
    return next(gaps(model, ranged=ranged, checked=checked, gap=gap), None)


def gaps(
    model: onnx.ModelProto, *, ranged: bool = False, checked: Collection[str] = (), gap: NodeGap | None = None
) -> Iterator[str]:
    """Name everything in a graph that OpenVINO is not given, each with the reason.

    Args:
        model: The graph.
        ranged: Whether sizes that are known only at run time are no gap.
        checked: The inputs that are indices and that are checked before each run; see ``indices.py``.
        gap: Tells it of a node, where that is not ``node_gaps``.
    """
    values = Values(model.graph, checked)
    yield from _value_gaps(values, ranged=ranged)
    gap = gap or node_gaps(model, ranged=ranged)
    for node in model.graph.node:
        reason = gap(node, values)
        if reason:
            yield f"operator {node.op_type}: {reason}"


def node_gaps(model: onnx.ModelProto, *, ranged: bool = False) -> NodeGap:
    """Return a function that tells why OpenVINO is not given a node of a graph, None if it is; see ``gaps``."""
    is_quantized = any(entry.key == QUANTIZED for entry in model.metadata_props)
    taken = (RANGED if ranged else frozenset()) | (_ROUNDING if is_quantized else frozenset())
    return lambda node, values: None if node.op_type in taken and not node.domain else _gap(node, values)


def _value_gaps(values: Values, *, ranged: bool) -> Iterator[str]:
    """Name the inputs and outputs that OpenVINO cannot have, and the values without a known shape."""
    for value in values.ports:
        if values.types[value.name] not in _MOVED:
            yield f"{value.name!r} is not of float32, int32 or bool"
    for name in sorted(name for name, dims in values.shapes.items() if dims is None or 0 in dims):
        if not ranged or values.shapes[name] is not None:
            yield f"the shape of {name!r} is empty, or is known only at run time"


def _gap(node: onnx.NodeProto, values: Values) -> str | None:
    """Return why OpenVINO is not given a node, None if it is."""
    types = OPERATORS.get(node.op_type) if not node.domain else None
    if types is None:
        return REASONS.get(node.op_type, "it is not among those that were compared with ONNX Runtime")
    if node.op_type in CONDITIONS:
        reason = CONDITIONS[node.op_type](node, values)
        if reason is not None:
            return reason
    for name in _data(node):
        if values.types.get(name) not in types and node.op_type != "Cast":
            return "it computes with numbers of a type that OpenVINO rounds to another"
    if any(name and name not in values.shapes for name in node.output):
        return "its result has no known shape"
    return None


def _data(node: onnx.NodeProto) -> Sequence[str]:
    """Return the values that an operator computes with, without the numbers that tell it how."""
    return [name for index, name in enumerate(node.input) if name and index < _DATA.get(node.op_type, len(node.input))]


_DATA = dict.fromkeys(
    """
    Expand Gather Pad ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMean ReduceProd ReduceSum ReduceSumSquare
    Reshape Resize Slice Split Squeeze Tile Unsqueeze
    """.split(),  # noqa: SIM905  # as above
    1,
)
"""How many inputs are data, for operators whose others are sizes, axes and the like; these must be constants."""


def _constants(node: onnx.NodeProto, values: Values) -> str | None:
    rest = [name for name in node.input[1:] if name]
    if any(name not in values.initializers for name in rest):
        return "its sizes or axes are known only at run time"
    return None


def _gather(node: onnx.NodeProto, values: Values) -> str | None:
    if node.input[1] in values.checked:
        return None
    indices, dims = values.constant(node.input[1]), values.shapes.get(node.input[0])
    if indices is None or dims is None:
        return "an index beyond its axis is no error there"
    size = dims[attribute(node, "axis", 0)]
    return None if np.all((indices >= -size) & (indices < size)) else "an index is beyond its axis"


def _scatter(node: onnx.NodeProto, values: Values) -> str | None:
    indices, dims = values.constant(node.input[1]), values.shapes.get(node.input[0])
    if indices is None or dims is None:
        return "an index beyond its axis is no error there"
    if attribute(node, "reduction", b"none") != b"none":
        return "it combines numbers in another order"
    places = indices.reshape(-1, indices.shape[-1])
    if np.any((places < 0) | (places >= dims[: indices.shape[-1]])):
        return "an index is below 0 or beyond its axis"
    return None if len(np.unique(places, axis=0)) == len(places) else "which of two updates comes last is left open"


def _recurrent(node: onnx.NodeProto, values: Values) -> str | None:
    names = {each.name for each in node.attribute if each.name in ("clip", "input_forget", "layout")}
    if names:
        return f"it ignores {min(names)}"
    if any(len(node.input) > place and node.input[place] for place in (4, 7)):
        return "its sequences of different lengths and peepholes were not compared with ONNX Runtime"
    if any(name and name not in values.initializers for name in node.input[1:4]):
        return "its weights are known only at run time"
    directions = 2 if attribute(node, "direction", b"forward") == b"bidirectional" else 1
    activations = attribute(node, "activations", _ACTIVATIONS[node.op_type][0] * directions)
    usual = any(activations == each * directions for each in _ACTIVATIONS[node.op_type])
    return None if usual else "its activations are others than the usual ones"


_ACTIVATIONS: Mapping[str, Sequence[list[bytes]]] = {
    "GRU": [[b"Sigmoid", b"Tanh"]],
    "LSTM": [[b"Sigmoid", b"Tanh", b"Tanh"]],
    "RNN": [[b"Tanh"], [b"Relu"], [b"Sigmoid"]],
}
"""The activations of one direction that were compared with ONNX Runtime, those by default first."""


def _without_zeros(node: onnx.NodeProto, _values: Values) -> str | None:
    zeros = [each.name for each in node.attribute if each.type == each.FLOAT and each.f == 0]
    return f"it takes {zeros[0]} = 0 for the default" if zeros else None


def _clamping(node: onnx.NodeProto, values: Values) -> str | None:
    # Against a constant they are activations, such as ReLU6, of which that is known.
    return None if any(name in values.initializers for name in node.input) else "it drops NaN"


def _pooling(node: onnx.NodeProto, _values: Values) -> str | None:
    return "it rounds sizes up to windows that hold nothing" if attribute(node, "ceil_mode", 0) else None


def _pad(node: onnx.NodeProto, values: Values) -> str | None:
    return (
        "it has no padding that wraps around" if attribute(node, "mode", b"") == b"wrap" else _constants(node, values)
    )


def _resize(node: onnx.NodeProto, values: Values) -> str | None:
    if attribute(node, "mode", b"nearest") == b"cubic":
        return "its cubic resizing takes samples at other places"
    mode = attribute(node, "coordinate_transformation_mode", b"half_pixel").decode()
    if mode not in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"):
        return f"it has no {mode} coordinates"
    return _constants(node, values)


def _cast(node: onnx.NodeProto, values: Values) -> str | None:
    pair = values.types.get(node.input[0]), attribute(node, "to", 0)
    exact = {(kind, _FLOAT) for kind in (_FLOAT, _FLOAT16, _UINT8, _INT32, _BOOL)} | {(_BOOL, _INT32), (_INT32, _INT32)}
    return None if pair in exact or _makes_pixels(node, values) else "it casts to whole numbers otherwise"


def _makes_pixels(node: onnx.NodeProto, values: Values) -> bool:
    """Tell whether a cast to bytes is given whole numbers from 0 to 255: Clip -> Round -> Cast."""
    rounding = values.makers.get(node.input[0])
    clipping = None if rounding is None or rounding.op_type != "Round" else values.makers.get(rounding.input[0])
    if clipping is None or clipping.op_type != "Clip" or len(clipping.input) < 3 or attribute(node, "to", 0) != _UINT8:
        return False
    least, most = (values.constant(name) for name in clipping.input[1:3])
    return least is not None and most is not None and bool(least >= 0 and most <= 255)


CONDITIONS: Mapping[str, Callable[[onnx.NodeProto, Values], str | None]] = {
    **dict.fromkeys(_DATA, _constants),
    "Gather": _gather,
    "ScatterND": _scatter,
    **dict.fromkeys(_ACTIVATIONS, _recurrent),
    "Cast": _cast,
    **dict.fromkeys(["HardSigmoid", "Selu"], _without_zeros),
    **dict.fromkeys(["AveragePool", "LpPool", "MaxPool"], _pooling),
    **dict.fromkeys(["Max", "Min"], _clamping),
    "Pad": _pad,
    "Resize": _resize,
}
"""What else must hold of an operator's nodes; a function returns the reason where it does not."""
