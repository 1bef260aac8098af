"""The best lookup tables: k-means of numbers, which has an exact solution.

In one dimension each cluster is a run of the sorted values, so the best clusters are found by dynamic programming (Wang
and Song, "Ckmeans.1d.dp: Optimal k-means Clustering in One Dimension by Dynamic Programming", The R Journal 3/2, 2011).
The best last split never moves to the left as values are added, so divide and conquer over it takes O(k n log n)
(Gronlund, Larsen, Mathiasen, Nielsen, Schneider and Song, "Fast Exact k-Means, k-Medians and Bregman Divergence
Clustering in 1D", arXiv:1701.07204, 2017). Both hold for values that weigh differently, too.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MOST_EXACT = 4096
"""How many different values are clustered exactly; of more, splits are first sought among some places only."""

_PLACES = 768
_CELLS = 2048
_SIDE = np.linspace(-1, 0, 9)
_SLIGHT = 1e-5
_MOST_STEPS = 1000
_FEW = 16
_CHUNK = 2**16
_BUCKETS = 2**16
_LIGHTEST = 1e-6
_MANY = 128
_WIDEST = 16
"""How many times the mean number of places a cluster may have before all sizes are tried."""

_Floats = NDArray[np.float64]
_Integers = NDArray[np.int64]


class _Sorted(NamedTuple):
    """Numbers in ascending order, with sums over those in front of each place: ``[n + 1]``.

    Attributes:
        values: The numbers [n].
        weights: How much they weigh together: one each, if nothing else is said.
        sums: Their sum, each times its weight; ``shift``, their mean, is subtracted from each, which keeps the sums
            small.
    """

    values: NDArray[np.float32]
    weights: _Floats
    sums: _Floats
    shift: float


def best_table(
    values: NDArray[np.float32], entries: int, weights: NDArray[np.float64] | None = None
) -> NDArray[np.float32]:
    """Return the numbers that some values are best rounded to: those with the least sum of squared differences.

    Exact for up to ``MOST_EXACT`` different values. Of more, the best splits among some thousand places are found,
    then moved together to the best of the places around them, at ever smaller distances, and at last by Lloyd's
    algorithm over all values until nothing changes.

    Args:
        values: [n], finite.
        entries: How many numbers there may be, 2 to 256.
        weights: How much the squared difference of each value counts [n], finite and not below 0; 1 by default. What
            weighs less than a millionth of the mean counts that much.

    Returns:
        [m] in ascending order, with m at most ``entries``: as many as there are different values where they are few.
    """
    if weights is None:
        ordered = np.sort(values)
    else:
        order = values.argsort(kind="stable")
        ordered = values[order]
    starts = _starts(ordered)
    if len(starts) <= entries:
        return ordered[starts]
    many = 2 * len(starts) > len(ordered) > MOST_EXACT
    if weights is not None:
        data = _summed(ordered[starts], np.add.reduceat(_floored(weights)[order], starts))
    elif many:
        data = _summed(ordered, None)
    else:
        data = _summed(ordered[starts], np.diff(starts, append=len(ordered)))
    if len(starts) <= MOST_EXACT:
        splits = _splits(data.weights, data.sums, entries)
    else:
        places = _places(data, _PLACES)
        splits = places[_near_splits(data.weights[places], data.sums[places], entries)]
        splits = _moved(data, splits)
    return np.unique(_refined(data, splits).astype(np.float32))


def nearest(values: NDArray[np.float32], table: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return for each value the index of the table's nearest number; of two that are as near, the first.

    Args:
        values: [n], finite.
        table: [m] in ascending order, m at most 256; of equal entries any may be taken.
    """
    limits = _limits(table)
    if len(table) <= _FEW:
        return _by_counting(values, limits)
    return _by_buckets(values, limits)


