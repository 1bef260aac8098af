"""Nodes that make a weight of its codes each time a graph runs.

An engine computes what depends on nothing but constants when it compiles a graph; DequantizeLinear it leaves, as what
quantizes a graph relies on it. So each of these begins with one.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from windfall.graph.compressed import Compressed, Floats, linear_form
from windfall.graph.stored import StoredTensor
from windfall.passes.emitting import Emitter

_LARGEST_TABLES = 2**16
"""Bytes that one table, repeated for rows that are looked up side by side, may take."""
_LARGEST_SHARE = 8
"""Scales may be as many as one of so many weights; else little would be saved."""


def can_expand(weight: Compressed) -> bool:
    """Whether there are nodes that make a weight of its codes, and these take clearly less memory."""
    if not weight.size or not weight.is_finite:
        return False
    if weight.table is not None:
        return _tables(weight) is not None
    return _layout(weight, linear_form(weight).scale.shape) is not None


def expand(emit: Emitter, weight: Compressed, stored: ir.Value | None = None) -> ir.Value:
    """Add nodes that make a weight, one that ``can_expand``, of its codes if they are there already."""
    return (_look_up if weight.table is not None else _dequantize)(emit, weight, stored)


def codes(emit: Emitter, weight: Compressed, dims: Sequence[int], stored: ir.Value | None = None) -> ir.Value:
    """Return the codes, reshaped; where a file holds them as they are, an engine reads them from there."""
    if stored is not None:
        shape = emit.constant(np.array(dims, np.int64), "shape")
        return emit.op("Reshape", stored, shape, dtype=stored.dtype or ir.DataType.UINT8, dims=dims)

    def load() -> NDArray[Any]:
        return weight.codes().reshape(dims)

    dtype = ir.DataType.INT8 if weight.signed else ir.DataType.UINT8
    return emit.stored(StoredTensor(load, dims, "codes", weight.place, dtype), "codes")


def _layout(weight: Compressed, grid: Sequence[int]) -> tuple[tuple[int, ...], int] | None:
    """Return the shape in which each scale has one index along one axis, and the axis; None if scales are too many."""
    split = [axis for axis, g in enumerate(grid) if g > 1]
    if not split:
        return weight.dims, 0
    if len(split) == 1 and grid[split[0]] == weight.dims[split[0]]:
        return weight.dims, split[0]
    last = split[-1]
    rows = math.prod(weight.dims[:last]) * grid[last]
    return ((rows, weight.size // rows), 0) if rows * _LARGEST_SHARE <= weight.size else None


def _along(part: Floats, weight: Compressed, layout: tuple[int, ...], axis: int) -> Floats:
    """Return what is given for blocks as a vector along the axis of a layout."""
    if part.size == 1 or layout == weight.dims:
        return part.reshape(-1)
    last = max(axis for axis, g in enumerate(part.shape) if g > 1)
    for before in range(last):
        part = np.repeat(part, weight.dims[before] // part.shape[before], before)
    assert part.size == layout[axis], (part.shape, layout)
    return part.reshape(-1)


def _dequantize(emit: Emitter, weight: Compressed, stored: ir.Value | None) -> ir.Value:
    """[*layout] codes -> DequantizeLinear -> [Add the rest] -> [Reshape] -> [d0, d1, ...]."""
    form = linear_form(weight)
    found = _layout(weight, form.scale.shape)
    assert found is not None, weight
    layout, axis = found
    scale, zero = (_along(part, weight, layout, axis) for part in (form.scale, form.zero))
    values = _by_scale(emit, codes(emit, weight, layout, stored), scale, zero, axis)
    if form.rest is not None:
        rest = _along(form.rest, weight, layout, axis)
        sizes = [rest.size if i == axis else 1 for i in range(len(layout))]
        values = emit.op("Add", values, emit.constant(rest.reshape(sizes), "rest"), dims=layout)
    return _reshaped(emit, values, layout, weight.dims)


def _by_scale(emit: Emitter, stored: ir.Value, scale: Floats, zero: NDArray[np.int64], axis: int) -> ir.Value:
    assert stored.dtype is not None, stored
    if scale.size == 1:  # of one number for all, not of a vector of one
        scale, zero = scale.reshape(()), zero.reshape(())
    points = emit.constant(zero.astype(stored.dtype.numpy()), "zero") if zero.any() else None
    return emit.op(
        "DequantizeLinear",
        stored,
        emit.constant(scale.astype(np.float32), "scale"),
        points,
        dims=stored.shape,
        axis=axis if scale.ndim else None,
    )


def _reshaped(emit: Emitter, value: ir.Value, layout: Sequence[int], dims: Sequence[int]) -> ir.Value:
    if tuple(layout) == tuple(dims):
        return value
    return emit.op("Reshape", value, emit.constant(np.array(dims, np.int64), "shape"), dims=dims)


def _tables(weight: Compressed) -> tuple[int, Floats] | None:
    """Return the number of rows in which to look up, and a table for each; None if the tables lie along other axes.

    The more rows, the better an engine shares the work among its threads.
    """
    table = weight.table
    assert table is not None, weight
    groups, entries = table.shape[0], table.shape[-1]
    if math.prod(table.shape[:-1]) != groups:
        return None
    most = max(_LARGEST_TABLES // (entries * 4), groups)
    rows = max(g for g in range(groups, most + 1, groups) if weight.dims[0] % g == 0) if groups else 0
    if not rows or rows * entries * 4 * _LARGEST_SHARE > weight.size * 4:
        rows = groups
    if rows * entries * 2 > weight.size:
        return None
    return rows, np.repeat(table.reshape(groups, entries), rows // groups, 0)


def _look_up(emit: Emitter, weight: Compressed, stored: ir.Value | None) -> ir.Value:
    """[rows, rest] codes -> DequantizeLinear -> Cast -> GatherElements(tables) -> Reshape -> [d0, d1, ...]."""
    found = _tables(weight)
    assert found is not None, weight
    rows, tables = found
    layout = (rows, weight.size // rows)
    places = as_indices(emit, codes(emit, weight, layout, stored))
    values = emit.op("GatherElements", emit.constant(tables, "table"), places, dims=layout, axis=1)
    return _reshaped(emit, values, layout, weight.dims)


def as_indices(emit: Emitter, stored: ir.Value) -> ir.Value:
    """Return codes as int32, not before the graph runs."""
    numbers = _by_scale(emit, stored, np.ones(1, np.float32), np.zeros(1, np.int64), 0)
    return emit.op("Cast", numbers, dtype=ir.DataType.INT32, dims=stored.shape, to=ir.DataType.INT32)
