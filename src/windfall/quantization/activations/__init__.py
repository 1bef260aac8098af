"""Arithmetic in 8 bits: what convolutions and matrix products take and give becomes 8-bit numbers too.

``windfall.load(..., arithmetic="int8", calibration=samples)`` leaves the file as it is, and rewrites the graph:

- ``layers.py`` finds the layers that have kernels for 8 bits.
- ``measuring.py`` runs the graph on samples, for the ranges of values (``ranges.py``) and the noise of each layer.
- ``rewriting.py`` puts ``QuantizeLinear`` and ``DequantizeLinear`` around the layers, which engines fuse.
- ``agreement.py`` compares results, ``calibrating.py`` keeps in float32 what they need.
"""
