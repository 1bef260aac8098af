"""The moments of what a weight is multiplied by, added up sample by sample."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

DAMPING = 0.01
"""How much of the mean of its diagonal is added to the second moments' diagonal, as in GPTQ."""
_AT_ONCE = 512
_LEAST = 1e-6
"""The same of the mean before anything was subtracted: what is left below that is rounding."""


class Moments:
    """Sums over the rows that a layer's weight is multiplied by.

    The input is that of a network whose earlier layers are quantized already; how far it is from the input of the
    original network, the drift, counts too.

    Products of float32 are exact to some 1e-7 of what is multiplied. So that this is little beside the variance, too,
    what is multiplied is x less the mean of the first rows.

    Attributes:
        count: How many rows there were.
        first: The sum of x, [groups, columns].
        drift: The sum of d, the drift: what the original's x is larger by, likewise.
    """

    def __init__(self, groups: int, columns: int) -> None:
        self._waiting: list[tuple[Floats, Floats | None]] = []
        self.count = 0
        self._shift: Floats | None = None  # [groups, 1, columns]
        self._second = np.zeros((groups, columns, columns))
        self._cross: Doubles | None = None
        self.first = np.zeros((groups, columns))
        self.drift = np.zeros((groups, columns))

    def add(self, rows: Floats, original: Floats | None = None) -> None:
        """Add rows [groups, rows, columns], with those of the original network where these are others."""
        self.count += rows.shape[1]
        self.first += rows.sum(axis=1, dtype=np.float64)
        self._waiting.append((rows, original))
        if sum(given.shape[1] for given, _ in self._waiting) >= _AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Add the products of the rows that wait: a product of few rows takes as long as one of many."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        rows = np.concatenate([given for given, _ in waiting], axis=1)
        originals = [original for _, original in waiting if original is not None]
        if self._shift is None:
            self._shift = rows.mean(axis=1, keepdims=True)
        shifted = rows - self._shift
        turned = shifted.swapaxes(1, 2)
        self._second += turned @ shifted
        if not originals:
            return
        drift = np.concatenate(originals, axis=1) - rows
        if self._cross is None:
            self._cross = np.zeros_like(self._second)
        self._cross += turned @ drift
        self.drift += drift.sum(axis=1, dtype=np.float64)

    @property
    def is_zero(self) -> bool:
        """Whether all rows are zeros."""
        return self._shift is None or not (self._shift.any() or self._second.any())

    def means(self, *, centred: bool) -> tuple[Doubles, Doubles | None]:
        """Return the mean of x x^T and of x d^T.

        Args:
            centred: Leave out what the layer's bias can make up for: use x and d less their means.
        """
        second = self._second / self.count
        cross = None if self._cross is None else self._cross / self.count
        shift, mean, drift = self._shifts, self.first / self.count, self.drift / self.count
        # With s the shift: mean of (x - s)(x - s)^T = mean of x x^T - m m^T + (m - s)(m - s)^T
        second -= _outer(mean - shift, mean - shift)
        if not centred:
            second += _outer(mean, mean)
        if cross is not None:
            cross -= _outer(mean - shift, drift)
            cross += 0 if centred else _outer(mean, drift)
        return second, cross

    @property
    def _shifts(self) -> Doubles:
        assert self._shift is not None
        return self._shift[:, 0].astype(np.float64)

    def damped(self, second: Doubles) -> Doubles:
        """Return what ``means`` gave for x x^T with a larger diagonal, which makes it positive definite."""
        columns = second.shape[1]
        mean, shift = self.first / self.count, self._shifts
        squares = np.einsum("gkk->", self._second) / self.count + (2 * mean * shift - shift**2).sum()
        before = squares / len(second)
        added: Doubles = DAMPING * np.einsum("gkk->g", second) + _LEAST * before
        result: Doubles = second + (added / columns)[:, np.newaxis, np.newaxis] * np.eye(columns)
        return result


def _outer(first: Doubles, second: Doubles) -> Doubles:
    # [groups, columns] -> [groups, columns, columns]
    return first[:, :, np.newaxis] * second[:, np.newaxis]
