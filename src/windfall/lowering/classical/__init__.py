"""From classical models to ONNX: linear models, and in time trees, support vectors and neighbours.

``model.py`` lowers a whole model and has the table of all types; each other module lowers some of them.
"""
