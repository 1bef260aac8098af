"""The values that a weight may take: an entry of one lookup table, or even steps.

A weight stands here as [groups, columns, rows]: rows are output channels of a group, columns what they are summed over.
"""

from collections.abc import Callable
from typing import Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from windfall.quantization.codecs import Encoded
from windfall.quantization.kmeans import best_table

Floats = NDArray[np.float32]
Codes = NDArray[np.uint8]
Float = type[np.float16] | type[np.float32]
Number = TypeVar("Number", bound=np.generic)
Product = Callable[[Floats], Floats]
"""Multiplies an array of a weight's layout by the input moments, along its columns."""

_MOST_STEPS = 8
_ENOUGH = 1e-6
_LARGEST = float(np.finfo(np.float32).max)


class Levels(Protocol):
    """What values may become."""

    def codes(self, values: Floats) -> Codes:
        """Return the code of the nearest value that there is for each of [groups, rows]."""
        ...

    def values(self, codes: NDArray[np.uint8]) -> Floats:
        """Return what codes of [groups, rows], or of [groups, columns, rows], stand for."""
        ...

    def refitted(self, weight: Floats, codes: Codes, product: Product) -> tuple[Self, Codes]:
        """Return the levels that bring what the codes stand for nearest to a weight, by the outputs' error.

        The codes come with them, as a table may have to be put in order again.
        """
        ...

    def rounded(self, kind: Float) -> "Levels":
        """Return levels whose entries, or steps, are numbers of a type; each code stays with what it stood for."""
        ...

    def encoded(self, codes: Codes) -> Encoded:
        """Return codes of [groups, columns, rows] as [channels, columns], with what they stand for."""
        ...


def _nearest(numbers: Floats, kind: Float) -> Floats:
    """Return the nearest numbers of a type, as float32."""
    most = np.finfo(kind).max
    return np.clip(numbers, -most, most).astype(kind).astype(np.float32)


def by_rows(array: NDArray[Number]) -> NDArray[Number]:
    """Turn [groups, columns, rows] into [groups * rows, columns]."""
    return array.swapaxes(1, 2).reshape(-1, array.shape[1])


class Table:
    """A lookup table for the whole weight.

    Args:
        entries: What it has, [entries].
        size: How many entries the format asks for; the last one is repeated.
    """

    def __init__(self, entries: NDArray[np.float32], size: int) -> None:
        self.entries = np.sort(entries)
        self._size = size
        self._limits = (self.entries[1:] + self.entries[:-1]) / 2

    @classmethod
    def fitted(cls, weight: Floats, importance: NDArray[np.float64], bits: int) -> "Table":
        """Return the best table for values that weigh as much as their column.

        Source: Hessian-weighted k-means of Choi, El-Khamy and Lee, "Towards the Limit of Network Quantization",
        arXiv:1612.01543, 2016; for large language models, "SqueezeLLM" of Kim et al., arXiv:2306.07629, 2023. Both
        take an importance for each weight; here it is that of the input that the weight is multiplied by.

        Args:
            weight: [groups, columns, rows].
            importance: [groups, columns].
            bits: How many bits a code has.
        """
        each = np.broadcast_to(importance[:, :, np.newaxis], weight.shape)
        return cls(best_table(weight.reshape(-1), 2**bits, each.reshape(-1)), 2**bits)

    def codes(self, values: Floats) -> Codes:
        """Return the code of the nearest entry for each value."""
        return np.searchsorted(self._limits, values).astype(np.uint8)

    def values(self, codes: Codes) -> Floats:
        """Return the entries that codes name."""
        return self.entries[codes]

    def refitted(self, weight: Floats, codes: Codes, product: Product) -> "tuple[Table, Codes]":
        """Solve the least squares problem for the entries by conjugate gradients (Hestenes and Stiefel, 1952).

        The gradient for an entry is the sum of those of the values that it stands for, so one product with the moments
        is a step, however many entries there are.
        """
        count = len(self.entries)
        flat = codes.reshape(-1)

        def summed(gradient: Floats) -> NDArray[np.float64]:
            return np.bincount(flat, gradient.reshape(-1), minlength=count).astype(np.float64)

        entries = self.entries.astype(np.float64)
        residual = summed(product(weight - self.values(codes)))
        direction, size = residual.copy(), float(residual @ residual)
        start = size
        for _ in range(_MOST_STEPS):
            if size <= _ENOUGH * start:
                break
            image = summed(product(direction.astype(np.float32)[codes]))
            curvature = float(direction @ image)
            if curvature <= 0:
                break
            entries += size / curvature * direction
            residual -= size / curvature * image
            size, before = float(residual @ residual), size
            direction = residual + size / before * direction
        places = entries.argsort(kind="stable").argsort().astype(np.uint8)
        return Table(entries.astype(np.float32), self._size), places[codes]

    def rounded(self, kind: Float) -> "Table":
        """Round the entries to a type; they stay in order, some may become equal."""
        return Table(_nearest(self.entries, kind), self._size)

    def encoded(self, codes: Codes) -> Encoded:
        """Return codes as [channels, columns], with the table."""
        table = np.pad(self.entries, (0, self._size - len(self.entries)), mode="edge")
        return Encoded(by_rows(codes), table=table)


