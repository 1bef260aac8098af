"""Tensors that a model keeps from one prediction to the next.

Source: ``StateType`` in MIL.proto; ``read_state``, ``coreml_update_state`` among coremltools' operator definitions. In
files the latter is written as ``write_state``, with a ``read_state`` behind it where its output is used.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from windfall.lowering.ml_program.context import OperationContext, Value


def lower_read_state(ctx: OperationContext, input_: Value) -> Value:
    """Return what a state holds at this point of the program.

    Args:
        ctx: The operation and the graph being built.
        input_: The state.

    Raises:
        LoweringError: The argument is no state.
    """
    return _current(ctx, "input", input_)


def lower_write_state(ctx: OperationContext, input_: Value, data: Value) -> Sequence[Value]:
    """Let a state hold another tensor from here on.

    Args:
        ctx: The operation and the graph being built.
        input_: The state.
        data: A tensor of the state's shape and type.

    Returns:
        Nothing: the operation has no outputs.

    Raises:
        LoweringError: The argument is no state.
    """
    _write(ctx, "input", input_, data)
    return []


def lower_update_state(ctx: OperationContext, state: Value, value: Value) -> Value:
    """Let a state hold another tensor from here on, and return that.

    Args:
        ctx: The operation and the graph being built.
        state: The state.
        value: A tensor of the state's shape and type.

    Raises:
        LoweringError: The argument is no state.
    """
    _write(ctx, "state", state, value)
    return value


def _current(ctx: OperationContext, argument: str, state: Value) -> Value:
    found = ctx.scope.find_state(str(state.name))
    if found is None:
        raise ctx.error(argument, "must be a state of the model", value=repr(state.name))
    return found


def _write(ctx: OperationContext, argument: str, state: Value, value: Value) -> None:
    old = _current(ctx, argument, state)
    if old.dtype != value.dtype or (None not in (dims := ctx.shape(value)) and dims != ctx.shape(old)):
        raise ctx.error("data", f"must have the state's shape {list(ctx.shape(old))}", value=list(ctx.shape(value)))
    ctx.scope.states[str(state.name)] = value


LOWERINGS: Mapping[str, Callable[..., Any]] = {
    "read_state": lower_read_state,
    "write_state": lower_write_state,
    "coreml_update_state": lower_update_state,
}