def _limits(table: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the largest number that is rounded to each entry but the last: those halfway to the next, in float32."""
    wide = table.astype(np.float64)
    return _rounded_down((wide[:-1] + wide[1:]) / 2)


def _rounded_down(numbers: _Floats) -> NDArray[np.float32]:
    """Return the largest float32 that is not above each number."""
    rounded = numbers.astype(np.float32)
    return np.where(rounded > numbers, np.nextafter(rounded, np.float32(-np.inf)), rounded)


def _by_counting(values: NDArray[np.float32], limits: NDArray[np.float32]) -> NDArray[np.uint8]:
    codes = np.zeros(len(values), np.uint8)
    for start in range(0, len(values), _CHUNK):
        part, code = values[start : start + _CHUNK], codes[start : start + _CHUNK]
        for limit in limits:
            code += part > limit
    return codes


def _by_buckets(values: NDArray[np.float32], limits: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Look values up in a fine grid; only what shares a bucket with a limit is searched for.

    Rounding never reverses an order, so what lies in a bucket below that of a limit is below it.
    """
    if not len(values):
        return np.zeros(0, np.uint8)
    first, last = values.min(), values.max()
    scale = np.float64(_BUCKETS - 1) / (np.float64(last) - np.float64(first) or 1.0)

    def bucket(numbers: NDArray[np.float32]) -> NDArray[np.uint16]:
        buckets: NDArray[np.uint16] = ((numbers.astype(np.float64) - first) * scale).astype(np.uint16)
        return buckets

    borders = bucket(np.clip(limits, first, last))
    grid = np.searchsorted(borders, np.arange(_BUCKETS), side="left").astype(np.uint8)
    unsure = np.zeros(_BUCKETS, bool)
    unsure[borders] = True
    codes = np.empty(len(values), np.uint8)
    for start in range(0, len(values), _CHUNK):
        part = values[start : start + _CHUNK]
        own = bucket(part)
        code = grid[own]
        search = np.flatnonzero(unsure[own])
        code[search] = np.searchsorted(limits, part[search], side="left")
        codes[start : start + _CHUNK] = code
    return codes


def _floored(weights: NDArray[np.float64]) -> _Floats:
    """Return weights of which none is lost when it is added to the others, with a mean of 1."""
    mean = float(weights.mean())
    return np.maximum(weights / mean, _LIGHTEST) if mean > 0 else np.ones(len(weights))


def _starts(ordered: NDArray[np.float32]) -> _Integers:
    """Return where each different value starts."""
    return np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(ordered) else np.arange(0)


def _summed(values: NDArray[np.float32], counts: _Integers | _Floats | None) -> _Sorted:
    """Add numbers up; without counts each one counts once."""
    shift = float(np.average(values, weights=counts))
    sums = np.zeros(len(values) + 1)
    np.subtract(values, shift, out=sums[1:])
    if counts is None:
        weights = np.arange(len(values) + 1.0)
    else:
        sums[1:] *= counts
        weights = np.concatenate([[0.0], np.cumsum(counts, dtype=np.float64)])
    np.cumsum(sums, out=sums)
    return _Sorted(values, weights, sums, shift)


def _places(data: _Sorted, count: int) -> _Integers:
    """Return places to split at, which lie as close as the best tables' entries do.

    These have a density that goes with the cube root of that of the values (Panter and Dite, "Quantization distortion
    in pulse-count modulation with nonuniform spacing of levels", Proceedings of the IRE 39, 1951). The density is taken
    from cells of three kinds: that have as many values, that have as many different ones, and that are as wide.
    """
    values, weights = data.values, data.weights
    size = len(values)
    every = np.searchsorted(weights[1:-1], np.linspace(0, weights[-1], _CELLS))
    different = np.linspace(0, size - 1, _CELLS).astype(np.int64)
    even = np.searchsorted(values[:-1], np.linspace(values[0], values[-1], _CELLS, dtype=np.float64).astype(np.float32))
    borders = np.unique(np.concatenate([every, different, even]))
    widths = np.diff(values[borders].astype(np.float64))
    reached = np.concatenate([[0.0], np.cumsum(np.cbrt(np.diff(weights[borders]) * widths**2))])
    wanted = np.interp(np.linspace(0, reached[-1], count), reached, borders).astype(np.int64)
    return np.unique(np.concatenate([wanted, different[:: _CELLS * 4 // count], [0, size]]))


def _splits(weights: _Floats, sums: _Floats, count: int) -> _Integers:
    """Return the places that part the values best into clusters, both ends included.

    Args:
        weights: How many values there are in front of each place [m + 1], ascending.
        sums: What they add up to [m + 1].
        count: How many clusters there are, at most m.

    Returns:
        [count + 1].
    """
    size = len(weights)
    # The squared differences are the sum of squares, which stays, less sum(cluster) ** 2 / weight(cluster).
    best = np.full(size, -np.inf)
    best[1:] = sums[1:] ** 2 / weights[1:]
    choices = np.zeros((count, size), np.int32)
    for cluster in range(1, count):
        best, choices[cluster] = _with_one_more(best, weights, sums)
    chosen = [size - 1]
    for cluster in range(count - 1, 0, -1):
        chosen.append(int(choices[cluster, chosen[-1]]))
    return np.array([0, *chosen[::-1]], np.int64)


def _near_splits(weights: _Floats, sums: _Floats, count: int) -> _Integers:
    """Return what ``_splits`` does, sooner where there are many clusters.

    Clusters of a bounded number of places are tried first: the places lie where the best splits are about evenly. Where
    one comes out that large, all are tried.
    """
    most = _WIDEST * -(-len(weights) // count)
    if count < _MANY or most >= len(weights):
        return _splits(weights, sums, count)
    # [places, widths]: the sum that is to be large, of the cluster that ends at a place and is so wide.
    starts = np.arange(len(weights))[:, np.newaxis] - np.arange(1, most + 1)
    inside = (sums[:, np.newaxis] - sums[starts]) ** 2
    size = weights[:, np.newaxis] - weights[starts]
    inside = np.divide(inside, size, out=np.full(inside.shape, -np.inf), where=(size > 0) & (starts >= 0))
    best = np.full(len(weights), -np.inf)
    best[1:] = sums[1:] ** 2 / weights[1:]
    choices = np.zeros((count, len(weights)), np.int32)
    rows = np.arange(len(weights))
    for cluster in range(1, count):
        reached = best[starts]
        reached += inside
        choices[cluster] = reached.argmax(axis=1)
        best = reached[rows, choices[cluster]]
    chosen = [len(weights) - 1]
    for cluster in range(count - 1, 0, -1):
        chosen.append(chosen[-1] - 1 - int(choices[cluster, chosen[-1]]))
    splits = np.array([0, *chosen[::-1]], np.int64)
    return _splits(weights, sums, count) if np.diff(splits).max() >= most else splits


def _with_one_more(best: _Floats, weights: _Floats, sums: _Floats) -> tuple[_Floats, _Integers]:
    """Add a cluster: return for each end the best sum, and the place where the last cluster starts.

    The places of every second end lie between those of its neighbours; so all ends of a level are done at once, from
    the one in the middle to every single one.
    """
    size = len(weights)
    result = np.full(size, -np.inf)
    place = np.zeros(size, np.int64)
    step = 1 << (size - 1).bit_length()
    while step > 1:
        step //= 2
        ends = np.arange(step, size, 2 * step)
        low = place[ends - step]
        after = ends + step
        high = np.minimum(np.where(after < size, place[np.minimum(after, size - 1)], size), ends - 1)
        _search(_Level(ends, low, np.maximum(high, low)), best, weights, sums, result, place)
    return result, place


class _Level(NamedTuple):
    """Ends, with the first and the last place where a cluster up to each may start."""

    ends: _Integers
    low: _Integers
    high: _Integers


def _search(level: _Level, best: _Floats, weights: _Floats, sums: _Floats, result: _Floats, place: _Integers) -> None:
    """Fill in the best sums and places for some ends: all their candidates stand in one row, end by end."""
    lengths = level.high - level.low + 1
    stops = lengths.cumsum()
    starts = stops - lengths
    rows = np.arange(len(lengths)).repeat(lengths)
    candidates = np.arange(stops[-1])
    candidates += (level.low - starts)[rows]
    inside = sums[level.ends][rows]
    inside -= sums[candidates]
    inside *= inside
    inside /= weights[level.ends][rows] - weights[candidates]
    inside += best[candidates]
    most = np.maximum.reduceat(inside, starts)
    result[level.ends] = most
    hits = (inside == most[rows]).nonzero()[0][::-1]
    # The first of equal ones stays: it is assigned last.
    place[level.ends[rows[hits]]] = candidates[hits]


def _moved(data: _Sorted, splits: _Integers) -> _Integers:
    """Move all splits at once, each to the best of a few places on both sides of it, at ever smaller distances."""
    reach = 1.0
    gain = -np.inf
    while True:
        gaps = np.diff(splits)
        # [k - 1, places]: evenly from one neighbour to the other, the split itself among them.
        offsets = np.concatenate([gaps[:-1, np.newaxis] * _SIDE[:-1], gaps[1:, np.newaxis] * -_SIDE[::-1]], axis=1)
        inner = splits[1:-1, np.newaxis] + np.trunc(offsets * reach).astype(np.int64)
        splits, better = _best_of(data, inner)
        if reach * gaps.max() < len(_SIDE) and better <= gain:
            return splits
        gain, reach = better, reach if better > gain * (1 + _SLIGHT) else reach / 2


def _best_of(data: _Sorted, inner: _Integers) -> tuple[_Integers, float]:
    """Choose the best of some places for each split but the first and the last.

    Args:
        data: The values.
        inner: The places [k - 1, places].

    Returns:
        The splits [k + 1], and the sum that is to be large.
    """
    options = inner.shape[1]
    ends = np.zeros((1, options), np.int64)
    every = np.concatenate([ends, inner, ends + len(data.values)])
    weights, sums = data.weights[every], data.sums[every]
    # [k, from, to]
    inside = (sums[1:, np.newaxis] - sums[:-1, :, np.newaxis]) ** 2
    size = weights[1:, np.newaxis] - weights[:-1, :, np.newaxis]
    inside = np.divide(inside, size, out=np.full(inside.shape, -np.inf), where=size > 0)
    best = inside[0, 0]
    choices = []
    for step in inside[1:]:
        sums_to = best[:, np.newaxis] + step
        choices.append(sums_to.argmax(axis=0))
        best = sums_to.max(axis=0)
    at = 0
    splits = [len(data.values)]
    for row, choice in zip(inner[::-1], choices[::-1], strict=True):
        at = choice[at]
        splits.append(row[at])
    return np.array([*splits, 0])[::-1], float(best[0])


def _refined(data: _Sorted, splits: _Integers) -> _Floats:
    """Move splits halfway between the means on both sides until nothing changes; return the means."""
    centers = np.zeros(len(splits) - 1)
    for _ in range(_MOST_STEPS):
        weights = np.diff(data.weights[splits])
        # A cluster that lost all its values keeps its mean.
        np.divide(np.diff(data.sums[splits]), weights, out=centers, where=weights > 0)
        limits = _rounded_down((centers[1:] + centers[:-1]) / 2 + data.shift)
        moved = np.concatenate([[0], np.searchsorted(data.values, limits, side="right"), [len(data.values)]])
        if np.array_equal(moved, splits):
            break
        splits = moved
    return centers + data.shift