class Steps:
    """Even steps for each row, for the same row of all groups, or for all.

    Args:
        scale: The step, [groups, rows], [1, rows] or [1, 1].
        bias: What code 0 stands for, likewise.
        bits: How many bits a code has.
        zero: The codes that must stand for 0, likewise or [1, 1]; None if any value may.
        as_table: Whether the format stores them as a lookup table.
    """

    def __init__(self, scale: Floats, bias: Floats, bits: int, zero: Floats | None, *, as_table: bool = False) -> None:
        self.scale, self.bias = scale, bias
        self._bits, self._zero, self._as_table = bits, zero, as_table

    def codes(self, values: Floats) -> Codes:
        """Return the code of the nearest step for each of [groups, rows]."""
        steps = np.rint((values - self.bias) / self.scale)
        codes: Codes = np.clip(steps, 0, 2**self._bits - 1).astype(np.uint8)
        return codes

    def values(self, codes: Codes) -> Floats:
        """Return what codes of [groups, rows], or of [groups, columns, rows], stand for."""
        scale, bias = self.scale, self.bias
        if codes.ndim == 3:  # [groups, rows] -> [groups, 1, rows]
            scale, bias = scale[:, np.newaxis], bias[:, np.newaxis]
        return codes * scale + bias

    def refitted(self, weight: Floats, codes: Codes, product: Product) -> "tuple[Steps, Codes]":
        """Solve the least squares problem of each row, or of all, for its scale and bias."""
        steps = codes.astype(np.float32)
        if self._zero is not None:
            steps -= self._zero[:, np.newaxis]  # [groups, rows] -> [groups, 1, rows]
        image = product(steps)
        squares, target = self._summed(steps, image), self._summed(weight, image)
        if self._zero is not None:
            scale = np.divide(target, squares, out=self.scale.astype(np.float64), where=squares > 0)
            return self._with(scale, -self._zero.astype(np.float64) * scale), codes
        flat = product(np.ones_like(weight[:, :, :1]))
        flat = np.broadcast_to(flat, weight.shape)
        ones, mixed = self._summed(flat, np.ones_like(flat)), self._summed(flat, steps)
        level = self._summed(flat, weight)
        determinant = squares * ones - mixed**2
        solvable = determinant > _ENOUGH * squares * ones
        scale, bias = self.scale.astype(np.float64), self.bias.astype(np.float64)
        np.divide(target * ones - mixed * level, determinant, out=scale, where=solvable)
        np.divide(squares * level - mixed * target, determinant, out=bias, where=solvable)
        return self._with(scale, bias), codes

    def _summed(self, first: Floats, second: Floats) -> NDArray[np.float64]:
        each: NDArray[np.float64] = np.einsum("gkr,gkr->gr", first, second, dtype=np.float64)
        shared = tuple(axis for axis in (0, 1) if self.scale.shape[axis] == 1)
        summed: NDArray[np.float64] = each.sum(axis=shared, keepdims=True)
        return summed

    def _with(self, scale: NDArray[np.float64], bias: NDArray[np.float64]) -> "Steps":
        """Take new steps where they are usable; those of a row whose are not stay."""
        usable = (scale > np.finfo(np.float32).tiny) & (np.abs(bias) + scale * 2**self._bits < _LARGEST)
        new_scale = np.where(usable, scale, self.scale).astype(np.float32)
        new_bias = np.where(usable, bias, self.bias).astype(np.float32)
        return Steps(new_scale, new_bias, self._bits, self._zero, as_table=self._as_table)

    def rounded(self, kind: Float) -> "Steps | Table":
        """Round the steps to a type; those that would be 0 become 1."""
        if self._as_table:
            return Table(self._table, 2**self._bits).rounded(kind)
        scale = _nearest(self.scale, kind)
        scale[scale == 0] = 1
        bias = self.bias if self._zero is None else -self._zero * scale
        return Steps(scale, bias, self._bits, self._zero)

    def encoded(self, codes: Codes) -> Encoded:
        """Return codes as [channels, columns], with their scales, or with the table that has the same values."""
        rows = by_rows(codes)
        if self._as_table:
            return Encoded(rows, table=self._table)
        return Encoded(rows, self.scale.reshape(-1), self.bias.reshape(-1))

    @property
    def _table(self) -> Floats:
        return np.arange(2**self._bits, dtype=np.float32) * self.scale.reshape(-1) + self.bias.reshape(-1)
