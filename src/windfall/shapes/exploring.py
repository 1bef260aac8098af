"""Find the sizes that an axis can have, by probing."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from windfall.shapes.probing import Prober, Refusal, Sizes
from windfall.shapes.report import AxisSizes, Obstacle

_STEPS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96)
_DOWN = (1, 8, 32)
_LARGE = 4096
_ROW = 16
"""So many sizes in a row are tried: what strides do to a size repeats."""


class Axis(NamedTuple):
    """One axis of an input."""

    input: str
    number: int


class Explorer:
    """Explores some axes of a model that always have the same size.

    Args:
        prober: The model; all sizes of a program are open.
        axes: The axes, the one that is reported first.
    """

    def __init__(self, prober: Prober, axes: Sequence[Axis]) -> None:
        self._prober = prober
        self.axes = axes
        self.default = prober.inputs[axes[0].input].default[axes[0].number]

    def refusal(self, size: int) -> Refusal | None:
        """Return what refuses a size."""
        return self._prober.at(with_size(self._prober, self.axes, size)).refusal

    def takes(self, size: int) -> bool:
        """Whether nothing does."""
        return size >= 1 and self.refusal(size) is None

    def step(self) -> int | None:
        """Return how far the sizes next to the default one lie from it; None if there are no others."""
        if any(self.takes(self.default + sign) for sign in (1, -1)):
            return 1
        found = next((step for step in _STEPS if self.takes(self.default + step)), None)
        return next((step for step in _DOWN if self.takes(self.default - step)), None) if found is None else found

    def sizes(self) -> AxisSizes:
        """Return the sizes of the axes."""
        step = self.step()
        allowed = self._prober.inputs[self.axes[0].input]
        name = allowed.axis_name(self.axes[0].number)
        if step is None:
            return AxisSizes(allowed.name, name, self.default, self.default, self.default, above=self._nearest())
        least = self._last(-step, (self.default - 1) // step)
        most = self._most(step)
        tied = tuple(f"{axis.input} {self._prober.inputs[axis.input].axis_name(axis.number)}" for axis in self.axes[1:])
        return AxisSizes(
            allowed.name,
            name,
            self.default,
            least,
            most,
            step,
            tied,
            below=self._obstacle(least - step),
            above=None if most is None else self._obstacle(most + step),
            between=self._between(least, most, step),
        )

    def _nearest(self) -> Obstacle | None:
        return self._obstacle(2 * self.default) or self._obstacle(self.default + 1)

    def _most(self, step: int) -> int | None:
        """Return the greatest size; None if there is no other limit than memory."""
        count = max(_LARGE, 4 * self.default) // step
        while count > 1:
            found = self.refusal(self.default + step * count)
            if found is None:
                return None
            if not found.is_size:
                return self._last(step, count)
            count //= 2
        return None

    def _last(self, step: int, count: int) -> int:
        """Return the last size that goes, in steps from the default one, by bisection."""
        if self.takes(self.default + step * count):
            return self.default + step * count
        good, bad = 0, count
        while bad - good > 1:
            middle = (good + bad) // 2
            good, bad = (middle, bad) if self.takes(self.default + step * middle) else (good, middle)
        return self.default + step * good

    def _between(self, least: int, most: int | None, step: int) -> Obstacle | None:
        """Return what refuses a size in the range, whether it lies between the steps or is an exception."""
        if step > 1:
            return self._obstacle(self.default + 1) or self._obstacle(self.default - 1)
        top = 2 * self.default + _ROW if most is None else most
        row = range(self.default - _ROW // 4, self.default + _ROW)
        inner = dict.fromkeys([*row, least + 1, least + 2, least + 3, (least + top) // 2, top - 1])
        found = (self._obstacle(size) for size in inner if least < size < top)
        return next((one for one in found if one is not None), None)

    def _obstacle(self, size: int) -> Obstacle | None:
        found = self.refusal(size) if size >= 1 else None
        return None if found is None or found.is_size else obstacle(found, size)


def obstacle(refusal: Refusal, size: int) -> Obstacle:
    """Return a refusal as a part of a report."""
    return Obstacle(refusal.layer, refusal.type, refusal.reason, size)


def with_size(prober: Prober, axes: Sequence[Axis], size: int) -> Sizes:
    """Return the default sizes of some inputs with another size along some axes."""
    return with_sizes(prober, dict.fromkeys(axes, size))


def with_sizes(prober: Prober, changes: Mapping[Axis, int]) -> Sizes:
    """Return the default sizes of some inputs with other sizes along some axes."""
    names = dict.fromkeys(axis.input for axis in changes)
    return {
        name: tuple(changes.get(Axis(name, index), size) for index, size in enumerate(prober.inputs[name].default))
        for name in names
    }


def tied_axes(prober: Prober, axis: Axis) -> list[Axis]:
    """Return the axes that must have the same size as one, that first; it alone if that does not help."""
    default = size_of(prober, axis)
    group = [axis, *(one for one in all_axes(prober) if one != axis and size_of(prober, one) == default)]
    if len(group) == 1 or Explorer(prober, group).step() is None:
        return [axis]
    for one in group[1:]:
        fewer = [other for other in group if other != one]
        if Explorer(prober, fewer).step() is not None:
            group = fewer
    return group


def all_axes(prober: Prober) -> Iterator[Axis]:
    """Yield the axes of all inputs."""
    for name, allowed in prober.inputs.items():
        yield from (Axis(name, index) for index in range(allowed.rank))


def size_of(prober: Prober, axis: Axis) -> int:
    """Return the default size of an axis."""
    return prober.inputs[axis.input].default[axis.number]
