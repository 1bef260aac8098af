"""Networks inside layers: branches and loops.

Source: ``BranchLayerParams``, ``LoopLayerParams``, ``LoopBreakLayerParams``, ``LoopContinueLayerParams`` in
NeuralNetwork.proto.

These layers have no outputs: their networks write the blobs of the network around them. In ONNX nothing is ever written
again, so what a network writes becomes outputs of its subgraph. A layer that may stop an iteration sets flags, blobs
like all others, and what stands behind it becomes a branch.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from windfall.graph.builder import GraphBuilder
from windfall.graph.limits import MOST_ITERATIONS
from windfall.graph.shapes import common_shape
from windfall.lowering.limits import within_limit
from windfall.lowering.neural_network.context import LayerContext, Value
from windfall.spec.networks import nested_networks

if TYPE_CHECKING:
    from windfall.lowering.neural_network.blobs import Blobs

# Flags are blobs whose names no model has: whether the iteration stops here, and whether the loop ends with it.
STOP, BREAK = "\0stop", "\0break"
FLAGS = (STOP, BREAK)
_WRITES_FLAGS: Mapping[str | None, tuple[str, ...]] = {"loopBreak": FLAGS, "loopContinue": (STOP,)}

# "If the absolute value of the input Tensor is greater than 1e-6".
_TRUE_ABOVE = 1e-6

# A loop's networks are lowered more than once, which doubles with each that lies in another.
_MOST_NESTED = 8
_MOST_STOPS = 32


def written(layers: Sequence[Any]) -> Iterator[str]:
    """Name what layers and the networks inside them write, the flags they set included."""
    for layer in layers:
        kind = layer.WhichOneof("layer")
        yield from layer.output
        yield from _WRITES_FLAGS.get(kind, ())
        inner = (name for _, network in nested_networks(layer) for name in written(network.layers))
        # A loop ends its own iterations.
        yield from (name for name in inner if kind != "loop" or name not in FLAGS)


def stops(layers: Sequence[Any]) -> bool:
    """Whether layers may stop the iteration that they are in."""
    return STOP in written(layers)


def _inner(ctx: LayerContext, graph: GraphBuilder) -> "Blobs":
    """Return the blobs for a network inside a layer."""
    blobs = ctx.blobs.nested(graph)
    blobs.depth = _deeper(ctx)
    return blobs


def _deeper(ctx: LayerContext) -> int:
    """Return how deep the networks inside a layer lie."""
    depth = ctx.blobs.depth
    if depth >= _MOST_NESTED:
        raise ctx.error("layer", f"lies in {depth} others, must lie in at most {_MOST_NESTED - 1}", value=None)
    return depth + 1


def _holds(graph: GraphBuilder, x: Value) -> Value:
    """Tell whether a tensor of one element is true, as a bool of rank 0."""
    above = graph.op("Greater", graph.op("Abs", x), graph.constant(np.float32(_TRUE_ABOVE)))
    return graph.reshape(above, ())


def lower_branch(ctx: LayerContext, condition: Value) -> Sequence[Value]:
    """Compute one of two networks.

    Source: ``BranchLayerParams``.

    What both write can be used afterwards, and what one writes that had a value before. A blob that only one of them
    makes cannot; NeuralNetworkLayerValidator.cpp has it so.

    Args:
        ctx: The layer and the graph being built.
        condition: One element; true where its absolute value is above 1e-6.

    Returns:
        Nothing: the layer has no outputs.

    Raises:
        LoweringError: There is no ifBranch, or the condition has more than one element.
    """
    if not ctx.params.ifBranch.layers:
        raise ctx.error("ifBranch", "must have layers", value=None)
    holds = _holds(ctx.graph, condition)
    then, otherwise = (_inner(ctx, ctx.graph.subgraph(name)) for name in ("then", "else"))
    then.lower_all(ctx.params.ifBranch.layers)
    otherwise.lower_all(ctx.params.elseBranch.layers)
    _choose(ctx, holds, then, otherwise)
    return []


def _choose(ctx: LayerContext, holds: Value, then: "Blobs", otherwise: "Blobs") -> None:
    """Add the If node for two lowered networks, and write what it gives to the blobs around them."""
    names = list(dict.fromkeys([*then.values, *otherwise.values]))
    pairs = {name: (one, other) for name in names if (one := then.find(name)) and (other := otherwise.find(name))}
    ctx.blobs.hide(set(names) - set(pairs), f"is made in only one branch of layer {ctx.layer.name!r}, must be in both")
    if not pairs:
        then.graph.discard()
        otherwise.graph.discard()
        return
    for one, other in pairs.values():
        then.graph.add_result(one)
        otherwise.graph.add_result(other)
    shapes = [common_shape(one.shape, other.shape) for one, other in pairs.values()]
    outputs = ctx.graph.control(
        "If",
        [holds],
        {"then_branch": then.graph, "else_branch": otherwise.graph},
        [(ir.DataType.FLOAT, dims) for dims in shapes],
    )
    for name, value in zip(pairs, outputs, strict=True):
        ctx.blobs.write(name, value)


def lower_rest(ctx: LayerContext, layers: Sequence[Any]) -> None:
    """Lower what stands behind a layer that may stop the iteration: a branch on the flag that it sets."""
    stop = ctx.blobs.find(STOP)
    assert stop is not None, ctx.layer.name  # the layer has set it
    ctx.graph.prefix = ctx.layer.name
    then, otherwise = (ctx.blobs.nested(ctx.graph.subgraph(name)) for name in ("stopped", "rest"))
    otherwise.rests += 1
    if otherwise.rests > _MOST_STOPS:
        raise ctx.error(
            "layer", f"comes after {_MOST_STOPS} that may stop an iteration, the most there may be", value=None
        )
    otherwise.lower_all(layers)
    ctx.graph.prefix = ctx.layer.name
    _choose(ctx, _holds(ctx.graph, stop), then, otherwise)


def lower_loop_break(ctx: LayerContext) -> Sequence[Value]:
    """End the loop that the layer is in.

    Source: ``LoopBreakLayerParams``.

    Args:
        ctx: The layer and the graph being built.

    Returns:
        Nothing: the layer has no outputs.

    Raises:
        LoweringError: The layer is in no loop's bodyNetwork.
    """
    return _set_flags(ctx)


def lower_loop_continue(ctx: LayerContext) -> Sequence[Value]:
    """End this iteration of the loop that the layer is in.

    Source: ``LoopContinueLayerParams``.

    Args:
        ctx: The layer and the graph being built.

    Returns:
        Nothing: the layer has no outputs.

    Raises:
        LoweringError: The layer is in no loop's bodyNetwork.
    """
    return _set_flags(ctx)


def _set_flags(ctx: LayerContext) -> Sequence[Value]:
    if ctx.blobs.find(STOP) is None:
        raise ctx.error("layer", "must be in the bodyNetwork of a loop", value=None)
    for flag in _WRITES_FLAGS[ctx.layer_type]:
        ctx.blobs.write(flag, ctx.floats([1]))
    return []


def lower_loop(ctx: LayerContext, count: Value | None = None) -> Sequence[Value]:
    """Compute a network a number of times, or as long as another one says so, or both.

    Source: ``LoopLayerParams``.

    What the networks write over is carried from one iteration to the next. What the conditionNetwork makes can be used
    afterwards, as it is computed at least once; what only the bodyNetwork makes too, if the loop surely runs: without
    a condition, an input or a break.

    Args:
        ctx: The layer and the graph being built.
        count: One element, the number of iterations instead of ``maxLoopIterations``.

    Returns:
        Nothing: the layer has no outputs.

    Raises:
        LoweringError: A network or the condition's name is missing, or there are more than MOST_ITERATIONS.
    """
    _check_loop(ctx, count)
    loop = _Loop(ctx, count)
    loop.lower()
    return []


def _check_loop(ctx: LayerContext, count: Value | None) -> None:
    params = ctx.params
    condition = params.conditionNetwork.layers
    if not params.bodyNetwork.layers:
        raise ctx.error("bodyNetwork", "must have layers", value=None)
    if bool(condition) != bool(params.conditionVar):
        raise ctx.error("conditionVar", "must be set if there is a conditionNetwork, and only then", value=None)
    if condition and params.conditionVar not in written(condition):
        raise ctx.error("conditionVar", "must be made by the conditionNetwork")
    if stops(condition):
        raise ctx.error("conditionNetwork", "must hold no loopBreak and no loopContinue", value=None)
    if condition or count is not None:
        return
    if not 1 <= params.maxLoopIterations <= MOST_ITERATIONS:
        raise ctx.error(
            "maxLoopIterations", f"must be 1 to {MOST_ITERATIONS:,} without an input and a conditionNetwork"
        )


def _nothing(ctx: LayerContext, like: Value) -> Value:
    """Return an empty tensor for a name that has no value before the loop; the first iteration does not read it."""
    return ctx.floats(np.zeros([0] * (0 if like.shape is None else len(like.shape))))


_Shapes = Mapping[str, ir.Shape | None]


class _Loop:
    """A loop layer that is being lowered."""

    def __init__(self, ctx: LayerContext, count: Value | None) -> None:
        self.ctx = ctx
        self.count = count
        self.condition: Sequence[Any] = ctx.params.conditionNetwork.layers
        self.body: Sequence[Any] = ctx.params.bodyNetwork.layers
        self.stops = stops(self.body)
        most = ctx.params.maxLoopIterations
        self.surely_runs = not self.condition and count is None and not self.stops
        self.limited = count is not None or not 1 <= most <= MOST_ITERATIONS

    def lower(self) -> None:
        """Add the Loop node, and write what it gives to the blobs around it."""
        ctx = self.ctx
        trips = self._trips()
        start = self._start()
        carried = {
            name: value
            for name in dict.fromkeys([*written(self.condition), *written(self.body)])
            if name not in FLAGS and (value := ctx.blobs.find(name)) is not None
        }
        body, shapes = self._settle({name: value.shape for name, value in carried.items()})
        results = {name: value for name, value in body.blobs.values.items() if name in carried or self._stays(name)}
        self._hide(body, results)
        for name, value in results.items():
            if name not in carried:
                body.graph.input(f"{body.graph.graph.name}:{name}", ir.DataType.FLOAT, None)
            body.graph.add_result(value)
        initial = [carried[name] if name in carried else _nothing(ctx, value) for name, value in results.items()]
        types = [(ir.DataType.FLOAT, shapes.get(name, value.shape)) for name, value in results.items()]
        outputs = ctx.graph.control("Loop", [trips, start, *initial], {"body": body.graph}, types)
        ctx.blobs.loose.update(results.keys() - carried.keys())
        for name, value in zip(results, outputs, strict=True):
            ctx.blobs.write(name, value)

    def _stays(self, name: str) -> bool:
        """Whether a name that the body makes is carried out of the loop."""
        return self.surely_runs and name not in FLAGS and self.ctx.blobs.is_read_later(name)

    def _hide(self, body: LayerContext, results: Mapping[str, Value]) -> None:
        names = set(body.blobs.values) - set(results)
        self.ctx.blobs.hide(names, f"is made only inside layer {self.ctx.layer.name!r}, whose body may never run")

    def _trips(self) -> Value:
        """Return how often the loop may run at most: one more than is allowed, so that this is seen."""
        ctx = self.ctx
        if self.count is None:
            most = ctx.params.maxLoopIterations or MOST_ITERATIONS + 1
            return ctx.integers(min(most, MOST_ITERATIONS + 1))
        count = ctx.op("Min", ctx.reshape(self.count, ()), ctx.floats(MOST_ITERATIONS + 1))
        return ctx.op("Cast", count, to=ir.DataType.INT64)

    def _start(self) -> Value:
        """Lower the condition for the first time, in the network around the loop; tell whether it holds."""
        ctx = self.ctx
        if not self.condition:
            return ctx.constant(np.bool_(True))
        depth, ctx.blobs.depth = ctx.blobs.depth, _deeper(ctx)
        ctx.blobs.lower_all(self.condition)
        ctx.blobs.depth = depth
        ctx.graph.prefix = ctx.layer.name
        return self._condition_holds(ctx)

    def _condition_holds(self, ctx: LayerContext) -> Value:
        value = ctx.blobs.find(ctx.params.conditionVar)
        if value is None:
            raise ctx.error("conditionVar", "must be made by the conditionNetwork, whichever way that goes")
        return _holds(ctx.graph, value)

    def _settle(self, shapes: _Shapes) -> tuple[LayerContext, _Shapes]:
        """Lower the body, anew while a shape does not stay as it was; returns it and the shapes that stay."""
        while True:
            body = self._lower_body(shapes)
            stay = {name: common_shape(dims, body.blobs.values[name].shape) for name, dims in shapes.items()}
            if stay == shapes:
                return body, shapes
            body.graph.discard()
            shapes = stay

    def _lower_body(self, shapes: _Shapes) -> LayerContext:
        """Lower the body, and the condition behind it; the first output tells whether the loop goes on."""
        graph = self.ctx.graph.subgraph("body")
        body = LayerContext(self.ctx.layer, self.ctx.file, graph, _inner(self.ctx, graph))
        iteration = graph.input(f"{graph.graph.name}:iteration", ir.DataType.INT64, [])
        graph.input(f"{graph.graph.name}:condition", ir.DataType.BOOL, [])
        for name, dims in shapes.items():
            body.blobs.values[name] = graph.input(f"{graph.graph.name}:{name}", ir.DataType.FLOAT, dims)
        if self.stops:
            body.blobs.values.update(dict.fromkeys(FLAGS, body.floats([0])))
        body.blobs.lower_all(self.body)
        graph.prefix = self.ctx.layer.name
        graph.add_result(self._goes_on(body, iteration))
        return body

    def _goes_on(self, body: LayerContext, iteration: Value) -> Value:
        """Tell at the end of an iteration whether there is to be another one, by all that can end the loop."""
        parts = []
        if self.stops:
            parts.append(body.op("Not", _holds(body.graph, body.blobs.values[BREAK])))
        if self.condition:
            self._lower_condition(body, parts[0] if parts else None)
            parts.append(self._condition_holds(body))
        if self.limited:
            parts.append(within_limit(body.graph, iteration, MOST_ITERATIONS))
        if not parts:
            return body.constant(np.bool_(True))
        return reduce(lambda one, other: body.op("And", one, other), parts)

    def _lower_condition(self, body: LayerContext, unbroken: Value | None) -> None:
        """Lower the condition for the second time; after a break it is not computed."""
        body.blobs.rewriting = True
        if unbroken is None:
            body.blobs.lower_all(self.condition)
        else:
            then, otherwise = (body.blobs.nested(body.graph.subgraph(name)) for name in ("unbroken", "broken"))
            then.lower_all(self.condition)
            _choose(body, unbroken, then, otherwise)
        body.graph.prefix = self.ctx.layer.name


LOWERINGS: Mapping[str, Callable[..., Value | Sequence[Value]]] = {
    "branch": lower_branch,
    "loop": lower_loop,
    "loopBreak": lower_loop_break,
    "loopContinue": lower_loop_continue,
}
