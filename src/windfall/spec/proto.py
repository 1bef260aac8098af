"""The protobuf classes of the Core ML format, borrowed from coremltools without importing it.

``import coremltools`` takes seconds where PyTorch is installed. Its ``proto`` folder alone loads in under 0.1 s, so
that folder is mounted as a package under a name of our own. Both packages share one descriptor pool: a message made
here is accepted by coremltools and the other way round.
"""

import importlib
import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

from windfall.errors import WindfallError

_PACKAGE = "windfall_coremltools_proto"


def _mount() -> None:
    """Register coremltools' ``proto`` folder as a package; nothing of coremltools itself runs."""
    found = importlib.util.find_spec("coremltools")
    if found is None or not found.submodule_search_locations:
        raise WindfallError("coremltools, which holds the format's definition, is missing: pip install coremltools")
    package = types.ModuleType(_PACKAGE)
    package.__path__ = [str(Path(found.submodule_search_locations[0]) / "proto")]
    sys.modules[_PACKAGE] = package


def _module(name: str) -> Any:
    if _PACKAGE not in sys.modules:
        _mount()
    return importlib.import_module(f"{_PACKAGE}.{name}")


Model_pb2 = _module("Model_pb2")
NeuralNetwork_pb2 = _module("NeuralNetwork_pb2")
FeatureTypes_pb2 = _module("FeatureTypes_pb2")
MIL_pb2 = _module("MIL_pb2")
GLMRegressor_pb2 = _module("GLMRegressor_pb2")
GLMClassifier_pb2 = _module("GLMClassifier_pb2")
TreeEnsemble_pb2 = _module("TreeEnsemble_pb2")
SVM_pb2 = _module("SVM_pb2")
Normalizer_pb2 = _module("Normalizer_pb2")
OneHotEncoder_pb2 = _module("OneHotEncoder_pb2")

NEURAL_NETWORK_TYPES = ("neuralNetwork", "neuralNetworkClassifier", "neuralNetworkRegressor")
"""The model types that hold layers, as members of the oneof ``Model.Type``."""

NEWEST_SPECIFICATION = 10
"""The newest ``specificationVersion`` that this code knows."""
