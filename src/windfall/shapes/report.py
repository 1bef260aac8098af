"""What a model can take: the result of a check."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from windfall.text import safe

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Obstacle:
    """A layer that stands in the way.

    Attributes:
        layer: Its name; empty where an input or an output itself is refused.
        type: Its type.
        reason: Why it refuses.
        size: A size of the axis at which it does.
    """

    layer: str
    type: str
    reason: str
    size: int

    def __str__(self) -> str:
        who = f"{self.layer} ({self.type}): " if self.layer else ""
        return f"at {self.size}: {who}{self.reason}"


@dataclass(frozen=True)
class AxisSizes:
    """The sizes that one axis of an input can have, while all others have their default one.

    Attributes:
        input: The input's name.
        axis: ``width`` or ``height`` of an image, ``axis 0`` and so on of an array.
        default: The default size.
        least: The least size.
        most: The greatest, None where none was found.
        step: How far sizes lie apart: 32 where the default size and those 32 more or less go, but none between.
        tied: Other axes that must have the same size, as ``mask axis 1``.
        below: What refuses the next smaller size.
        above: What refuses the next larger one.
        between: What refuses sizes between the steps.
    """

    input: str
    axis: str
    default: int
    least: int
    most: int | None
    step: int = 1
    tied: tuple[str, ...] = ()
    below: Obstacle | None = None
    above: Obstacle | None = None
    between: Obstacle | None = None

    @property
    def is_flexible(self) -> bool:
        """Whether there is more than one size."""
        return self.least != self.most

    @property
    def has_gaps(self) -> bool:
        """Whether sizes are refused between the least and the greatest, and not in even steps.

        The least and the greatest size are then only where the search ended.
        """
        return self.step == 1 and self.between is not None

    @property
    def is_limited(self) -> bool:
        """Whether a layer refuses larger sizes, or some between the least and the greatest."""
        return self.above is not None or self.between is not None

    @property
    def sizes(self) -> str:
        """The sizes in words."""
        if not self.is_flexible:
            return f"{self.default} only"
        steps = f" in steps of {self.step}" if self.step > 1 else ", not all" if self.has_gaps else ""
        return f"{self.least}..{'' if self.most is None else self.most}{steps}"

    @property
    def obstacles(self) -> tuple[Obstacle, ...]:
        """What stands in the way, the smaller sizes first; each layer once."""
        found = [one for one in (self.below, self.between, self.above) if one is not None]
        return tuple(one for at, one in enumerate(found) if one.layer not in [other.layer for other in found[:at]])


@dataclass(frozen=True)
class Trial:
    """A prediction with the flexible model and with one that was made for that size alone.

    Attributes:
        sizes: The sizes of the inputs.
        difference: The largest difference of any number in the results, relative to the largest number there.
        agrees: Whether both give the same, up to rounding.
    """

    sizes: dict[str, tuple[int, ...]]
    difference: float
    agrees: bool


@dataclass(frozen=True)
class ShapeReport:
    """Which sizes a model can take.

    Attributes:
        axes: The sizes along each axis.
        together: What refuses sizes that each go alone, None if nothing was found.
        rewrites: The layers that ``set_range`` would rewrite for that.
        trials: Predictions that confirm it.
    """

    axes: tuple[AxisSizes, ...]
    together: Obstacle | None
    rewrites: tuple[str, ...]
    trials: tuple[Trial, ...]

    def axis(self, name: str, axis: str) -> AxisSizes:
        """Return the sizes along one axis.

        Raises:
            KeyError: There is none.
        """
        for one in self.axes:
            if (one.input, one.axis) == (name, axis):
                return one
        raise KeyError((name, axis))

    def to_dict(self) -> dict[str, Any]:
        """Return it as a dictionary for JSON."""
        axes = [{**asdict(one), "flexible": one.is_flexible} for one in self.axes]
        return {
            "axes": axes,
            "together": None if self.together is None else asdict(self.together),
            "rewrites": list(self.rewrites),
            "trials": [asdict(trial) for trial in self.trials],
        }

    def __str__(self) -> str:
        from windfall.description.report import as_text

        return "\n".join([as_text(report_table(self)), *notes(self)])


def report_table(report: ShapeReport) -> "Table":
    """Return a report as a table to print; what ``notes`` says belongs below it."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Input", overflow="fold")
    table.add_column("Axis", no_wrap=True)
    table.add_column("Default", justify="right", no_wrap=True)
    table.add_column("Sizes", no_wrap=True)
    table.add_column("What stands in the way", overflow="fold")
    for one in report.axes:
        tied = [f"must be that of {' and '.join(one.tied)}"] if one.tied else []
        why = "\n".join([*tied, *map(str, one.obstacles)])
        table.add_row(Text(safe(one.input)), one.axis, str(one.default), one.sizes, Text(safe(why)))
    return table


def notes(report: ShapeReport) -> list[str]:
    """Return the lines that follow the table."""
    lines = [f"Not all of these go together: {safe(report.together)}"] if report.together is not None else []
    lines += [f"To be rewritten: {safe(one)}" for one in report.rewrites]
    for trial in report.trials:
        sizes = ", ".join(f"{safe(name)} {' x '.join(map(str, dims))}" for name, dims in trial.sizes.items())
        result = "same as a model of that size" if trial.agrees else "differs from a model of that size"
        lines.append(f"Ran with {sizes}: {result}, largest difference {trial.difference:.1e}")
    return lines
