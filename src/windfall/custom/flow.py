"""Follow the values through a pipeline: each member becomes a call that takes values and gives values.

A name may stand for several values: a member may give a value the name of an earlier one, and a nested pipeline has
names of its own. So values get names of their own here: the feature's, and ``#2`` and so on behind it where that is
taken.

Source: ``Pipeline`` in Model.proto.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from windfall.errors import FormatError
from windfall.spec.modelfile import ModelFile
from windfall.spec.pipelines import PIPELINES, check_depth, inputs_from, some_members


@dataclass(frozen=True, eq=False)
class Call:
    """A model that is no pipeline, at its place in one.

    Attributes:
        path: Its name, behind those of the pipelines around it; empty for a model by itself.
        file: The model.
        inputs: The value of each of its inputs.
        outputs: The value of each of its outputs.
    """

    path: str
    file: ModelFile
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]

    @property
    def kind(self) -> str:
        """Its type."""
        return str(self.file.spec.WhichOneof("Type"))


class Flow:
    """The values of a model and the calls that make them.

    Args:
        file: The model.

    Attributes:
        calls: The calls; each takes the model's inputs and what those before it give.
        features: The ``FeatureDescription`` message of each value, as what gives it declares it.
        inputs: The values that are the model's inputs.
        scope: The value that each name stands for at the end.

    Raises:
        FormatError: The members do not fit each other, or pipelines lie too deep in each other.
    """

    def __init__(self, file: ModelFile) -> None:
        self.calls: list[Call] = []
        self.features: dict[str, Any] = {}
        given = {feature.name: self._new(feature) for feature in file.spec.description.input}
        self.inputs = frozenset(given.values())
        self.scope: dict[str, str] = {**given, **self._add(file, "", given, 0)}
        for feature in file.spec.description.output:
            if feature.name not in self.scope:
                raise FormatError(
                    f"{file.name} has an output {feature.name!r}, which is no input and no output of a model in it"
                )
            if not _alike(feature, self.features[self.scope[feature.name]]):
                raise FormatError(f"{file.name}: the output {feature.name!r} is declared in a type that it cannot have")

    def _new(self, feature: Any) -> str:
        name, number = feature.name, 1
        while name in self.features:
            number += 1
            name = f"{feature.name}#{number}"
        self.features[name] = feature
        return str(name)

    def _add(self, file: ModelFile, path: str, scope: Mapping[str, str], depth: int) -> Mapping[str, str]:
        """Add a model; returns the values of its outputs, of a pipeline those of all names in it."""
        check_depth(file.name, depth)
        description = file.spec.description
        given = inputs_from(file.name, file.spec, scope)
        if file.spec.WhichOneof("Type") in PIPELINES:
            return self._add_members(file, path, given, depth)
        call = Call(path, file, given, {feature.name: self._new(feature) for feature in description.output})
        self.calls.append(call)
        return call.outputs

    def _add_members(self, file: ModelFile, path: str, scope: dict[str, str], depth: int) -> Mapping[str, str]:
        for index, (name, spec) in enumerate(some_members(file.name, file.spec)):
            member = file.member(name, spec, index)
            found = self._add(member, f"{path}/{name}" if path else name, scope, depth + 1)
            scope |= {f.name: found[f.name] for f in member.spec.description.output if f.name in found}
        return scope


def _alike(one: Any, other: Any) -> bool:
    """Whether two features are of one type, or both of numbers."""
    kinds = {feature.type.WhichOneof("Type") for feature in (one, other)}
    return len(kinds) == 1 or kinds <= _NUMBERS


_NUMBERS = {"doubleType", "int64Type", "multiArrayType"}


def staged(flow: Flow, by_itself: Callable[[Call], bool]) -> list[list[Call]]:
    """Put calls into stages, as few as there can be: all of a stage are of one sort, and take what earlier ones give.

    Args:
        flow: The calls.
        by_itself: The sort of a call: whether it runs outside of graphs.
    """
    number = dict.fromkeys(flow.inputs, 0)
    stages: dict[int, list[Call]] = {}
    for call in flow.calls:
        earliest = max((number[value] for value in call.inputs.values()), default=0)
        stage = earliest + (earliest % 2 != (not by_itself(call)))  # those of graphs have odd numbers
        stages.setdefault(stage, []).append(call)
        number |= dict.fromkeys(call.outputs.values(), stage)
    return [stages[stage] for stage in sorted(stages)]
