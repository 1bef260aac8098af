"""Arrays in and out.

Source: ``ArrayFeatureType`` in FeatureTypes.proto, ``NeuralNetworkMultiArrayShapeMapping`` in NeuralNetwork.proto.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windfall.errors import FeatureError
from windfall.spec.proto import FeatureTypes_pb2

ArrayType = FeatureTypes_pb2.ArrayFeatureType
DTYPES: Mapping[int, np.dtype[Any]] = {
    ArrayType.FLOAT32: np.dtype(np.float32),
    ArrayType.DOUBLE: np.dtype(np.float64),
    ArrayType.INT32: np.dtype(np.int32),
    ArrayType.INT8: np.dtype(np.int8),
    ArrayType.FLOAT16: np.dtype(np.float16),
}
"""The NumPy type of each ``ArrayDataType``."""


def to_array(value: Any, name: str) -> NDArray[np.float32]:
    """Return numbers in any form as a float32 array; see ``to_numbers``."""
    return to_numbers(value, name, np.dtype(np.float32))


def to_numbers(value: Any, name: str, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return numbers in any form as an array of a type.

    Takes NumPy arrays, nested lists, Python numbers, and what has ``__array__``, such as torch tensors. What float32
    cannot hold becomes the nearest number that it can, or infinite.

    Raises:
        FeatureError: The value holds no numbers, or numbers that an integer type cannot hold.
    """
    if type(value) is np.ndarray and value.dtype == dtype and value.flags.c_contiguous:
        return value
    what = type(value).__name__
    try:
        if hasattr(value, "detach") and hasattr(value, "cpu"):  # a torch tensor, without importing torch
            value = value.detach().cpu()
            # NumPy has no bfloat16.
            value = (value.float() if value.is_floating_point() else value).numpy()
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise _not_numbers(name, what, f": {_one_line(error)}") from error
    if array.dtype.kind not in "fiub":
        raise _not_numbers(name, what if array.dtype == object else f"{what} of {array.dtype}")
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            converted = np.asarray(array, dtype, order="C")
    except MemoryError as error:  # an array may be a view of one number
        raise FeatureError(f"input {name!r} has shape {list(array.shape)}, which memory cannot hold") from error
    # A comparison of the two would take memory for nothing where nothing can be lost.
    if dtype.kind != "f" and not np.can_cast(array.dtype, dtype) and not np.array_equal(converted, array):
        raise FeatureError(f"input {name!r} has numbers that {dtype} cannot hold; round or clip them first")
    return converted


def _not_numbers(name: str, what: str, reason: str = "") -> FeatureError:
    return FeatureError(f"input {name!r} is {what}, must be an array of numbers{reason}; convert it first")


def _one_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")


def size_ranges(array: Any) -> list[tuple[int, int | None]]:
    """Return (least, most) for each axis of an array with a ``shapeRange``; most is None where there is no bound."""
    return [(r.lowerBound, None if r.upperBound < 0 else r.upperBound) for r in array.shapeRange.sizeRanges]


def enumerated_shapes(array: Any) -> list[tuple[int, ...]]:
    """Return the shapes that an array with ``enumeratedShapes`` may have."""
    return [tuple(shape.shape) for shape in array.enumeratedShapes.shapes]


def default_shape(array: Any) -> tuple[int, ...]:
    """Return the declared shape, or the first one that a flexible array allows."""
    if array.shape:
        return tuple(array.shape)
    kind = array.WhichOneof("ShapeFlexibility")
    if kind == "enumeratedShapes" and array.enumeratedShapes.shapes:
        return tuple(array.enumeratedShapes.shapes[0].shape)
    if kind == "shapeRange":
        return tuple(max(1, r.lowerBound) for r in array.shapeRange.sizeRanges)
    return ()


def fits(shape: Sequence[int], array: Any) -> bool:
    """Whether the description allows a shape."""
    kind = array.WhichOneof("ShapeFlexibility")
    if kind is None or tuple(shape) == default_shape(array):
        return tuple(shape) == default_shape(array)
    if kind == "enumeratedShapes":
        return tuple(shape) in enumerated_shapes(array)
    allowed = size_ranges(array)
    return len(shape) == len(allowed) and all(
        low <= size and (high is None or size <= high) for size, (low, high) in zip(shape, allowed, strict=True)
    )


def describe_allowed(array: Any) -> str:
    """Say in words which shapes a description allows."""
    kind = array.WhichOneof("ShapeFlexibility")
    if kind == "enumeratedShapes":
        return "one of " + ", ".join(str(list(shape)) for shape in enumerated_shapes(array))
    if kind == "shapeRange":
        ends = [f"{low}..{'' if high is None else high}" for low, high in size_ranges(array)]
        return f"[{', '.join(ends)}]"
    return str(list(default_shape(array)))


