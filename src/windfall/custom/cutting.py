"""Cut a finished graph at the nodes of custom layers that are computed with NumPy, and nowhere else.

What all of its parts lie between is a stage: the nodes of graphs have odd numbers, those of custom layers even ones,
and each is as early as its inputs allow. So there are as few graphs as there can be, each with all of its rewrites.

    x -> Conv -> custom -> Add -> y     stage 1: x -> Conv -> v;  stage 2: v -> custom -> w;  stage 3: v, w -> Add -> y
          '----------------^
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from windfall.graph.attributes import bodies_of
from windfall.graph.builder import CUSTOM, build_model

_CONSTANT = -1
"""The stage of what is known beforehand."""


@dataclass(frozen=True)
class GraphPart:
    """A part that an engine computes.

    Attributes:
        model: Its graph, whose inputs and outputs have the names of the values that they are.
    """

    model: ir.Model


@dataclass(frozen=True)
class LayerPart:
    """A custom layer.

    Attributes:
        number: Its number among those of the model.
        inputs: The names of the values that it takes.
        outputs: The names of the values that it gives, empty for one that nobody takes.
    """

    number: int
    inputs: list[str]
    outputs: list[str]


Part = GraphPart | LayerPart


@dataclass(frozen=True)
class Cut:
    """A graph in parts.

    Attributes:
        parts: Its parts, in the order that they run in.
        constants: What is known beforehand and taken by custom layers, or an output, by its name.
        outputs: The names of its outputs.
    """

    parts: list[Part]
    constants: Mapping[str, ir.TensorProtocol]
    outputs: list[str]


def is_cut(model: ir.Model) -> bool:
    """Whether a graph has nodes that no engine computes."""
    return any(node.domain == CUSTOM for node in model.graph)


def cut(model: ir.Model) -> Cut:
    """Return the parts of a graph; what it consisted of is moved into them."""
    cutting = _Cutting(model.graph)
    constants = {
        str(value.name): value.const_value for value in cutting.asked() if value.is_initializer() and value.const_value
    }
    return Cut(cutting.parts(), constants, [str(value.name) for value in cutting.outputs])


class _Cutting:
    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self.outputs = list(graph.outputs)
        self._nodes = list(graph)
        self._used = {node: list(dict.fromkeys(_outer_values(node))) for node in self._nodes}
        self._stages: dict[ir.Node, int] = {}
        for node in self._nodes:
            self._stages[node] = self._stage(node)
        for value in self.asked():
            if value.producer() is not None and self._made(value) == _CONSTANT:
                self._stages[value.producer()] = 1  # type: ignore[index]  # there is one

    def _stage(self, node: ir.Node) -> int:
        made = [self._made(value) for value in self._used[node]]
        if node.domain != CUSTOM:
            earliest = max(made, default=_CONSTANT)
            return earliest + (earliest % 2 == 0)
        # What a graph computes of constants is there after the first one.
        made = [1 if stage == _CONSTANT and value.producer() else stage
                for stage, value in zip(made, self._used[node], strict=True)]  # fmt: skip
        earliest = max(made, default=0)
        return max(0, earliest + earliest % 2)

    def _made(self, value: ir.Value) -> int:
        node = value.producer()
        return self._stages[node] if node is not None else (_CONSTANT if value.is_initializer() else 0)

    def asked(self) -> Iterator[ir.Value]:
        """Yield what must be a value at run time: outputs, and what custom layers take."""
        yield from self.outputs
        for node in self._nodes:
            if node.domain == CUSTOM:
                yield from self._used[node]

    def parts(self) -> list[Part]:
        """Move all nodes into parts."""
        groups: dict[int, list[ir.Node]] = defaultdict(list)
        for node in self._nodes:
            groups[self._stages[node]].append(node)
        constant = groups.pop(_CONSTANT, [])
        wanted = self._wanted(groups)
        layers = {node: _layer_part(node) for node in self._nodes if node.domain == CUSTOM}
        self._graph.outputs.clear()
        found: list[Part] = []
        for stage in sorted(groups):
            if stage % 2:
                found.append(GraphPart(self._part(groups[stage], constant, wanted[stage], stage)))
            else:
                found += [layers[node] for node in groups[stage]]
        return found

    def _wanted(self, groups: Mapping[int, Sequence[ir.Node]]) -> dict[int, list[ir.Value]]:
        """Return for each stage those of its values that other stages take, or that are outputs."""
        wanted: dict[int, dict[ir.Value, None]] = defaultdict(dict)
        users = [(stage, value) for stage, nodes in groups.items() for node in nodes for value in self._used[node]]
        for stage, value in [*users, *((_CONSTANT, value) for value in self.outputs)]:
            if (made := self._made(value)) not in (stage, _CONSTANT):
                wanted[made][value] = None
        return {stage: list(wanted[stage]) for stage in groups}

    def _part(
        self, nodes: Sequence[ir.Node], constant: Sequence[ir.Node], outputs: Sequence[ir.Value], stage: int
    ) -> ir.Model:
        """Move nodes into a graph of their own; what they take becomes its inputs, its initializers, or is copied."""
        copies = self._copies(nodes, constant)
        new = {value: made for node, copy in copies.items()
               for value, made in zip(node.outputs, copy.outputs, strict=True)}  # fmt: skip
        own = {value for node in nodes for value in node.outputs}
        taken = dict.fromkeys(value for node in (*copies, *nodes) for value in self._used[node])
        given = {value: _like(value) for value in taken if value not in own and value not in new}
        self._graph.remove(nodes)
        graph = ir.Graph(
            [made for value, made in given.items() if not value.is_initializer()],
            outputs,
            nodes=[*copies.values(), *nodes],
            initializers=[made for value, made in given.items() if value.is_initializer()],
            opset_imports={domain: v for domain, v in self._graph.opset_imports.items() if domain != CUSTOM},
            name=f"{self._graph.name}:{stage}",
        )
        _replace(graph, new | given)
        return build_model(graph)

    def _copies(self, nodes: Sequence[ir.Node], constant: Sequence[ir.Node]) -> dict[ir.Node, ir.Node]:
        """Copy those nodes that compute constants for others: each graph has its own."""
        needed = {value for node in nodes for value in self._used[node]}
        kept = []
        for node in reversed(constant):
            if any(output in needed for output in node.outputs):
                needed |= set(self._used[node])
                kept.append(node)
        return {node: _copy(node) for node in reversed(kept)}


def _layer_part(node: ir.Node) -> LayerPart:
    number = node.attributes["number"].as_int()
    outputs = [str(value.name) for value in node.outputs]
    return LayerPart(number, [str(value.name) for value in node.inputs if value is not None], outputs)


def _outer_values(node: ir.Node) -> Iterator[ir.Value]:
    """Yield what a node takes, and what the graphs inside it take from around it."""
    yield from (value for value in node.inputs if value is not None)
    bodies = bodies_of(node)
    inner = {value for body in bodies for value in _made_in(body)}
    for body in bodies:
        for child in ir.traversal.RecursiveGraphIterator(body):
            yield from (value for value in child.inputs if value is not None and value not in inner)


def _made_in(body: ir.Graph) -> Iterator[ir.Value]:
    yield from body.inputs
    for node in ir.traversal.RecursiveGraphIterator(body):
        yield from node.outputs
        for inner in bodies_of(node):
            yield from inner.inputs


def _replace(graph: ir.Graph, new: Mapping[ir.Value, ir.Value]) -> None:
    for node in ir.traversal.RecursiveGraphIterator(graph):
        for index, value in enumerate(node.inputs):
            if value is not None and value in new:
                node.replace_input_with(index, new[value])


def _like(value: ir.Value) -> ir.Value:
    return ir.Value(name=value.name, shape=value.shape, type=value.type, const_value=value.const_value)


def _copy(node: ir.Node) -> ir.Node:
    copy = ir.Node(
        node.domain, node.op_type, node.inputs, list(node.attributes.values()), num_outputs=len(node.outputs),
        name=node.name,
    )  # fmt: skip
    for made, value in zip(copy.outputs, node.outputs, strict=True):
        made.name, made.shape, made.type = value.name, value.shape, value.type
    return copy
