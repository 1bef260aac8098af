"""Tensors made larger: by a border, or by repeating them.

Source: ``pad``, ``tile`` in ``tensor_operation.py`` among coremltools' operator definitions.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from windfall.lowering.ml_program.context import Array, OperationContext, Value

_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}
"""ONNX's name for each mode."""
# Engines hold sizes in signed integers.
_LARGEST = 2**31 - 1


def lower_pad(ctx: OperationContext, x: Value, pad: Value, mode: str = "constant", constant_val: float = 0.0) -> Value:
    """Add entries before and after each of the last axes.

    Args:
        ctx: The operation and the graph being built.
        x: Any shape.
        pad: Whole numbers, [2 * N], how many before and after each of the last N axes in turn.
        mode: ``constant``, ``reflect`` without the border itself, or ``replicate``, which repeats the border.
        constant_val: The entries of ``constant``.

    Returns:
        The same rank.

    Raises:
        LoweringError: There is no such mode, ``pad`` is no vector of two numbers for each of N axes, a number is below
            0, or a reflection is not smaller than x.
    """
    if mode not in _MODES:
        raise ctx.error("mode", f"must be one of {', '.join(_MODES)}", value=repr(mode))
    rank, dims = ctx.rank(x), ctx.shape(pad)
    length = 2 * rank if dims == (None,) else dims[0] if len(dims) == 1 else None
    if length is None or length % 2 or length > 2 * rank:
        raise ctx.error("pad", f"must be two numbers for each of at most {rank} axes", value=f"of shape {list(dims)}")
    count = length // 2
    known = ctx.known(pad)
    if known is not None:
        _check(ctx, x, known.reshape(count, 2), mode)
        if not known.any():
            return x
        pads = ctx.integers(known.reshape(count, 2).T.reshape(-1))
    else:
        pairs = ctx.reshape(ctx.cast(pad, ir.DataType.INT64), count, 2)
        pads = ctx.reshape(ctx.op("Transpose", pairs, perm=[1, 0]), 2 * count)
    fill = ctx.scalar(constant_val, x) if mode == "constant" else None
    return ctx.op("Pad", x, pads, fill, ctx.integers(range(rank - count, rank)), mode=_MODES[mode])


def _check(ctx: OperationContext, x: Value, pads: Array, mode: str) -> None:
    if pads.size and not (pads.min() >= 0 and pads.max() <= _LARGEST):
        raise ctx.error("pad", f"must be 0 to {_LARGEST} at every edge", value=pads.tolist())
    dims = ctx.shape(x)[ctx.rank(x) - len(pads) :]
    # The border itself is not repeated, so there are size - 1 entries to reflect.
    if mode == "reflect" and any(
        dim is not None and max(pair) >= max(dim, 1) for dim, pair in zip(dims, pads, strict=True)
    ):
        raise ctx.error("pad", f"must be smaller than the sizes {list(dims)} for a reflection", value=pads.tolist())


def lower_tile(ctx: OperationContext, x: Value, reps: Value) -> Value:
    """Repeat a tensor along its axes: a b becomes a b a b.

    Args:
        ctx: The operation and the graph being built.
        x: Any shape and type.
        reps: Whole numbers, [rank of x]: how often along each axis.

    Returns:
        The sizes of x times ``reps``.

    Raises:
        LoweringError: ``reps`` does not have a number for each axis, or one is below 1.
    """
    rank, known = ctx.rank(x), ctx.known(reps)
    if ctx.shape(reps) not in ((rank,), (None,)):
        raise ctx.error(
            "reps", f"must be {rank} numbers for an x of rank {rank}", value=f"of shape {list(ctx.shape(reps))}"
        )
    if known is not None and (known < 1).any():
        raise ctx.error("reps", "must be at least 1 along each axis", value=known.tolist())
    tiled = ctx.op("Tile", x, ctx.cast(reps, ir.DataType.INT64))
    if known is not None and x.shape is not None and tiled.shape is not None:
        once = np.equal(known, 1)
        tiled.shape = ir.Shape([x.shape[i] if once[i] else dim for i, dim in enumerate(tiled.shape)])
    return tiled


LOWERINGS: Mapping[str, Callable[..., Any]] = {"pad": lower_pad, "tile": lower_tile}
