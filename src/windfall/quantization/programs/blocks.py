"""How a weight of a program falls into blocks that have a scale or a lookup table each."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from numpy.typing import NDArray

from windfall.quantization.programs.weights import ProgramWeight


class Blocks(NamedTuple):
    """Equal blocks of an array.

    Attributes:
        grid: How many blocks there are along each axis [rank]; each divides the array's size there.
        shape: The array's shape [rank].
    """

    grid: tuple[int, ...]
    shape: tuple[int, ...]

    @property
    def total(self) -> int:
        """How many blocks there are."""
        return math.prod(self.grid)

    def rows(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return an array as [blocks, values of each]."""
        rank = len(self.shape)
        # [d0, d1, ...] -> [g0, d0/g0, g1, d1/g1, ...] -> [g0, g1, ..., d0/g0, d1/g1, ...]
        return (
            array.reshape(self._split).transpose(*range(0, 2 * rank, 2), *range(1, 2 * rank, 2)).reshape(self.total, -1)
        )

    def restored(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return what ``rows`` gave in the array's shape."""
        rank = len(self.shape)
        blocks = [d // g for d, g in zip(self.shape, self.grid, strict=True)]
        order = [axis for pair in zip(range(rank), range(rank, 2 * rank), strict=True) for axis in pair]
        return rows.reshape(*self.grid, *blocks).transpose(order).reshape(self.shape)

    @property
    def _split(self) -> list[int]:
        return [size for d, g in zip(self.shape, self.grid, strict=True) for size in (g, d // g)]


def blocks_of(weight: ProgramWeight, granularity: str, group_size: int) -> Blocks:
    """Return the blocks of a weight.

    A size that ``group_size`` does not divide is not parted that way: the weight has a scale for each channel then.
    """
    return Blocks(_GRIDS[granularity](weight, group_size), weight.shape)


def _per_tensor(weight: ProgramWeight, _size: int) -> tuple[int, ...]:
    return (1,) * len(weight.shape)


def _per_channel(weight: ProgramWeight, _size: int) -> tuple[int, ...]:
    return tuple(size if axis == weight.channel_axis else 1 for axis, size in enumerate(weight.shape))


def _per_grouped_channel(weight: ProgramWeight, group: int) -> tuple[int, ...]:
    channels = weight.shape[weight.channel_axis or 0]
    if channels % group:
        return _per_channel(weight, group)
    return tuple(channels // group if axis == weight.channel_axis else 1 for axis in range(len(weight.shape)))


def _per_block(weight: ProgramWeight, group: int) -> tuple[int, ...]:
    grid = list(_per_channel(weight, group))
    axis = _input_axis(weight)
    if axis is not None and weight.shape[axis] % group == 0:
        grid[axis] = weight.shape[axis] // group
    return tuple(grid)


def _input_axis(weight: ProgramWeight) -> int | None:
    """Return the axis that is summed over, None for a vector."""
    rank, channels = len(weight.shape), weight.channel_axis or 0
    if rank < 2:
        return None
    if weight.layer_type == "matmul":
        return 2 * rank - 3 - channels  # the other one of the last two
    return 1 if channels == 0 else 0


_GRIDS: Mapping[str, Callable[[ProgramWeight, int], tuple[int, ...]]] = {
    "per_tensor": _per_tensor,
    "per_channel": _per_channel,
    "per_grouped_channel": _per_grouped_channel,
    "per_block": _per_block,
}
