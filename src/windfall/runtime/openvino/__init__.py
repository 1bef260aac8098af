"""The OpenVINO engine: what it is given of a graph, what is computed before and after, and what it has compiled."""

from windfall.runtime.openvino.binding import core, has_openvino
from windfall.runtime.openvino.program import OpenVino, OpenVinoProgram

__all__ = ["OpenVino", "OpenVinoProgram", "core", "has_openvino"]
