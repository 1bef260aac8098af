"""Reductions of tensors over some of their axes.

Source: ``reduction.py`` among coremltools' operator definitions.
"""

from collections.abc import Callable, Mapping
from typing import Any

import onnx_ir as ir

from windfall.lowering.ml_program.casting import to_whole
from windfall.lowering.ml_program.context import Ints, OperationContext, Value

_INDEX_TYPES = {"int32": ir.DataType.INT32, "uint16": ir.DataType.UINT16}


def _reduction(
    op_type: str, what: str, fractional: bool = False
) -> Callable[[OperationContext, Value, Ints | None, bool], Value]:
    def lower(ctx: OperationContext, x: Value, axes: Ints | None = None, keep_dims: bool = False) -> Value:
        if not (fractional and x.dtype != ir.DataType.FLOAT):
            return _reduce(ctx, op_type, x, axes, keep_dims)
        # Doubles hold every int32, and what is between them.
        reduced = _reduce(ctx, op_type, ctx.cast(x, ir.DataType.DOUBLE), axes, keep_dims)
        return to_whole(ctx, reduced, ctx.graph_type)

    lower.__doc__ = f"""Reduce to {what}.

    Args:
        ctx: The operation and the graph being built.
        x: float or int32, any shape.
        axes: The axes to reduce; all by default.
        keep_dims: Whether they stay, with size 1.

    Raises:
        LoweringError: There is no such axis, or one is given twice.
    """
    return lower


def _reduce(ctx: OperationContext, op_type: str, x: Value, axes: Ints | None, keep_dims: bool) -> Value:
    rank = ctx.rank(x)
    along = range(rank) if axes is None else [ctx.axis("axes", axis, rank) for axis in axes]
    if len(set(along)) < len(along):
        raise ctx.error("axes", "must name each axis once", value=axes)
    if along:
        return ctx.op(op_type, x, ctx.integers(list(along)), keepdims=keep_dims)
    # Without an axis each element is reduced by itself; ONNX takes no axes for all.
    single = ctx.op("Unsqueeze", x, ctx.integers([rank]))
    return ctx.op(op_type, single, ctx.integers([rank]), keepdims=0)


def _arg(op_type: str, which: str) -> Callable[[OperationContext, Value, int, bool, str], Value]:
    def lower(
        ctx: OperationContext,
        x: Value,
        axis: int = -1,
        keep_dims: bool = False,
        output_dtype: str = "int32",
    ) -> Value:
        if output_dtype not in _INDEX_TYPES:
            raise ctx.error("output_dtype", f"must be {' or '.join(_INDEX_TYPES)}", value=repr(output_dtype))
        found = ctx.op(op_type, x, axis=ctx.axis("axis", axis, ctx.rank(x)), keepdims=keep_dims)
        return ctx.op("Cast", found, to=_INDEX_TYPES[output_dtype])

    lower.__doc__ = f"""Find the {which} element along an axis; of equal ones the first.

    Args:
        ctx: The operation and the graph being built.
        x: Any shape of rank 1 or more.
        axis: The axis.
        keep_dims: Whether it stays, with size 1.
        output_dtype: ``int32`` or ``uint16``.

    Raises:
        LoweringError: There is no such axis, or ``output_dtype`` is another type.
    """
    return lower


LOWERINGS: Mapping[str, Callable[..., Any]] = {
    "reduce_argmax": _arg("ArgMax", "largest"),
    "reduce_argmin": _arg("ArgMin", "smallest"),
    "reduce_l1_norm": _reduction("ReduceL1", "the sum of the absolute values"),
    "reduce_l2_norm": _reduction("ReduceL2", "the square root of the sum of the squares", fractional=True),
    "reduce_log_sum": _reduction("ReduceLogSum", "the logarithm of the sum", fractional=True),
    "reduce_log_sum_exp": _reduction(
        "ReduceLogSumExp", "the logarithm of the sum of the exponentials", fractional=True
    ),
    "reduce_max": _reduction("ReduceMax", "the largest element"),
    "reduce_mean": _reduction("ReduceMean", "the mean", fractional=True),
    "reduce_min": _reduction("ReduceMin", "the smallest element"),
    "reduce_prod": _reduction("ReduceProd", "the product"),
    "reduce_sum": _reduction("ReduceSum", "the sum"),
    "reduce_sum_square": _reduction("ReduceSumSquare", "the sum of the squares"),
}
