"""From ML programs to ONNX.

``program.py`` lowers a whole program, ``scope.py`` a block; ``operators.py`` is the table of all operators, and each
other module lowers some of them.
"""
