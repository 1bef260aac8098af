"""What a model takes from outside of its file: classes and functions of the user's own, linked models; packed models.

``opening.py`` puts linked and packed models into the places where they are named. What stays is a model that one graph
can compute, but for members that functions or classes of the user's stand for: ``flow.py`` follows the values through
it, ``segments.py`` makes a model of what lies between two such members, ``stages.py`` runs all of them.

Custom layers lie inside of a network: ``registry.py`` has the classes, ``placed.py`` makes a layer of one, and where
that has no ONNX operators, ``cutting.py`` cuts the graph around it and ``program.py`` runs the parts. ``making.py``
writes such models.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from windfall.custom.layers import CustomLayer, LayerGraph
    from windfall.custom.making import add_layer, make_model, make_network, make_pipeline
    from windfall.custom.models import CustomModel
    from windfall.custom.registry import custom_layer, custom_model, use_entry_point

__all__ = [
    "CustomLayer",
    "CustomModel",
    "LayerGraph",
    "add_layer",
    "custom_layer",
    "custom_model",
    "make_model",
    "make_network",
    "make_pipeline",
    "use_entry_point",
]

# Imported on first use: lowerings look at the registry alone.
_LAZY = {
    "CustomLayer": "layers",
    "CustomModel": "models",
    "LayerGraph": "layers",
    "add_layer": "making",
    "custom_layer": "registry",
    "custom_model": "registry",
    "make_model": "making",
    "make_network": "making",
    "make_pipeline": "making",
    "use_entry_point": "registry",
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module 'windfall.custom' has no attribute {name!r}")
    value = getattr(import_module(f"windfall.custom.{_LAZY[name]}"), name)
    globals()[name] = value
    return value
