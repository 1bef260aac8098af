"""The class behind coremltools' ``MLModel`` and ``CompiledMLModel``, with windfall inside.

coremltools knows it as ``coremltools.libcoremlpython._MLModelProxy``; on a Mac that is a native class. The names of
its methods, their arguments and results are coremltools'.
"""

import os
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from numpy.typing import NDArray

from windfall.errors import UnsupportedError
from windfall.interop.coremltools.compiled import model_path, remove_compiled, write_asset, write_compiled
from windfall.interop.coremltools.devices import MLComputePlanProxy, cpu_devices
from windfall.interop.coremltools.errors import as_failed_predictions, as_runtime_errors
from windfall.interop.coremltools.structure import model_structure
from windfall.interop.coremltools.versions import with_lowest_version
from windfall.loading import load
from windfall.model import Model
from windfall.spec.proto import NEWEST_SPECIFICATION, Model_pb2
from windfall.state import State

if TYPE_CHECKING:
    from google.protobuf.message import Message

_T = TypeVar("_T")
_OPEN_FILES_ARE_LOCKED = os.name == "nt"
_MOST_LISTED = 3


class MLModelAssetProxy:
    """A model that was read, and can be opened any number of times.

    Args:
        source: The path of a model, or a ``Model`` message.
    """

    def __init__(self, source: "Path | Message") -> None:
        self.source = source


class MLStateProxy:
    """The states of a sequence of predictions, under the names that coremltools' ``MLState`` calls them by.

    Args:
        state: What ``Model.make_state`` gave.
    """

    def __init__(self, state: State) -> None:
        self.state = state

    def read_state(self, name: str) -> NDArray[Any]:
        """Return a copy of what a state holds; see ``State.read``."""
        with as_runtime_errors():
            return self.state.read(name)

    def write_state(self, name: str, value: Any) -> None:
        """Let a state hold an array; see ``State.write``."""
        with as_runtime_errors():
            self.state.write(name, value)


