"""From a Core ML model to an ONNX graph; a folder for each kind of model."""
