"""Tensors that stay in a model file until an engine reads them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import onnx_ir as ir
from numpy.typing import NDArray


class Place(NamedTuple):
    """Where a tensor's bytes lie: row-major, little-endian, as ONNX's external data wants them."""

    path: Path
    offset: int
    length: int


class StoredTensor(ir.LazyTensor):
    """A float32 tensor that is decoded each time it is asked for, so that it is never held twice.

    Args:
        load: Decodes the tensor.
        dims: Its shape.
        name: Its name.
        place: Tells where its bytes lie, None if they must be decoded first, or are no longer there.
    """

    def __init__(
        self, load: Callable[[], NDArray[Any]], dims: Sequence[int], name: str, place: Callable[[], Place | None]
    ) -> None:
        super().__init__(
            lambda: ir.tensor(load()), dtype=ir.DataType.FLOAT, shape=ir.Shape(dims), cache=False, name=name
        )
        self.place = place
