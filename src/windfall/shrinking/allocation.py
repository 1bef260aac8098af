"""Choose one option for each layer: the least bytes for an error, or the least error for some bytes.

This is the multiple-choice knapsack problem. It is solved for all errors at once: layer by layer, the sums of sizes and
errors that no other one beats in both are kept (Nemhauser and Ullmann, "Discrete dynamic programming and capital
allocation", Management Science 15/9, 1969). Unlike a Lagrange multiplier, which reaches those on the convex hull alone
(Shoham and Gersho, "Efficient bit allocation for an arbitrary set of quantizers", IEEE Transactions on Acoustics,
Speech, and Signal Processing 36/9, 1988), this finds every one.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MOST = 8192
"""So many sums are kept; of more, only some that lie close to the others are dropped, evenly over the sizes."""

_Floats = NDArray[np.float64]
_Integers = NDArray[np.int64]


class _Sums(NamedTuple):
    """Sums over the first layers, from the smallest size to the largest, errors falling; and how each came about."""

    sizes: _Integers
    errors: _Floats
    parents: _Integers
    places: _Integers


class Front:
    """All choices that no other one beats in both size and error.

    Args:
        sizes: For each layer the bytes of its options.
        errors: For each layer the errors of its options, at least 0.
        most: How many sums are kept at each layer.

    Attributes:
        sizes: The sum of bytes of each choice, rising.
        errors: The sum of errors of each choice, falling.
    """

    def __init__(self, sizes: Sequence[Sequence[int]], errors: Sequence[_Floats], most: int = MOST) -> None:
        first = np.zeros(1, np.int64)
        sums = _Sums(first, np.zeros(1), first, first)
        self._steps = list[_Sums]()
        for own_sizes, own_errors in zip(sizes, errors, strict=True):
            sums = _thinned(_best(_with_layer(sums, np.asarray(own_sizes, np.int64), own_errors)), most)
            self._steps.append(sums)
        self.sizes, self.errors = sums.sizes, sums.errors

    def __len__(self) -> int:
        return len(self.sizes)

    def choice(self, index: int) -> tuple[int, ...]:
        """Return the place of each layer's option in one of the choices."""
        places = []
        for step in reversed(self._steps):
            places.append(int(step.places[index]))
            index = int(step.parents[index])
        return tuple(reversed(places))

    def within(self, error: float) -> int:
        """Return the index of the smallest choice whose error is at most the given one; the last if none is."""
        return min(int(np.searchsorted(-self.errors, -error, side="left")), len(self) - 1)


def _with_layer(sums: _Sums, sizes: _Integers, errors: _Floats) -> _Sums:
    """Add each option of a layer to each sum: [sums] and [options] -> [sums * options]."""
    count = len(sizes)
    return _Sums(
        (sums.sizes[:, np.newaxis] + sizes).ravel(),
        (sums.errors[:, np.newaxis] + errors).ravel(),
        np.repeat(np.arange(len(sums.sizes)), count),
        np.tile(np.arange(count), len(sums.sizes)),
    )


def _best(sums: _Sums) -> _Sums:
    """Keep what nothing smaller has less error than."""
    order = np.lexsort((sums.errors, sums.sizes))
    errors = sums.errors[order]
    least = np.minimum.accumulate(errors)
    keep = np.concatenate([[True], errors[1:] < least[:-1]])
    return _taken(sums, order[keep])


def _thinned(sums: _Sums, most: int) -> _Sums:
    if len(sums.sizes) <= most:
        return sums
    return _taken(sums, np.unique(np.linspace(0, len(sums.sizes) - 1, most).round().astype(np.int64)))


def _taken(sums: _Sums, places: _Integers) -> _Sums:
    return _Sums(sums.sizes[places], sums.errors[places], sums.parents[places], sums.places[places])
