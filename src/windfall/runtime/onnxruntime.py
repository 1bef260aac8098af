"""The ONNX Runtime engine."""

from collections.abc import Mapping
from typing import Any

import onnx_ir as ir
import onnxruntime as ort
from numpy.typing import NDArray

from windfall.errors import EngineError
from windfall.runtime.engine import EngineOptions, names
from windfall.runtime.serialize import serialize

# Nothing goes to the terminal: errors are raised, and warnings are about graphs that users did not write.
_FATAL_ONLY = 4


class OnnxRuntime:
    """Compile and run graphs with ONNX Runtime on the CPU."""

    name = "onnxruntime"

    def compile(self, model: ir.Model, options: EngineOptions) -> "OrtProgram":
        """See ``Engine.compile``. Large weights are handed over by address, never copied into the graph."""
        proto, weights = serialize(model)
        settings = ort.SessionOptions()
        settings.log_severity_level = _FATAL_ONLY
        if options.threads is not None:
            settings.intra_op_num_threads = options.threads
        values = [ort.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
        settings.add_external_initializers(list(weights), values)
        try:
            session = ort.InferenceSession(proto, settings, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions share no other base
            raise EngineError(f"ONNX Runtime cannot compile the model: {_first_line(error)}") from error
        # The session reads from these arrays for as long as it lives.
        return OrtProgram(session, names(model.graph.outputs), list(weights.values()))


class OrtProgram:
    """A session of ONNX Runtime."""

    def __init__(self, session: Any, outputs: list[str], weights: list[NDArray[Any]]) -> None:
        self._session = session
        self._outputs = outputs
        self._weights = weights

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """See ``Program.run``."""
        try:
            return self._session.run(self._outputs, feeds)  # type: ignore[no-any-return]  # untyped library
        except Exception as error:  # its exceptions share no other base
            raise EngineError(f"ONNX Runtime failed: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
