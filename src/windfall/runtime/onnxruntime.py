"""The ONNX Runtime engine."""

from collections.abc import Mapping
from typing import Any

import onnxruntime as ort
from numpy.typing import NDArray

from windfall.errors import EngineError
from windfall.runtime.engine import EngineOptions
from windfall.runtime.failures import compile_error, run_error
from windfall.runtime.serialized import SerializedModel
from windfall.runtime.states import in_place_states, run_with_state
from windfall.state import State

# Nothing goes to the terminal: errors are raised, and warnings are about graphs that users did not write.
_FATAL_ONLY = 4
_WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"


class OnnxRuntime:
    """Compile and run graphs with ONNX Runtime on the CPU."""

    name = "onnxruntime"

    def compile(self, model: SerializedModel, options: EngineOptions) -> "OrtProgram":
        """See ``Engine.compile``."""
        settings = ort.SessionOptions()
        settings.log_severity_level = _FATAL_ONLY
        if options.threads is not None:
            settings.intra_op_num_threads = options.threads
        if model.folder is not None:
            settings.add_session_config_entry(_WEIGHTS_FOLDER, str(model.folder))
        values = [ort.OrtValue.ortvalue_from_numpy(array) for array in model.arrays.values()]
        settings.add_external_initializers(list(model.arrays), values)
        try:
            session = ort.InferenceSession(model.proto, settings, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions share no other base
            raise EngineError(compile_error(error)) from error
        # In the graph's order, but by its own names: where an input is written over, the output cannot have its name.
        return OrtProgram(session, [output.name for output in session.get_outputs()])


class OrtProgram:
    """A session of ONNX Runtime."""

    def __init__(self, session: Any, outputs: list[str]) -> None:
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
