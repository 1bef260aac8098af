"""Store the weights of neural networks in fewer bits."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from windfall.errors import FormatError, UnsupportedError
from windfall.model import Model
from windfall.quantization.codecs import CODECS, CUSTOM, DEQUANTIZE, Encoded, LutFunction, encode_custom
from windfall.quantization.fields import Weight, stored, values_of, weight_error
from windfall.quantization.networks import Layer, Step, layers, networks
from windfall.quantization.selection import Select, Selection
from windfall.quantization.settings import SMALLEST, Settings
from windfall.quantization.storing import attach, store_encoded, store_floats, store_halves, weight_messages
from windfall.spec.modelfile import ModelFile
from windfall.spec.proto import Model_pb2
from windfall.spec.weights import FLOAT16, FLOAT32

FLOAT = 32
"""The number of bits that stands for float32."""
_HALF = 16
_FLOATS = (FLOAT16, FLOAT32)
_CONSTANTS = ("loadConstant", "loadConstantND")


def quantize_weights(  # noqa: PLR0913  # those after the first are settings, given by name
    model: Model,
    bits: int = 8,
    mode: str = "linear",
    granularity: str = "per_channel",
    select: Select | None = None,
    function: LutFunction | None = None,
    *,
    requantize: bool = False,
    smallest: int = SMALLEST,
) -> Model:
    """Store the weights of neural networks in fewer bits; the networks of a pipeline too.

    Biases and other vectors stay as they are, and so do weights of few values, weights that would take more bytes than
    before, constants of whole numbers, which may be indices, and layers that the phone may train.

    Args:
        model: The model; it is not changed.
        bits: How many bits a weight gets: 1 to 8, or 16 for float16. A layer's float weights are all of one kind, so
            with 16 its biases become float16 too.
        mode: ``linear``: evenly from the least value to the greatest. ``linear_symmetric``: evenly around 0, 2 to 8
            bits. ``linear_lut``: the same as ``linear``, as a lookup table. ``kmeans``: the lookup table with the least
            squared error. ``custom_lut``: what ``function`` returns. ``dequantize``: back to float32.
        granularity: ``per_channel`` or ``per_tensor``: whether each output channel has a scale of its own in the linear
            modes. There is one lookup table for each weight: the format has no other.
        select: Which layers: a name or a pattern such as ``"conv*"``, or several; a mapping from such to bits, or to
            None for layers to leave alone, where other layers get ``bits``; or a function that is given each
            ``Weight``, vectors too, and returns bits, True for ``bits``, or None.
        function: For ``custom_lut``: is given bits and a weight, returns a table of 2**bits numbers and the indices.
        requantize: Also take weights that are quantized already; what they stand for now is quantized anew.
        smallest: How many values a weight must have to be taken, unless ``select`` is a function.

    Returns:
        A new model.

    Raises:
        UnsupportedError: The format or windfall does not have what is asked for, or ``select`` names no layer.
        FormatError: A weight is not finite, does not fit its layer or is quantized already, or ``function`` returned
            what is no table with indices.
    """
    return quantized(model, Settings(bits, mode, granularity, select, function, requantize, smallest))


def quantized(model: Model, settings: Settings, step: Step = lambda: None) -> Model:
    """Return a model with weights stored as the settings say.

    Args:
        model: The model; it is not changed.
        settings: What is wanted.
        step: Called after each layer.
    """
    file = model._file
    spec = Model_pb2.Model()
    spec.CopyFrom(file.spec)  # weights that still lie in the file are not copied
    plan = _plan(file, spec, settings)
    for layer, bits in plan:
        for weight, wanted in zip(layer.weights, bits, strict=True):
            if wanted is not None:
                _store(file, weight, wanted, settings)
        _finish(layer, bits)
        step()
    for _, network, _ in networks(file, spec):
        for params in weight_messages(network):
            attach(file, params)
    return model._of_file(ModelFile(spec, title=file.name))


def count_layers(model: Model) -> int:
    """Return how many layers have weights."""
    return sum(1 for _ in layers(model._file, model._file.spec))


def _plan(file: ModelFile, spec: Any, settings: Settings) -> list[tuple[Layer, list[int | None]]]:
    """Decide on every weight before any is changed."""
    selection = settings.selection()
    plan = [(layer, _layer_bits(file, layer, settings, selection)) for layer in layers(file, spec)]
    selection.check_all_used(file.name)
    if not settings.requantize and settings.mode != DEQUANTIZE:
        _refuse_quantized(file, plan)
    return plan


def _layer_bits(file: ModelFile, layer: Layer, settings: Settings, selection: Selection) -> list[int | None]:
    """Return how many bits each weight of a layer gets, None where it stays."""
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


def _dequantized(weight: Weight, selection: Selection) -> int | None:
    bits = selection.bits_for(weight) if selection.is_each else selection.layer_bits(weight.layer)
    return None if bits is None else FLOAT


def _wanted(file: ModelFile, weight: Weight, settings: Settings, selection: Selection) -> int | None:
    bits = selection.bits_for(weight)
    if bits is None or (bits != _HALF and not weight.may_be_quantized):
        return None
    if selection.is_each:
        return bits
    how = stored(file, weight)
    if how is None or how.field not in _FLOATS:
        return bits
    return None if _size(weight, bits, settings) >= how.size or _may_be_indices(file, weight) else bits


def _size(weight: Weight, bits: int, settings: Settings) -> int:
    """Return how many bytes a weight takes with its scales or table."""
    size = (weight.size * bits + 7) // 8
    if bits == _HALF:
        return size
    codec = CODECS.get(settings.mode)
    return size + (4 * 2**bits if codec is None or not codec.by_channel else 8 * _channels(weight, settings))


def _channels(weight: Weight, settings: Settings) -> int:
    return weight.channels if settings.granularity == "per_channel" else 1


def _may_be_indices(file: ModelFile, weight: Weight) -> bool:
    """Whether a constant has only whole numbers, none of which may be off by a little."""
    if weight.layer_type not in _CONSTANTS:
        return False
    values = values_of(file, weight)
    return bool((values == np.rint(values)).all())


def _of_one_kind(file: ModelFile, layer: Layer, wanted: list[int | None]) -> list[int | None]:
    """Turn the layer's other float weights into those of the kind that some become: the format has no mixture."""
    kinds = {bits for bits in wanted if bits in (_HALF, FLOAT)}
    if not kinds:
        return wanted
    kind = max(kinds)
    return [_same_kind(file, weight, bits, kind) for weight, bits in zip(layer.weights, wanted, strict=True)]


