"""Run all models on each sample, and measure how far their results are apart."""

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from windfall.comparison.contenders import Contender, contenders
from windfall.comparison.measures import MEASURES, Measure
from windfall.comparison.outputs import paired
from windfall.comparison.results import ComparedModel, Comparison, Score, WorstSample
from windfall.comparison.samples import Label, Sample, samples_of
from windfall.comparison.tallies import Tally
from windfall.comparison.worst import WorstSamples, in_words, pictures_of
from windfall.errors import FeatureError, WindfallError
from windfall.features.fitting import CENTER_CROP, FITS
from windfall.text import brief

if TYPE_CHECKING:
    from windfall.model import Model

    Metric = Measure | Callable[[Mapping[str, Any], Mapping[str, Any]], Any]

_MOST_ROUNDS = 4
_MOST_SECONDS = 1.0
_TOP = 5
_Outputs = Mapping[str, Any]


def compare(
    reference: "Model | str | os.PathLike[str]",
    candidates: "Model | str | os.PathLike[str] | Iterable[Model | str | os.PathLike[str]]",
    samples: Any,
    *,
    metrics: "Mapping[str, Metric] | None" = None,
    labels: Iterable[Label] | None = None,
    fit: str = CENTER_CROP,
) -> Comparison:
    """Find out what models do differently from a reference, such as a model and what became of it when it was shrunk.

    One sample at a time goes through all models. Pictures are measured by PSNR and SSIM, probabilities by agreement of
    the best classes and KL divergence, arrays and numbers by signal-to-noise ratio, cosine and largest error, labels
    and texts by agreement.

    Args:
        reference: A model or its path.
        candidates: Another one, or several. Their outputs have the names and types of the reference's.
        samples: Dictionaries with a value for each input; or, for models with one image input, pictures or paths of
            pictures of any size. Or the path of a folder of pictures; or of a folder that has a folder of pictures for
            each class, whose names then are the labels.
        metrics: What to measure instead, by name: functions of all outputs of the reference and all of the candidate,
            two dictionaries, that return a number. ``windfall.comparison.Measure`` also says which numbers are better.
        labels: The true class of each sample, for the accuracy of classifiers.
        fit: How pictures are brought to a model's size: ``centerCrop``, ``scaleFit`` or ``scaleFill``.

    Raises:
        FeatureError: There are no samples, or one does not fit a model; or labels are no classes of the models.
        WindfallError: The outputs of the models differ in name, type or shape; or a metric fails.
        FormatError: A model cannot be read.
        UnsupportedError: A model has parts that cannot be run.
    """
    if fit not in FITS:
        raise FeatureError(f"fit is {brief(fit)}, must be one of: {', '.join(FITS)}")
    checked = None if metrics is None else checked_metrics(metrics)
    return run(contenders(reference, candidates), samples_of(samples, labels, fit), checked)


def run(models: Sequence[Contender], samples: Iterable[Sample], metrics: Mapping[str, Measure] | None) -> Comparison:
    """Compare models on samples, one of these after the other; see ``compare``."""
    reference, *others = models
    hits = [Hits(contender) for contender in models]
    rivals = [Rival(reference, other, metrics) for other in others]
    count = 0
    for number, sample in enumerate(samples):
        given = _inputs(models, sample)
        outputs = _predict(models, given, sample, number)
        for rival, result in zip(rivals, outputs[1:], strict=True):
            rival.measure(sample.name, given[0], outputs[0], result)
        if sample.label is not None:
            for hit, result in zip(hits, outputs, strict=True):
                hit.count(sample.name, sample.label, result)
        count += 1
    if not count:
        raise FeatureError("there are no samples, must be at least one to compare the models on")
    first, *rest = (
        _compared(contender, hit, scores, worst)
        for contender, hit, (scores, worst) in zip(models, hits, [((), ()), *(r.found() for r in rivals)], strict=True)
    )
    return Comparison(first, tuple(rest), count)


