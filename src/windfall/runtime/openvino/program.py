"""The OpenVINO engine: faster than ONNX Runtime for many networks on x86-64, and for fewer kinds of graphs.

What it does not take, or computes differently, stands in ``gaps.py``.
"""

import threading
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from windfall.errors import EngineError
from windfall.runtime.engine import EngineOptions, EngineProgram, available_cores
from windfall.runtime.failures import openvino_reason
from windfall.runtime.openvino.binding import binding, core
from windfall.runtime.openvino.blobs import Blob, blob_name, keep_blob, kept_blob
from windfall.runtime.serialized import SerializedModel
from windfall.runtime.states import with_other_buffers
from windfall.state import State

if TYPE_CHECKING:
    import onnx

    from windfall.runtime.openvino.parts import Parts

_SETTINGS: Mapping[str, Any] = {
    "INFERENCE_PRECISION_HINT": "f32",
    "EXECUTION_MODE_HINT": "ACCURACY",
    "PERFORMANCE_HINT": "LATENCY",
    "NUM_STREAMS": 1,
}
_ON_CPU: Mapping[str, Any] = {
    # Threads that are bound to cores get in each other's way where several processes run.
    "ENABLE_CPU_PINNING": False,
    "CPU_DENORMALS_OPTIMIZATION": False,
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
}
_ADDRESS = "*/_ORT_MEM_ADDR_/*"
"""What stands for the file's name where external data lie in memory, with the address as their offset.

Source: ``kTensorProtoMemoryAddressTag`` in onnxruntime's ``tensorprotoutils.h``; OpenVINO's ONNX frontend knows it.
"""


