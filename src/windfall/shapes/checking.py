"""Find out which sizes a model can take."""

from collections.abc import Sequence

from windfall.model import Model
from windfall.shapes.changing import copied
from windfall.shapes.exploring import Axis, Explorer, all_axes, obstacle, size_of, tied_axes, with_sizes
from windfall.shapes.mending import Rewrite, mend
from windfall.shapes.probing import Prober
from windfall.shapes.report import AxisSizes, Obstacle, ShapeReport
from windfall.shapes.trials import run_trials
from windfall.shapes.types import open_types
from windfall.spec.modelfile import ModelFile

MOST = 2**63
"""Stands for no limit."""


def check(model: Model, *, run: bool = True) -> ShapeReport:
    """Find out which sizes each axis of each input can have, and which layer stands in the way of others.

    The model is lowered at many sizes: each axis next to its default size, then by bisection towards both ends. It is
    taken for granted that sizes go in even steps between the least and the greatest; a few between are tried. Where a
    layer holds a number that ``set_range`` would rewrite, the sizes are those after that.

    Args:
        model: The model; it is not changed, and what its description allows now does not count.
        run: Also predict at a few of these sizes, and compare with models made for that size alone.

    Raises:
        UnsupportedError: The model is no neural network or ML program, or has layers that cannot be run.
    """
    check_ = _Check(Prober(model._file, model._function))
    axes = tuple(check_.axis(axis) for axis in all_axes(check_.before))
    together, rewrites = check_.together(axes)
    trials = tuple(run_trials(model, axes)) if run and together is None else ()
    return ShapeReport(axes, together, tuple(map(str, rewrites)), trials)


class _Check:
    """One check.

    Attributes:
        before: The model as it is.
    """

    def __init__(self, before: Prober) -> None:
        self.before = before
        self._prober = Prober(self._opened(), before.function)

    def _opened(self) -> ModelFile:
        """Return a copy of the model, in which a program's sizes are all open."""
        file = copied(self.before.file)
        if self.before.is_program:
            open_types(file, self.before.function)
        return file

    def axis(self, axis: Axis) -> AxisSizes:
        """Return the sizes of an axis, alone or with those that it is tied to, rewritten where that gives more."""
        found = Explorer(self._prober, [axis]).sizes()
        if not found.is_limited:
            return found
        mended = self._mended(axis)
        if mended is not self._prober:
            found = max(found, Explorer(mended, [axis]).sizes(), key=_freedom)
        if found.is_flexible:
            return found
        return self._tied(axis, mended) or self._tied(axis, self._mended(axis, everywhere=True)) or found

    def _tied(self, axis: Axis, prober: Prober) -> AxisSizes | None:
        """Return the sizes of an axis with those that must have the same one; None if there are none."""
        group = tied_axes(prober, axis)
        return Explorer(prober, group).sizes() if len(group) > 1 else None

    def _mended(self, axis: Axis, *, everywhere: bool = False) -> Prober:
        """Return the model rewritten so that an axis may have another size, as far as that goes.

        Args:
            axis: The axis.
            everywhere: Let all axes that now have its size have the other one too.
        """
        file = self._opened()
        default = self._prober.inputs[axis.input].default[axis.number]
        same = [one for one in all_axes(self._prober) if size_of(self._prober, one) == default]
        group = same if everywhere else [axis]
        sizes = [with_sizes(self._prober, dict.fromkeys(group, size)) for size in (default, 2 * default)]
        found = mend(self.before, file, sizes)
        return Prober(file, self.before.function) if found.rewrites else self._prober

    def together(self, axes: Sequence[AxisSizes]) -> tuple[Obstacle | None, Sequence[Rewrite]]:
        """Return what refuses other sizes of all axes at once where each goes alone, and what is rewritten for that."""
        names = list(all_axes(self._prober))
        flexible = [(axis, one) for axis, one in zip(names, axes, strict=True) if one.is_flexible and not one.has_gaps]
        changes = [{axis: _next(one, up) for axis, one in flexible} for up in (True, False)]
        found = mend(self.before, self._opened(), [{}, *(with_sizes(self._prober, change) for change in changes)])
        for probe, change in zip(found.probes[1:], changes, strict=True):
            if probe.refusal is not None and not probe.refusal.is_size:
                return obstacle(probe.refusal, next(iter(change.values()))), found.rewrites
        return None, found.rewrites


def _freedom(axis: AxisSizes) -> tuple[bool, int, int]:
    """Return what is larger for an axis that has more sizes."""
    return axis.is_flexible, -axis.step, MOST if axis.most is None else axis.most


def _next(axis: AxisSizes, up: bool) -> int:
    """Return the next size, upwards or downwards; the other way round at the end."""
    size = axis.default + (axis.step if up else -axis.step)
    if size < axis.least or (axis.most is not None and size > axis.most):
        return 2 * axis.default - size
    return size
