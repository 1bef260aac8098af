"""What shrinking found, as frozen dataclasses."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from windfall.comparison.results import Score, plain
from windfall.errors import WindfallError
from windfall.model import Model
from windfall.spec.writing import write_file

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class LayerChoice:
    """What became of a layer.

    Attributes:
        layer: Its name, behind those of what it lies in.
        type: A member of the specification's ``oneof layer``, or the name of an operator.
        values: How many numbers its weights have.
        bytes_before: What they took, scales and tables with them.
        bytes_after: What they take now.
        bits: How many bits its larger weights have, None where it stays as it is.
        mode: How they are quantized; empty for float16 and where it stays as it is.
    """

    layer: str
    type: str
    values: int
    bytes_before: int
    bytes_after: int
    bits: int | None
    mode: str


@dataclass(frozen=True)
class KeptMetric:
    """A metric that had to hold.

    Attributes:
        name: Its name in ``keep``.
        bound: What was asked for.
        value: What was reached on the samples held out: the mean, or that of the worst sample.
        score: All that was measured, as ``windfall.compare`` gives it.
    """

    name: str
    bound: float
    value: float
    score: Score


@dataclass(frozen=True)
class CurvePoint:
    """A model that was run on the samples held out.

    Attributes:
        size: The size of its file in bytes.
        values: The value of each metric, in the order of ``ShrinkResult.kept``.
        holds: Whether all bounds hold.
        width: Bits and mode where all layers are alike; empty where each layer has its own.
        chosen: Whether it is the result.
    """

    size: int
    values: tuple[float, ...]
    holds: bool
    width: str
    chosen: bool


@dataclass(frozen=True)
class ShrinkResult:
    """The smallest model found that meets all bounds; prints as tables.

    Attributes:
        model: The model.
        layers: What became of each layer, in the model's order.
        size_before: The size of the original's file in bytes.
        size_after: The same of the new one.
        kept: Each metric that had to hold, for each output that it is measured of.
        worst: Whether bounds had to hold for the worst sample, not for the mean.
        curve: All models that were run on the samples held out, from the smallest to the largest.
        measured: The names of the samples on which the layers' sensitivity was measured.
        held_out: The names of the samples on which the bounds hold.
        warnings: What a careful user should know, a sentence each.
    """

    model: Model
    layers: tuple[LayerChoice, ...]
    size_before: int
    size_after: int
    kept: tuple[KeptMetric, ...]
    worst: bool
    curve: tuple[CurvePoint, ...]
    measured: tuple[str, ...]
    held_out: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def best_width(self) -> CurvePoint | None:
        """The smallest model with all layers alike that meets all bounds, None if there is none."""
        return next((point for point in self.curve if point.width and point.holds), None)

    def to_dict(self) -> dict[str, Any]:
        """Return all but the model as dictionaries, lists, texts and numbers, as JSON has them.

        What is not finite is ``"NaN"``, ``"Infinity"`` or ``"-Infinity"``.
        """
        names = ("layers", "kept", "curve")
        parts = {name: [asdict(part) for part in getattr(self, name)] for name in names}
        sizes = {"size_before": self.size_before, "size_after": self.size_after}
        samples = {"worst": self.worst, "measured": list(self.measured), "held_out": list(self.held_out)}
        result = plain({**sizes, **parts, **samples, "warnings": list(self.warnings)})
        assert isinstance(result, dict)
        return result

    def save_curve(self, path: str | os.PathLike[str]) -> Path:
        """Draw size against the first metric, and write the picture; it appears there whole or not at all.

        Raises:
            WindfallError: The path does not end in ``.svg``, or cannot be written.
        """
        from windfall.shrinking.curve import curve_svg

        return write_file(checked_curve(path), curve_svg(self).encode())

    def __rich__(self) -> "RenderableType":
        from windfall.shrinking.report import report

        return report(self)

    def __str__(self) -> str:
        from windfall.description.report import as_text
        from windfall.shrinking.report import report

        return as_text(report(self))


def checked_curve(path: str | os.PathLike[str]) -> Path:
    """Return where a picture is to be written, if it can be as far as can be told beforehand.

    Raises:
        WindfallError: The path does not end in ``.svg``, or its folder is not there.
    """
    path = Path(path)
    if path.suffix.lower() != ".svg":
        raise WindfallError(f"cannot write {str(path)!r}: the curve is an SVG picture; let its name end in .svg")
    if not path.parent.is_dir():
        raise WindfallError(f"cannot write {str(path)!r}: there is no folder {str(path.parent)!r}; make it first")
    return path
