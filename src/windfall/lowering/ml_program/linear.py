"""Products of matrices.

Source: ``linear.py`` among coremltools' operator definitions.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from windfall.lowering.ml_program.context import OperationContext, Value


def lower_linear(ctx: OperationContext, x: Value, weight: Value, bias: Value | None = None) -> Value:
    """Compute ``x * transpose(weight) + bias``.

    Args:
        ctx: The operation and the graph being built.
        x: float or int32 [*D, I], rank 1 or more.
        weight: [O, I], of any of these types.
        bias: [O], of the weight's type; none by default.

    Returns:
        [*D, O], of the type of x.

    Raises:
        LoweringError: The sizes do not fit each other, or a fraction meets an x of whole numbers.
    """
    dims, sizes = ctx.shape(x), ctx.shape(weight)
    if not dims or len(sizes) != 2 or (None not in (dims[-1], sizes[1]) and dims[-1] != sizes[1]):
        rule = f"must be a matrix of as many columns as the last axis of x, {list(dims)}, has entries"
        raise ctx.error("weight", rule, value=f"of shape {list(sizes)}")
    if bias is not None and (ctx.rank(bias) != 1 or not _alike(ctx.shape(bias)[0], sizes[0])):
        raise ctx.error("bias", f"must be a vector of {sizes[0]}", value=f"of shape {list(ctx.shape(bias))}")
    weight = _of_type(ctx, "weight", weight, x)
    bias = None if bias is None else _of_type(ctx, "bias", bias, x)
    if x.dtype != ir.DataType.FLOAT:
        product = ctx.op("MatMul", x, ctx.op("Transpose", weight, perm=[1, 0]))
        return product if bias is None else ctx.op("Add", product, bias)
    lead, inner = ctx.sizes(x, 0, len(dims) - 1), ctx.sizes(weight, 1) if sizes[1] is None else sizes[1]
    if dims[-1] is None:
        # Without this a wrong size would go unnoticed: -1 below would take up the difference.
        x = ctx.reshape(x, lead, inner)
    rows = -1 if None in dims[:-1] else math.prod(dim for dim in dims[:-1] if dim is not None)
    # With transB the weight is used as it is stored: [N, I] -> [N, O]
    product = ctx.op("Gemm", ctx.reshape(x, rows, inner), weight, bias, transB=1)
    return ctx.reshape(product, lead, ctx.sizes(weight, 0, 1))


def _alike(one: int | None, other: int | None) -> bool:
    return None in (one, other) or one == other


def _of_type(ctx: OperationContext, argument: str, value: Value, like: Value) -> Value:
    """Convert a value to the type of another, a constant usually, exactly.

    Raises:
        LoweringError: It has fractions, and the other is of whole numbers.
    """
    assert like.dtype is not None, like
    if value.dtype == ir.DataType.FLOAT and like.dtype != ir.DataType.FLOAT:
        known = ctx.known(value)
        if known is None or not np.array_equal(known, np.trunc(known)):
            raise ctx.error(argument, "must be known whole numbers where the other factor is of whole numbers")
    return ctx.cast(value, like.dtype)


def lower_matmul(
    ctx: OperationContext, x: Value, y: Value, transpose_x: bool = False, transpose_y: bool = False
) -> Value:
    """Multiply matrices in the last two axes; the axes before them are broadcast against each other.

    Args:
        ctx: The operation and the graph being built.
        x: float or int32 [*batch, M, K] or [K], which stands for a row.
        y: [*batch, K, N] or [K], which stands for a column; of the same type, but for a constant from iOS 17 on.
        transpose_x: Whether the last two axes of x come the other way round.
        transpose_y: Likewise.

    Returns:
        [*batch, M, N]; without M or N where there was none.

    Raises:
        LoweringError: An argument is a number, or a vector that is to be transposed.
    """
    for argument, value, transposed in (("x", x, transpose_x), ("y", y, transpose_y)):
        if ctx.rank(value) < 1 + transposed:
            rule = f"must have rank {1 + transposed} or more where transpose_{argument} is {str(transposed).lower()}"
            raise ctx.error(argument, rule, value=f"of rank {ctx.rank(value)}")
    # The constant takes the type of the other one.
    if x.const_value is not None:
        x = _of_type(ctx, "x", x, y)
    else:
        y = _of_type(ctx, "y", y, x)
    return ctx.op("MatMul", _swapped(ctx, x) if transpose_x else x, _swapped(ctx, y) if transpose_y else y)


def _swapped(ctx: OperationContext, x: Value) -> Value:
    rank = ctx.rank(x)
    return ctx.op("Transpose", x, perm=[*range(rank - 2), rank - 1, rank - 2])


def lower_einsum(ctx: OperationContext, values: Sequence[Value], equation: str) -> Value:
    """Multiply matrices that lie in the first and third of the last three axes.

    Args:
        ctx: The operation and the graph being built.
        values: float [C, H, I] and [I, H, O], or [n, C, H, I] and [n, I, H, O]; sizes n and H of 1 are repeated.
        equation: ``chw,whu->chu`` or ``nchw,nwhu->nchu``, with any letters.

    Returns:
        [C, H, O] or [n, C, H, O].

    Raises:
        LoweringError: It is another equation, or does not have the rank of the values.
    """
    if len(values) != 2:
        raise ctx.error("values", "must be 2 tensors", value=f"{len(values)}")
    x, y = values
    rank = {pattern: rank for rank, pattern in _EQUATIONS.items()}.get(_pattern(equation))
    if rank is None:
        shown = " or ".join(_EQUATIONS.values())
        raise ctx.error("equation", f"must be {shown} but for the letters", value=repr(equation))
    if (ctx.rank(x), ctx.rank(y)) != (rank, rank):
        raise ctx.error("values", f"must have rank {rank}", value=f"of ranks {ctx.rank(x)} and {ctx.rank(y)}")
    # [.., C, H, I] -> [.., H, C, I]; [.., I, H, O] -> [.., H, I, O]; their product [.., H, C, O]
    perm = [*range(rank - 3), rank - 2, rank - 3, rank - 1]
    product = ctx.op("MatMul", *(ctx.op("Transpose", value, perm=perm) for value in (x, y)))
    return ctx.op("Transpose", product, perm=perm)


_EQUATIONS = {3: "abc,cbd->abd", 4: "abcd,adce->abce"}
"""The equation for each rank, its letters in order of appearance."""


def _pattern(equation: str) -> str:
    """Return an equation with its letters replaced by a, b, c ... in order of appearance."""
    letters = {letter: chr(ord("a") + n) for n, letter in enumerate(dict.fromkeys(filter(str.isalpha, equation)))}
    return "".join(letters.get(letter, letter) for letter in equation if letter != " ")


LOWERINGS: Mapping[str, Callable[..., Any]] = {
    "einsum": lower_einsum,
    "linear": lower_linear,
    "matmul": lower_matmul,
}
