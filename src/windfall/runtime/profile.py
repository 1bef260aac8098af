"""How long each layer of a model takes, as its engine measures it."""

import json
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray

from windfall.errors import EngineError
from windfall.runtime.engine import EngineOptions
from windfall.runtime.failures import layer_of
from windfall.runtime.samples import sample_feeds
from windfall.runtime.serialized import SerializedModel

Feeds = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class NodeTime:
    """One run of one node: its layer, empty if the engine made it for itself; operator, device, seconds."""

    layer: str
    operator: str
    device: str
    seconds: float


@dataclass(frozen=True)
class LayerTime:
    """How long a layer takes.

    Attributes:
        name: Its name; empty for what the engine adds for itself, such as changes of layout.
        operators: The operators that it became.
        device: What the engine calls the device, or devices, that run it.
        milliseconds: The median over the runs.
        share: Its part of the time of all layers, 0 to 1.
    """

    name: str
    operators: Sequence[str]
    device: str
    milliseconds: float
    share: float

    def to_dict(self) -> dict[str, Any]:
        """Return it as what JSON can hold."""
        return {**asdict(self), "operators": list(self.operators)}


def profile(model: SerializedModel, options: EngineOptions, engine: str, *, runs: int = 5) -> list[LayerTime]:
    """Run a graph several times on numbers of our own, and return the median time of each layer, the longest first.

    Args:
        model: The graph.
        options: How it is compiled.
        engine: ``onnxruntime`` or ``openvino``.
        runs: How many runs count; one before them does not.

    Raises:
        EngineError: It cannot be run; or its inputs have sizes that are known only at run time.
    """
    proto = onnx.ModelProto.FromString(model.proto)
    feeds = sample_feeds(proto.graph)
    if feeds is None:
        raise EngineError("the model cannot be profiled: it has an input of no known size, or of text")
    measure = _openvino_runs if engine == "openvino" else _onnxruntime_runs
    return layer_times(list(measure(model, proto, options, feeds, runs))[1:])


def layer_times(runs: Sequence[Sequence[NodeTime]]) -> list[LayerTime]:
    """Return the median of each layer over some runs, the longest first."""
    sums = [_sums(run) for run in runs]
    nodes = [node for run in runs for node in run]
    names = dict.fromkeys(node.layer for node in nodes)
    operators, devices = ({name: {} for name in names} for _ in range(2))  # type: ignore[var-annotated]
    for node in nodes:
        operators[node.layer][node.operator] = devices[node.layer][node.device] = None
    times = {name: statistics.median(each.get(name, 0.0) for each in sums) for name in names}
    total = sum(times.values()) or 1.0
    layers = [
        LayerTime(name, [*operators[name]], ", ".join(devices[name]), round(time * 1000, 6), time / total)
        for name, time in times.items()
    ]
    return sorted(layers, key=lambda layer: -layer.milliseconds)


def _sums(run: Iterable[NodeTime]) -> Mapping[str, float]:
    sums: defaultdict[str, float] = defaultdict(float)
    for node in run:
        sums[node.layer] += node.seconds
    return sums


def _openvino_runs(
    model: SerializedModel, proto: onnx.ModelProto, options: EngineOptions, feeds: Feeds, runs: int
) -> Iterable[list[NodeTime]]:
    from windfall.runtime.devices import choose_device
    from windfall.runtime.openvino.program import OpenVino

    layers = _layers(proto.graph)
    device = choose_device(options.compute_units, options.device, "openvino")
    key = device.key if device.engine == "openvino" else "CPU"
    program = OpenVino(key).compile_with(model, options, {"PERF_COUNT": True})
    origins = {name: _origin(names, layers) for name, names in program.origins().items()}
    for end in _end_runs(program.end(feeds), options, runs):
        own = [
            NodeTime(origins.get(name, ""), operator, key, seconds)
            for name, operator, seconds in program.profiled(feeds)
            if seconds
        ]
        yield [*own, *end]


def _end_runs(
    end: tuple[SerializedModel, Feeds] | None, options: EngineOptions, runs: int
) -> Iterable[Sequence[NodeTime]]:
    """Give the times of what ONNX Runtime computes behind OpenVINO, if anything."""
    if end is None:
        return [()] * (runs + 1)
    model, feeds = end
    proto = onnx.ModelProto.FromString(model.proto)
    return _onnxruntime_runs(model, proto, replace(options, threads=1, device="cpu"), feeds, runs)


def _origin(names: Iterable[str], layers: Mapping[str, str]) -> str:
    """Return the layer that a node of OpenVINO comes from; empty if it made the node for itself.

    A convolution is called ``<node>/WithoutBiases``, a normalization after the last of the nodes that became it.
    """
    found = (layers.get(name.partition("/WithoutBiases")[0]) for name in names)
    return next((layer for layer in found if layer), "")


def _onnxruntime_runs(
    model: SerializedModel, proto: onnx.ModelProto, options: EngineOptions, feeds: Feeds, runs: int
) -> Iterable[list[NodeTime]]:
    from windfall.runtime.onnxruntime import OnnxRuntime

    with tempfile.TemporaryDirectory(prefix="windfall-") as folder:
        program = OnnxRuntime().compile_with(model, options, profile_prefix=str(Path(folder) / "profile"))
        for _ in range(runs + 1):
            program.run(feeds)
        events = json.loads(Path(program.end_profiling()).read_text(encoding="utf-8"))
    # Names of nodes are a stranger's and may say anything; categories are ONNX Runtime's own.
    starts = sorted(event["ts"] for event in events if event["cat"] == "Session" and event["name"] == "model_run")
    nodes = sorted((event for event in events if event["cat"] == "Node"), key=lambda event: event["ts"])
    bounds = [*starts[1:], float("inf")]
    for start, end in zip(starts, bounds, strict=True):
        yield _node_times([node for node in nodes if start <= node["ts"] < end], _layers(proto.graph))


def _layers(graph: onnx.GraphProto) -> dict[str, str]:
    """Return the layer of each node, by its name and by those of its outputs, after which engines call some nodes."""
    return {name: layer_of(node.name) for node in graph.node for name in (*node.output, node.name)}


def _node_times(events: Sequence[Mapping[str, Any]], layers: Mapping[str, str]) -> list[NodeTime]:
    """Return the nodes of a run; of one with graphs inside, what it takes besides the nodes in them."""
    times: list[NodeTime] = []
    own = [float(event["dur"]) for event in events]
    open_: list[int] = []
    for index, event in enumerate(events):
        while open_ and events[open_[-1]]["ts"] + events[open_[-1]]["dur"] <= event["ts"]:
            open_.pop()
        if open_:
            own[open_[-1]] -= event["dur"]
        open_.append(index)
    for event, microseconds in zip(events, own, strict=True):
        arguments = event.get("args", {})
        name = event["name"].removesuffix("_kernel_time")
        provider = str(arguments.get("provider", ""))
        # A convolution of blocks of channels is called after its output, which may be a blob of the model.
        layer = layers.get(name) or layers.get(name.removesuffix("_nchwc")) or layer_of(name)
        times.append(NodeTime(layer, str(arguments.get("op_name", "")), provider, max(microseconds, 0.0) * 1e-6))
    return times
