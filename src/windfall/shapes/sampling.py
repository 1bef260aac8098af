"""The sizes at which a model is probed to learn what holds for all that it allows."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, product

from windfall.features.described import SizeRange
from windfall.shapes.allowed import Allowed, Dims
from windfall.shapes.probing import Sizes

_MOST_COMBINED = 64
_ROW = 16


def samples(inputs: Mapping[str, Allowed], together: Sequence[str]) -> list[Sizes]:
    """Return sizes that stand for all allowed ones; the default ones come first.

    These are all that are enumerated. Of ranges, the ends of all axes at once and of each alone, and the sizes next to
    the ends, where what wants a multiple of some number shows.

    Args:
        inputs: What each input allows.
        together: Inputs that are set at once: they are never given different sizes.
    """
    flexible = {name: _candidates(allowed) for name, allowed in inputs.items() if allowed.is_flexible}
    steps = max(map(len, flexible.values()), default=0)
    found: list[Sizes] = [{}]
    for step in range(steps):
        found.append({name: dims[min(step, len(dims) - 1)] for name, dims in flexible.items()})
        found.append({name: dims[min(step, len(dims) - 1)] for name, dims in flexible.items() if name in together})
    return [sizes for at, sizes in enumerate(found) if sizes not in found[:at]]


def combinations(inputs: Mapping[str, Allowed]) -> list[Sizes] | None:
    """Return all sizes of the inputs where every flexible one is enumerated and they are few; else None."""
    flexible = {name: allowed for name, allowed in inputs.items() if allowed.is_flexible}
    if not flexible or not all(allowed.shapes for allowed in flexible.values()):
        return None
    pairs = product(*(allowed.shapes for allowed in flexible.values()))
    found: list[Sizes] = [dict(zip(flexible, dims, strict=True)) for dims in islice(pairs, _MOST_COMBINED + 1)]
    return found if len(found) <= _MOST_COMBINED else None


def growing(inputs: Mapping[str, Allowed]) -> Iterator[tuple[Sizes, Sizes]]:
    """Yield pairs of sizes, of which the second is larger along all axes that have no limit; smaller ones later."""
    for factor in (4, 2):
        low = {name: _grown(allowed, 1) for name, allowed in inputs.items()}
        high = {name: _grown(allowed, factor) for name, allowed in inputs.items()}
        if low != high:
            yield low, high


def _grown(allowed: Allowed, factor: int) -> Dims:
    limits = allowed.ranges or (SizeRange(1, 1),) * allowed.rank
    return tuple(size * factor if one.most is None else size for size, one in zip(allowed.default, limits, strict=True))


def _candidates(allowed: Allowed) -> list[Dims]:
    if allowed.shapes:
        return list(allowed.shapes)
    low = tuple(one.least for one in allowed.ranges)
    high = tuple(
        2 * max(size, one.least) if one.most is None else one.most
        for size, one in zip(allowed.default, allowed.ranges, strict=True)
    )
    found = [high, low, *_row(allowed)]
    for axis, one in enumerate(allowed.ranges):
        near = (low[axis] + 1, low[axis] + 2, low[axis] + 3, allowed.default[axis] + 1, high[axis] - 1)
        sizes = (high[axis], low[axis], *(size for size in near if size in one))
        found += [tuple(size if at == axis else own for at, own in enumerate(allowed.default)) for size in sizes]
    # A range may start with 0, which no input has.
    return list(dict.fromkeys(tuple(max(1, size) for size in dims) for dims in found))


def _row(allowed: Allowed) -> list[Dims]:
    """Return sizes in a row along all axes at once, from the default ones upwards, and on below these."""
    return [
        tuple(_beside(size, step, one) for size, one in zip(allowed.default, allowed.ranges, strict=True))
        for step in range(1, _ROW + 1)
    ]


def _beside(size: int, step: int, bounds: SizeRange) -> int:
    """Return the size some steps above another one, or below it where the range ends before."""
    above = step if bounds.most is None else min(step, bounds.most - size)
    return max(bounds.least, size + step if above == step else size - (step - above))
