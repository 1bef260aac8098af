"""The models of a comparison: what they take and give, and how long they need."""

import os
import time
from collections import deque
from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any

from windfall.description import FeatureDescription, ModelDescription
from windfall.errors import FeatureError, WindfallError
from windfall.loading import load
from windfall.model import Model
from windfall.state import State
from windfall.text import brief

MOST_TIMES = 1001
"""So many of the latest predictions are remembered by their time."""
_WORDS = {"string": "text", "int64": "number", "double": "number"}


class Contender:
    """A model of a comparison.

    Attributes:
        model: The model.
        name: Its name in the report, which no other one has.
        description: What it takes, gives and weighs.
        inputs: What it takes, of the function that runs.
        outputs: What it gives, of the function that runs.
    """

    def __init__(self, model: Model, name: str) -> None:
        self.model = model
        self.name = name
        self.description: ModelDescription = model.description
        self.inputs: tuple[FeatureDescription, ...] = self.description.inputs
        self.outputs: tuple[FeatureDescription, ...] = self.description.outputs
        self.label_output = self.description.predicted_feature
        self.probabilities_output = self.description.predicted_probabilities
        self._choose_function(model._function)
        self._times: deque[float] = deque(maxlen=MOST_TIMES)
        self._state: State | None = None
        self._is_ready = False

    def _choose_function(self, name: str) -> None:
        """Take the inputs and outputs of the one function of an ML program that runs."""
        function = next((f for f in self.description.functions if f.name == name), None)
        if function is None:
            return
        self.inputs, self.outputs = function.inputs, function.outputs
        interface = next((f for f in self.model.message.description.functions if f.name == name), None)
        if interface is not None:
            self.label_output = interface.predictedFeatureName
            self.probabilities_output = interface.predictedProbabilitiesName

    @property
    def is_classifier(self) -> bool:
        """Whether it gives a label, or the probabilities of labels."""
        kinds = {feature.name: feature.kind for feature in self.outputs}
        label = kinds.get(self.label_output)
        is_label = label == "string" or (label == "int64" and self.description.class_labels is not None)
        return is_label or kinds.get(self.probabilities_output) == "dictionary"

    def kind_of(self, output: FeatureDescription) -> str:
        """Return what an output is to a comparison, a key of ``measures.MEASURES``."""
        if output.kind == "dictionary":
            return "probabilities" if output.name == self.probabilities_output else "dictionary"
        if output.kind == "image":
            return "picture"
        if output.name == self.label_output and self.is_classifier:
            return "label"
        return _WORDS.get(output.kind, output.kind)

    @property
    def seconds(self) -> float:
        """The median time of a prediction."""
        return median(self._times)

    def predict(self, inputs: Mapping[str, Any], sample: str) -> dict[str, Any]:
        """Run the model once and remember how long it took, but for the first time, when it is compiled.

        A model that keeps states starts with zeros, and keeps them from one sample to the next.

        Raises:
            FeatureError: The inputs do not fit the model.
        """
        try:
            if not self._is_ready:
                self._start(inputs)
            start = time.perf_counter()
            outputs = self.model.predict(inputs, self._state)
            self._times.append(time.perf_counter() - start)
        except FeatureError as error:
            raise FeatureError(f"{sample} does not fit {self.name}: {error}") from error
        return outputs

    def time(self, inputs: Mapping[str, Any]) -> None:
        """Run the model once more for the time that it takes; its states stay as they are."""
        state = self.model.make_state() if self._state is not None else None
        start = time.perf_counter()
        self.model.predict(inputs, state)
        self._times.append(time.perf_counter() - start)

    def _start(self, inputs: Mapping[str, Any]) -> None:
        if self.model.state_names:
            self._state = self.model.make_state()
        self.model.predict(inputs, None if self._state is None else self.model.make_state())
        self._is_ready = True

    def answer(self, outputs: Mapping[str, Any]) -> Any:
        """Return the label that a classifier gives."""
        if any(feature.name == self.label_output for feature in self.outputs):
            return outputs[self.label_output]
        return self.best(outputs, 1)[0]

    def best(self, outputs: Mapping[str, Any], count: int) -> list[Any]:
        """Return the most probable classes, as far as the model gives probabilities."""
        probabilities = outputs.get(self.probabilities_output, {})
        return sorted(probabilities, key=lambda label: -probabilities[label])[:count]


def contenders(reference: Any, candidates: Any) -> list[Contender]:
    """Load the models of a comparison, the reference first, and give each a name of its own.

    Raises:
        WindfallError: There are no candidates, or they give other outputs than the reference.
        FormatError: A model cannot be read.
    """
    several = isinstance(candidates, Iterable) and not isinstance(candidates, str | os.PathLike)
    models = [_loaded(model) for model in (reference, *(candidates if several else [candidates]))]
    if len(models) < 2:
        raise WindfallError("there are no candidates, must be at least one model to compare with the reference")
    first, *others = (
        Contender(model, name) for model, name in zip(models, _names([m.description.name for m in models]), strict=True)
    )
    for other in others:
        _check_outputs(first, other)
    return [first, *others]


def _loaded(model: Any) -> Model:
    return model if isinstance(model, Model) else load(model)


def _names(names: list[str]) -> list[str]:
    """Number those that are there twice.

    >>> _names(["a", "b", "a"])
    ['a', 'b', 'a (2)']
    """
    used: list[str] = []
    for name in names:
        number, unused = 1, name
        while unused in used:
            number += 1
            unused = f"{name} ({number})"
        used.append(unused)
    return used


def _check_outputs(reference: Contender, candidate: Contender) -> None:
    ours = {feature.name: feature for feature in reference.outputs}
    theirs = {feature.name: feature for feature in candidate.outputs}
    pair = f"{reference.name} and {candidate.name} cannot be compared"
    for one, other, here, there in ((ours, theirs, reference, candidate), (theirs, ours, candidate, reference)):
        lost = [name for name in one if name not in other]
        if lost:
            raise WindfallError(
                f"{pair}: {brief(lost[0])} is an output of {here.name} alone, must be one of both; "
                f"{there.name} gives {', '.join(map(brief, other)) or 'nothing'}"
            )
    for name, feature in ours.items():
        types = (_type(reference, feature), _type(candidate, theirs[name]))
        if types[0] != types[1]:
            raise WindfallError(
                f"{pair}: output {brief(name)} is of type {types[0]} in the one and {types[1]} in the other, "
                "must be of one type"
            )


def _type(contender: Contender, output: FeatureDescription) -> str:
    """Return the type of an output as far as it must be the same: sizes and precisions need not be."""
    kind = contender.kind_of(output)
    if kind == "picture":
        return f"image ({_COLORS.get(output.type.color_space, 'RGB')})"  # type: ignore[union-attr]  # an image has one
    return "dictionary of " + output.type.key if kind == "dictionary" else kind  # type: ignore[union-attr]


_COLORS = {"GRAYSCALE": "grayscale", "GRAYSCALE_FLOAT16": "grayscale float16"}
