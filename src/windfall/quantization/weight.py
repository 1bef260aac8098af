"""What a weight is, whatever kind of model it lies in."""

import math
from dataclasses import dataclass
from dataclasses import field as hidden
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windfall.errors import FormatError
from windfall.spec.modelfile import ModelFile
from windfall.spec.weights import Encoding


@dataclass(frozen=True)
class Weight:
    """One weight of a layer, or of an operation of a program.

    Attributes:
        layer: The layer's name, behind those of the pipeline's members, layers and fields that it lies in:
            ``detector/loop/bodyNetwork/conv``.
        layer_type: A member of the specification's ``oneof layer``, or a program's operator.
        field: Its field in the layer's parameters, e.g. ``weights``, ``weightParams.inputGateWeightMatrix``; or the
            operator's argument.
        shape: Its shape, in the order that it is stored in.
        is_vector: Whether it is a bias or alike, of which a layer has one number for each channel.
    """

    layer: str
    layer_type: str
    field: str
    shape: tuple[int, ...]
    is_vector: bool = False
    channel_axis: int | None = hidden(default=None, repr=False)
    groups: int = hidden(default=1, repr=False)
    may_be_quantized: bool = hidden(default=True, repr=False)

    @property
    def size(self) -> int:
        """How many values it has."""
        return math.prod(self.shape)

    @property
    def channels(self) -> int:
        """How many scales it may have, one for each output channel."""
        return 1 if self.channel_axis is None else self.shape[self.channel_axis] * self.groups

    @property
    def names(self) -> tuple[str, ...]:
        """What patterns may call it: its layer, with or without what that lies in."""
        return (self.layer, self.layer.rpartition("/")[2])

    def by_channel(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return values as [channels, values of each]."""
        if self.channel_axis is None:
            return values.reshape(1, -1)
        # [*before, c, *after] -> [groups, before, c, after] -> [groups, c, before, after]
        return values.reshape(self._grouped_shape()).swapaxes(1, 2).reshape(self.channels, -1)

    def as_stored(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return what ``by_channel`` gave in the weight's own shape."""
        if self.channel_axis is None:
            return values.reshape(self.shape)
        groups, before, channels, after = self._grouped_shape()
        return values.reshape(groups, channels, before, after).swapaxes(1, 2).reshape(self.shape)

    def _grouped_shape(self) -> tuple[int, int, int, int]:
        axis = self.channel_axis or 0
        before, after = math.prod(self.shape[:axis]), math.prod(self.shape[axis + 1 :])
        return self.groups, before // self.groups, self.shape[axis], after

    def encoding(self, file: ModelFile) -> Encoding | None:
        """Return how it is stored, None if it has no values."""
        raise NotImplementedError

    def values(self, file: ModelFile) -> NDArray[np.float32]:
        """Return its numbers in its shape, however they are stored.

        Raises:
            FormatError: It is damaged.
        """
        raise NotImplementedError


def stored(file: ModelFile, weight: Weight) -> Encoding | None:
    """Return how a weight is stored, None if it has no values; errors name its layer and field."""
    try:
        return weight.encoding(file)
    except FormatError as error:
        raise weight_error(weight, str(error), file) from error


def values_of(file: ModelFile, weight: Weight) -> NDArray[np.float32]:
    """Return a weight in its shape as float32, however it is stored; errors name its layer and field."""
    try:
        return weight.values(file)
    except FormatError as error:
        raise weight_error(weight, str(error), file) from error


def weight_error(weight: Weight, rule: str, file: ModelFile) -> FormatError:
    """Return the error of a weight, which names it."""
    return FormatError(f"{weight.field} of layer {weight.layer!r} ({weight.layer_type}) of {file.name} {rule}")
