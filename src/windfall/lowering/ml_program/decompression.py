"""From compressed weights to the numbers they stand for; arrays in, arrays out.

Source: ``constexpr_*`` among coremltools' operator definitions (iOS 16 ``constexpr_ops.py``, iOS 18
``compression.py``). Everything is computed in float32.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[Any]


def shift_and_scale(data: Numbers, scale: Numbers, offset: Numbers | None) -> Numbers:
    """Return ``scale * (data - offset)``, each scale and offset for a block of the data.

    Args:
        data: [d0, d1, ...].
        scale: [g0, g1, ...]; each g divides its d.
        offset: The shape of scale.
    """
    # [d0, d1, ...] -> [g0, d0/g0, g1, d1/g1, ...], against which [g0, 1, g1, 1, ...] is broadcast
    blocks = [size for d, g in zip(data.shape, scale.shape, strict=True) for size in (g, d // g)]
    single = [size for g in scale.shape for size in (g, 1)]
    split = data.astype(np.float32).reshape(blocks)
    with np.errstate(over="ignore", invalid="ignore"):  # scales beyond float32 are the model's own
        if offset is not None:
            split -= offset.astype(np.float32).reshape(single)
        split *= scale.astype(np.float32).reshape(single)
    return split.reshape(data.shape)


def look_up(indices: Numbers, tables: Numbers, vector_axis: int) -> Numbers:
    """Return what indices stand for, each block of them with a table of its own.

    Args:
        indices: [d0, d1, ...].
        tables: [g0, g1, ..., entries, v]; each g divides its d, each entry is a vector of v numbers.
        vector_axis: The axis along which the vectors lie.

    Returns:
        [d0, d1, ...], the size along ``vector_axis`` v times as large.
    """
    rank = indices.ndim
    # Which table it is, along each axis; NumPy broadcasts these without making them as large as the indices.
    blocks = [
        (np.arange(d) // max(d // g, 1)).reshape([-1 if i == axis else 1 for i in range(rank)])
        for axis, (d, g) in enumerate(zip(indices.shape, tables.shape, strict=False))
    ]
    found = tables[(*blocks, indices)]  # [d0, d1, ..., v]
    dims = list(indices.shape)
    dims[vector_axis] *= tables.shape[-1]
    moved: Numbers = np.moveaxis(found, -1, vector_axis + 1)
    return moved.reshape(dims)


def spread(values: Numbers, mask: Numbers) -> Numbers:
    """Return zeros of the mask's shape, the values in order where it is set."""
    dense = np.zeros(mask.shape, values.dtype)
    dense[mask.astype(bool)] = values
    return dense


def set_values(dense: Numbers, mask: Numbers) -> Numbers:
    """Return the values where a mask is set, in order; the inverse of ``spread``."""
    chosen: Numbers = dense[mask.astype(bool)]
    return chosen


def divides(parts: Sequence[int], dims: Sequence[int]) -> bool:
    """Whether each of some sizes divides the size of the same axis, so that the axis falls into equal blocks."""
    return len(parts) == len(dims) and all(g > 0 and d % g == 0 for g, d in zip(parts, dims, strict=True))