class OpenVino:
    """Compile and run graphs with OpenVINO."""

    name = "openvino"

    def __init__(self, device: str = "CPU") -> None:
        self.device = device

    def compile(self, model: SerializedModel, options: EngineOptions) -> "OpenVinoProgram":
        """See ``Engine.compile``."""
        name = blob_name(model, options) if self.device == "CPU" else None
        blob = None if name is None else kept_blob(name, self._properties(options, {}))
        return self.compile_with(model, options, {}) if blob is None else _of_blob(blob, model, options)

    def compile_with(
        self, model: SerializedModel, options: EngineOptions, settings: Mapping[str, Any]
    ) -> "OpenVinoProgram":
        """Compile a graph with further properties of OpenVINO."""
        import onnx

        from windfall.runtime.openvino.parts import parts_of  # it needs onnx

        proto = onnx.ModelProto.FromString(model.proto)
        parts = parts_of(proto, model, options)
        gap = "its weights are compressed" if model.is_compressed else parts.gap
        if gap is not None:
            raise EngineError(f"OpenVINO does not take the model: {gap}")
        alive = _give_addresses(proto, model)
        properties = self._properties(options, settings)
        try:
            # The weights are copied while the graph is read, so that their file may change or go away later.
            graph = core().read_model(proto.SerializeToString())
            del alive
            compiled = core().compile_model(graph, self.device, properties)
        except Exception as error:  # its exceptions share no other base
            raise EngineError(f"OpenVINO cannot compile the model: {openvino_reason(error)}") from error
        outputs = [value.name for value in proto.graph.output]
        return OpenVinoProgram(compiled, [value.name for value in proto.graph.input], outputs, self.device, parts)

    def _properties(self, options: EngineOptions, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return what OpenVINO is told for some options, and further properties."""
        properties = {**_SETTINGS, **settings}
        if self.device != "CPU":
            return properties
        threads = options.streams * (options.threads or available_cores())
        return {**properties, **_ON_CPU, "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": options.streams}


def _of_blob(blob: Blob, model: SerializedModel, options: EngineOptions) -> "OpenVinoProgram":
    """Return the program of a compiled model that was kept."""
    parts = None
    if not blob.is_all:
        import onnx

        from windfall.runtime.openvino.parts import parts_of

        parts = parts_of(onnx.ModelProto.FromString(model.proto), model, options)
    program = OpenVinoProgram(blob.compiled, blob.inputs, blob.outputs, "CPU", parts)
    program.memory = blob.memory
    return program


def _give_addresses(proto: "onnx.ModelProto", model: SerializedModel) -> list[NDArray[Any]]:
    """Declare external data by their addresses; returns the arrays that must live until the graph is read."""
    alive: dict[str, NDArray[Any]] = {}
    for tensor in proto.graph.initializer:
        if tensor.data_location != tensor.EXTERNAL:
            continue
        data = np.ascontiguousarray(model.arrays[tensor.name]) if tensor.name in model.arrays else None
        if data is None:
            data = _in_file({entry.key: entry.value for entry in tensor.external_data}, model, alive)
        alive[f"tensor {tensor.name}"] = data
        del tensor.external_data[:]
        for key, value in (("location", _ADDRESS), ("offset", data.ctypes.data), ("length", data.nbytes)):
            tensor.external_data.add(key=key, value=str(value))
    return list(alive.values())


def _in_file(place: Mapping[str, str], model: SerializedModel, files: dict[str, NDArray[Any]]) -> NDArray[Any]:
    """Return the bytes of a weight in the model file, mapped."""
    assert model.folder is not None, place
    path = model.folder / place["location"]
    offset, length = int(place["offset"]), int(place["length"])
    try:
        file = files.setdefault(f"file {path}", np.memmap(path, np.uint8, "r"))
    except (OSError, ValueError) as error:
        raise EngineError(f"cannot read the weights in {path.name}: {error}") from error
    data = file[offset : offset + length]
    if len(data) != length:
        raise EngineError(f"{path.name} ends before the {length:,} bytes of weights at {offset:,}; load it again")
    return data


class OpenVinoProgram(EngineProgram):
    """A compiled model of OpenVINO; each thread has an inference request of its own.

    Attributes:
        memory: What the compiled model reads weights from, if it was kept in the cache.
    """

    memory: NDArray[np.uint8] | None = None

    def __init__(
        self, compiled: Any, inputs: list[str], outputs: list[str], device: str, parts: "Parts | None" = None
    ) -> None:
        self.engine = OpenVino.name
        self.devices = (device,)
        self._compiled = compiled
        self._tensor = binding().Tensor
        self._inputs = _positions(compiled.inputs, inputs)
        self._outputs = _positions(compiled.outputs, outputs)
        self._parts = parts
        # Where a size is known only at run time, OpenVINO allocates the output, and it is copied.
        self._shapes = [_static(compiled.outputs[index]) for index in self._outputs.values()]
        self._local = threading.local()

    def run(self, feeds: Mapping[str, NDArray[Any]], state: State | None = None) -> list[NDArray[Any]]:
        """See ``Program.run``."""
        if state is None:
            return self._run(feeds, {})
        with state.lock:
            return with_other_buffers(self._outputs, feeds, state, self._run)

    def _run(self, feeds: Mapping[str, NDArray[Any]], targets: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Compute all outputs; those that ``targets`` names are written there."""
        infer = partial(self._infer, targets)
        return infer(feeds) if self._parts is None else self._parts.run(feeds, infer)

    def _infer(self, targets: Mapping[str, NDArray[Any]], feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        try:
            request = self._request()
            # Tensors that share memory do not keep it alive, so all of them are set anew for each run.
            arrays = [_contiguous(feeds[name]) for name in self._inputs]
            for index, array in zip(self._inputs.values(), arrays, strict=True):
                request.set_input_tensor(index, self._tensor(array, shared_memory=True))
            results = [
                targets[name] if name in targets else None if known is None else np.empty(*known)
                for name, known in zip(self._outputs, self._shapes, strict=True)
            ]
            for index, result in zip(self._outputs.values(), results, strict=True):
                if result is not None:
                    request.set_output_tensor(index, self._tensor(result, shared_memory=True))
            request.infer({}, share_outputs=True, decode_strings=False)
            return [
                request.get_output_tensor(index).data.copy() if result is None else result
                for index, result in zip(self._outputs.values(), results, strict=True)
            ]
        except KeyError as error:
            raise EngineError(f"OpenVINO failed: input {error} is missing") from error
        except Exception as error:  # its exceptions share no other base
            raise EngineError(f"OpenVINO failed: {openvino_reason(error)}") from error

    def keep(self, model: SerializedModel, options: EngineOptions) -> None:
        """See ``EngineProgram.keep``; nothing happens where it is kept already."""
        name = blob_name(model, options) if self.devices == ("CPU",) and self.memory is None else None
        if name is not None:
            is_all = self._parts is None or self._parts.is_all
            keep_blob(name, model, self._compiled, [*self._inputs], [*self._outputs], is_all=is_all)

    def profiled(self, feeds: Mapping[str, NDArray[Any]]) -> list[tuple[str, str, float]]:
        """Run once; returns the name, operator and seconds of each node, where compiled with ``PERF_COUNT``."""
        self.run(feeds)
        infos = self._request().get_profiling_info()  # durations are in microseconds
        return [(info.node_name, info.node_type, info.real_time.total_seconds()) for info in infos]

    def end(self, feeds: Mapping[str, NDArray[Any]]) -> tuple[SerializedModel, dict[str, NDArray[Any]]] | None:
        """Return the graph that ONNX Runtime computes afterwards and its inputs; None if there is none."""
        tail = None if self._parts is None else self._parts.tail
        if tail is None or self._parts is None:
            return None
        taken = feeds if self._parts.indices is None else self._parts.indices.feeds(feeds)
        results = self._infer({}, taken)
        return tail.model, tail.feeds({**taken, **dict(zip(tail.head, results, strict=True))})

    def origins(self) -> dict[str, list[str]]:
        """Return the names that the nodes had in the graph, by their names as compiled; fused nodes have several."""
        nodes = self._compiled.get_runtime_model().get_ordered_ops()
        infos = [(node.get_friendly_name(), node.get_rt_info()) for node in nodes]
        return {
            name: [name, *info["originalLayersNames"].astype(str).split(",")]
            for name, info in infos
            if "originalLayersNames" in info
        }

    def _request(self) -> Any:
        request = getattr(self._local, "request", None)
        if request is None:
            request = self._local.request = self._compiled.create_infer_request()
        return request


def _positions(ports: Any, names: list[str]) -> dict[str, int]:
    """Return the place of each value among the inputs or outputs of a compiled model."""
    places = {name: index for index, port in enumerate(ports) for name in port.get_names()}
    missing = [name for name in names if name not in places]
    if missing:
        raise EngineError(f"OpenVINO cannot compile the model: it drops {missing[0]!r}")
    return {name: places[name] for name in names}


def _static(port: Any) -> tuple[tuple[int, ...], Any] | None:
    """Return the shape and the type of an output, None where it is known only at run time."""
    return (tuple(port.shape), port.element_type.to_dtype()) if port.partial_shape.is_static else None


def _contiguous(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array that a tensor may share; OpenVINO refuses those that may only be read."""
    return array if array.flags.carray else array.copy("C")
