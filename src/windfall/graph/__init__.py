"""Building ONNX graphs: see ``GraphBuilder``."""

from windfall.graph.builder import GraphBuilder, ShapeError

__all__ = ["GraphBuilder", "ShapeError"]
