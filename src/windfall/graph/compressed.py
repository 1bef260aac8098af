"""Weights that a graph holds in fewer bits: what their numbers stand for, apart from where they come from."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from windfall.graph.stored import StoredTensor
from windfall.spec.modelfile import Place

Floats = NDArray[Any]
_LARGEST = 1e18
"""The product of two such numbers is one of float32."""


def nowhere() -> Place | None:
    """Say that no file holds the codes as they are."""
    return None


@dataclass(frozen=True)
class Compressed:
    """A weight [d0, d1, ...] of whole numbers, its codes, and what these stand for.

    Either ``scale * (code - zero) + bias``, or ``table[code]``. Each of the four has a value, or a table, for every
    block of the weight: [g0, g1, ...], where each g divides its d; a table has one more axis, its entries.

    Attributes:
        codes: Reads the codes, uint8 or int8 [d0, d1, ...].
        dims: The weight's shape.
        bits: How many bits a code has, 1 to 8.
        signed: Whether codes are int8.
        scale: float32 [g0, g1, ...]; None where there is a table.
        zero: float32 [g0, g1, ...]; None for 0.
        bias: float32 [g0, g1, ...]; None for 0.
        table: float32 [g0, g1, ..., entries].
        place: Tells where the codes lie as they are, None if they must be read by ``codes``.
    """

    codes: Callable[[], NDArray[Any]]
    dims: tuple[int, ...]
    bits: int
    signed: bool = False
    scale: Floats | None = None
    zero: Floats | None = None
    bias: Floats | None = None
    table: Floats | None = None
    place: Callable[[], Place | None] = nowhere

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.dims)

    @property
    def is_finite(self) -> bool:
        """Whether nothing that is computed with them on the way to a result is infinite or not a number."""
        parts = (self.scale, self.zero, self.bias, self.table)
        return all(part is None or bool((np.abs(part) <= _LARGEST).all()) for part in parts)

    def transposed(self, perm: Sequence[int]) -> "Compressed":
        """Return the weight with its axes in another order."""

        def move(part: Floats | None) -> Floats | None:
            return None if part is None else part.transpose([*perm, *range(len(perm), part.ndim)])

        return replace(
            self,
            codes=lambda: np.ascontiguousarray(self.codes().transpose(perm)),
            dims=tuple(self.dims[axis] for axis in perm),
            scale=move(self.scale),
            zero=move(self.zero),
            bias=move(self.bias),
            table=move(self.table),
            place=nowhere,
        )

    def rows(self, start: int, stop: int) -> "Compressed":
        """Return some of the entries along the first axis, for which it must have ``has_rows``."""

        def cut(part: Floats | None) -> Floats | None:
            return part if part is None or part.shape[0] == 1 else part[start:stop]

        def codes() -> NDArray[Any]:
            return self.codes()[start:stop].copy()  # no view, which would keep all of them

        return replace(
            self,
            codes=codes,
            dims=(stop - start, *self.dims[1:]),
            scale=cut(self.scale),
            zero=cut(self.zero),
            bias=cut(self.bias),
            table=cut(self.table),
            place=nowhere,
        )

    @property
    def has_rows(self) -> bool:
        """Whether blocks along the first axis are of one entry, or of all."""
        parts = (self.scale, self.zero, self.bias, self.table)
        return all(part is None or part.shape[0] in (1, self.dims[0]) for part in parts)


class CompressedTensor(StoredTensor):
    """A float32 tensor that is decoded each time it is asked for, and that need not be.

    Args:
        load: Decodes the tensor.
        dims: Its shape.
        name: Its name.
        describe: Tells what it is decoded from.
    """

    def __init__(
        self,
        load: Callable[[], NDArray[Any]],
        dims: Sequence[int],
        name: str,
        describe: Callable[[], Compressed],
    ) -> None:
        super().__init__(load, dims, name)
        self._describe = describe

    @cached_property
    def compressed(self) -> Compressed:
        """What it is decoded from."""
        return self._describe()

    def transposed(self, perm: Sequence[int]) -> "CompressedTensor":
        """Return the tensor with its axes in another order."""

        def load() -> NDArray[Any]:
            return np.ascontiguousarray(self.numpy().transpose(perm))

        dims = self.shape.numpy()
        name = self.name or "transposed"
        return CompressedTensor(load, [dims[axis] for axis in perm], name, lambda: self.compressed.transposed(perm))


@dataclass(frozen=True)
class Linear:
    """What codes stand for as engines take it: ``scale * (code - zero) + rest`` with a zero point that is a code.

    Attributes:
        scale: float32 [g0, g1, ...].
        zero: Whole numbers of the codes' range, [g0, g1, ...].
        rest: float32 [g0, g1, ...], mostly at most half of a scale; None where it is 0.
    """

    scale: Floats
    zero: NDArray[np.int64]
    rest: Floats | None


# A rest this small beside the value at code 0 is less than float32 leaves of it.
_ROUNDING = 2.0**-23


def linear_form(weight: Compressed) -> Linear:
    """Return scale, zero point and rest of a weight that has no table.

    Core ML's bias is any number; an engine's zero point is a code. The nearest one leaves a rest, without which
    products with the codes stay as accurate as with the weight itself.
    """
    assert weight.scale is not None, weight
    scale = weight.scale.astype(np.float64)
    start = np.zeros_like(scale) if weight.bias is None else weight.bias.astype(np.float64)
    if weight.zero is not None:
        start = start - scale * weight.zero
    scale, start = np.broadcast_arrays(scale, start)
    low = -(2 ** (weight.bits - 1)) if weight.signed else 0
    ideal = np.divide(-start, scale, out=np.zeros_like(start), where=scale != 0)
    zero = np.clip(np.rint(ideal), low, low + 2**weight.bits - 1)
    rest = start + scale * zero
    rest[np.abs(rest) <= _ROUNDING * np.abs(start)] = 0
    return Linear(scale.astype(np.float32), zero.astype(np.int64), rest.astype(np.float32) if rest.any() else None)


def is_compressed(value: ir.Value | None) -> bool:
    """Whether a value is a weight that is held in fewer bits."""
    return value is not None and isinstance(value.const_value, CompressedTensor)


def compressed_of(value: ir.Value) -> Compressed:
    """Return what a value that ``is_compressed`` holds."""
    tensor = value.const_value
    assert isinstance(tensor, CompressedTensor), value
    return _without_even_table(tensor.compressed)


def _without_even_table(weight: Compressed) -> Compressed:
    """Return a weight whose table's entries lie evenly, as all with two do, as one with a scale."""
    table = weight.table
    if table is None or not weight.is_finite or not table.size:
        return weight
    wide, steps = table.astype(np.float64), table.shape[-1] - 1
    first, step = wide[..., :1], (wide[..., -1:] - wide[..., :1]) / max(steps, 1)
    off = np.abs(first + step * np.arange(steps + 1) - wide)
    if (off > _ROUNDING * np.abs(wide).max()).any():
        return weight
    scale, bias = (part[..., 0].astype(np.float32) for part in (step, first))
    return replace(weight, table=None, scale=scale, bias=bias)
