"""Run candidates on the samples, whose reference results are computed once."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import numpy as np

from windfall.comparison.contenders import Contender
from windfall.comparison.measures import Array, kl_divergence
from windfall.comparison.outputs import paired
from windfall.comparison.results import Score
from windfall.comparison.samples import Sample
from windfall.model import Model
from windfall.runtime.engine import available_cores
from windfall.shrinking.criteria import Case, Criterion

MOST_MEASURED = 8
"""So many samples are used at most to see how sensitive each layer is."""
WORST_ERROR = 1e6
"""What an error counts as that is infinite, or not a number."""
_Outputs = Mapping[str, Any]


class Evaluator:
    """Runs models on samples, several at once; to be used in a ``with`` statement.

    Args:
        contender: The model itself, which is the reference.
        criteria: What is measured.
        samples: What it is measured on, one or more.

    Attributes:
        measured: The samples on which sensitivities are measured.
        held_out: The samples on which bounds must hold.
    """

    def __init__(self, contender: Contender, criteria: Sequence[Criterion], samples: Iterable[Sample]) -> None:
        self._contender = contender
        self._criteria = criteria
        self._workers = contender.model._options.threads or available_cores()
        self._pool = ThreadPoolExecutor(self._workers)
        cases = [self._case(sample) for sample in samples]
        self.measured, self.held_out = split(cases)
        self._outputs = self._sensitive_outputs()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _case(self, sample: Sample) -> Case:
        inputs = sample.read(self._contender)
        return Case(sample.name, inputs, sample.label, self._contender.predict(inputs, sample.name))

    def _sensitive_outputs(self) -> dict[str, str]:
        """Return the outputs of numbers that the criteria are about, all of them where there is none, by their kind."""
        kinds = {feature.name: self._contender.kind_of(feature) for feature in self._contender.outputs}
        numeric = {name: kind for name, kind in kinds.items() if kind in _ERRORS}
        named = {criterion.output for criterion in self._criteria}
        return {name: kind for name, kind in numeric.items() if name in named} or numeric

    def errors(self, makers: Iterable[Callable[[], Model]]) -> Iterator[float]:
        """Yield how far the outputs of each model are off, several models at once: means over samples for measuring.

        For each output it is the power of the difference over that of the signal, for probabilities the
        Kullback-Leibler divergence; they are added up. NaN for models without outputs of numbers.
        """
        return self._pool.map(self._error, makers)

    def _error(self, make: Callable[[], Model]) -> float:
        if not self._outputs:
            return math.nan
        results = _predictions(with_threads(make(), 1), self.measured, map)
        total = sum(self._case_error(case, result) for case, result in zip(self.measured, results, strict=True))
        return total / len(self.measured)

    def _case_error(self, case: Case, result: _Outputs) -> float:
        error = sum(
            _ERRORS[kind](*paired(kind, case.reference[name], result[name])) for name, kind in self._outputs.items()
        )
        return min(error, WORST_ERROR) if math.isfinite(error) else WORST_ERROR

    def scores(self, model: Model) -> list[Score]:
        """Return each criterion's score of a model on the samples that are held out, several predictions at once."""
        at_once = min(self._workers, len(self.held_out))
        results = _predictions(with_threads(model, max(1, self._workers // at_once)), self.held_out, self._pool.map)
        return self._scores(results)

    def own_scores(self) -> list[Score]:
        """Return each criterion's score of the model itself."""
        return self._scores([case.reference for case in self.held_out])

    def _scores(self, results: Sequence[_Outputs]) -> list[Score]:
        return [criterion.score(self._contender, self.held_out, results) for criterion in self._criteria]


def split(cases: Sequence[Case]) -> tuple[list[Case], list[Case]]:
    """Return the samples for measuring, every third one and at most ``MOST_MEASURED``, and those held out.

    A single sample is both.
    """
    count = len(cases)
    if count == 1:
        return list(cases), list(cases)
    measured = max(1, min(MOST_MEASURED, count // 3))
    chosen = {(2 * number + 1) * count // (2 * measured) for number in range(measured)}
    parts = [case for place, case in enumerate(cases) if place in chosen]
    return parts, [case for place, case in enumerate(cases) if place not in chosen]


def with_threads(model: Model, threads: int) -> Model:
    """Return the same model, which uses so many threads for a prediction."""
    other = model._of_file(model._file)
    other._options = replace(model._options, threads=threads)
    return other


def _predictions(model: Model, cases: Sequence[Case], mapped: Callable[..., Iterable[_Outputs]]) -> list[_Outputs]:
    """Run a model on samples; one that keeps states goes through them one by one, and starts with zeros."""
    try:
        if not model.state_names:
            return list(mapped(model.predict, [case.inputs for case in cases]))
        state = model.make_state()
        return [model.predict(case.inputs, state) for case in cases]
    finally:
        # What is compiled refers to its model: else many of them would wait in memory for the garbage collector.
        model._programs.clear()


def _relative(reference: Array, candidate: Array) -> float:
    """Return the power of the difference over that of the signal; over 1 where there is no signal.

    What is not finite must be the same in both: else the result is NaN.
    """
    finite = np.isfinite(reference) & np.isfinite(candidate)
    if not np.array_equal(reference[~finite], candidate[~finite], equal_nan=True):
        return math.nan
    x, y = reference[finite], candidate[finite]
    return float(np.sum(np.square(x - y))) / (float(np.sum(np.square(x))) or 1.0)


def _divergence(reference: Any, candidate: Any) -> float:
    divergence = kl_divergence(reference, candidate)
    return _relative(reference.values, candidate.values) if math.isnan(divergence) else divergence


_ERRORS: Mapping[str, Callable[[Any, Any], float]] = {
    "picture": lambda x, y: float(np.mean(np.square(x.pixels - y.pixels))) / x.peak**2,
    "array": _relative,
    "dictionary": _relative,
    "number": _relative,
    "probabilities": _divergence,
}
"""How far an output of numbers is off, by its kind; what is small grows with the square of the change."""
