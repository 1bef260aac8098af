"""What OpenVINO computes of a graph, and what is computed before and after it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import onnx
from numpy.typing import NDArray

from windfall.runtime.engine import EngineOptions, EngineProgram
from windfall.runtime.onnxruntime import OnnxRuntime
from windfall.runtime.openvino.gaps import NodeGap, first_gap, node_gaps
from windfall.runtime.openvino.indices import Indices, take_indices
from windfall.runtime.openvino.tail import Tail, take_tail
from windfall.runtime.serialized import SerializedModel

Feeds = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Parts:
    """How a graph is shared.

    Attributes:
        gap: What OpenVINO is not given of its part, None if it takes it.
        indices: What NumPy computes before, if anything.
        tail: What ONNX Runtime computes afterwards, if anything.
        end: The program that does so.
    """

    gap: str | None
    indices: Indices | None = None
    tail: Tail | None = None
    end: EngineProgram | None = None

    @property
    def is_all(self) -> bool:
        """Whether OpenVINO computes all of the graph by itself."""
        return self.indices is None and self.tail is None

    def run(self, feeds: Feeds, infer: Callable[[Feeds], list[NDArray[Any]]]) -> list[NDArray[Any]]:
        """Return the outputs of the whole graph.

        Args:
            feeds: The inputs of the whole graph.
            infer: Returns the outputs of OpenVINO's part.
        """
        feeds = feeds if self.indices is None else self.indices.feeds(feeds)
        results = infer(feeds)
        return results if self.tail is None or self.end is None else self.tail.finish(self.end, feeds, results)


def parts_of(
    proto: onnx.ModelProto, model: SerializedModel, options: EngineOptions, gap: NodeGap | None = None
) -> Parts:
    """Leave of a graph what OpenVINO, or a device, is to compute, and return how the rest is computed.

    Args:
        proto: The graph; it is changed.
        model: Where its weights are.
        options: How it is to be compiled.
        gap: Tells which nodes a device is not given; None for OpenVINO.

    Raises:
        EngineError: ONNX Runtime cannot compile its part.
    """
    gap = gap or node_gaps(proto, ranged=options.ranged)
    indices = take_indices(proto.graph, gap)
    checked = indices.lookups if indices is not None else {}
    tail = take_tail(proto, model, gap, checked)
    first = first_gap(proto, ranged=options.ranged, checked=checked, gap=gap)
    if first is not None or tail is None:
        return Parts(first, indices)
    # It is little to compute, and idle threads of one engine take time from the other's.
    end = OnnxRuntime().compile(tail.model, replace(options, threads=1, device="cpu"))
    return Parts(None, indices, tail, end)
