"""What is not given to a device of ONNX Runtime other than the processor: what may compute something else there.

All operators' tests were run on a graphics card with CUDA. There an index beyond its axis is no error, of several
updates at one place any may stay, LSTMs in both directions and whole numbers of 32 bits gave other numbers, and what is
in float64 is rounded to float32. What OpenVINO is given has none of that, and agreed; so a device is given the same,
but for a few operators.
"""

import onnx

from windfall.runtime.engine import EngineOptions
from windfall.runtime.openvino.gaps import NodeGap, node_gaps
from windfall.runtime.openvino.parts import Parts, parts_of
from windfall.runtime.serialized import AFTER, SerializedModel
from windfall.runtime.values import Values

_OTHERWISE = frozenset({"DequantizeLinear", "GRU", "LSTM", "QuantizeLinear", "RNN", "ScatterND"})
"""Operators that OpenVINO may be given."""
_REASON = "it may compute something else there than on the processor"


def device_parts(proto: onnx.ModelProto, model: SerializedModel, options: EngineOptions) -> Parts:
    """Leave of a graph what a device is to compute, and return how the rest is computed; see ``parts_of``."""
    if any(value.name.endswith(AFTER) for value in proto.graph.output):
        return Parts("it keeps states, which lie in the processor's memory")
    return parts_of(proto, model, options, _device_gap(node_gaps(proto)))


def _device_gap(other: NodeGap) -> NodeGap:
    def gap(node: onnx.NodeProto, values: Values) -> str | None:
        return _REASON if node.op_type in _OTHERWISE or other(node, values) else None

    return gap
