"""Run a model in stages: graphs, and functions and classes of the user's between them.

A stage takes values by name and gives values by name, as ``predict`` does.
"""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from windfall.custom.flow import Call, Flow, staged
from windfall.custom.members import Member
from windfall.custom.segments import segment
from windfall.custom.values import as_declared
from windfall.features import arrays, images
from windfall.spec.modelfile import ModelFile

if TYPE_CHECKING:
    from windfall.model import Model

Values = Mapping[str, Any]
_MOST_MODELS = 8


class Stage(Protocol):
    """A part of a model that runs at once.

    Attributes:
        inputs: The values that it takes.
        outputs: The values that it can give.
    """

    inputs: list[str]
    outputs: list[str]

    def run(self, values: Values, wanted: Sequence[str]) -> Values:
        """Return some of its outputs.

        Args:
            values: The values so far.
            wanted: The outputs that are asked for.
        """
        ...

    def run_batch(self, rows: Sequence[Values], wanted: Sequence[str]) -> list[Values]:
        """Return some of its outputs for several predictions; see ``run``."""
        ...


class PythonStage:
    """A member that a function or a class of the user's stands for.

    Args:
        call: The member.
        member: What stands for it.
        flow: The values of the model.
    """

    def __init__(self, call: Call, member: Member, flow: Flow) -> None:
        self.inputs = list(call.inputs.values())
        self.outputs = list(call.outputs.values())
        self._call = call
        self._member = member
        self._flow = flow

    def run(self, values: Values, wanted: Sequence[str]) -> Values:
        """See ``Stage.run``; all outputs are given.

        Raises:
            FeatureError: What the user's code returned does not fit.
        """
        del wanted
        return self._named(self._member.run(self._taken(values)))

    def run_batch(self, rows: Sequence[Values], wanted: Sequence[str]) -> list[Values]:
        """See ``run``."""
        del wanted
        return list(map(self._named, self._member.run_batch(list(map(self._taken, rows)))))

    def _taken(self, values: Values) -> Values:
        return {name: self._given(value, values[value]) for name, value in self._call.inputs.items()}

    def _named(self, found: Values) -> Values:
        return {self._call.outputs[name]: value for name, value in found.items()}

    def _given(self, name: str, value: Any) -> Any:
        """Return a value as it is declared; what stages give is so already."""
        return as_declared(self._flow.features[name], value) if name in self._flow.inputs else value


class GraphStage:
    """Members that are computed by one graph.

    Args:
        file: The model that they are of.
        calls: The members.
        flow: The values of the model.
        outputs: Those of its values that are needed elsewhere.
        make: Makes a model of a file.
    """

    def __init__(
        self, file: ModelFile, calls: Sequence[Call], flow: Flow, outputs: Sequence[str],
        make: "Callable[[ModelFile], Model]",
    ) -> None:  # fmt: skip
        given = {value for call in calls for value in call.outputs.values()}
        taken = (value for call in calls for value in call.inputs.values())
        self.inputs = [value for value in dict.fromkeys(taken) if value not in given]
        self.outputs = sorted(given)
        self._needed = list(outputs)
        self._file = file
        self._calls = calls
        self._flow = flow
        self._make = make
        self._models: dict[tuple[object, ...], Model] = {}

    def run(self, values: Values, wanted: Sequence[str]) -> Values:
        """See ``Stage.run``."""
        given = {name: values[name] for name in self.inputs if values[name] is not None}
        outputs = None if set(wanted) == set(self._needed) else list(wanted)
        return self._model(given).predict(given, outputs=outputs)

    def run_batch(self, rows: Sequence[Values], wanted: Sequence[str]) -> list[Values]:
        """See ``Stage.run_batch``; a graph that takes many rows at once has them."""
        given = [{name: values[name] for name in self.inputs if values[name] is not None} for values in rows]
        models = list(map(self._model, given))
        if set(wanted) != set(self._needed) or any(model is not models[0] for model in models):
            return [self.run(values, wanted) for values in rows]
        found = models[0].predict_batch(given)
        assert isinstance(found, list), found
        return list(found)

    def _model(self, values: Values) -> "Model":
        """Return the model for some inputs, of which arrays and pictures may have another size than is declared.

        A network gives arrays of whatever size it computes, and need not declare one.
        """
        features = self._flow.features
        unlike = {name: size for name, value in values.items() if (size := self._other_size(name, value)) is not None}
        key = tuple(unlike.items())
        if key not in self._models:
            sized = {name: _sized(features[name], size) for name, size in unlike.items()}
            file = segment(self._file, self._calls, self.inputs, self._needed, {**features, **sized})
            if len(self._models) >= _MOST_MODELS:
                self._models.clear()
            self._models[key] = self._make(file)
        return self._models[key]

    def _other_size(self, name: str, value: Any) -> tuple[int, ...] | None:
        """Return the size of a value of an earlier stage if it is not as declared; inputs of the model are checked."""
        kind = self._flow.features[name].type
        if name in self._flow.inputs:
            return None
        if kind.HasField("multiArrayType"):
            return None if arrays.fits(value.shape, kind.multiArrayType) else tuple(value.shape)
        if kind.HasField("imageType"):
            return None if images.fits(value.size, kind.imageType) else tuple(value.size)
        return None


