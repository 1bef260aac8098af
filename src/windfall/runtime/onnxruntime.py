"""The ONNX Runtime engine."""

import re
from collections.abc import Mapping
from typing import Any

import onnxruntime as ort
from numpy.typing import NDArray

from windfall.errors import EngineError
from windfall.graph.limits import ITERATIONS_MARK
from windfall.runtime.engine import EngineOptions
from windfall.runtime.serialized import SerializedModel

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
            raise EngineError(f"ONNX Runtime cannot compile the model: {_first_line(error)}") from error
        # In the graph's order, but by its own names: where an input is written over, the output cannot have its name.
        return OrtProgram(session, [output.name for output in session.get_outputs()])


class OrtProgram:
    """A session of ONNX Runtime."""

    def __init__(self, session: Any, outputs: list[str]) -> None:
        self._session = session
        self._outputs = outputs

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """See ``Program.run``."""
        try:
            return self._session.run(self._outputs, feeds)  # type: ignore[no-any-return]  # untyped library
        except Exception as error:  # its exceptions share no other base
            raise EngineError(_endless(error) or f"ONNX Runtime failed: {_first_line(error)}") from error


def _endless(error: Exception) -> str | None:
    """Say which loop ran too often, where that is what has failed."""
    found = _BEYOND_LIMIT.search(str(error))
    if found is None:
        return None
    return (
        f"the loop layer {' '.join(found[1].split())!r} has run {int(found[2]):,} times without end, the most that a "
        "loop may run; check its conditionNetwork, or the input that gives the number"
    )


_BEYOND_LIMIT = re.compile(rf"running Gather node\. Name:'(.*?){re.escape(ITERATIONS_MARK)}([0-9]+)", re.DOTALL)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
