"""How much of a prediction's work each operation of an ML program is, estimated from the declared shapes."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from windfall.lowering.ml_program.types import TensorType, tensor_type

Types = Mapping[str, TensorType | None]


def relative_costs(operations: Sequence[Any], inputs: Sequence[Any]) -> list[float | None]:
    """Return the share of each operation of a block, 0 to 1; None for constants, which are never computed.

    It is the share of multiplications: one for each element that an operation gives, and for convolutions and matrix
    products one for each that is summed up. Sizes that are known only at run time count as 1.

    Args:
        operations: ``Operation`` messages.
        inputs: The ``NamedValueType`` messages of the block's or the function's inputs.
    """
    types = {named.name: tensor_type(named.type) for named in inputs}
    for operation in operations:
        types.update((named.name, tensor_type(named.type)) for named in operation.outputs)
    costs = [
        None if operation.type.startswith("const") else _multiplications(operation, types) for operation in operations
    ]
    total = sum(cost for cost in costs if cost is not None)
    return [None if cost is None else cost / total if total else 0.0 for cost in costs]


def _multiplications(operation: Any, types: Types) -> int:
    elements = sum(_count(types.get(named.name)) for named in operation.outputs)
    summed = _SUMMED.get(operation.type)
    return elements * (1 if summed is None else summed(operation, types))


def _count(type_: TensorType | None) -> int:
    return 0 if type_ is None else math.prod(dim or 1 for dim in type_.dims)


def _argument(operation: Any, name: str, types: Types) -> Sequence[int]:
    bindings = operation.inputs[name].arguments if name in operation.inputs else []
    type_ = types.get(bindings[0].name) if bindings else None
    return [] if type_ is None else [dim or 1 for dim in type_.dims]


def _conv(operation: Any, types: Types) -> int:
    return math.prod(_argument(operation, "weight", types)[1:])


def _conv_transpose(operation: Any, types: Types) -> int:
    """Return what each element sums up on average: all products, spread over the output."""
    x, weight = _argument(operation, "x", types), _argument(operation, "weight", types)
    outputs = max(1, sum(_count(types.get(named.name)) for named in operation.outputs))
    return max(1, math.prod(x) * math.prod(weight[1:]) // outputs)


def _last_size(argument: str) -> Callable[[Any, Types], int]:
    def summed(operation: Any, types: Types) -> int:
        return math.prod(_argument(operation, argument, types)[-1:])

    return summed


_SUMMED: Mapping[str, Callable[[Any, Types], int]] = {
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    "linear": _last_size("weight"),
    "matmul": _last_size("x"),
    "scaled_dot_product_attention": _last_size("key"),
}
