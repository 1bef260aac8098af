"""What must hold: measures by their short names, with a bound for each."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from windfall.comparison.contenders import Contender
from windfall.comparison.measures import MEASURES, Measure
from windfall.comparison.outputs import paired
from windfall.comparison.results import Score
from windfall.comparison.running import Hits, own_value
from windfall.comparison.samples import Label
from windfall.comparison.tallies import Tally
from windfall.errors import WindfallError
from windfall.text import brief

NAMES: Mapping[str, str] = {
    "psnr": "PSNR",
    "ssim": "SSIM",
    "top1": "top-1 agreement",
    "top5": "top-5 agreement",
    "kl": "KL divergence",
    "snr": "signal-to-noise ratio",
    "cosine": "cosine",
    "error": "largest error",
    "agreement": "agreement",
}
"""The measures of ``windfall.compare`` by their short names."""
ACCURACY = "accuracy"
_OWN = ""


@dataclass(frozen=True)
class Case:
    """A sample with what the model itself gives for it.

    Attributes:
        name: What it is called in messages.
        inputs: A value for each input.
        label: Its true class, None where that is not known.
        reference: A value for each output.
    """

    name: str
    inputs: Mapping[str, Any]
    label: Label | None
    reference: Mapping[str, Any]


@dataclass(frozen=True)
class Criterion:
    """A measure of one output, and its bound.

    Attributes:
        name: The name that the user gave.
        title: The measure's own name.
        output: The output, empty for accuracy and for a function of the user's.
        kind: What the output is, a key of ``MEASURES``; ``accuracy``; or empty for a function of the user's.
        measure: What is measured.
        bound: What the mean, or the worst sample, must reach.
    """

    name: str
    title: str
    output: str
    kind: str
    measure: Measure
    bound: float

    def score(self, contender: Contender, cases: Sequence[Case], results: Sequence[Mapping[str, Any]]) -> Score:
        """Measure what a model gives for some samples.

        Raises:
            WindfallError: The measure does not apply to them, or a function of the user's fails.
        """
        tally = Tally(self.output, self.title, self.measure)
        for case, result in zip(cases, results, strict=True):
            value = self._value(contender, case, result)
            if value is not None:
                tally.add(value, case.name)
        score = tally.score()
        if score is None:
            raise WindfallError(f"keep has {self.name!r}, which needs more classes than output {self.output!r} has")
        return score

    def _value(self, contender: Contender, case: Case, result: Mapping[str, Any]) -> float | None:
        if self.kind == ACCURACY:
            hits = Hits(contender)
            assert case.label is not None
            hits.count(case.name, case.label, result)
            return hits.accuracy
        if self.kind == _OWN:
            return own_value(self.title, self.measure, (case.reference, result), case.name)
        try:
            pair = paired(self.kind, case.reference[self.output], result[self.output])
        except WindfallError as error:
            raise WindfallError(f"output {brief(self.output)} of {case.name} {error}") from error
        value = self.measure.function(*pair)
        return None if value is None else float(value)

    def value_of(self, score: Score, *, worst: bool) -> float:
        """Return what must reach the bound: the mean, or the worst sample."""
        return float(score.worst) if worst and score.worst is not None else score.mean

    def margin(self, value: float) -> float:
        """Return how far a value is on the good side of the bound; NaN is infinitely far on the other."""
        if math.isnan(value):
            return -math.inf
        if value == self.bound:
            return 0.0
        return value - self.bound if self.measure.better == "higher" else self.bound - value

    @property
    def rule(self) -> str:
        """The bound in words."""
        return f"{self.name} {'at least' if self.measure.better == 'higher' else 'at most'} {self.bound:g}"


def criteria_of(
    keep: Mapping[str, float], contender: Contender, metrics: Mapping[str, Measure], *, labels: bool
) -> list[Criterion]:
    """Return what must hold, for each output that it can be measured of.

    Args:
        keep: Bounds by names.
        contender: The model.
        metrics: Functions of the user's by name.
        labels: Whether the true classes of all samples are known.

    Raises:
        WindfallError: A name is not known, does not fit the model's outputs, or has a bound that nothing can reach.
    """
    if not isinstance(keep, Mapping) or not keep:
        raise WindfallError(f"keep is {brief(keep)}, must be a dictionary of bounds by name, such as {{'psnr': 30}}")
    unused = [name for name in metrics if name not in keep]
    if unused:
        raise WindfallError(f"metrics has {brief(unused[0])}, for which keep has no bound; give one, or leave it out")
    found = []
    for name, bound in keep.items():
        number = _number(name, bound)
        own = list(_criteria(str(name), number, contender, metrics, labels=labels))
        _check_reachable(own[0])
        found += own
    return found


def _number(name: object, bound: object) -> float:
    if isinstance(bound, bool) or not isinstance(bound, int | float) or math.isnan(bound):
        raise WindfallError(f"keep has {brief(bound)} for {brief(name)}, must have a number")
    return float(bound)


def _criteria(
    name: str, bound: float, contender: Contender, metrics: Mapping[str, Measure], *, labels: bool
) -> Iterable[Criterion]:
    if name in metrics:
        if not metrics[name].better:
            raise WindfallError(
                f"metric {brief(name)} does not say which numbers are better; "
                "give windfall.comparison.Measure(function, better='higher') or 'lower'"
            )
        return [Criterion(name, name, "", _OWN, metrics[name], bound)]
    if name == ACCURACY:
        if not labels:
            raise WindfallError("keep has 'accuracy', which needs the true class of each sample; give labels")
        return [Criterion(name, name, "", ACCURACY, Measure(lambda _a, _b: None, "higher", "%", 1.0), bound)]
    if name not in NAMES:
        known = [*NAMES, ACCURACY]
        near = get_close_matches(name, known, n=2, cutoff=0.5) or known
        raise WindfallError(f"keep has {brief(name)}, which is not measured; there are {', '.join(near)}")
    return _of_outputs(name, bound, contender)


def _of_outputs(name: str, bound: float, contender: Contender) -> list[Criterion]:
    title = NAMES[name]
    kinds = {feature.name: contender.kind_of(feature) for feature in contender.outputs}
    found = [
        Criterion(name, title, output, kind, MEASURES[kind][title], bound)
        for output, kind in kinds.items()
        if title in MEASURES[kind]
    ]
    if not found:
        fit = [short for short, own in NAMES.items() if any(own in MEASURES[kind] for kind in kinds.values())]
        raise WindfallError(
            f"keep has {name!r}, which does not fit the outputs of {contender.name}; those that do are {', '.join(fit)}"
        )
    return found


def _check_reachable(criterion: Criterion) -> None:
    best = criterion.measure.perfect
    if best is not None and criterion.margin(best) < 0:
        way = "at most" if criterion.measure.better == "higher" else "at least"
        raise WindfallError(f"keep has {criterion.bound:g} for {criterion.name!r}, which is {way} {best:g}")
