"""The table of all operators: how each is lowered."""

from collections.abc import Mapping, Sequence
from types import ModuleType

from windfall.lowering.ml_program import (
    blocks,
    casting,
    classification,
    compression,
    control_flow,
    elementwise,
    filling,
    joining,
    padding,
    shapes,
    slicing,
    sorting,
    states,
    suppression,
    updating,
)
from windfall.lowering.ml_program.arguments import Lowering

_MODULES: tuple[ModuleType, ...] = (
    blocks,
    casting,
    classification,
    compression,
    control_flow,
    elementwise,
    filling,
    joining,
    padding,
    shapes,
    slicing,
    sorting,
    states,
    suppression,
    updating,
)


def _merge(modules: Sequence[ModuleType]) -> dict[str, Lowering]:
    merged: dict[str, Lowering] = {}
    for module in modules:
        for operator, function in module.LOWERINGS.items():
            if operator in merged:
                raise ValueError(f"two lowerings for {operator}")
            merged[operator] = Lowering.of(function)
    return merged


LOWERINGS: Mapping[str, Lowering] = _merge(_MODULES)
"""How each operator is lowered, by its name in programs."""
