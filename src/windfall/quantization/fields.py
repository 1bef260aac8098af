"""The weights of each type of layer that may be stored as small numbers: their fields, shapes and channels.

Source: the layers' messages in NeuralNetwork.proto; which may be quantized, and with how many scales, is what
NeuralNetworkLayerValidator.cpp accepts.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from dataclasses import field as hidden
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windfall.quantization.weight import Weight
from windfall.spec.detach import PAYLOAD_FIELDS
from windfall.spec.modelfile import ModelFile
from windfall.spec.weights import Encoding, check, decode


@dataclass(frozen=True)
class NetworkWeight(Weight):
    """A weight of a neural network's layer, in a ``WeightParams`` message."""

    params: Any = hidden(default=None, repr=False, compare=False)

    def encoding(self, file: ModelFile) -> Encoding | None:
        """See ``Weight``."""
        return check(file, self.params, self.shape)

    def values(self, file: ModelFile) -> NDArray[np.float32]:
        """See ``Weight``."""
        linear = self.params.quantization.linearQuantization
        if self.groups > 1 and len(linear.scale) == self.channels:
            return self._scaled_by_group(file)
        return decode(file, self.params, self.shape, self.channel_axis or 0)

    def _scaled_by_group(self, file: ModelFile) -> NDArray[np.float32]:
        """Decode the weights of a grouped deconvolution, whose scales run along no single axis."""
        params = type(self.params)()
        params.CopyFrom(self.params)
        linear = params.quantization.linearQuantization
        scale, bias = np.array(linear.scale, np.float32), np.array(list(linear.bias) or [0], np.float32)
        linear.scale[:] = [1]
        del linear.bias[:]
        codes = self.by_channel(decode(file, params, self.shape))
        return self.as_stored(codes * scale[:, np.newaxis] + bias[:, np.newaxis])


def layer_weights(file: ModelFile, layer: Any, path: str) -> list[NetworkWeight]:
    """Return the weights of a layer that have values and may be stored as small numbers, or in float16.

    Args:
        file: The model.
        layer: The ``NeuralNetworkLayer``.
        path: The name that it is given, see ``Weight``.

    Raises:
        FormatError: A weight does not have the size that the layer's other fields ask for.
    """
    kind = layer.WhichOneof("layer")
    read = _FIELDS.get(kind)
    found = [] if read is None else [replace(w, layer=path, layer_type=kind) for w in read(getattr(layer, kind))]
    return [weight for weight in found if _has_values(file, weight)]


def _has_values(file: ModelFile, weight: NetworkWeight) -> bool:
    numbers = {descriptor.number for descriptor, _ in weight.params.ListFields()}
    return bool(numbers & PAYLOAD_FIELDS) or any(file.payload_size(weight.params, n) for n in PAYLOAD_FIELDS)


def _weight(params: Any, name: str, shape: tuple[int, ...], axis: int | None = 0, **more: Any) -> NetworkWeight:
    message = params
    for part in name.split("."):
        message = getattr(message, part)
    return NetworkWeight("", "", name, tuple(int(size) for size in shape), channel_axis=axis, params=message, **more)


def _vector(params: Any, name: str, size: int, **more: Any) -> NetworkWeight:
    return _weight(params, name, (size,), None, is_vector=True, **more)


def _with_bias(params: Any, weights: NetworkWeight, channels: int, **more: Any) -> Iterator[NetworkWeight]:
    yield weights
    if params.hasBias:
        yield _vector(params, "bias", channels, **more)


