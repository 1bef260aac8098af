"""The ONNX Runtime engine."""

from collections.abc import Mapping
from contextlib import redirect_stdout, suppress
from functools import cache
from io import StringIO
from typing import TYPE_CHECKING, Any

import onnxruntime as ort
from numpy.typing import NDArray

from windfall.errors import EngineError
from windfall.runtime.devices import CPU, Device, choose_device, report_unusable, session_providers
from windfall.runtime.engine import EngineOptions, EngineProgram
from windfall.runtime.failures import compile_error, run_error
from windfall.runtime.serialized import SerializedModel
from windfall.runtime.states import in_place_states, run_with_state
from windfall.state import State

if TYPE_CHECKING:
    from windfall.runtime.openvino.parts import Parts

# Nothing goes to the terminal: errors are raised, and warnings are about graphs that users did not write.
_FATAL_ONLY = 4
_WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"
_LEFT_OUT = [
    # It rounds weights of float32 to 8 bits between rounded activations, which changes numbers.
    "WeightBiasQuantization",
    # What it puts in the place of Add and LayerNormalization takes twice as long as the two: 8 % of a BERT of 6 layers.
    "SkipLayerNormFusion",
]
"""The optimizers that are switched off."""


class OnnxRuntime:
    """Compile and run graphs with ONNX Runtime."""

    name = "onnxruntime"

    def compile(self, model: SerializedModel, options: EngineOptions) -> "OrtProgram":
        """See ``Engine.compile``."""
        return self.compile_with(model, options)

    def compile_with(
        self, model: SerializedModel, options: EngineOptions, profile_prefix: str | None = None
    ) -> "OrtProgram":
        """Compile a graph; with a prefix of a file's path, the times of all nodes are written to such a file."""
        device = choose_device(options.compute_units, options.device, OnnxRuntime.name)
        program = None if device is CPU else _on_device(model, options, device, profile_prefix)
        if program is not None:
            return program
        settings = _settings(model, options, profile_prefix)
        try:
            return OrtProgram(_session(model.proto, settings, CPU))
        except Exception as error:  # its exceptions share no other base
            raise EngineError(compile_error(error)) from error


def _settings(model: SerializedModel, options: EngineOptions, profile_prefix: str | None) -> Any:
    """Return the settings of a session, its weights among them."""
    settings = ort.SessionOptions()
    settings.log_severity_level = _FATAL_ONLY
    # A plan for all memory at once would hold what a graph expands beside what it has not expanded yet.
    settings.enable_mem_pattern = not model.is_compressed
    if options.threads is not None:
        settings.intra_op_num_threads = options.threads
    if profile_prefix is not None:
        settings.enable_profiling = True
        settings.profile_file_prefix = profile_prefix
    if model.folder is not None:
        settings.add_session_config_entry(_WEIGHTS_FOLDER, str(model.folder))
    values = [ort.OrtValue.ortvalue_from_numpy(array) for array in model.arrays.values()]
    settings.add_external_initializers(list(model.arrays), values)
    return settings


def _on_device(
    model: SerializedModel, options: EngineOptions, device: Device, profile_prefix: str | None
) -> "OrtProgram | None":
    """Compile a graph for a device; None where it cannot be used, or is not given the graph."""
    import onnx

    from windfall.runtime.device_gaps import device_parts  # it needs onnx

    proto = onnx.ModelProto.FromString(model.proto)
    parts = device_parts(proto, model, options)
    if parts.gap is None:
        _load_libraries()
        settings = _settings(model, options, profile_prefix)
        with suppress(Exception):  # whatever it is, the processor may run the model
            # It would print why it goes on without the device.
            session = _session(proto.SerializeToString(), settings, device)
            if device.key in session.get_providers():
                return OrtProgram(session, parts)
    report_unusable(device, options.device, parts.gap, strict=options.strict)
    return None


def _session(proto: bytes, settings: Any, device: Device) -> Any:
    providers = session_providers(device)
    return ort.InferenceSession(proto, settings, providers=providers, disabled_optimizers=_LEFT_OUT, enable_fallback=0)


@cache
def _load_libraries() -> None:
    """Load the libraries of CUDA and cuDNN that pip has installed, which the system's linker does not look for.

    What cannot be loaded is printed, though it may lie where the linker finds it.
    """
    with suppress(Exception), redirect_stdout(StringIO()):
        ort.preload_dlls()


class OrtProgram(EngineProgram):
    """A session of ONNX Runtime."""

    def __init__(self, session: Any, parts: "Parts | None" = None) -> None:
        self.engine = OnnxRuntime.name
        self.devices = tuple(session.get_providers())
        self._session = session
        # In the graph's order, but by its own names: where an input is written over, the output cannot have its name.
        self._outputs = [output.name for output in session.get_outputs()]
        self._inputs = [value.name for value in session.get_inputs()]
        self._parts = None if parts is None or parts.is_all else parts
        self._in_place = in_place_states(session)

    def run(self, feeds: Mapping[str, NDArray[Any]], state: State | None = None) -> list[NDArray[Any]]:
        """See ``Program.run``."""
        try:
            if state is not None:
                with state.lock:
                    return run_with_state(self._session, self._outputs, feeds, state, self._in_place)
            if self._parts is not None:
                return self._parts.run(feeds, self._infer)
            return self._session.run(self._outputs, feeds)  # type: ignore[no-any-return]  # untyped library
        except EngineError:  # of a part
            raise
        except Exception as error:  # its exceptions share no other base
            raise EngineError(run_error(error)) from error

    def _infer(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Run the part of the graph that the session has."""
        own = {name: feeds[name] for name in self._inputs}
        return self._session.run(self._outputs, own)  # type: ignore[no-any-return]  # untyped library

    def end_profiling(self) -> str:
        """Return the path of the file with the times of all nodes; see ``OnnxRuntime.compile_with``."""
        return str(self._session.end_profiling())
