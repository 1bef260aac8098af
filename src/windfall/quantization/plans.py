"""How many bits each weight gets, decided before any of them is changed."""

from collections.abc import Sequence

import numpy as np

from windfall.errors import UnsupportedError
from windfall.quantization.codecs import CODECS, DEQUANTIZE
from windfall.quantization.networks import Layer
from windfall.quantization.programs.quantizing import wanted_bits
from windfall.quantization.programs.weights import ProgramWeight
from windfall.quantization.selection import Selection
from windfall.quantization.settings import Settings
from windfall.quantization.weight import Weight, stored, values_of
from windfall.spec.modelfile import ModelFile
from windfall.spec.weights import FLOAT16, FLOAT32

FLOAT, HALF = 32, 16
"""The numbers of bits that stand for float32 and float16."""
FLOATS = (FLOAT16, FLOAT32)
Planned = tuple[Layer, list[int | None]]
"""A layer, and how many bits each of its weights gets; None where it stays."""
_CONSTANTS = ("loadConstant", "loadConstantND")


def layer_bits(file: ModelFile, layer: Layer, settings: Settings, selection: Selection) -> list[int | None]:
    """Return how many bits each weight of a layer gets, None where it stays."""
    if layer.is_program:
        return [wanted_bits(file, weight, settings, selection) for weight in program_weights_of(layer.weights)]
    if settings.mode == DEQUANTIZE:
        wanted = [_dequantized(weight, selection) for weight in layer.weights]
    else:
        wanted = [_wanted(file, weight, settings, selection) for weight in layer.weights]
    if layer.is_updatable and any(bits is not None for bits in wanted):
        if selection.is_each or selection.names(layer.path):
            raise UnsupportedError(
                f"layer {layer.path!r} of {file.name} is updatable, such layers keep their float32 weights; "
                "leave it out of select"
            )
        return [None] * len(wanted)
    return _of_one_kind(file, layer, wanted)


def program_weights_of(weights: Sequence[Weight]) -> list[ProgramWeight]:
    """Return those of some weights that lie in programs."""
    return [weight for weight in weights if isinstance(weight, ProgramWeight)]


def _dequantized(weight: Weight, selection: Selection) -> int | None:
    bits = selection.bits_for(weight) if selection.is_each else selection.layer_bits(weight.layer)
    return None if bits is None else FLOAT


def _wanted(file: ModelFile, weight: Weight, settings: Settings, selection: Selection) -> int | None:
    bits = selection.bits_for(weight)
    if bits is None or (bits != HALF and not weight.may_be_quantized):
        return None
    if selection.is_each:
        return bits
    how = stored(file, weight)
    if how is None or how.field not in FLOATS:
        return bits
    return None if _size(weight, bits, settings) >= how.size or _may_be_indices(file, weight) else bits


def _size(weight: Weight, bits: int, settings: Settings) -> int:
    """Return how many bytes a weight takes with its scales or table."""
    size = (weight.size * bits + 7) // 8
    if bits == HALF:
        return size
    codec = CODECS.get(settings.mode)
    return size + (4 * 2**bits if codec is None or not codec.by_channel else 8 * channels_of(weight, settings))


def channels_of(weight: Weight, settings: Settings) -> int:
    """Return how many scales a network's weight gets."""
    return weight.channels if settings.finest == "per_channel" else 1


def check_granularity(file: ModelFile, settings: Settings) -> None:
    """Refuse what neural networks do not have."""
    known = ("per_tensor",) if settings.has_table else ("per_tensor", "per_channel")
    if settings.finest not in known:
        what = "one lookup table for each weight" if settings.has_table else "scales per tensor and per channel"
        raise UnsupportedError(
            f"granularity is {settings.finest!r}, the neural networks of {file.name} have {what}; leave it out, or "
            "convert the model to an ML program"
        )


def _may_be_indices(file: ModelFile, weight: Weight) -> bool:
    """Whether a constant has only whole numbers, none of which may be off by a little."""
    if weight.layer_type not in _CONSTANTS:
        return False
    values = values_of(file, weight)
    return bool((values == np.rint(values)).all())


def _of_one_kind(file: ModelFile, layer: Layer, wanted: list[int | None]) -> list[int | None]:
    """Turn the layer's other float weights into those of the kind that some become: the format has no mixture."""
    kinds = {bits for bits in wanted if bits in (HALF, FLOAT)}
    if not kinds:
        return wanted
    kind = max(kinds)
    return [_same_kind(file, weight, bits, kind) for weight, bits in zip(layer.weights, wanted, strict=True)]


def _same_kind(file: ModelFile, weight: Weight, bits: int | None, kind: int) -> int | None:
    how = stored(file, weight)
    field = FLOAT32 if kind == FLOAT else FLOAT16
    if how is None or (bits in (None, kind) and how.field == field):
        return None
    return kind if bits == kind or (bits is None and how.field in FLOATS) else bits