def checked_metrics(metrics: Any) -> dict[str, Measure]:
    """Return functions of the user's by name, each as a measure.

    Raises:
        WindfallError: They are no functions by name.
    """
    if not isinstance(metrics, Mapping) or not metrics:
        raise WindfallError(f"metrics is {brief(metrics)}, must be a dictionary of functions by name")
    checked = {str(name): m if isinstance(m, Measure) else Measure(m) for name, m in metrics.items()}
    for name, measure in checked.items():
        if not callable(measure.function):
            raise WindfallError(f"metric {brief(name)} is {brief(measure.function)}, must be a function")
        if measure.better not in ("", "higher", "lower"):
            raise WindfallError(f"metric {brief(name)} has better={measure.better!r}, must be 'higher' or 'lower'")
    return checked


def _inputs(models: Sequence[Contender], sample: Sample) -> list[Mapping[str, Any]]:
    return [sample.read(contender) for contender in models]


def _predict(
    models: Sequence[Contender], given: Sequence[Mapping[str, Any]], sample: Sample, number: int
) -> list[_Outputs]:
    """Run all models on a sample; another one begins each time, so that none is always the first."""
    results: dict[int, _Outputs] = {}
    turns = [(number + turn) % len(models) for turn in range(len(models))]
    for turn in turns:
        results[turn] = models[turn].predict(given[turn], sample.name)
    if number == 0:
        _time_again([models[turn] for turn in turns], [given[turn] for turn in turns])
    return [results[turn] for turn in range(len(models))]


def _time_again(models: Sequence[Contender], given: Sequence[Mapping[str, Any]]) -> None:
    """Run quick models a few times more on the first sample: where there are few samples, a single time says little."""
    end = time.perf_counter() + _MOST_SECONDS
    for _ in range(_MOST_ROUNDS):
        if time.perf_counter() > end:
            return
        for model, inputs in zip(models, given, strict=True):
            model.time(inputs)


class Rival:
    """A candidate against the reference.

    Args:
        reference: The reference.
        candidate: The candidate.
        metrics: What is measured instead of what fits each output.
    """

    def __init__(self, reference: Contender, candidate: Contender, metrics: Mapping[str, Measure] | None) -> None:
        self._reference = reference
        self._candidate = candidate
        self._kinds = {feature.name: reference.kind_of(feature) for feature in reference.outputs}
        self._is_own = metrics is not None
        measures = {name: MEASURES[kind] for name, kind in self._kinds.items()} if metrics is None else {"": metrics}
        self._tallies = {
            output: {name: Tally(output, name, measure) for name, measure in some.items()}
            for output, some in measures.items()
        }
        self._worst = {output: WorstSamples(some) for output, some in measures.items()}

    def measure(self, sample: str, given: Mapping[str, Any], reference: _Outputs, candidate: _Outputs) -> None:
        """Measure the results of a sample.

        Raises:
            WindfallError: They cannot be compared, or a function of the user's fails.
        """
        for output, tallies in self._tallies.items():
            pair = (reference, candidate) if self._is_own else self._pair(output, sample, reference, candidate)
            values = {name: self._value(name, tally.measure, pair, sample) for name, tally in tallies.items()}
            applied = {name: value for name, value in values.items() if value is not None}
            for name, value in applied.items():
                tallies[name].add(value, sample)
            if self._kinds.get(output) != "label" or "probabilities" not in self._kinds.values():
                self._offer(output, applied, sample, given, (reference, candidate))

    def _pair(self, output: str, sample: str, reference: _Outputs, candidate: _Outputs) -> tuple[Any, Any]:
        try:
            return paired(self._kinds[output], reference[output], candidate[output])
        except WindfallError as error:
            names = f"{self._reference.name} and {self._candidate.name}"
            raise WindfallError(f"{names} cannot be compared: output {brief(output)} of {sample} {error}") from error

    def _value(self, name: str, measure: Measure, pair: tuple[Any, Any], sample: str) -> float | None:
        if self._is_own:
            return own_value(name, measure, pair, sample)
        value = measure.function(*pair)
        return None if value is None else float(value)

    def _offer(
        self,
        output: str,
        values: Mapping[str, float],
        sample: str,
        given: Mapping[str, Any],
        results: tuple[_Outputs, _Outputs],
    ) -> None:
        pictures = [name for name, kind in self._kinds.items() if kind == "picture"]
        # Functions of the user's are given all outputs; the one to be shown is the first picture, or the first at all.
        shown = output if not self._is_own else next(iter([*pictures, *self._kinds]), "")

        def make() -> WorstSample:
            one, other = (result.get(shown) for result in results)
            return WorstSample(sample, output, values, in_words(one), in_words(other), pictures_of(given, one, other))

        self._worst[output].offer(values, make)

    def found(self) -> tuple[tuple[Score, ...], tuple[WorstSample, ...]]:
        """Return all scores, and the worst samples."""
        scores = [tally.score() for tallies in self._tallies.values() for tally in tallies.values()]
        worst = [sample for worst in self._worst.values() for sample in worst.samples()]
        return tuple(score for score in scores if score is not None), tuple(worst)


