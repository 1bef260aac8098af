"""The sizes of outputs, which follow from those of the inputs."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from windfall.features.described import SizeRange
from windfall.graph.shapes import Dim
from windfall.shapes.allowed import Allowed, Dims, read_allowed, write_allowed
from windfall.shapes.probing import Probe, Prober, Shape
from windfall.shapes.sampling import combinations, growing


def update_outputs(prober: Prober, probes: Sequence[Probe]) -> None:
    """Write into the description which sizes the outputs have, given those that the inputs may have.

    An array whose shape is not declared stays so.

    Args:
        prober: The model as it is now; its message is changed.
        probes: What happens at different sizes, the default ones first.
    """
    combined = combinations(prober.inputs)
    each = None if combined is None else [prober.at(sizes) for sizes in combined]
    for feature in prober.description.output:
        allowed = read_allowed(feature)
        if allowed is None or feature.name not in probes[0].outputs or not (allowed.default or allowed.is_flexible):
            continue
        fit = _Fit(prober, feature, allowed)
        write_allowed(feature, fit.listed(probes, each) if each is not None else fit.ranged(probes))


class _Fit:
    """Fits the sizes of one output to what probes found."""

    def __init__(self, prober: Prober, feature: Any, declared: Allowed) -> None:
        self._prober = prober
        self._name = feature.name
        self._declared = declared

    def listed(self, probes: Sequence[Probe], each: Sequence[Probe]) -> Allowed:
        """Return the sizes as a list."""
        taken = [probe for probe in each if probe.refusal is None]
        default, *rows = self._rows([probes[0], *taken])
        shapes = tuple(dict.fromkeys(_known(row) for row in rows))
        allowed = replace(self._declared, default=_known(default), shapes=shapes, ranges=())
        return allowed if len(shapes) > 1 else replace(allowed, shapes=())

    def ranged(self, probes: Sequence[Probe]) -> Allowed:
        """Return the sizes as ranges."""
        taken = [probe for probe in probes if probe.refusal is None]
        rows = self._rows(taken)
        grow = self._growing(len(rows[0]))
        ranges = tuple(_range(sizes, is_open) for sizes, is_open in zip(zip(*rows, strict=True), grow, strict=True))
        allowed = replace(self._declared, default=_known(rows[0]), ranges=ranges, shapes=())
        return allowed if allowed.is_flexible else replace(allowed, ranges=())

    def _growing(self, rank: int) -> list[bool]:
        """Tell for each axis whether it grows without limit."""
        for low, high in growing(self._prober.inputs):
            probes = self._prober.at(low), self._prober.at(high)
            if all(probe.refusal is None for probe in probes):
                rows = self._rows(probes)
                return [one != other for one, other in zip(*rows, strict=True)]
        return [False] * rank

    def _rows(self, probes: Sequence[Probe]) -> list[Shape]:
        """Return what the feature's sizes are in each probe, all of one rank."""
        shapes = [probe.outputs[self._name] for probe in probes]
        if self._declared.is_image:
            return [(shape[2], shape[1]) for shape in shapes]  # [N, H, W, C] -> (W, H)
        if self._prober.rank5 and all(len(shape) == 5 and shape[:2] == (1, 1) for shape in shapes):
            shapes = [shape[2:] for shape in shapes]  # [Seq, Batch, C, H, W] -> [C, H, W]
            if self._declared.rank == 1 and all(shape[1:] == (1, 1) for shape in shapes):
                shapes = [shape[:1] for shape in shapes]
            return shapes
        extra = len(shapes[0]) - self._declared.rank
        if extra > 0 and all(set(shape[:extra]) == {1} for shape in shapes):
            shapes = [shape[extra:] for shape in shapes]
        return shapes


def _known(row: Sequence[Dim]) -> Dims:
    """Return sizes with 1 in the place of those that depend on the data."""
    return tuple(1 if size is None else size for size in row)


def _range(sizes: Sequence[Dim], is_open: bool) -> SizeRange:
    known = [size for size in sizes if size is not None]
    if len(known) < len(sizes):
        return SizeRange(0, None)
    return SizeRange(min(known), None if is_open else max(known))
