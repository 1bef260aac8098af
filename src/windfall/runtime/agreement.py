"""Whether two engines, or two ways to run one, give the same."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_RELATIVE, _ABSOLUTE = 1e-3, 1e-4
"""How far two results may differ, of each element and of the largest one."""


def agree(one: list[NDArray[Any]], other: list[NDArray[Any]]) -> bool:
    """Tell whether two results are the same but for what float32 rounds."""
    return len(one) == len(other) and all(map(_close, one, other))


def _close(one: NDArray[Any], other: NDArray[Any]) -> bool:
    if one.dtype.kind != "f":
        return one.shape == other.shape
    largest = float(np.max(np.abs(one), initial=0.0, where=np.isfinite(one)))
    return one.shape == other.shape and np.allclose(one, other, _RELATIVE, _ABSOLUTE * largest, equal_nan=True)
