"""What each layer may become: bits and mode, with the bytes it then takes and how far its weights move.

This module alone knows how weights are quantized; all others see layers, sizes and errors.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from windfall.errors import FormatError, UnsupportedError
from windfall.model import Model
from windfall.quantization.codecs import CODECS, CUSTOM
from windfall.quantization.networks import Step
from windfall.quantization.quantize import quantized
from windfall.quantization.report import LayerChange, quantization_report
from windfall.quantization.settings import Settings
from windfall.shrinking.tables import BestTables
from windfall.text import brief

WIDTHS = (16, 8, 6, 5, 4, 3, 2, 1)
"""The numbers of bits that are tried; 7 would seldom be better than both 6 and 8."""
MODES = ("kmeans", "linear", "linear_symmetric")
"""The modes that are tried."""
_HALF = 16
_NO_MODE = "linear"
_WIDEST = 8
_Failures = dict[str, FormatError | UnsupportedError]


class Option(NamedTuple):
    """What a layer may become.

    Attributes:
        bits: The bits for each of its larger weights, None to leave it as it is.
        mode: How they are quantized; empty for float16 and where it stays as it is.
        size: The bytes that its weights take then.
        error: How far these move: the sum of the squared changes over that of their squares.
    """

    bits: int | None
    mode: str
    size: int
    error: float


@dataclass(frozen=True)
class LayerOptions:
    """A layer and what it may become; layers of one name count as one.

    Attributes:
        path: Its name, behind those of what it lies in.
        type: What it is.
        values: How many numbers its weights have.
        options: From the smallest to the largest.
    """

    path: str
    type: str
    values: int
    options: tuple[Option, ...]

    @property
    def stays(self) -> int:
        """The place of the option to leave it as it is."""
        return next(place for place, option in enumerate(self.options) if option.bits is None)


Choice = tuple[int, ...]
"""For each layer the place of one of its options."""


@dataclass(frozen=True)
class Means:
    """What may be done to a model.

    Attributes:
        modes: The modes that may be used, some of ``MODES``, the preferred ones first.
        requantize: Also take weights that are quantized already.
        upgrade: Whether ML programs may be raised to the first opset that can hold such weights.
    """

    modes: tuple[str, ...] = MODES
    requantize: bool = False
    upgrade: bool = False
    _tables: BestTables = field(default_factory=BestTables, init=False, repr=False, compare=False)

    def settings(self, bits: int, mode: str, select: Mapping[str, int | None] | None = None) -> Settings:
        """Return how to quantize."""
        is_best = mode == "kmeans"
        return Settings(
            bits,
            CUSTOM if is_best else mode or _NO_MODE,
            select=select,
            function=self._tables if is_best else None,
            requantize=self.requantize,
            upgrade=self.upgrade,
        )

    @property
    def kinds(self) -> list[tuple[int, str]]:
        """All pairs of bits and mode; float16 has no mode."""
        pairs = [(bits, mode) for bits in WIDTHS[1:] for mode in self.modes if bits in CODECS[mode].widths]
        return [(_HALF, ""), *pairs]


def checked_modes(modes: Iterable[str]) -> tuple[str, ...]:
    """Return the modes that may be used, in the order in which they are preferred.

    Raises:
        UnsupportedError: There are none, or one is not among those.
    """
    given = (modes,) if isinstance(modes, str) else tuple(modes)
    wrong = [mode for mode in given if mode not in MODES]
    if wrong or not given:
        raise UnsupportedError(
            f"modes has {brief(wrong[0]) if wrong else 'nothing'}, must have some of {', '.join(MODES)}"
        )
    return tuple(dict.fromkeys(given))


def layers_of(
    model: Model, means: Means, step: Step = lambda: None
) -> tuple[tuple[LayerOptions, ...], tuple[str, ...]]:
    """Return the layers with weights that may take fewer bytes, and a sentence for each that must stay as it is.

    Args:
        model: The model.
        means: What may be done to it.
        step: Called after each pair of bits and mode.

    Raises:
        UnsupportedError: There is no such layer.
        FormatError: None can be quantized; the error is that of the first.
    """
    found = _by_path(_changes_between(model, model))
    options = dict[str, list[Option]]()
    failures = _Failures()
    for bits, mode in means.kinds:
        for changes in _changes(model, list(found), means, (bits, mode), failures):
            for path, parts in _by_path(changes).items():
                if _is_smaller(parts):
                    options.setdefault(path, []).append(_option(bits, mode, parts))
        step()
    if not options:
        if failures:
            raise next(iter(failures.values()))
        raise UnsupportedError(
            f"{model._file.name} has no weights that could take fewer bytes; biases, vectors and small weights stay"
        )
    layers = tuple(_layer(path, parts, options[path]) for path, parts in found.items() if path in options)
    failed = (error for path, error in failures.items() if path in found and path not in options)
    stay = tuple(f"a layer stays as it is: {error}" for error in failed)
    return layers, stay


def _changes(
    model: Model, paths: Sequence[str], means: Means, kind: tuple[int, str], failures: _Failures
) -> Iterator[Sequence[LayerChange]]:
    """Yield what quantizing does to all layers; where one of them cannot be, to each that can by itself."""
    try:
        yield _changes_between(model, quantized(model, means.settings(*kind)))
    except UnsupportedError as error:  # programs of an opset that does not have such weights
        failures.setdefault("", error)
    except FormatError:
        for path in paths:
            try:
                after = _selected(model, means, kind[1], {path: kind[0]}, paths)
            except FormatError as error:
                failures.setdefault(path, error)
            else:
                yield [change for change in _changes_between(model, after) if change.layer == path]


def _changes_between(before: Model, after: Model) -> Sequence[LayerChange]:
    # Infinities of layers that stay are not to be warned of.
    with np.errstate(invalid="ignore"):
        return quantization_report(before, after).layers


def _by_path(changes: Iterable[LayerChange]) -> dict[str, list[LayerChange]]:
    found = dict[str, list[LayerChange]]()
    for change in changes:
        found.setdefault(change.layer, []).append(change)
    return found


def _is_smaller(parts: Sequence[LayerChange]) -> bool:
    return sum(part.bytes_after for part in parts) < sum(part.bytes_before for part in parts)


def _option(bits: int, mode: str, parts: Sequence[LayerChange]) -> Option:
    moved = [10 ** (-part.snr / 10) * part.values for part in parts if part.snr is not None]
    values = sum(part.values for part in parts)
    return Option(bits, mode, sum(part.bytes_after for part in parts), sum(moved) / values)


def _layer(path: str, parts: Sequence[LayerChange], options: Iterable[Option]) -> LayerOptions:
    stays = Option(None, "", sum(part.bytes_before for part in parts), 0.0)
    ordered = sorted([*options, stays], key=lambda option: (option.size, option.error))
    return LayerOptions(path, parts[0].type, sum(part.values for part in parts), tuple(ordered))


def assemble(model: Model, layers: Sequence[LayerOptions], choice: Choice, means: Means) -> Model:
    """Return a model whose layers have become what was chosen.

    Each mode is a walk of its own through the model, in which the layers of other modes are left alone.
    """
    paths = [layer.path for layer in layers]
    chosen = {layer.path: layer.options[place] for layer, place in zip(layers, choice, strict=True)}
    modes = dict.fromkeys(option.mode or _NO_MODE for option in chosen.values() if option.bits is not None)
    for mode in modes:
        bits = {path: o.bits for path, o in chosen.items() if o.bits is not None and (o.mode or _NO_MODE) == mode}
        model = _selected(model, means, mode, bits, paths)
    return model


def _selected(model: Model, means: Means, mode: str, bits: Mapping[str, int], paths: Iterable[str]) -> Model:
    """Quantize some layers and leave all others alone."""
    # A name also stands for layers whose path ends in it: what lies deeper must come first.
    deepest = sorted(paths, key=lambda path: -path.count("/"))
    select = {"*": None} | {path: bits.get(path) for path in deepest}
    return quantized(model, means.settings(_WIDEST, mode, select))