def _sized(feature: Any, size: tuple[int, ...]) -> Any:
    """Return a feature of another size."""
    sized = type(feature)()
    sized.CopyFrom(feature)
    if sized.type.HasField("imageType"):
        sized.type.imageType.width, sized.type.imageType.height = size
    else:
        array = sized.type.multiArrayType
        array.Clear()
        array.dataType = feature.type.multiArrayType.dataType
        array.shape.extend(size)
    return sized


class StagedProgram:
    """All stages of a model.

    Args:
        file: The model.
        member: Returns what of the user's stands for a member; None if nothing does.
        make: Makes a model of a part of it.

    Raises:
        FormatError: The members do not fit each other.
    """

    def __init__(
        self, file: ModelFile, member: Callable[[Call], Member | None], make: "Callable[[ModelFile], Model]"
    ) -> None:
        flow = Flow(file)
        self._flow = flow
        self._outputs = {feature.name: feature for feature in file.spec.description.output}
        self.stages: list[Stage] = []
        members = {call: found for call in flow.calls if (found := member(call)) is not None}
        groups = staged(flow, members.__contains__)
        needed = _needed(groups, {flow.scope[name] for name in self._outputs})
        for calls, outputs in zip(groups, needed, strict=True):
            if calls[0] in members:
                self.stages += [PythonStage(call, members[call], flow) for call in calls]
            else:
                self.stages.append(GraphStage(file, calls, flow, outputs, make))

    def run(self, inputs: Values, names: Sequence[str]) -> dict[str, Any]:
        """Return values of the model.

        Args:
            inputs: A value for each input that has one; they fit.
            names: The names of the values: outputs, inputs, or outputs of members.

        Raises:
            FeatureError: Code of the user's returned what does not fit.
        """
        values: dict[str, Any] = {**dict.fromkeys(self._flow.inputs), **inputs}
        for stage, wanted in self._plan({self._flow.scope[name] for name in names}):
            values |= stage.run(values, wanted)
        return self._results(values, names)

    def run_batch(self, rows: Sequence[Values], names: Sequence[str]) -> list[dict[str, Any]]:
        """Return values of several predictions, which go through each stage together; see ``run``."""
        batch: list[dict[str, Any]] = [{**dict.fromkeys(self._flow.inputs), **inputs} for inputs in rows]
        for stage, wanted in self._plan({self._flow.scope[name] for name in names}):
            for values, found in zip(batch, stage.run_batch(batch, wanted), strict=True):
                values.update(found)
        return [self._results(values, names) for values in batch]

    def _results(self, values: Values, names: Sequence[str]) -> dict[str, Any]:
        return {name: self._result(name, values[self._flow.scope[name]]) for name in names}

    def _plan(self, needed: set[str]) -> list[tuple[Stage, list[str]]]:
        """Return the stages that must run for some values, each with those of its outputs that are needed."""
        plan = []
        for stage in reversed(self.stages):
            wanted = [name for name in stage.outputs if name in needed]
            if wanted:
                plan.append((stage, wanted))
                needed |= set(stage.inputs)
        return plan[::-1]

    def _result(self, name: str, value: Any) -> Any:
        """Return a value as the model declares it, which may be in another type than the member that gives it."""
        if self._flow.scope[name] in self._flow.inputs:
            value = as_declared(self._flow.features[self._flow.scope[name]], value)
        if name not in self._outputs or not self._outputs[name].type.HasField("multiArrayType"):
            return value
        value = np.asarray(value)
        dtype = arrays.DTYPES.get(self._outputs[name].type.multiArrayType.dataType, value.dtype)
        with np.errstate(over="ignore", invalid="ignore"):  # numbers that the type cannot hold are the model's own
            return value.astype(dtype, copy=False)


def _needed(groups: Sequence[Sequence[Call]], last: AbstractSet[str]) -> list[list[str]]:
    """Return for each group of calls those of their values that other groups take, or that are the model's outputs."""
    users: dict[str, set[int]] = {}
    for number, calls in enumerate(groups):
        for value in (value for call in calls for value in call.inputs.values()):
            users.setdefault(value, set()).add(number)
    given = ([value for call in calls for value in call.outputs.values()] for calls in groups)
    return [
        [value for value in values if value in last or users.get(value, set()) - {number}]
        for number, values in enumerate(given)
    ]
