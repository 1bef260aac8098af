"""Find the smallest model that meets all bounds: predict, verify, measure more where it matters, verify again."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from windfall.comparison.results import Score
from windfall.model import Model
from windfall.quantization.networks import Step
from windfall.shrinking.allocation import Front
from windfall.shrinking.criteria import Criterion
from windfall.shrinking.evaluation import Evaluator
from windfall.shrinking.options import WIDTHS, Choice, LayerOptions
from windfall.shrinking.sensitivity import Sensitivity

_VERIFIED = (10, 7, 5)
"""So many choices are verified in each round; after each, the layers are measured at what they have become."""
_MOST_MOVES = 10
_FIRST_MEASURED = 2
_LAST = 4
_FIRST_STEP = 0.3
_CLOSE = 0.01


@dataclass(frozen=True)
class Verified:
    """A choice that was run on the samples that are held out.

    Attributes:
        choice: For each layer the place of its option.
        width: The number of bits where all layers are alike, with the mode; else empty.
        size: The size of the model's file in bytes.
        scores: What was measured, a score for each criterion.
        holds: Whether all bounds hold.
    """

    choice: Choice
    width: str
    size: int
    scores: tuple[Score, ...]
    holds: bool


def most_steps(layers: int) -> int:
    """Return about how many models a search runs at most, for a progress bar."""
    return layers * (_FIRST_MEASURED + len(_VERIFIED)) + len(WIDTHS) + sum(_VERIFIED) + _LAST + _MOST_MOVES


class Search:
    """Looks for the smallest choice that meets all bounds.

    Args:
        layers: The layers and their options.
        make: Returns the model of a choice.
        evaluator: Runs models.
        criteria: What must hold.
        worst: Whether it must hold for the worst sample, not for the mean.
        step: Called after each model that was run.

    Attributes:
        layers: The layers and their options.
        make: Returns the model of a choice.
        criteria: What must hold.
        worst: Whether it must hold for the worst sample, not for the mean.
        verified: All choices that were run on the samples that are held out, in that order.
    """

    def __init__(
        self,
        layers: Sequence[LayerOptions],
        make: Callable[[Choice], Model],
        evaluator: Evaluator,
        criteria: Sequence[Criterion],
        *,
        worst: bool,
        step: Step = lambda: None,
    ) -> None:
        self.verified = dict[Choice, Verified]()
        self.layers = layers
        self.make = make
        self._evaluator = evaluator
        self.criteria = criteria
        self.worst = worst
        self._step = step
        self._sensitivities = [Sensitivity(layer) for layer in layers]
        self._stay: Choice = tuple(layer.stays for layer in layers)

    def run(self) -> Verified | None:
        """Return the smallest choice that meets all bounds, None if only the model as it is does."""
        self._measure((n, place) for n, one in enumerate(self._sensitivities) for place in one.first())
        self._verify_widths()
        best = self._best()
        start = self._floor() if best is None else self._logarithm(best.choice)
        for most in _VERIFIED:
            front = self._front()
            self._seek(front, start, most)
            best = self._best() or self._last_resort(front)
            if best is None:
                return None
            self._measure(enumerate(best.choice))
            start = self._logarithm(best.choice)
        self._improve()
        return self._best()

    def _best(self) -> Verified | None:
        holding = [one for one in self.verified.values() if one.holds and one.choice != self._stay]
        return min(holding, key=lambda one: one.size, default=None)

    def _measure(self, wanted: Iterable[tuple[int, int]]) -> None:
        """Run the model with one layer alone quantized, for each pair of a layer and an option."""
        jobs = [(n, place) for n, place in wanted if self._sensitivities[n].needs(place)]

        makers = [partial(self.make, self._with(self._stay, *job)) for job in jobs]
        for (n, place), error in zip(jobs, self._evaluator.errors(makers), strict=True):
            self._sensitivities[n].learn(place, error)
            self._step()

    @staticmethod
    def _with(choice: Choice, layer: int, place: int) -> Choice:
        return (*choice[:layer], place, *choice[layer + 1 :])

    def verify(self, choice: Choice, width: str = "") -> Verified:
        """Run a choice on the samples that are held out, unless that was done."""
        if choice not in self.verified:
            model = self.make(choice)
            scores = tuple(self._evaluator.scores(model))
            self.verified[choice] = Verified(choice, width, model._file.size, scores, self._holds(scores))
            self._step()
        return self.verified[choice]

    def values(self, scores: Sequence[Score]) -> tuple[float, ...]:
        """Return what must reach the bound of each criterion."""
        pairs = zip(self.criteria, scores, strict=True)
        return tuple(one.value_of(score, worst=self.worst) for one, score in pairs)

    def _holds(self, scores: Sequence[Score]) -> bool:
        pairs = zip(self.criteria, self.values(scores), strict=True)
        return all(one.margin(value) >= 0 for one, value in pairs)

    def _verify_widths(self) -> None:
        """Run the models whose layers all have one number of bits, each in the mode that is predicted to be best."""
        for bits in WIDTHS:
            choices = {mode: self._alike(bits, mode) for mode in self._modes(bits)}
            if choices:
                mode = min(choices, key=lambda name: self._predicted(choices[name]))
                self.verify(choices[mode], f"{bits} bit{'s'[: bits > 1]}, {mode}" if mode else "float16")

    def _modes(self, bits: int) -> Iterator[str]:
        options = (option for layer in self.layers for option in layer.options)
        yield from dict.fromkeys(option.mode for option in options if option.bits == bits)

    def _alike(self, bits: int, mode: str) -> Choice:
        return tuple(
            next((place for place, o in enumerate(layer.options) if (o.bits, o.mode) == (bits, mode)), layer.stays)
            for layer in self.layers
        )

    def _errors(self) -> list[NDArray[np.float64]]:
        return [one.predicted() for one in self._sensitivities]

    def _predicted(self, choice: Choice) -> float:
        return float(sum(errors[place] for errors, place in zip(self._errors(), choice, strict=True)))

    def _front(self) -> Front:
        return Front([[option.size for option in layer.options] for layer in self.layers], self._errors())

    def _floor(self) -> float:
        """Return the logarithm of an error that is as good as none: less than of any option."""
        least = [error for errors in self._errors() for error in errors if error > 0]
        return math.log(min(least, default=1.0)) - 1

    def _ceiling(self) -> float:
        """Return the logarithm of an error that no choice exceeds."""
        return math.log(sum(float(errors.max()) for errors in self._errors()) + math.exp(self._floor())) + 1

    def _logarithm(self, choice: Choice) -> float:
        return math.log(max(self._predicted(choice), math.exp(self._floor())))

    def _seek(self, front: Front, start: float, most: int) -> None:
        """Verify choices up to the largest predicted error with which all bounds hold.

        From the start it goes up or down in ever larger steps until that lies between two choices, then halves the
        interval. What was predicted need not be true, so no end is taken for granted.

        Args:
            front: The choices.
            start: The logarithm of an error.
            most: How many choices may be verified that were not before.
        """
        floor, ceiling = self._floor(), self._ceiling()
        low, high = -math.inf, math.inf
        at, step = min(max(start, floor), ceiling), _FIRST_STEP
        limit = len(self.verified) + most
        while len(self.verified) < limit and high - low > _CLOSE and low < ceiling and high > floor:
            if self.verify(front.choice(front.within(math.exp(at)))).holds:
                low = at
            else:
                high = at
            if math.isfinite(high - low):
                at = (low + high) / 2
                continue
            at = min(low + step, ceiling) if math.isfinite(low) else max(high - step, floor)
            step *= 2

    def _last_resort(self, front: Front) -> Verified | None:
        """Verify those choices that change least: nothing is refused before these have failed."""
        for index in range(len(front) - 1, max(-1, len(front) - 1 - _LAST), -1):
            self.verify(front.choice(index))
        return self._best()

    def _improve(self) -> None:
        """Make single layers smaller, paid for by another one where that is needed, as long as all bounds hold."""
        for _ in range(_MOST_MOVES):
            best = self._best()
            if best is None:
                return
            move = next((choice for choice in self._moves(best.choice) if choice not in self.verified), None)
            if move is None:
                return
            self.verify(move)

    def _moves(self, choice: Choice) -> list[Choice]:
        """Return smaller choices that differ in one or two layers, those first that are predicted to cost least."""
        errors = self._errors()
        changes = [
            (n, place, option.size - layer.options[own].size, errors[n][place] - errors[n][own])
            for n, (layer, own) in enumerate(zip(self.layers, choice, strict=True))
            for place, option in enumerate(layer.options)
            if place != own
        ]
        total = max(1, sum(layer.options[own].size for layer, own in zip(self.layers, choice, strict=True)))
        smaller = [change for change in changes if change[2] < -_CLOSE / 4 * total]
        better = [change for change in changes if change[3] < 0]
        moves: list[tuple[float, tuple[tuple[int, int], ...]]] = [
            (cost, ((n, place),)) for n, place, _, cost in smaller
        ]
        moves += [
            (one[3] + other[3], (one[:2], other[:2]))
            for one in smaller
            for other in better
            if one[0] != other[0] and one[2] + other[2] < -_CLOSE / 4 * total
        ]
        ranked = sorted(moves)[: 4 * _MOST_MOVES]
        return [self._moved(choice, changed) for _, changed in ranked]

    def _moved(self, choice: Choice, changed: Iterable[tuple[int, int]]) -> Choice:
        for layer, place in changed:
            choice = self._with(choice, layer, place)
        return choice
