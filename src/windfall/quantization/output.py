"""Where new weights go: into the model's message, and into a weight file if there are ML programs."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from windfall.errors import FormatError
from windfall.quantization.codecs import CODECS, CUSTOM, DEQUANTIZE, Encoded, encode_custom
from windfall.quantization.fields import NetworkWeight
from windfall.quantization.networks import Layer, parts
from windfall.quantization.plans import FLOAT, HALF, channels_of
from windfall.quantization.programs.quantizing import store as store_program_weight
from windfall.quantization.programs.weightfile import WeightFile
from windfall.quantization.programs.weights import ProgramWeight, remove_unused
from windfall.quantization.settings import Settings
from windfall.quantization.storing import attach, store_encoded, store_floats, store_halves, weight_messages
from windfall.quantization.weight import Weight, values_of, weight_error
from windfall.spec.modelfile import ModelFile

if TYPE_CHECKING:
    from windfall.quantization.calibration.session import Session


class Output:
    """Where new weights go: into the message, and into a weight file if there are ML programs.

    Attributes:
        weights: The weight file.
        session: What fits weights to samples, None where there are none.
    """

    def __init__(self, file: ModelFile, spec: Any) -> None:
        self._file = file
        self._spec = spec
        found = parts(file, spec)
        self._programs = [part.message for part in found if part.is_program]
        self._networks = [part.message for part in found if not part.is_program]
        self.weights = WeightFile() if self._programs else None
        self.session: Session | None = None

    def finish(self) -> ModelFile:
        """Return the model, complete with the weights that have not changed."""
        for network in self._networks:
            for params in weight_messages(network):
                attach(self._file, params)
        for program in self._programs:
            remove_unused(program)
        blobs = None if self.weights is None else self.weights.finish(self._file, self._spec)
        return ModelFile(self._spec, title=self._file.name, blobs=blobs)

    def close(self) -> None:
        """Close the weight file."""
        if self.weights is not None:
            self.weights.close()


def store(file: ModelFile, before: Weight, weight: Weight, bits: int, settings: Settings, out: Output) -> None:
    """Give a weight its new values.

    Args:
        file: The model as it was.
        before: The weight in it.
        weight: The weight in the new model, which may be a program of a later opset.
        bits: How many bits its values get.
        settings: What is wanted.
        out: The new model.

    Raises:
        FormatError: The values cannot be stored so.
    """
    values = values_of(file, before)
    if settings.mode != DEQUANTIZE and not np.isfinite([values.min(), values.max()]).all():
        raise weight_error(weight, "has values that are infinite or not numbers; leave it out with select", file)
    try:
        if isinstance(weight, ProgramWeight):
            assert out.weights is not None
            fit = None if out.session is None else out.session.encoded
            store_program_weight(weight, values, bits, settings, out.weights, fit)
        else:
            assert isinstance(weight, NetworkWeight)
            _store_in_network(weight, values, bits, settings, out)
    except FormatError as error:
        raise weight_error(weight, str(error), file) from error


def _store_in_network(
    weight: NetworkWeight, values: NDArray[np.float32], bits: int, settings: Settings, out: Output
) -> None:
    if bits == FLOAT:
        store_floats(weight.params, values)
    elif bits == HALF:
        store_halves(weight.params, values)
    else:
        encoded = _encoded(weight, values, bits, settings)
        if out.session is not None:
            encoded = out.session.encoded(weight, values, bits, encoded)
        store_encoded(weight.params, encoded, bits)


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
    if codec.by_channel and channels_of(weight, settings) > 1:
        encoded = codec.encode(weight.by_channel(values), bits)
        return encoded._replace(codes=weight.as_stored(encoded.codes))
    return codec.encode(values.reshape(1, -1), bits)


def finish(layer: Layer, bits: list[int | None]) -> None:
    """Note in the models and the layer what the new weights ask for."""
    chosen = [number for number in bits if number is not None]
    if not chosen or layer.is_program:
        return
    least = 2 if min(chosen) == HALF else 3 if min(chosen) < HALF else 0
    for model in layer.models:
        model.specificationVersion = max(model.specificationVersion, least)
    params = getattr(layer.message, layer.message.WhichOneof("layer"))
    if getattr(params, "int8DynamicQuantize", False):
        params.int8DynamicQuantize = False  # it asks for weights in int8RawValue
