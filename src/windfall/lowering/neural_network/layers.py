"""The table of all layers: how each is lowered, or why it is not."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from windfall.lowering.neural_network import (
    activations,
    control_flow,
    convolution,
    custom,
    elementwise,
    lstm,
    nd_broadcasting,
    nd_elementwise,
    nd_fill,
    nd_gathering,
    nd_joining,
    nd_normalization,
    nd_products,
    nd_random,
    nd_reduction,
    nd_reshaping,
    nd_selection,
    nd_slicing,
    normalization,
    padding,
    pooling,
    products,
    recurrent,
    reduction,
    resampling,
    reshaping,
    slicing,
    spatial3d,
    suppression,
)
from windfall.lowering.neural_network.context import LayerContext, Value
from windfall.spec.proto import NeuralNetwork_pb2

_MODULES: tuple[ModuleType, ...] = (
    activations,
    resampling,
    padding,
    pooling,
    convolution,
    elementwise,
    nd_elementwise,
    nd_fill,
    nd_normalization,
    nd_random,
    nd_reduction,
    nd_selection,
    normalization,
    products,
    reduction,
    reshaping,
    slicing,
    recurrent,
    lstm,
    nd_reshaping,
    nd_broadcasting,
    nd_joining,
    nd_slicing,
    nd_gathering,
    nd_products,
    spatial3d,
    suppression,
    control_flow,
    custom,
)


@dataclass(frozen=True)
class Lowering:
    """A function that lowers one type of layer, and how many inputs it takes."""

    function: Callable[..., Value | Sequence[Value]]
    least: int
    most: int | None

    @classmethod
    def of(cls, function: Callable[..., Any]) -> "Lowering":
        """Read the number of inputs from the function's signature: all parameters but the first, ``ctx``."""
        parameters = list(inspect.signature(function).parameters.values())[1:]
        positional = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        least = sum(p.default is p.empty for p in positional)
        open_ended = any(p.kind is p.VAR_POSITIONAL for p in parameters)
        return cls(function, least, None if open_ended else len(positional))

    def check_inputs(self, ctx: LayerContext, count: int) -> None:
        """Raise a LoweringError unless the layer may have that many inputs."""
        if self.least <= count and (self.most is None or count <= self.most):
            return
        most = "more" if self.most is None else str(self.most)
        wanted = str(self.least) if self.most == self.least else f"{self.least} to {most}"
        raise ctx.error("input", f"must be {wanted} names", value=list(ctx.layer.input))


def _merge(modules: Sequence[ModuleType]) -> dict[str, Lowering]:
    merged: dict[str, Lowering] = {}
    for module in modules:
        for layer_type, function in module.LOWERINGS.items():
            if layer_type in merged:
                raise ValueError(f"two lowerings for {layer_type}")
            merged[layer_type] = Lowering.of(function)
    return merged


LOWERINGS: Mapping[str, Lowering] = _merge(_MODULES)
"""How each type of layer is lowered, by its name in the specification's ``oneof layer``."""


def _not_lowered() -> dict[str, str]:
    """Give the reason for each layer type without a lowering, by the version that the specification added it in."""
    members = NeuralNetwork_pb2.NeuralNetworkLayer.DESCRIPTOR.oneofs_by_name["layer"].fields
    return {
        field.name: f"added in specification version {5 if field.number >= 1450 else 4}, not supported yet"
        for field in members
        if field.number >= 600 and field.name not in LOWERINGS
    }


NOT_LOWERED: Mapping[str, str] = _not_lowered()
"""Members of the specification's ``oneof layer`` that are not lowered, with the reason."""
