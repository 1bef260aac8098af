"""How large a graph may become. Core ML models run on phones; more is a damaged or hostile file."""

LARGEST_TENSOR = 2**32
"""No tensor of a graph may need more bytes."""
LARGEST_GRAPH = 2**36
"""Nor may all tensors of a graph together; not all of them are there at once."""
