"""Inputs to time a graph with."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from windfall.runtime.serialized import AFTER
from windfall.state import State

if TYPE_CHECKING:
    import onnx

_DRAWN = 65_537
"""Random numbers that are drawn at most, again and again; a prime, so that they are others in each row."""


def sample_feeds(graph: "onnx.GraphProto") -> dict[str, NDArray[Any]] | None:
    """Return a value for each input of a graph: random numbers of 0 to 1; zeros for whole numbers, maybe indices.

    Returns:
        None where an input has a size that is known only at run time, or is not of numbers.
    """
    feeds: dict[str, NDArray[Any]] = {}
    random = np.random.default_rng(0)
    for value in graph.input:
        tensor = value.type.tensor_type
        dims = [dim.dim_value for dim in tensor.shape.dim]
        dtype = _TYPES.get(tensor.elem_type)
        if dtype is None or 0 in dims:
            return None
        zeros: NDArray[Any] = np.zeros(dims, dtype)
        if zeros.dtype.kind == "f":
            # To draw all of a large input would take longer than some predictions.
            numbers = random.random(min(zeros.size, _DRAWN), np.float32)
            feeds[value.name] = np.resize(numbers, dims).astype(dtype, copy=False)
        else:
            feeds[value.name] = zeros
    return feeds


def sample_state(graph: "onnx.GraphProto", feeds: Mapping[str, NDArray[Any]]) -> State | None:
    """Return zeros for the states that a graph writes, which engines update as in a prediction; None if it has none.

    Args:
        graph: The graph.
        feeds: A value for each input.
    """
    names = [value.name.removesuffix(AFTER) for value in graph.output if value.name.endswith(AFTER)]
    written = {name: feeds[name] for name in names if name in feeds}
    dims = {name: array.shape for name, array in written.items()}
    return State(dims, {name: array.dtype for name, array in written.items()}) if written else None


_TYPES: Mapping[int, type] = {
    1: np.float32,
    2: np.uint8,
    6: np.int32,
    7: np.int64,
    9: np.bool_,
    10: np.float16,
    11: np.float64,
}
"""By the numbers of ``TensorProto.DataType``."""
