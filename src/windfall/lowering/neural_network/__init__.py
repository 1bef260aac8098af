"""Neural networks: the layers of NeuralNetwork.proto as ONNX operators.

``layers.py`` has the table of all of them; ``network.py`` walks a network.
"""
