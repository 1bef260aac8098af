"""The class that coremltools expects behind ``MLModel.predict``, with windfall inside.

coremltools looks for it under the name ``coremltools.libcoremlpython._MLModelProxy``; on a Mac that is a native module.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import windfall
from windfall.spec.proto import NEWEST_SPECIFICATION

CALLS = {"models": 0, "predictions": 0}
"""How many models were opened and predictions asked for since the counts were last set to 0."""


class MLModelProxy:
    """One model, opened.

    It is compiled on its first prediction, for the shapes given then: default shapes need not make sense.

    Raises:
        RuntimeError: windfall cannot open it; coremltools warns and goes on without predictions.
    """

    def __init__(
        self, path: str, compute_units: str, function_name: str, optimization_hints: Mapping[str, str], asset: object
    ) -> None:
        CALLS["models"] += 1
        if function_name:
            _refuse(f"function_name {function_name!r}: models of several functions")
        if asset is not None:
            _refuse("a model asset in memory")
        self._path = path
        try:
            self._model = windfall.load(Path(path), compute_units=compute_units.lower(), threads=1)
        except windfall.WindfallError as error:
            raise RuntimeError(str(error)) from error

    def predict(self, inputs: Mapping[str, Any], state: object = None) -> dict[str, Any]:
        """Run the model once."""
        CALLS["predictions"] += 1
        if state is not None:
            _refuse("a state")
        try:
            return self._model.predict(inputs)
        except windfall.WindfallError as error:
            raise RuntimeError(str(error)) from error

    def batchPredict(self, inputs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:  # noqa: N802  # their name
        """Run the model once for each of several inputs."""
        return [self.predict(one) for one in inputs]

    def newState(self) -> NoReturn:  # noqa: N802  # their name
        """Refuse: states are not supported yet."""
        _refuse("a state")

    def get_compiled_model_path(self) -> str:
        """Return the path of the model, which needs no compiled form on disk."""
        return self._path

    @staticmethod
    def maximum_supported_specification_version() -> int:
        """Return the newest format that may be tried."""
        return NEWEST_SPECIFICATION

    @staticmethod
    def compileModel(path: str) -> NoReturn:  # noqa: N802  # their name
        """Refuse: writing ``.mlmodelc`` is not supported."""
        _refuse(f"compiling {path} to an .mlmodelc")

    @staticmethod
    def auto_set_specification_version(_spec: object) -> NoReturn:
        """Refuse: lowering a model's version is not supported yet."""
        _refuse("finding the lowest specificationVersion of a model")

    @staticmethod
    def get_all_compute_devices() -> NoReturn:
        """Refuse: there are no devices of Apple's to list."""
        _refuse("listing compute devices")

    @staticmethod
    def get_available_compute_devices() -> NoReturn:
        """Refuse: there are no devices of Apple's to list."""
        _refuse("listing compute devices")

    @staticmethod
    def get_model_structure(_path: str) -> NoReturn:
        """Refuse: model structures are not supported yet."""
        _refuse("a model structure")

    @staticmethod
    def get_compute_plan(_path: str, _units: str) -> NoReturn:
        """Refuse: compute plans are not supported yet."""
        _refuse("a compute plan")

    @staticmethod
    def create_model_asset_from_path(_path: str) -> NoReturn:
        """Refuse: model assets are not supported yet."""
        _refuse("a model asset")

    @staticmethod
    def create_model_asset_from_memory(_spec: bytes, _blobs: Mapping[str, bytes]) -> NoReturn:
        """Refuse: model assets are not supported yet."""
        _refuse("a model asset in memory")


def _refuse(what: str) -> NoReturn:
    raise RuntimeError(f"{what}: not supported by windfall yet")
