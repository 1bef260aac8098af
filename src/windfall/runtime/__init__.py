"""Engines: from an ONNX graph to something that computes."""
