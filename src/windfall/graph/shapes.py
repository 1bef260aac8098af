"""What is known of a value: its shape, its size, and numbers so few that they may be a shape."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

_LARGEST_FOLDED = 64

Dim = int | None
"""One size of a shape; None where it is known only at run time."""


class ShapeError(ValueError):
    """A node's inputs do not fit each other, or its output would be too large."""


def small_constant(value: ir.Value) -> NDArray[Any] | None:
    """Return a known value so small that it may be a size, which must stay known for shapes to be; else None."""
    tensor = value.const_value
    if tensor is None or tensor.size > _LARGEST_FOLDED or tensor.dtype == ir.DataType.STRING:
        return None
    return tensor.numpy()


def string_tensor(array: NDArray[Any]) -> ir.StringTensor:
    """Return an array of texts as a tensor.

    Raises:
        ShapeError: A text has half a character, which no tensor can hold.
    """
    try:
        return ir.StringTensor([str(text).encode() for text in array.ravel()], shape=ir.Shape(array.shape))
    except UnicodeEncodeError as error:
        raise ShapeError("a text holds half a character, which has no UTF-8") from error


def common_shape(one: ir.Shape | None, other: ir.Shape | None) -> ir.Shape | None:
    """Return what holds for both of two shapes: None for sizes that differ, None for the whole if the ranks do."""
    if one is None or other is None or len(one) != len(other):
        return None
    return ir.Shape([a if a == b else None for a, b in zip(one, other, strict=True)])


def shape(value: ir.Value) -> tuple[Dim, ...]:
    """Return a value's shape with None for sizes that are known only at run time.

    Raises:
        ShapeError: Not even the rank is known.
    """
    if value.shape is None:
        raise ShapeError(f"the rank of {value.name!r} is known only at run time")
    return tuple(dim if isinstance(dim, int) else None for dim in value.shape)


def itemsize(dtype: ir.DataType | None) -> float:
    """Return the bytes of an element."""
    if dtype == ir.DataType.STRING:
        return 8  # of the reference; how long each string is shows only at run time
    return 4 if dtype is None else dtype.itemsize


def elements(vector: ir.Value) -> Sequence[int | ir.SymbolicDim]:
    """Return what is known of a shape that is given by an int64 vector."""
    if vector.const_value is not None:
        return [size if size >= 0 else ir.SymbolicDim(None) for size in vector.const_value.numpy().tolist()]
    node = vector.producer()
    if node is not None and node.op_type == "Shape" and node.inputs[0] is not None and node.inputs[0].shape is not None:
        bounds = node.attributes
        start = bounds["start"].as_int() if "start" in bounds else 0
        return node.inputs[0].shape[start : bounds["end"].as_int() if "end" in bounds else None]
    length = shape(vector)[0]
    if length is None:
        raise ShapeError(f"the length of the shape {vector.name!r} is known only at run time")
    return [ir.SymbolicDim(None)] * length


def resolve(target: NDArray[np.int64], dims: tuple[Dim, ...]) -> NDArray[np.int64]:
    """Check that a shape holds as many elements as another, and work out its -1, where all sizes are known."""
    if None in dims:
        return target
    count = math.prod(dims)  # type: ignore[arg-type]
    rest = math.prod(int(size) for size in target if size != -1)
    free = int(np.count_nonzero(target < 0))
    fits = rest == count if free == 0 else free == 1 and rest > 0 and count % rest == 0
    if not fits:
        raise ShapeError(f"a tensor of shape {list(dims)} cannot be reshaped to {target.tolist()}")
    return np.where(target == -1, count // max(rest, 1), target)
