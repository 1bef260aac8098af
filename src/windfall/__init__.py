"""windfall runs, inspects, shrinks and extends Core ML models on any platform.

>>> import windfall
>>> windfall.__version__
'0.1.0'
"""

from importlib import import_module
from typing import TYPE_CHECKING

from windfall.errors import (
    EngineError,
    FeatureError,
    FetchError,
    FormatError,
    LoweringError,
    UnsupportedError,
    WindfallError,
)

if TYPE_CHECKING:
    from windfall import custom, shapes
    from windfall.comparison import Comparison, compare
    from windfall.custom import CustomLayer, CustomModel, custom_layer, custom_model
    from windfall.description import ModelDescription
    from windfall.loading import load
    from windfall.model import Model
    from windfall.quantization import Calibration, quantize_weights
    from windfall.runtime.devices import DeviceWarning
    from windfall.shrinking.results import ShrinkResult
    from windfall.shrinking.shrink import shrink
    from windfall.state import State
    from windfall.store import fetch

__version__ = "0.1.0"
__all__ = [
    "Calibration",
    "Comparison",
    "CustomLayer",
    "CustomModel",
    "DeviceWarning",
    "EngineError",
    "FeatureError",
    "FetchError",
    "FormatError",
    "LoweringError",
    "Model",
    "ModelDescription",
    "ShrinkResult",
    "State",
    "UnsupportedError",
    "WindfallError",
    "__version__",
    "compare",
    "custom",
    "custom_layer",
    "custom_model",
    "fetch",
    "load",
    "quantize_weights",
    "shapes",
    "shrink",
]

# Imported on first use, so that `import windfall` and `windfall --help` stay instant.
_LAZY = {
    "Calibration": "windfall.quantization",
    "Comparison": "windfall.comparison",
    "CustomLayer": "windfall.custom",
    "CustomModel": "windfall.custom",
    "DeviceWarning": "windfall.runtime.devices",
    "Model": "windfall.model",
    "ModelDescription": "windfall.description",
    "ShrinkResult": "windfall.shrinking",
    "State": "windfall.state",
    "compare": "windfall.comparison",
    "custom_layer": "windfall.custom",
    "custom_model": "windfall.custom",
    "fetch": "windfall.store",
    "load": "windfall.loading",
    "quantize_weights": "windfall.quantization",
    "shrink": "windfall.shrinking",
}


def __getattr__(name: str) -> object:
    if name in ("custom", "shapes"):
        return import_module(f"windfall.{name}")
    if name not in _LAZY:
        raise AttributeError(f"module 'windfall' has no attribute {name!r}")
    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value
