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
    FormatError,
    LoweringError,
    UnsupportedError,
    WindfallError,
)

if TYPE_CHECKING:
    from windfall.comparison import Comparison, compare
    from windfall.description import ModelDescription
    from windfall.model import Model, load
    from windfall.quantization import quantize_weights
    from windfall.state import State

__version__ = "0.1.0"
__all__ = [
    "Comparison",
    "EngineError",
    "FeatureError",
    "FormatError",
    "LoweringError",
    "Model",
    "ModelDescription",
    "State",
    "UnsupportedError",
    "WindfallError",
    "__version__",
    "compare",
    "load",
    "quantize_weights",
]

# Imported on first use, so that `import windfall` and `windfall --help` stay instant.
_LAZY = {
    "Comparison": "windfall.comparison",
    "Model": "windfall.model",
    "ModelDescription": "windfall.description",
    "State": "windfall.state",
    "compare": "windfall.comparison",
    "load": "windfall.model",
    "quantize_weights": "windfall.quantization",
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module 'windfall' has no attribute {name!r}")
    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value
