"""Changes of the data type.

Source: ``cast`` among coremltools' operator definitions (``elementwise_unary.py``).
"""

from collections.abc import Callable, Mapping
from typing import Any

from windfall.lowering.ml_program.context import OperationContext, Value
from windfall.lowering.ml_program.types import GRAPH_TYPES, type_name

_TYPES = {type_name(data_type): graph_type for data_type, graph_type in GRAPH_TYPES.items()}


def lower_cast(ctx: OperationContext, x: Value, dtype: str) -> Value:
    """Convert a tensor to another type; fractions are cut off where that holds whole numbers.

    Between float16 and float32 nothing changes: both are computed in float32.

    Args:
        ctx: The operation and the graph being built.
        x: Any shape.
        dtype: The type as programs write it: ``fp16``, ``int32``, ``bool``.

    Raises:
        LoweringError: There is no such type.
    """
    if dtype not in _TYPES:
        raise ctx.error("dtype", f"must be one of {', '.join(_TYPES)}", value=repr(dtype))
    return ctx.cast(x, _TYPES[dtype])


LOWERINGS: Mapping[str, Callable[..., Any]] = {"cast": lower_cast}
