"""How a weight, as its model stores it, becomes matrices of groups of output channels, and how these are stored."""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from windfall.quantization.calibration.fitting import MODES, Fitted, Form, Start
from windfall.quantization.calibration.levels import Floats, Levels, Steps, by_rows
from windfall.quantization.codecs import Encoded, decoded
from windfall.quantization.programs.blocks import Blocks, blocks_of
from windfall.quantization.programs.quantizing import float_type
from windfall.quantization.programs.weights import ProgramWeight
from windfall.quantization.settings import Settings
from windfall.quantization.weight import Weight

TABLES = "has several lookup tables, which have no calibration"


class Layout(Protocol):
    """How a weight stands as matrices, [groups, columns, rows]; see ``levels``."""

    def matrix(self, values: Floats) -> Floats:
        """Return values in the weight's shape as matrices."""
        ...

    def values(self, encoded: Encoded) -> Floats:
        """Return what small numbers, as the model stores them, stand for, as matrices."""
        ...

    def form(self, plain: Encoded, bits: int) -> Form:
        """Return what may become of the weight, given what it is without calibration."""
        ...

    def stored(self, fitted: Fitted) -> Encoded:
        """Return codes of matrices, with what they stand for, as the model stores them."""
        ...


def channels_in_groups(weight: Weight, groups: int) -> Weight:
    """Return a weight whose channels lie along another axis than the first as one that knows of its groups.

    Along the first axis the channels of a group follow those of the one before; along others each group has the same.
    """
    return replace(weight, groups=groups) if isinstance(weight, ProgramWeight) and weight.channel_axis else weight


def layout_of(weight: Weight, groups: int, settings: Settings) -> Layout | str:
    """Return the layout of a weight, or why weights that are stored so have no calibration."""
    if not isinstance(weight, ProgramWeight):
        return _NetworkLayout(weight, groups, settings)
    blocks = blocks_of(weight, settings.finest, settings.group_size)
    if blocks.total == 1:
        return _ProgramLayout(weight, groups, settings, blocks)
    if blocks.grid != blocks_of(weight, "per_channel", settings.group_size).grid:
        return f"{settings.finest} has no calibration"
    return TABLES if settings.has_table else _ProgramLayout(weight, groups, settings, blocks)


def _matrix(weight: Weight, groups: int, values: NDArray[np.float32]) -> Floats:
    rows = weight.by_channel(values)
    # [groups * rows, columns] -> [groups, columns, rows]
    return np.ascontiguousarray(rows.reshape(groups, -1, rows.shape[1]).swapaxes(1, 2))


@dataclass(frozen=True)
class _NetworkLayout:
    """Codes in the weight's shape; scales by channel, or a table of float32."""

    weight: Weight
    groups: int
    settings: Settings

    def matrix(self, values: Floats) -> Floats:
        return _matrix(self.weight, self.groups, values)

    def values(self, encoded: Encoded) -> Floats:
        rows = self.weight.by_channel(encoded.codes.reshape(self.weight.shape))
        found = decoded(encoded._replace(codes=rows))
        return np.ascontiguousarray(found.reshape(self.groups, -1, found.shape[1]).swapaxes(1, 2))

    def form(self, plain: Encoded, bits: int) -> Form:  # noqa: ARG002  # scales and biases may be any
        by_channel = self.settings.finest == "per_channel" and self.weight.channels > 1
        return Form(MODES[self.settings.mode], bits, by_channel)

    def stored(self, fitted: Fitted) -> Encoded:
        encoded = fitted.levels.encoded(fitted.codes)
        return encoded._replace(codes=self.weight.as_stored(encoded.codes))


@dataclass(frozen=True)
class _ProgramLayout:
    """Codes in blocks; scales by block with a code for 0, or one table, of the weight's own type."""

    weight: ProgramWeight
    groups: int
    settings: Settings
    blocks: Blocks

    @property
    def _grouped(self) -> Weight:
        return channels_in_groups(self.weight, self.groups)

    def matrix(self, values: Floats) -> Floats:
        return _matrix(self._grouped, self.groups, values)

    def values(self, encoded: Encoded) -> Floats:
        table = encoded.table
        rows = decoded(encoded if table is None else encoded._replace(table=table[0]))
        return self.matrix(self.blocks.restored(rows))

    def form(self, plain: Encoded, bits: int) -> Form:
        """Begin tables as the mode does, else with the scales as they are: the codes that stand for 0 stay."""
        start = MODES[self.settings.mode]
        if plain.scale is not None and plain.bias is not None:
            start = _as_they_are(plain.scale, plain.bias)
        return Form(start, bits, self.blocks.total > 1, float_type(self.weight))

    def stored(self, fitted: Fitted) -> Encoded:
        encoded = fitted.levels.encoded(fitted.codes)
        codes = self.blocks.rows(self._grouped.as_stored(by_rows(fitted.codes)))
        table = encoded.table
        return encoded._replace(codes=codes, table=None if table is None else table[np.newaxis])


def _as_they_are(scale: Floats, bias: Floats) -> Start:
    def start(weight: Floats, _importance: NDArray[np.float64], bits: int, by_channel: bool) -> Levels:
        # [groups * rows] -> [groups, rows]; the groups of a transposed convolution share theirs: [1, rows]
        shape = (-1, weight.shape[2]) if by_channel else (1, 1)
        zero = np.rint(-bias / scale).astype(np.float32)
        return Steps(scale.reshape(shape), bias.reshape(shape), bits, zero.reshape(shape))

    return start
