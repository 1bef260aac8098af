"""A graph in the form that engines compile."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

AFTER = ":after"
"""Behind a state's name: the graph output with what it holds after the prediction."""
IN_PLACE = "in_place_states"
"""The entry of a graph's metadata that lists, as JSON, the states that may be updated in place."""

COMPRESSED = "holds_compressed_weights"
"""The entry of a graph's metadata that says that it expands weights while it runs."""

QUANTIZED = "computes_in_8_bits"
"""The entry of a graph's metadata that says that its layers were quantized for 8-bit arithmetic."""


class Origin(NamedTuple):
    """Where a graph comes from.

    Attributes:
        key: What tells it, with all its weights, from every other graph; the name of its entry in the cache.
        model: The path of the model, for people.
    """

    key: str
    model: str


@dataclass(frozen=True)
class SerializedModel:
    """An ONNX model whose large initializers are declared as external data.

    Attributes:
        proto: The serialized model.
        arrays: The large initializers that no file holds as they are, by name.
        folder: The folder of the file that holds the others, None if there are none.
        origin: Where it comes from, None if that does not tell what it computes.
    """

    proto: bytes
    arrays: dict[str, NDArray[Any]]
    folder: Path | None
    origin: Origin | None = None

    @property
    def is_compressed(self) -> bool:
        """Whether the graph expands weights while it runs, which is of use with ONNX Runtime alone."""
        return COMPRESSED.encode() in self.proto

    @property
    def is_quantized(self) -> bool:
        """Whether layers were quantized for 8-bit arithmetic, where engines round differently."""
        return QUANTIZED.encode() in self.proto
