"""How large a graph may become. Core ML models run on phones; more is a damaged or hostile file."""

LARGEST_TENSOR = 2**32
"""No tensor of a graph may need more bytes."""
LARGEST_GRAPH = 2**36
"""Nor may all tensors of a graph together; not all of them are there at once."""
MOST_ITERATIONS = 1_000_000
"""No loop may run more often. A graph cannot be interrupted, and a while loop need not end."""
ITERATIONS_MARK = ".iterations_at_most_"
"""In the name of the node that fails where a loop runs more often, between the layer's name and the number."""
