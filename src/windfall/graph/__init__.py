"""Building ONNX graphs: see ``GraphBuilder`` in ``builder.py``."""
