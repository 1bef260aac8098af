"""What a weight is multiplied by, as rows of numbers: a layer's input, cut into the patches that a kernel sees."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from windfall.lowering.windows import Edge, Sizes, Window

Floats = NDArray[np.float32]
Pick = Callable[[int], NDArray[np.int64]]
"""Given how many rows there are, returns the places of those to take, ascending."""
Rows = Callable[[Floats, Pick], Floats]
"""Turns a layer's input into rows, [groups, rows, columns]; the columns stand as in the weight."""

SEED = 0
MOST_ROWS = 2048
"""So many rows are taken of one sample."""


def picked(sample: int) -> Pick:
    """Return what picks rows of a sample: the same ones each time, at most ``MOST_ROWS``."""

    def pick(count: int) -> NDArray[np.int64]:
        if count <= MOST_ROWS:
            return np.arange(count)
        return np.sort(np.random.default_rng([SEED, sample]).choice(count, MOST_ROWS, replace=False))

    return pick


def vectors(size: int) -> Rows:
    """Return rows of ``size`` numbers that lie side by side."""

    def rows(x: Floats, pick: Pick) -> Floats:
        each = x.reshape(-1, size)
        return each[pick(len(each))][np.newaxis]

    return rows


@dataclass(frozen=True)
class Convolution:
    """The rows of a convolution, or of a deconvolution, over the last two axes.

    Attributes:
        window: Its kernel, stride and dilation.
        edges: Given the sizes of H and W, returns what is added around them, or what a deconvolution cuts off; below 0
            for the opposite.
        groups: How many groups its channels are in.
        is_transposed: Whether it is a deconvolution.
    """

    window: Window
    edges: Callable[[Sizes], Sequence[Edge]]
    groups: int
    is_transposed: bool

    def __call__(self, x: Floats, pick: Pick) -> Floats:
        """Return the rows of x [*batch, C, H, W]."""
        planes = x.reshape(-1, *x.shape[-3:])
        view = self._transposed(planes) if self.is_transposed else self._direct(planes)
        count, channels, height, width, *kernel = view.shape
        chosen = np.unravel_index(pick(count * height * width), (count, height, width))
        # [N, C, H, W, kH, kW] -> [rows, C, kH, kW] -> [rows, groups, columns] -> [groups, rows, columns]
        rows = view[chosen[0], :, chosen[1], chosen[2]]
        columns = channels // self.groups * kernel[0] * kernel[1]
        return np.ascontiguousarray(rows.reshape(-1, self.groups, columns).swapaxes(0, 1))

    def _direct(self, planes: Floats) -> Floats:
        padded = _padded(planes, self.edges(planes.shape[2:]))
        return _windows(padded, self.window, self.window.stride)

    def _transposed(self, planes: Floats) -> Floats:
        """Return the patches of a deconvolution: those of a convolution with the kernel turned round.

        Its input is the deconvolution's with zeros between the pixels, as many as the stride asks for.
        """
        down, across = self.window.stride
        count, channels, height, width = planes.shape
        spread = np.zeros((count, channels, (height - 1) * down + 1, (width - 1) * across + 1), np.float32)
        spread[:, :, ::down, ::across] = planes
        cut = self.edges((height, width))
        around = [
            (span - 1 - start, span - 1 - end) for span, (start, end) in zip(self.window.extent, cut, strict=True)
        ]
        return _windows(_padded(spread, around), self.window, (1, 1))[..., ::-1, ::-1]


def _windows(planes: Floats, window: Window, stride: Sizes) -> Floats:
    """Return a view of every window: [N, C, H, W] -> [N, C, H', W', kH, kW]."""
    view = sliding_window_view(planes, window.extent, axis=(2, 3))
    dilation = window.dilation or (1, 1)
    return view[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]


def _padded(planes: Floats, edges: Sequence[Edge]) -> Floats:
    """Add zeros around H and W, or cut off where an edge is below 0."""
    around = [(max(start, 0), max(end, 0)) for start, end in edges]
    padded = np.pad(planes, [(0, 0), (0, 0), *around])
    (top, bottom), (left, right) = [(max(-start, 0), max(-end, 0)) for start, end in edges]
    return padded[:, :, top : padded.shape[2] - bottom, left : padded.shape[3] - right]
