"""Tensors that stay in a model file until an engine reads them."""

from collections.abc import Callable, Sequence
from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray

from windfall.spec.modelfile import Place


class StoredTensor(ir.LazyTensor):
    """A tensor that is decoded each time it is asked for, so that it is never held twice.

    Args:
        load: Decodes the tensor.
        dims: Its shape.
        name: Its name.
        place: Tells where its bytes lie, None if they must be decoded first, or are no longer there.
        dtype: Its data type.
    """

    def __init__(
        self,
        load: Callable[[], NDArray[Any]],
        dims: Sequence[int],
        name: str,
        place: Callable[[], Place | None] = lambda: None,
        dtype: ir.DataType = ir.DataType.FLOAT,
    ) -> None:
        super().__init__(lambda: ir.tensor(load()), dtype=dtype, shape=ir.Shape(dims), cache=False, name=name)
        self.place = place
