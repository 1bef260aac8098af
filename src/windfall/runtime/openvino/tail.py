"""The end of a graph that OpenVINO is not given: ONNX Runtime computes it from what OpenVINO gives.

A detector's network ends in a few operators that choose boxes, such as ArgMax and NonMaxSuppression:

    x -> Conv, Mul, .. -> scores -> ArgMax -> best
         OpenVINO                   ONNX Runtime

The graph is cut before the first ones that are gaps, if nearly all that there is to compute lies before the cut.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx
from numpy.typing import NDArray

from windfall.runtime.engine import EngineProgram
from windfall.runtime.serialized import AFTER, SerializedModel
from windfall.runtime.values import Values
from windfall.runtime.work import multiplications

_LEAST_BEFORE = 0.95
"""The part of all multiplications that must come before the cut."""
_INT64 = 7
_UNCOUNTED = frozenset({"Conv", "ConvTranspose", "GRU", "Gemm", "LSTM", "Loop", "MatMul", "RNN", "Scan"})
"""Operators that take long, and whose work is not known where they are inside of others."""


@dataclass(frozen=True)
class Tail:
    """What comes after OpenVINO.

    Attributes:
        model: The graph of the end.
        inputs: Its inputs: results of OpenVINO, and inputs of the whole graph.
        outputs: The outputs of the whole graph, in order.
        head: The outputs of OpenVINO's graph, in order.
    """

    model: SerializedModel
    inputs: Sequence[str]
    outputs: Sequence[str]
    head: Sequence[str]

    def finish(
        self, program: EngineProgram, feeds: Mapping[str, NDArray[Any]], results: Sequence[NDArray[Any]]
    ) -> list[NDArray[Any]]:
        """Return the outputs of the whole graph.

        Args:
            program: The end, compiled.
            feeds: The inputs of the whole graph.
            results: What OpenVINO gave.
        """
        known = {**feeds, **dict(zip(self.head, results, strict=True))}
        ends = program.run(self.feeds(known))
        known |= zip((name for name in self.outputs if name not in self.head), ends, strict=True)
        return [known[name] for name in self.outputs]

    def feeds(self, known: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return those of some values that the end takes."""
        return {name: known[name] for name in self.inputs if name in known}


def take_tail(
    proto: onnx.ModelProto,
    model: SerializedModel,
    gap: Callable[[onnx.NodeProto, Values], object],
    checked: Collection[str] = (),
) -> Tail | None:
    """Cut off the end of a graph.

    Args:
        proto: The graph; of it the part before the cut remains.
        model: Where its weights are.
        gap: Tells whether OpenVINO is not given a node.
        checked: The inputs that are indices and that are checked before each run.

    Returns:
        The end, None if there is no gap or if it is no good place to cut; then the graph is as it was.
    """
    values = Values(proto.graph, checked)
    nodes = list(_after_gaps(proto.graph, values, gap))
    made = {name for node in nodes for name in node.output}
    used = {name for node in nodes for name in _reads(node)}
    border = [name for node in proto.graph.node for name in node.output if name in used - made]
    if not nodes or not border or not _is_worth_it(proto.graph, nodes) or not _can_cross(border, made, values, proto):
        return None
    inputs = [*border, *(port.name for port in proto.graph.input if port.name in used and port.name not in border)]
    outputs = [port.name for port in proto.graph.output]
    tail = _part(proto, nodes, inputs, [name for name in outputs if name in made])
    kept = [node for node in proto.graph.node if not made.intersection(node.output)]
    read = {name for node in kept for name in _reads(node)}
    dropped = {port.name for port in proto.graph.input if port.name in used and port.name not in read}
    results = [name for name in outputs if name not in made and not name.endswith(AFTER)]
    # States come last.
    results += [name for name in border if name not in outputs] + [name for name in outputs if name.endswith(AFTER)]
    head = _part(proto, kept, [port.name for port in proto.graph.input if port.name not in dropped], results)
    proto.CopyFrom(head)
    arrays = {name: array for name, array in model.arrays.items() if name in used}
    return Tail(SerializedModel(tail.SerializeToString(), arrays, model.folder), inputs, outputs, results)


def _after_gaps(
    graph: onnx.GraphProto, values: Values, gap: Callable[[onnx.NodeProto, Values], object]
) -> Iterator[onnx.NodeProto]:
    """Give the nodes that are gaps, and those that come after one."""
    late: set[str] = set()
    for node in graph.node:
        if not late.isdisjoint(_reads(node)) or gap(node, values):
            late.update(node.output)
            yield node


def _reads(node: onnx.NodeProto) -> set[str]:
    """Return the values that a node reads, and maybe more: names inside of its bodies, too."""
    names = set(node.input) - {""}
    for each in node.attribute:
        for body in (each.g, *each.graphs):
            names |= {name for inner in body.node for name in _reads(inner)} | {port.name for port in body.output}
    return names


def _is_worth_it(graph: onnx.GraphProto, late: Sequence[onnx.NodeProto]) -> bool:
    if any(inner.op_type in _UNCOUNTED for node in late for inner in _inside(node)):
        return False
    whole = multiplications(graph)
    rest = onnx.GraphProto(
        node=late, input=graph.input, output=graph.output, initializer=graph.initializer, value_info=graph.value_info
    )
    return whole > 0 and multiplications(rest) <= (1 - _LEAST_BEFORE) * whole


def _inside(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    """Give all nodes in the bodies of a node, and the node itself if it repeats its body."""
    if node.op_type in ("Loop", "Scan"):
        yield node
    for each in node.attribute:
        for body in (each.g, *each.graphs):
            for inner in body.node:
                yield inner
                yield from _inside(inner)


def _can_cross(border: Iterable[str], made: Collection[str], values: Values, proto: onnx.ModelProto) -> bool:
    """Tell whether OpenVINO can give the values before the cut, and whether none of those after it are states."""
    known = all(values.types.get(name, _INT64) not in (0, _INT64) for name in border)
    return known and not any(port.name in made and port.name.endswith(AFTER) for port in proto.graph.output)


def _part(
    proto: onnx.ModelProto, nodes: Sequence[onnx.NodeProto], inputs: Sequence[str], outputs: Sequence[str]
) -> onnx.ModelProto:
    """Return a part of a graph as a graph."""
    graph = proto.graph
    used = {name for node in nodes for name in _reads(node)} | set(outputs)
    made = {name for node in nodes for name in node.output}
    declared = {value.name: value for value in [*graph.value_info, *graph.input, *graph.output]}
    part = onnx.ModelProto(
        ir_version=proto.ir_version, opset_import=proto.opset_import, metadata_props=proto.metadata_props
    )
    part.graph.CopyFrom(
        onnx.GraphProto(
            name=graph.name,
            node=nodes,
            input=[declared[name] for name in inputs],
            output=[declared[name] for name in outputs],
            initializer=[tensor for tensor in graph.initializer if tensor.name in used],
            value_info=[value for value in graph.value_info if value.name in made and value.name not in outputs],
        )
    )
    return part