def own_value(name: str, measure: Measure, pair: tuple[Any, Any], sample: str) -> float:
    """Return what a function of the user's gives for a sample.

    Raises:
        WindfallError: It fails, or returns no number.
    """
    try:
        value = measure.function(*pair)
    except Exception as error:  # whatever a function of the user's raises
        raise WindfallError(
            f"metric {brief(name)} failed on {sample}: {type(error).__name__}: {error}; mend the function"
        ) from error
    return as_number(value, name, sample)


def as_number(value: Any, name: str, sample: str) -> float:
    """Return what a function of the user's gave as a number.

    Raises:
        WindfallError: It is none.
    """
    try:
        # float() would take texts, and arrays that happen to hold one number.
        if isinstance(value, str | bytes) or getattr(value, "ndim", 0) != 0:
            raise TypeError
        return float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise WindfallError(
            f"metric {brief(name)} returned {brief(value)} for {sample}, must return a number"
        ) from error


class Hits:
    """How often a classifier gives the true class.

    Args:
        contender: The model.
    """

    def __init__(self, contender: Contender) -> None:
        self._contender = contender
        self._samples = self._first = self._among_five = 0
        self._has_five = True

    def count(self, sample: str, label: Label, outputs: _Outputs) -> None:
        """Count a sample.

        Raises:
            FeatureError: The model is no classifier, or does not know the label.
        """
        model = self._contender
        if not model.is_classifier:
            raise FeatureError(f"labels are given, and {model.name} is not a classifier; leave them out")
        classes = outputs.get(model.probabilities_output, {})
        # Names of folders are texts, also where classes are integers.
        texts = [str(name) for name in classes]
        if classes and str(label) not in texts:
            raise FeatureError(
                f"the label {brief(label)} of {sample} is not a class of {model.name}; its classes are "
                f"{', '.join(map(brief, list(classes)[:_TOP]))}{', ...' if len(classes) > _TOP else ''}"
            )
        self._samples += 1
        self._first += str(model.answer(outputs)) == str(label)
        self._has_five = len(classes) > _TOP
        self._among_five += str(label) in map(str, model.best(outputs, _TOP))

    @property
    def accuracy(self) -> float | None:
        """The share of samples whose class it gave."""
        return self._first / self._samples if self._samples else None

    @property
    def top_5_accuracy(self) -> float | None:
        """The share of samples whose class was among its five most probable ones, None for few classes."""
        return self._among_five / self._samples if self._samples and self._has_five else None


def _compared(
    contender: Contender, hits: Hits, scores: tuple[Score, ...], worst: tuple[WorstSample, ...]
) -> ComparedModel:
    description = contender.description
    return ComparedModel(
        contender.name,
        description.size,
        description.parameters,
        contender.seconds,
        hits.accuracy,
        hits.top_5_accuracy,
        scores,
        worst,
    )
