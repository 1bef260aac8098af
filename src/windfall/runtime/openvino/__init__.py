"""The OpenVINO engine: what it is given of a graph, what is computed before and after, and what it has compiled.

``program.py`` has the engine itself; to tell whether there is one, nothing more is imported.
"""

from windfall.runtime.openvino.binding import core, has_openvino

__all__ = ["core", "has_openvino"]
