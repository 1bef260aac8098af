"""The ONNX Runtime engine."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import onnxruntime as ort
from numpy.typing import NDArray

from windfall.errors import EngineError
from windfall.runtime.devices import CPU, choose_device, report_unusable, session_providers
from windfall.runtime.engine import EngineOptions, EngineProgram
from windfall.runtime.failures import compile_error, run_error
from windfall.runtime.serialized import SerializedModel
from windfall.runtime.states import in_place_states, run_with_state
from windfall.state import State

# Nothing goes to the terminal: errors are raised, and warnings are about graphs that users did not write.
_FATAL_ONLY = 4
_WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"


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
        session = _session(model.proto, settings, options)
        # In the graph's order, but by its own names: where an input is written over, the output cannot have its name.
        return OrtProgram(session, [output.name for output in session.get_outputs()])


def _session(proto: bytes, settings: Any, options: EngineOptions) -> Any:
    """Return a session on the best device that can be used."""
    device = choose_device(options.compute_units, options.device, OnnxRuntime.name)
    if device.name != "cpu":
        with suppress(Exception):  # whatever it is, the processor may run the model
            # It would print why it goes on without the device.
            session = ort.InferenceSession(proto, settings, providers=session_providers(device), enable_fallback=0)
            if device.key in session.get_providers():
                return session
        report_unusable(device, options.device, strict=options.strict)
    try:
        return ort.InferenceSession(proto, settings, providers=session_providers(CPU))
    except Exception as error:  # its exceptions share no other base
        raise EngineError(compile_error(error)) from error


class OrtProgram(EngineProgram):
    """A session of ONNX Runtime."""

    def __init__(self, session: Any, outputs: list[str]) -> None:
        self.engine = OnnxRuntime.name
        self.devices = tuple(session.get_providers())
        self._session = session
        self._outputs = outputs
        self._in_place = in_place_states(session)

    def run(self, feeds: Mapping[str, NDArray[Any]], state: State | None = None) -> list[NDArray[Any]]:
        """See ``Program.run``."""
        try:
            if state is not None:
                with state.lock:
                    return run_with_state(self._session, self._outputs, feeds, state, self._in_place)
            return self._session.run(self._outputs, feeds)  # type: ignore[no-any-return]  # untyped library
        except Exception as error:  # its exceptions share no other base
            raise EngineError(run_error(error)) from error

    def end_profiling(self) -> str:
        """Return the path of the file with the times of all nodes; see ``OnnxRuntime.compile_with``."""
        return str(self._session.end_profiling())
