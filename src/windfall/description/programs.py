"""The functions of an ML program.

Source: ``Program`` in MIL.proto, ``FunctionDescription`` in Model.proto.
"""

from dataclasses import dataclass
from typing import Any

from windfall.features.described import FeatureDescription, describe_feature

_SYSTEMS = {"CoreML5": "iOS 15", "CoreML6": "iOS 16", "CoreML7": "iOS 17", "CoreML8": "iOS 18", "CoreML9": "iOS 26"}


@dataclass(frozen=True)
class FunctionDescription:
    """A function of an ML program.

    Attributes:
        name: Its name.
        opset: The version of its operators, e.g. ``CoreML7``.
        inputs: What it takes.
        outputs: What it gives.
        states: What it keeps from one prediction to the next.
        default: Whether it runs where no function is named.
    """

    name: str
    opset: str
    inputs: tuple[FeatureDescription, ...]
    outputs: tuple[FeatureDescription, ...]
    states: tuple[FeatureDescription, ...]
    default: bool

    @property
    def system(self) -> str:
        """The first version of iOS with the opset, e.g. ``iOS 17``; empty where it is not known."""
        return _SYSTEMS.get(self.opset, "")


def describe_functions(spec: Any) -> tuple[FunctionDescription, ...]:
    """Describe the functions of an ML program, none for models of other types."""
    if spec.WhichOneof("Type") != "mlProgram":
        return ()
    described = {d.name: d for d in spec.description.functions}
    names = list(described) or sorted(spec.mlProgram.functions)
    default = spec.description.defaultFunctionName or ("main" if "main" in names else next(iter(names), ""))
    return tuple(_function(spec, name, described.get(name, spec.description), name == default) for name in names)


def _function(spec: Any, name: str, interface: Any, default: bool) -> FunctionDescription:
    functions = spec.mlProgram.functions
    return FunctionDescription(
        name,
        functions[name].opset if name in functions else "",
        tuple(map(describe_feature, interface.input)),
        tuple(map(describe_feature, interface.output)),
        tuple(map(describe_feature, interface.state)),
        default,
    )
