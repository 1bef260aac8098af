"""Find for each layer the bits and the mode so that the file is smallest while metrics hold."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from windfall.comparison.contenders import Contender
from windfall.comparison.measures import Measure
from windfall.comparison.numbers import number_text
from windfall.comparison.running import checked_metrics
from windfall.comparison.samples import Label, Sample, samples_of
from windfall.errors import FeatureError, WindfallError
from windfall.features.fitting import CENTER_CROP, FITS
from windfall.loading import load
from windfall.model import Model
from windfall.shrinking.criteria import Criterion, criteria_of
from windfall.shrinking.evaluation import Evaluator
from windfall.shrinking.options import MODES, LayerOptions, Means, assemble, checked_modes, layers_of
from windfall.shrinking.results import CurvePoint, KeptMetric, LayerChoice, ShrinkResult
from windfall.shrinking.search import Search, Verified
from windfall.text import brief, bytes_text

if TYPE_CHECKING:
    from windfall.quantization.networks import Step

    Metric = Measure | Callable[[Mapping[str, Any], Mapping[str, Any]], Any]

_FEW = 4


@dataclass(frozen=True)
class ShrinkSettings:
    """What must hold, and what may be done; see ``shrink``."""

    keep: Mapping[str, float]
    metrics: "Mapping[str, Metric] | None" = None
    means: Means = field(default_factory=Means)
    worst: bool = False


def shrink(  # noqa: PLR0913  # those after the third are settings, given by name
    model: "Model | str | os.PathLike[str]",
    samples: Any,
    keep: Mapping[str, float],
    *,
    worst: bool = False,
    metrics: "Mapping[str, Metric] | None" = None,
    labels: Iterable[Label] | None = None,
    modes: str | Sequence[str] = MODES,
    requantize: bool = False,
    upgrade: bool = False,
    fit: str = CENTER_CROP,
) -> ShrinkResult:
    """Find for each layer the bits and the mode so that the file is smallest while metrics hold.

    Every third sample, 8 at most, shows how sensitive each layer is: how far the outputs are off when it alone is
    quantized. That is measured for a few options and predicted for the others in proportion to the squared error of the
    weights. Then the bytes are shared out so that the predicted errors, added up, stay below a limit. The limit is
    found by running such models on the samples that are left, which are held out from the measuring. At last single
    layers are made smaller as long as the metrics hold. The result is the smallest model that was seen to hold them.
    The same model and samples always give the same result.

    Sensitivities in the manner of HAWQ-V2 (Dong et al., arXiv:1911.03852, 2019), measured in place of its Hessian
    traces. Bits as a question of allocation: Shoham and Gersho, "Efficient bit allocation for an arbitrary set of
    quantizers", IEEE Transactions on Acoustics, Speech, and Signal Processing 36/9, 1988; solved as a knapsack problem
    by dynamic programming: Nemhauser and Ullmann, "Discrete dynamic programming and capital allocation", Management
    Science 15/9, 1969.

    Args:
        model: A model or its path; it is not changed. What ``quantize_weights`` takes.
        samples: As for ``windfall.compare``. All are kept in memory, with what the model gives for them.
        keep: A bound for each metric: ``{"psnr": 30}``. ``psnr``, ``ssim``, ``top1``, ``top5``, ``snr``, ``cosine``,
            ``agreement`` and ``accuracy`` are to be that high at least, ``kl`` and ``error`` that low. Shares are from
            0 to 1. A metric must hold for each output that it is measured of: its mean over the samples held out, as
            ``windfall.compare`` gives it.
        worst: Whether it must hold for each of these samples, not for their mean.
        metrics: Functions of your own by name, as for ``windfall.compare``, each a ``windfall.comparison.Measure`` that
            says which numbers are better; ``keep`` has a bound for each.
        labels: The true class of each sample, for ``accuracy``.
        modes: The modes that may be used: some of ``kmeans``, ``linear`` and ``linear_symmetric``.
        requantize: Also take weights that are quantized already; else such layers stay as they are.
        upgrade: Whether ML programs may be raised to the first opset that can hold such weights, which needs a later
            iOS.
        fit: How pictures are brought to the model's size: ``centerCrop``, ``scaleFit`` or ``scaleFill``.

    Raises:
        WindfallError: No smaller model meets the bounds, the best that was reached is named; or ``keep`` has what does
            not fit the model's outputs.
        FeatureError: There are no samples, or one does not fit the model.
        UnsupportedError: The model has no weights that could take fewer bytes.
        FormatError: The model cannot be read, or none of its weights can be quantized.
    """
    if fit not in FITS:
        raise FeatureError(f"fit is {brief(fit)}, must be one of: {', '.join(FITS)}")
    loaded = model if isinstance(model, Model) else load(model)
    settings = ShrinkSettings(keep, metrics, Means(checked_modes(modes), requantize, upgrade), worst)
    return shrunk(loaded, samples_of(samples, labels, fit), settings)


def shrunk(
    model: Model,
    samples: Iterable[Sample],
    settings: ShrinkSettings,
    step: "Step" = lambda: None,
) -> ShrinkResult:
    """Shrink a model; see ``shrink``.

    Args:
        model: The model; it is not changed.
        samples: The samples.
        settings: What must hold.
        step: Called after each pair of bits and mode, and after each model that was run.
    """
    contender = Contender(model, model._file.name)
    metrics = checked_metrics(settings.metrics) if settings.metrics is not None else {}
    cases = list(samples)
    if not cases:
        raise FeatureError("there are no samples, must be at least one to measure on; better are eight and more")
    labels = all(sample.label is not None for sample in cases)
    criteria = criteria_of(settings.keep, contender, metrics, labels=labels)
    layers, stay = layers_of(model, settings.means, step)
    with Evaluator(contender, criteria, _consumed(cases)) as evaluator:
        _check_own(criteria, evaluator, settings)
        search = Search(
            layers,
            lambda choice: assemble(model, layers, choice, settings.means),
            evaluator,
            criteria,
            worst=settings.worst,
            step=step,
        )
        best = search.run()
    if best is None or best.size >= model._file.size:
        raise _unreachable(model, search)
    return _result(model, search, best, evaluator, (*_warnings(evaluator), *stay))


def _consumed(samples: list[Sample]) -> Iterator[Sample]:
    """Yield samples and let go of each: it keeps the picture that it has read, whatever its size."""
    samples.reverse()
    while samples:
        yield samples.pop()


def _check_own(criteria: Sequence[Criterion], evaluator: Evaluator, settings: ShrinkSettings) -> None:
    """Refuse bounds that the model itself does not meet."""
    for criterion, score in zip(criteria, evaluator.own_scores(), strict=True):
        value = criterion.value_of(score, worst=settings.worst)
        if criterion.margin(value) < 0:
            raise WindfallError(
                f"cannot keep {criterion.rule}: the model itself has "
                f"{number_text(value, criterion.measure.unit)} on the samples held out; choose another bound"
            )


def _unreachable(model: Model, search: Search) -> WindfallError:
    """Return the error that says how near the best one came: that whose worst margin is the least."""
    rules = " and ".join(dict.fromkeys(criterion.rule for criterion in search.criteria))

    def nearness(one: Verified) -> tuple[float, int]:
        pairs = zip(search.criteria, search.values(one.scores), strict=True)
        return min(0.0, *(c.margin(value) / (abs(c.bound) or 1.0) for c, value in pairs)), -one.size

    smaller = _smaller(model, search)
    if not smaller:
        return WindfallError(f"cannot keep {rules}: nothing smaller than {model._file.name} was found")
    best = max(smaller, key=nearness)
    pairs = zip(search.criteria, search.values(best.scores), strict=True)
    texts = dict.fromkeys(f"{c.name} {number_text(value, c.measure.unit)}" for c, value in pairs)
    return WindfallError(
        f"cannot keep {rules} in a smaller file: the best that was reached is {', '.join(texts)}, with "
        f"{bytes_text(best.size)} of {bytes_text(model._file.size)}; choose another bound"
    )


def _smaller(model: Model, search: Search) -> list[Verified]:
    return [one for one in search.verified.values() if one.size < model._file.size]


def _warnings(evaluator: Evaluator) -> list[str]:
    count = len(evaluator.held_out)
    if evaluator.measured == evaluator.held_out:
        return ["there is one sample: what holds for it was sought on it, and may not hold for others; give more"]
    if count < _FEW:
        return [f"only {count} sample{'s were' if count > 1 else ' was'} held out: give more to be surer of the result"]
    return []


def _result(
    model: Model, search: Search, best: Verified, evaluator: Evaluator, warnings: tuple[str, ...]
) -> ShrinkResult:
    kept = zip(search.criteria, search.values(best.scores), best.scores, strict=True)
    smaller = _smaller(model, search)
    points = [CurvePoint(one.size, search.values(one.scores), one.holds, one.width, one is best) for one in smaller]
    return ShrinkResult(
        model=search.make(best.choice),
        layers=tuple(_layer(layer, place) for layer, place in zip(search.layers, best.choice, strict=True)),
        size_before=model._file.size,
        size_after=best.size,
        kept=tuple(KeptMetric(one.name, one.bound, value, score) for one, value, score in kept),
        worst=search.worst,
        curve=tuple(sorted(points, key=lambda point: point.size)),
        measured=tuple(case.name for case in evaluator.measured),
        held_out=tuple(case.name for case in evaluator.held_out),
        warnings=warnings,
    )


def _layer(layer: LayerOptions, place: int) -> LayerChoice:
    option = layer.options[place]
    before = layer.options[layer.stays].size
    return LayerChoice(layer.path, layer.type, layer.values, before, option.size, option.bits, option.mode)
