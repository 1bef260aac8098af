"""From probabilities to a label.

Source: ``classify`` among coremltools' operator definitions (``classify.py``).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from windfall.lowering.ml_program.context import OperationContext, Value


def lower_classify(ctx: OperationContext, probabilities: Value, classes: Value) -> Sequence[Value]:
    """Find the label of the highest probability.

    Args:
        ctx: The operation and the graph being built.
        probabilities: float, one element for each class.
        classes: Strings or int64 [N].

    Returns:
        The label, rank 0, and the probabilities: ONNX has no dictionaries, so that one is made of them afterwards.
    """
    index = ctx.op("ArgMax", ctx.reshape(probabilities, -1), axis=0, keepdims=0)
    return [ctx.op("Gather", classes, index), probabilities]


LOWERINGS: Mapping[str, Callable[..., Any]] = {"classify": lower_classify}
