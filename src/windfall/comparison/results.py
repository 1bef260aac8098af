"""What a comparison found, as frozen dataclasses."""

import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from windfall.errors import WindfallError
from windfall.spec.writing import write_file

if TYPE_CHECKING:
    from rich.console import RenderableType

_SUFFIXES = (".html", ".htm")


@dataclass(frozen=True)
class Score:
    """One measure of one output, over all samples.

    Attributes:
        output: The output; empty for a function of the user's, which is given all of them.
        measure: What was measured, e.g. ``PSNR``.
        unit: Its unit, e.g. ``dB``; ``%`` for a share from 0 to 1 that is shown as a percentage.
        better: ``higher`` or ``lower``; empty where that is not known.
        mean: The mean over the samples. Samples whose results are equal, and their value therefore infinite, are
            left out of it, unless all are.
        least: The least value.
        most: The greatest value.
        least_sample: The first sample that has the least value.
        most_sample: The first sample that has the greatest value.
        equal: How many samples were left out of the mean.
    """

    output: str
    measure: str
    unit: str
    better: str
    mean: float
    least: float
    most: float
    least_sample: str
    most_sample: str
    equal: int

    @property
    def worst(self) -> float | None:
        """The worst value of a sample, None where it is not known which end is the better."""
        return {"higher": self.least, "lower": self.most}.get(self.better)

    @property
    def worst_sample(self) -> str | None:
        """The first sample that has the worst value."""
        return {"higher": self.least_sample, "lower": self.most_sample}.get(self.better)


@dataclass(frozen=True)
class WorstSample:
    """A sample on which a candidate did badly.

    Attributes:
        sample: Its name.
        output: The output, empty for a function of the user's.
        values: Each measure of it.
        reference: What the reference gave, in words.
        candidate: What the candidate gave, in words.
        pictures: PNG files of at most 256 pixels a side, by what they show.
    """

    sample: str
    output: str
    values: Mapping[str, float]
    reference: str
    candidate: str
    pictures: Mapping[str, bytes]


@dataclass(frozen=True)
class ComparedModel:
    """A model of a comparison.

    Attributes:
        name: The file's name, with a number behind it where another one has the same.
        size: The model's size on disk in bytes.
        parameters: How many weights it has.
        seconds: The median time of a prediction; the models took turns.
        accuracy: The share of samples whose label a classifier gave, None without labels.
        top_5_accuracy: The share of those whose label was among its five most probable ones, None without labels and
            for few classes.
        scores: How near it comes to the reference, which has none itself.
        worst: Its worst samples, for each output.
    """

    name: str
    size: int
    parameters: int
    seconds: float
    accuracy: float | None
    top_5_accuracy: float | None
    scores: tuple[Score, ...]
    worst: tuple[WorstSample, ...]

    def score(self, measure: str, output: str | None = None) -> Score:
        """Return one of the scores.

        Args:
            measure: What was measured, e.g. ``PSNR``.
            output: The output; may be left out where one alone has such a measure.

        Raises:
            WindfallError: There is no such score, or there are several.
        """
        found = [s for s in self.scores if s.measure == measure and output in (None, s.output)]
        if len(found) != 1:
            known = ", ".join(f"{s.measure!r} of {s.output!r}" for s in self.scores) or "none"
            raise WindfallError(f"{self.name} has {len(found)} scores {measure!r}, must be one; its scores are {known}")
        return found[0]


@dataclass(frozen=True)
class Comparison:
    """What models do differently from a reference, what they weigh, and how long they take; prints as tables.

    Attributes:
        reference: The model that the others are compared with.
        candidates: The others.
        samples: How many samples there were.
    """

    reference: ComparedModel
    candidates: tuple[ComparedModel, ...]
    samples: int

    def to_dict(self) -> dict[str, Any]:
        """Return it as dictionaries, lists, texts and numbers, as JSON has them.

        What is not finite is ``"NaN"``, ``"Infinity"`` or ``"-Infinity"``. The worst samples come without pictures.
        """
        return {
            "reference": _model(self.reference),
            "candidates": [_model(candidate) for candidate in self.candidates],
            "samples": self.samples,
        }

    def to_html(self) -> str:
        """Return a page that needs nothing from elsewhere: tables, and the worst samples with their pictures."""
        from windfall.comparison.page import page

        return page(self)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the page to a file; it appears there whole or not at all.

        Raises:
            WindfallError: The path does not end in ``.html``, or cannot be written.
        """
        return write_file(checked_report(path), self.to_html().encode())

    def __rich__(self) -> "RenderableType":
        from windfall.comparison.report import report

        return report(self)

    def __str__(self) -> str:
        from windfall.comparison.report import report
        from windfall.description.report import as_text

        return as_text(report(self))


def checked_report(path: str | os.PathLike[str]) -> Path:
    """Return where a page is to be written, if it can be as far as can be told beforehand.

    Raises:
        WindfallError: The path does not end in ``.html``, or its folder is not there.
    """
    path = Path(path)
    if path.suffix.lower() not in _SUFFIXES:
        raise WindfallError(f"cannot write {str(path)!r}: the report is a web page; let its name end in .html")
    if path.is_dir():
        raise WindfallError(f"cannot write {str(path)!r}: it is a directory; give the name of a file in it")
    if not path.parent.is_dir():
        raise WindfallError(f"cannot write {str(path)!r}: there is no folder {str(path.parent)!r}; make it first")
    return path


def _model(model: ComparedModel) -> dict[str, Any]:
    scores = [asdict(s) | {"worst": s.worst, "worst_sample": s.worst_sample} for s in model.scores]
    worst = [asdict(w) for w in model.worst]
    for sample in worst:
        del sample["pictures"]
    result = plain(asdict(model) | {"scores": scores, "worst": worst})
    assert isinstance(result, dict)
    return result


def plain(value: Any) -> Any:
    """Return dictionaries, lists and numbers as JSON has them: what is not finite as a text."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return value