class MLModelProxy:
    """One model, opened.

    It is compiled on its first prediction, for the shapes given then: default shapes need not make sense.

    Args:
        path: The path of an ``.mlmodel`` or ``.mlpackage``, or of an ``.mlmodelc``.
        compute_units: The name of a member of ``coremltools.ComputeUnit``.
        function_name: The function to run, where the model is an ML program of several; else empty or ``main``.
        optimization_hints: Hints for Apple's devices; they mean nothing here.
        asset: What to open in place of the path.

    Raises:
        RuntimeError: windfall cannot open or run it; coremltools warns and raises the same when it is to predict.
    """

    threads: int | None = None
    """How many threads one prediction may use; None for all cores."""

    def __init__(
        self,
        path: str,
        compute_units: str,
        function_name: str,
        optimization_hints: Mapping[str, str],  # noqa: ARG002  # coremltools gives it
        asset: MLModelAssetProxy | None,
    ) -> None:
        start = time.perf_counter_ns()
        self._name = Path(path).stem if asset is None else "model"
        self._compiled_path = path if path.endswith(".mlmodelc") else None
        with as_runtime_errors():
            source = _released(model_path(path) if asset is None else asset.source)
            self._model = load(
                source,
                compute_units=compute_units.lower(),
                threads=self.threads,
                # Models without functions are said to have one of this name.
                function="" if function_name == "main" else function_name,
            )
            _refuse_unsupported(self._model)
        self._load_duration = time.perf_counter_ns() - start
        self._predict_duration: int | None = None

    def predict(self, inputs: Mapping[str, Any], state: MLStateProxy | None = None) -> dict[str, Any]:
        """Run the model once.

        Args:
            inputs: A value for each input: NumPy arrays, numbers, strings, Pillow images.
            state: What ``newState`` gave, for a model that keeps states.

        Returns:
            A value for each output: NumPy arrays, numbers, strings, dictionaries, Pillow images. Colour images have
            an alpha channel, 255 throughout: Core ML's have.

        Raises:
            RuntimeError: The inputs do not fit the model, or it cannot be run.
        """
        return self._timed(lambda: self._predict(inputs, None if state is None else state.state))

    def batchPredict(self, inputs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:  # noqa: N802  # their name
        """Run the model for each of several inputs; classical models compute all of them at once."""
        return self._timed(lambda: [_for_coremltools(one) for one in self._model.predict_batch(inputs)])

    def newState(self) -> MLStateProxy:  # noqa: N802  # their name
        """Return a new state of zeros.

        Raises:
            RuntimeError: The model keeps no states.
        """
        with as_runtime_errors():
            return MLStateProxy(self._model.make_state())

    def get_compiled_model_path(self) -> str:
        """Return the folder that this model was opened from, or a new one that lives as long as this object."""
        if self._compiled_path is None:
            with as_runtime_errors():
                folder = write_compiled(self._model, self._name)
            weakref.finalize(self, remove_compiled, folder)
            self._compiled_path = str(folder)
        return self._compiled_path

    def get_load_duration_in_nano_seconds(self) -> int:
        """Return how long opening the model took; it is compiled later, in the first prediction."""
        return self._load_duration

    def get_last_predict_duration_in_nano_seconds(self) -> int | None:
        """Return how long the last prediction, or batch of them, took; None before the first."""
        return self._predict_duration

    @staticmethod
    def maximum_supported_specification_version() -> int:
        """Return the newest version of the format that is read."""
        return NEWEST_SPECIFICATION

    @staticmethod
    def auto_set_specification_version(model: "bytes | Message") -> "bytes | Message":
        """Return a model with the lowest ``specificationVersion`` that holds what is in it, as far as can be told.

        Args:
            model: A serialized model; or a message, which ``coremltools.models.utils.save_spec`` gives and wants.
        """
        if isinstance(model, bytes):
            return bytes(with_lowest_version(_parsed(model)).SerializeToString())
        return with_lowest_version(model)

    @staticmethod
    def compileModel(path: str) -> str:  # noqa: N802  # their name
        """Check a model and copy it to a new folder ``<name>.mlmodelc``, which is removed at the end of the program.

        The folder is for ``CompiledMLModel`` here; it is not of Apple's form, and apps cannot load it.

        Raises:
            RuntimeError: The file is no model, or cannot be read.
        """
        with as_runtime_errors():
            return str(write_compiled(load(path), Path(path).stem))

    @staticmethod
    def get_all_compute_devices() -> list[Any]:
        """Return the processor, on which everything runs."""
        return cpu_devices()

    @staticmethod
    def get_available_compute_devices() -> list[Any]:
        """Return the processor, on which everything runs."""
        return cpu_devices()

    @staticmethod
    def get_model_structure(path: str) -> Any:
        """Return the structure of a model, by its path, as coremltools' ``MLModelStructure``."""
        with as_runtime_errors():
            return model_structure(load(model_path(path)).message)

    @classmethod
    def get_compute_plan(cls, path: str, compute_units: str) -> Any:  # noqa: ARG003  # one device, whatever is asked for
        """Return the plan for running a model, by its path, as coremltools' ``MLComputePlan``."""
        from coremltools.models.compute_plan import MLComputePlan

        return MLComputePlan(MLComputePlanProxy(cls.get_model_structure(path)))

    @staticmethod
    def create_model_asset_from_path(path: str) -> Any:
        """Return a compiled model, by its path, as coremltools' ``MLModelAsset``."""
        with as_runtime_errors():
            return _asset(model_path(path))

    @staticmethod
    def create_model_asset_from_memory(spec: bytes, blobs: Mapping[str, bytes]) -> Any:
        """Return a serialized model as coremltools' ``MLModelAsset``.

        Args:
            spec: The model.
            blobs: Files with its weights, by their paths: ``weights/weight.bin``.

        Raises:
            RuntimeError: The bytes are no model, or a path leaves the model's folder.
        """
        message = _parsed(spec)
        with as_runtime_errors():
            return _asset(write_asset(message, blobs) if blobs else message)

    def _predict(self, inputs: Mapping[str, Any], state: State | None = None) -> dict[str, Any]:
        return _for_coremltools(self._model.predict(inputs, state))

    def _timed(self, predict: Callable[[], _T]) -> _T:
        start = time.perf_counter_ns()
        with as_failed_predictions(self._model.message.WhichOneof("Type") == "mlProgram"):
            result = predict()
        self._predict_duration = time.perf_counter_ns() - start
        return result


def _released(source: "Path | Message") -> "Path | Message":
    """Return a model to load without a file that stays open, where an open file could not be removed.

    coremltools removes the file that it made of a spec as soon as it is opened, and ``MLModel.save`` replaces files.
    """
    return load(source).spec if _OPEN_FILES_ARE_LOCKED and isinstance(source, Path) else source


def _refuse_unsupported(model: Model) -> None:
    description = model.description
    parts = description.unsupported
    if parts:
        more = f"; and {len(parts) - _MOST_LISTED} more" if len(parts) > _MOST_LISTED else ""
        raise UnsupportedError(
            f"{description.name} cannot be run: {'; '.join(parts[:_MOST_LISTED])}{more}; see all with: windfall inspect"
        )


def _for_coremltools(outputs: Any) -> dict[str, Any]:
    return {name: _with_alpha(value) for name, value in outputs.items()}


def _with_alpha(value: Any) -> Any:
    """Give a colour image an alpha channel; leave all else alone."""
    return value.convert("RGBA") if getattr(value, "mode", None) == "RGB" else value


def _asset(source: "Path | Message") -> Any:
    from coremltools.models.model import MLModelAsset

    return MLModelAsset(MLModelAssetProxy(source))


def _parsed(data: bytes) -> Any:
    from google.protobuf.message import DecodeError

    try:
        return Model_pb2.Model.FromString(data)
    except DecodeError as error:
        raise RuntimeError(f"the {len(data)} bytes cannot be read as a Core ML model; give a serialized one") from error
