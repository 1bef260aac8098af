"""Operators of two tensors, element by element, with NumPy's broadcasting.

Source: ``elementwise_binary.py`` among coremltools' operator definitions.
"""

from collections.abc import Callable, Mapping
from typing import Any

from windfall.lowering.ml_program.context import OperationContext, Value


def _binary(op_type: str, what: str) -> Callable[[OperationContext, Value, Value], Value]:
    def lower(ctx: OperationContext, x: Value, y: Value) -> Value:
        return ctx.op(op_type, x, y)

    lower.__doc__ = f"""Compute {what}, element by element.

    Args:
        ctx: The operation and the graph being built.
        x: Any shape; float or int32.
        y: Of the same type; its shape and that of x are broadcast against each other.
    """
    return lower


LOWERINGS: Mapping[str, Callable[..., Any]] = {
    "add": _binary("Add", "the sum"),
    "sub": _binary("Sub", "the difference"),
    "mul": _binary("Mul", "the product"),
}
