"""Scores as people read them."""

import math

from windfall.comparison.results import Score


def number_text(value: float | None, unit: str = "") -> str:
    """Return a number with its unit.

    >>> number_text(38.2064, "dB"), number_text(0.975, "%"), number_text(0.99987654), number_text(float("nan"))
    ('38.21 dB', '97.5 %', '0.99988', 'undefined')
    """
    if value is None:
        return "-"
    if math.isnan(value):
        return "undefined"
    if math.isinf(value):
        return "infinite" if value > 0 else "-infinite"
    if unit == "%":
        return f"{100 * value:.1f} %"
    return f"{value:.2f} dB" if unit == "dB" else f"{value:.5g} {unit}".rstrip()


def mean_text(score: Score, samples: int) -> str:
    """Return the mean, with the number of samples whose results are equal."""
    if score.equal == samples:
        return "equal"
    equal = f" ({score.equal:,} equal)" if score.equal else ""
    return number_text(score.mean, score.unit) + equal


def worst_text(score: Score) -> str:
    """Return the worst value, or both ends where it is not known which is worse."""
    if not score.better:
        return f"{number_text(score.least, score.unit)} to {number_text(score.most, score.unit)}"
    if score.worst == {"higher": math.inf, "lower": -math.inf}[score.better]:
        return "equal"
    return number_text(score.worst, score.unit)


def worst_sample_text(score: Score) -> str:
    """Return the sample of the worst value; empty where all are alike."""
    return "" if score.worst_sample is None or score.least == score.most else score.worst_sample


def time_text(seconds: float) -> str:
    """Return a duration.

    >>> time_text(0.0123456), time_text(0.00004), time_text(2.5)
    ('12.3 ms', '0.04 ms', '2.50 s')
    """
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"