def to_exact(array: NDArray[np.float32], feature: Any) -> NDArray[np.float32]:
    """Check an array for a network with ``EXACT_ARRAY_MAPPING``; a single number may stand for the shape [1].

    Raises:
        FeatureError: The description does not allow the array's shape.
    """
    kind = feature.type.multiArrayType
    if array.ndim == 0 and fits((1,), kind):
        array = array.reshape(1)
    if not fits(array.shape, kind):
        raise FeatureError(
            f"input {feature.name!r} has shape {list(array.shape)}, must be {describe_allowed(kind)}; reshape it"
        )
    return array


def to_rank5(array: NDArray[np.float32], feature: Any) -> NDArray[np.float32]:
    """Map an array to [Seq, Batch, C, H, W], the layout of networks with ``RANK5_ARRAY_MAPPING``.

    The declared shape is [C] or [C, H, W]. The array may have it as it is, or with Batch, or with Seq and Batch, in
    front; [C] also as [.., C, 1, 1].

    Raises:
        FeatureError: The shape fits in none of these ways.
    """
    declared = feature.type.multiArrayType
    given = array.shape
    array = array.reshape(1) if array.ndim == 0 else array
    core = 1 if len(default_shape(declared)) == 1 else 3
    for rank, tail in ((core, ()), (3, (1, 1) if core == 1 else ())):
        trailing = array.shape[array.ndim - rank :] if array.ndim >= rank else ()
        lead = array.shape[: array.ndim - rank] if array.ndim >= rank else ()
        if len(trailing) != rank or len(lead) > 2 or trailing[rank - len(tail) :] != tail:
            continue
        dims = trailing[: rank - len(tail)]
        if fits(dims, declared):
            full = (1,) * (2 - len(lead)) + lead + dims + (1,) * (3 - len(dims))
            return array.reshape(full)
    raise FeatureError(
        f"input {feature.name!r} has shape {list(given)}, must be {describe_allowed(declared)}, "
        "with Batch or Seq and Batch in front if wanted; reshape it"
    )


def default_array(feature: Any) -> NDArray[np.float32]:
    """Return what an optional array input is when it is left out: its default value, or zeros."""
    array = feature.type.multiArrayType
    kind = array.WhichOneof("defaultOptionalValue")
    with np.errstate(over="ignore"):  # a double may lie outside of float32
        return np.full(default_shape(array), getattr(array, kind) if kind else 0, np.float32)


def from_tensor(tensor: NDArray[Any], feature: Any, rank5: bool = False) -> NDArray[Any]:
    """Return an array output in the declared type and, where it fits, the declared shape.

    It fits where it differs from the tensor's by axes of size 1 only, as where the batch of an image network is not
    declared. A tensor of a RANK5 network with one sequence step and one batch element may be reshaped as it likes, and
    has [C, H, W] when no shape is declared.
    """
    array = feature.type.multiArrayType
    dtype = DTYPES.get(array.dataType, tensor.dtype)
    with np.errstate(over="ignore", invalid="ignore"):  # numbers that the declared type cannot hold are the model's own
        tensor = tensor.astype(dtype, copy=False)
    declared = default_shape(array)
    single = rank5 and tensor.ndim == 5 and tensor.shape[:2] == (1, 1)
    if array.WhichOneof("ShapeFlexibility") is not None:
        return tensor.reshape(_flexible(tensor.shape, array))
    if _holds_as_much(declared, tensor.shape) and (single or _without_ones(declared) == _without_ones(tensor.shape)):
        return tensor.reshape(declared)
    return tensor.reshape(tensor.shape[2:]) if single else tensor


def _flexible(dims: tuple[int, ...], array: Any) -> tuple[int, ...]:
    """Return the shape of an output of many sizes: without leading or trailing axes of 1 that are not declared."""
    shorter = [dims[start:] for start in range(len(dims)) if set(dims[:start]) <= {1}]
    found = (one for one in [*shorter, *_vectors(shorter)] if fits(one, array))
    return next(found, dims)


def _vectors(shapes: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Return [C] for each [C, 1, 1]."""
    return [dims[:1] for dims in shapes if len(dims) == 3 and dims[1:] == (1, 1)]


def _holds_as_much(declared: tuple[int, ...], dims: tuple[int, ...]) -> bool:
    return bool(declared) and min(declared) > 0 and math.prod(declared) == math.prod(dims)


def _without_ones(dims: tuple[int, ...]) -> list[int]:
    return [size for size in dims if size != 1]