def _convolution(params: Any) -> Iterator[NetworkWeight]:
    kernel = tuple(params.kernelSize) or (3, 3)
    groups = params.nGroups or 1
    if not params.isDeconvolution:
        own = _weight(params, "weights", (params.outputChannels, params.kernelChannels, *kernel))
    else:
        shape = (params.kernelChannels, params.outputChannels // groups, *kernel)
        # With sizes that do not fit each other it has no meaning, and one scale.
        fits = params.kernelChannels % groups == 0 == params.outputChannels % groups
        own = _weight(params, "weights", shape, 1 if fits else None, groups=groups if fits else 1)
    yield from _with_bias(params, own, params.outputChannels)


def _convolution3d(params: Any) -> Iterator[NetworkWeight]:
    groups = params.nGroups or 1
    inner = (params.outputChannels, params.inputChannels // groups)
    if params.isDeconvolution:
        inner = (params.inputChannels, params.outputChannels // groups)
    shape = (*inner, params.kernelDepth, params.kernelHeight, params.kernelWidth)
    own = _weight(params, "weights", shape, None, may_be_quantized=False)
    yield from _with_bias(params, own, params.outputChannels, may_be_quantized=False)


def _inner_product(params: Any) -> Iterator[NetworkWeight]:
    own = _weight(params, "weights", (params.outputChannels, params.inputChannels))
    yield from _with_bias(params, own, params.outputChannels)


def _batched_mat_mul(params: Any) -> Iterator[NetworkWeight]:
    size = params.weightMatrixSecondDimension
    own = _weight(params, "weights", (size, params.weightMatrixFirstDimension))
    yield from _with_bias(params, own, size)


def _embedding(params: Any) -> Iterator[NetworkWeight]:
    own = _weight(params, "weights", (params.outputChannels, params.inputDim))
    yield from _with_bias(params, own, params.outputChannels)


def _embedding_nd(params: Any) -> Iterator[NetworkWeight]:
    own = _weight(params, "weights", (params.embeddingSize, params.vocabSize))
    yield from _with_bias(params, own, params.embeddingSize)


def _batchnorm(params: Any) -> Iterator[NetworkWeight]:
    for name in ("gamma", "beta", "mean", "variance"):
        yield _vector(params, name, params.channels)


def _tensor(params: Any, name: str, dims: Any) -> NetworkWeight:
    """Return a stored tensor; one of [C, H, W] may have a scale for each channel."""
    return _weight(params, name, tuple(dims), 0 if len(dims) == 3 else None)


def _scale(params: Any) -> Iterator[NetworkWeight]:
    yield _tensor(params, "scale", params.shapeScale)
    if params.hasBias:
        yield _tensor(params, "bias", params.shapeBias)


def _load_constant_nd(params: Any) -> Iterator[NetworkWeight]:
    yield _weight(params, "data", tuple(params.shape), None)


def _recurrent(
    params: Any, matrices: Mapping[str, str], vectors: tuple[str, ...], prefix: str = ""
) -> Iterator[NetworkWeight]:
    """Yield the weights of a recurrent layer: matrices by the field of their number of columns, then vectors."""
    size = params.outputVectorSize
    for name, columns in matrices.items():
        yield _weight(params, prefix + name, (size, getattr(params, columns)))
    for name in vectors:
        yield _vector(params, prefix + name, size)


def _matrices(inputs: tuple[str, ...], recursions: tuple[str, ...]) -> dict[str, str]:
    return dict.fromkeys(inputs, "inputVectorSize") | dict.fromkeys(recursions, "outputVectorSize")


_SIMPLE = _matrices(("weightMatrix",), ("recursionMatrix",))
_GRU_GATES = ("updateGate", "resetGate", "outputGate")
_GRU = _matrices(
    tuple(f"{gate}WeightMatrix" for gate in _GRU_GATES), tuple(f"{gate}RecursionMatrix" for gate in _GRU_GATES)
)
_LSTM_GATES = ("inputGate", "forgetGate", "blockInput", "outputGate")
_LSTM = _matrices(
    tuple(f"{gate}WeightMatrix" for gate in _LSTM_GATES), tuple(f"{gate}RecursionMatrix" for gate in _LSTM_GATES)
)


def _simple_recurrent(params: Any) -> Iterator[NetworkWeight]:
    yield from _recurrent(params, _SIMPLE, ("biasVector",) if params.hasBiasVector else ())


def _gru(params: Any) -> Iterator[NetworkWeight]:
    biases = tuple(f"{gate}BiasVector" for gate in _GRU_GATES) if params.hasBiasVectors else ()
    yield from _recurrent(params, _GRU, biases)


def _lstm_vectors(params: Any) -> tuple[str, ...]:
    biases = [f"{gate}BiasVector" for gate in _LSTM_GATES if params.params.hasBiasVectors]
    peepholes = [
        f"{gate}PeepholeVector" for gate in _LSTM_GATES if params.params.hasPeepholeVectors and gate != "blockInput"
    ]
    return (*biases, *peepholes)


def _lstm(params: Any) -> Iterator[NetworkWeight]:
    yield from _recurrent(params, _LSTM, _lstm_vectors(params), "weightParams.")


def _two_lstms(params: Any) -> Iterator[NetworkWeight]:
    size = params.outputVectorSize
    for index, direction in enumerate(params.weightParams):
        matrices = [_weight(direction, name, (size, getattr(params, columns))) for name, columns in _LSTM.items()]
        vectors = [_vector(direction, name, size) for name in _lstm_vectors(params)]
        for weight in (*matrices, *vectors):
            yield replace(weight, field=f"weightParams[{index}].{weight.field}")


_FIELDS: Mapping[str | None, Callable[[Any], Iterator[NetworkWeight]]] = {
    "convolution": _convolution,
    "convolution3d": _convolution3d,
    "innerProduct": _inner_product,
    "batchedMatmul": _batched_mat_mul,
    "embedding": _embedding,
    "embeddingND": _embedding_nd,
    "batchnorm": _batchnorm,
    "scale": _scale,
    "bias": lambda params: iter([_tensor(params, "bias", params.shape)]),
    "loadConstant": lambda params: iter([_tensor(params, "data", params.shape)]),
    "loadConstantND": _load_constant_nd,
    "simpleRecurrent": _simple_recurrent,
    "gru": _gru,
    "uniDirectionalLSTM": _lstm,
    "biDirectionalLSTM": _two_lstms,
}
