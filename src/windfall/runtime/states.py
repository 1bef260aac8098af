"""Predictions that read and write states where they lie, without a copy through Python."""

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windfall.runtime.serialized import AFTER, IN_PLACE
from windfall.state import State


def run_with_state(
    session: Any, outputs: Sequence[str], feeds: Mapping[str, NDArray[Any]], state: State, in_place: Collection[str]
) -> list[NDArray[Any]]:
    """Compute the outputs of a graph, reading states and writing them.

    Args:
        session: An ``onnxruntime.InferenceSession``.
        outputs: The names of all graph outputs, those of states at the end.
        feeds: The other inputs.
        state: The states.
        in_place: The states whose output may overwrite their input.

    Returns:
        The outputs that are no states.
    """
    wanted = [name for name in outputs if not name.endswith(AFTER)]
    written = [name.removesuffix(AFTER) for name in outputs if name.endswith(AFTER)]
    binding = session.io_binding()
    for name, array in feeds.items():
        binding.bind_cpu_input(name, np.ascontiguousarray(array))
    for name in _inputs(session, state):
        binding.bind_cpu_input(name, state.buffers[name])
    for name in wanted:
        binding.bind_output(name)
    for name in written:
        target = state.buffers[name] if name in in_place else _other_buffer(state, name)
        binding.bind_output(f"{name}{AFTER}", "cpu", 0, target.dtype, target.shape, target.ctypes.data)
    session.run_with_iobinding(binding)
    _swap(state, (name for name in written if name not in in_place))
    return [value.numpy() for value in binding.get_outputs()[: len(wanted)]]


def with_other_buffers(
    outputs: Iterable[str],
    feeds: Mapping[str, NDArray[Any]],
    state: State,
    run: Callable[[Mapping[str, NDArray[Any]], Mapping[str, NDArray[Any]]], list[NDArray[Any]]],
) -> list[NDArray[Any]]:
    """Compute the outputs of a graph, writing each state to its other buffer.

    Args:
        outputs: The names of all graph outputs, those of states at the end.
        feeds: The inputs.
        state: The states.
        run: Computes all outputs from all inputs, writing some to the arrays that it is given by their names.

    Returns:
        The outputs that are no states.
    """
    written = [name.removesuffix(AFTER) for name in outputs if name.endswith(AFTER)]
    results = run({**feeds, **state.buffers}, {f"{name}{AFTER}": _other_buffer(state, name) for name in written})
    _swap(state, written)
    return results[: len(results) - len(written)]


def _swap(state: State, names: Iterable[str]) -> None:
    for name in names:
        state.buffers[name], state.spare[name] = state.spare[name], state.buffers[name]


def _other_buffer(state: State, name: str) -> NDArray[Any]:
    if name not in state.spare:
        state.spare[name] = np.empty_like(state.buffers[name])
    return state.spare[name]


def _inputs(session: Any, state: State) -> list[str]:
    return [node.name for node in session.get_inputs() if node.name in state.buffers]


def in_place_states(session: Any) -> frozenset[str]:
    """Return the states that a graph may update in place."""
    return frozenset(json.loads(session.get_modelmeta().custom_metadata_map.get(IN_PLACE, "[]")))
