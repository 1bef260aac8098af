"""The table of all operators: how each is lowered."""

from collections.abc import Mapping, Sequence
from types import ModuleType

from windfall.lowering.ml_program import (
    activations,
    attention,
    blocks,
    casting,
    classification,
    compression,
    control_flow,
    convolution,
    cropping,
    elementwise,
    filling,
    gathering,
    joining,
    linear,
    lists,
    normalization,
    padding,
    pooling,
    quantization,
    random,
    recurrent,
    reduction,
    resampling,
    sampling,
    scattering,
    shapes,
    slicing,
    sorting,
    states,
    suppression,
    unary,
    updating,
)
from windfall.lowering.ml_program.arguments import Lowering

_MODULES: tuple[ModuleType, ...] = (
    activations,
    attention,
    blocks,
    casting,
    classification,
    compression,
    control_flow,
    convolution,
    cropping,
    elementwise,
    filling,
    gathering,
    joining,
    linear,
    lists,
    normalization,
    padding,
    pooling,
    quantization,
    random,
    recurrent,
    reduction,
    resampling,
    sampling,
    scattering,
    shapes,
    slicing,
    sorting,
    states,
    suppression,
    unary,
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

NOT_LOWERED: Mapping[str, str] = {
    "conv_quantized": "is marked as experimental by coremltools, which writes it into neural networks alone",
}
"""Operators that coremltools defines for ML programs and that are not lowered, with the reason."""
