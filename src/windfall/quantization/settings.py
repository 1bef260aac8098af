"""What a user asks for, checked."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from windfall.errors import UnsupportedError
from windfall.quantization.codecs import CODECS, CUSTOM, DEQUANTIZE, MODES, TABLES, LutFunction
from windfall.quantization.selection import Select, Selection
from windfall.text import brief

if TYPE_CHECKING:
    from windfall.quantization.calibration import Calibration

GRANULARITIES = ("per_channel", "per_tensor", "per_grouped_channel", "per_block")
SMALLEST = 256
"""How many values a weight must have to be quantized, unless ``select`` is a function."""
GROUP_SIZE = 32
"""How many channels share a scale or a table, or how many values of a channel do, where granularity asks for such."""


@dataclass(frozen=True)
class Settings:
    """How to quantize; see ``quantize_weights``.

    Raises:
        UnsupportedError: A setting has a value that there is not, or that does not go with another one.
    """

    bits: int = 8
    mode: str = "linear"
    granularity: str | None = None
    select: Select | None = field(default=None, repr=False)
    function: LutFunction | None = None
    requantize: bool = False
    smallest: int = SMALLEST
    group_size: int = GROUP_SIZE
    upgrade: bool = False
    calibration: "Calibration | None" = field(default=None, repr=False)

    def __post_init__(self) -> None:
        _one_of("mode", self.mode, MODES)
        if self.granularity is not None:
            _one_of("granularity", self.granularity, GRANULARITIES)
        self.checked_bits(self.bits)
        if self.mode == CUSTOM and not callable(self.function):
            raise UnsupportedError(
                f"mode 'custom_lut' needs a function that returns a table and indices, function is "
                f"{brief(self.function)}"
            )
        if self.mode != CUSTOM and self.function is not None:
            raise UnsupportedError(f"function is for mode 'custom_lut' alone, mode is {self.mode!r}; leave it out")
        if self.calibration is not None and self.mode not in CODECS:
            raise UnsupportedError(
                f"calibration is for the modes {', '.join(CODECS)}, mode is {self.mode!r}; leave it out"
            )
        if isinstance(self.smallest, bool) or not isinstance(self.smallest, int) or self.smallest < 0:
            raise UnsupportedError(f"smallest is {brief(self.smallest)}, must be a whole number from 0 on")
        if isinstance(self.group_size, bool) or not isinstance(self.group_size, int) or self.group_size < 1:
            raise UnsupportedError(f"group_size is {brief(self.group_size)}, must be a whole number from 1 on")

    def checked_bits(self, bits: object) -> int:
        """Return a number of bits.

        Raises:
            UnsupportedError: The mode does not have it.
        """
        codec = CODECS.get(self.mode)
        widths = range(1, 9) if codec is None else codec.widths
        if isinstance(bits, int) and not isinstance(bits, bool) and (bits == 16 or bits in widths):
            return bits
        least = f"{widths[0]} to {widths[-1]}, or 16 for float16"
        raise UnsupportedError(f"bits is {brief(bits)}, mode {self.mode!r} has {least}")

    @property
    def has_table(self) -> bool:
        """Whether the mode stores lookup tables."""
        return self.mode in TABLES

    @property
    def finest(self) -> str:
        """The granularity: what was asked for, else one table for a weight, or a scale for each channel."""
        return self.granularity or ("per_tensor" if self.has_table else "per_channel")

    def selection(self) -> Selection:
        """Return what decides on each weight."""
        return Selection(self.select, self.bits, self.checked_bits, 0 if self.mode == DEQUANTIZE else self.smallest)


def _one_of(name: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UnsupportedError(f"{name} is {brief(value)}, must be one of {', '.join(known)}")