def _same_kind(file: ModelFile, weight: Weight, bits: int | None, kind: int) -> int | None:
    how = stored(file, weight)
    field = FLOAT32 if kind == FLOAT else FLOAT16
    if how is None or (bits in (None, kind) and how.field == field):
        return None
    return kind if bits == kind or (bits is None and how.field in _FLOATS) else bits


def _refuse_quantized(file: ModelFile, plan: list[tuple[Layer, list[int | None]]]) -> None:
    found = []
    for layer, wanted in plan:
        for weight, bits in zip(layer.weights, wanted, strict=True):
            how = stored(file, weight)
            if bits is not None and how is not None and how.field not in _FLOATS:
                found.append((weight, how.bits))
    if found:
        weight, bits = found[0]
        others = len(found) - 1
        more = f", as {'is' if others == 1 else 'are'} {others} other weight{'s'[: others > 1]}" if others else ""
        rule = f"is quantized to {bits} bits already{more}; give requantize=True, or start from the original"
        raise weight_error(weight, rule, file)


def _store(file: ModelFile, weight: Weight, bits: int, settings: Settings) -> None:
    values = values_of(file, weight)
    if settings.mode != DEQUANTIZE and not np.isfinite([values.min(), values.max()]).all():
        raise weight_error(weight, "has values that are infinite or not numbers; leave it out with select", file)
    try:
        if bits == FLOAT:
            store_floats(weight.params, values)
        elif bits == _HALF:
            store_halves(weight.params, values)
        else:
            store_encoded(weight.params, _encoded(weight, values, bits, settings), bits)
    except FormatError as error:
        raise weight_error(weight, str(error), file) from error


def _encoded(weight: Weight, values: NDArray[np.float32], bits: int, settings: Settings) -> Encoded:
    if settings.mode == CUSTOM:
        assert settings.function is not None
        try:
            return encode_custom(values, bits, settings.function)
        except FormatError:
            raise
        except Exception as error:
            error.add_note(f"raised by the function for {weight.field} of layer {weight.layer!r}")
            raise
    codec = CODECS[settings.mode]
    if codec.by_channel and _channels(weight, settings) > 1:
        encoded = codec.encode(weight.by_channel(values), bits)
        return encoded._replace(codes=weight.as_stored(encoded.codes))
    return codec.encode(values.reshape(1, -1), bits)


def _finish(layer: Layer, bits: list[int | None]) -> None:
    """Note in the models and the layer what the new weights ask for."""
    chosen = [number for number in bits if number is not None]
    if not chosen:
        return
    least = 2 if min(chosen) == _HALF else 3 if min(chosen) < _HALF else 0
    for model in layer.models:
        model.specificationVersion = max(model.specificationVersion, least)
    params = getattr(layer.message, layer.message.WhichOneof("layer"))
    if getattr(params, "int8DynamicQuantize", False):
        params.int8DynamicQuantize = False  # it asks for weights in int8RawValue
