"""The weights of each type of layer that may be stored as small numbers: their fields, shapes and channels.

Source: the layers' messages in NeuralNetwork.proto; which may be quantized, and with how many scales, is what
NeuralNetworkLayerValidator.cpp accepts.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from dataclasses import field as hidden
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windfall.errors import FormatError
from windfall.spec.detach import PAYLOAD_FIELDS
from windfall.spec.modelfile import ModelFile
from windfall.spec.weights import Encoding, check, decode


@dataclass(frozen=True)
class Weight:
    """One weight of a layer.

    Attributes:
        layer: The layer's name, behind those of the pipeline's members, layers and fields that it lies in:
            ``detector/loop/bodyNetwork/conv``.
        layer_type: A member of the specification's ``oneof layer``.
        field: Its field in the layer's parameters, e.g. ``weights``, ``weightParams.inputGateWeightMatrix``.
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
    params: Any = hidden(default=None, repr=False, compare=False)

    @property
    def size(self) -> int:
        """How many values it has."""
        return math.prod(self.shape)

    @property
    def channels(self) -> int:
        """How many scales it may have."""
        return 1 if self.channel_axis is None else self.shape[self.channel_axis] * self.groups

    def by_channel(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return values as [channels, values of each]."""
        if self.channel_axis is None:
            return values.reshape(1, -1)
        # [*before, c, *after] -> [groups, before, c, after] -> [groups, c, before, after]
        return self._grouped(values).swapaxes(1, 2).reshape(self.channels, -1)

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

    def _grouped(self, values: NDArray[Any]) -> NDArray[Any]:
        return values.reshape(self._grouped_shape())


def stored(file: ModelFile, weight: Weight) -> Encoding | None:
    """Return how a weight is stored, None if it has no values; errors name its layer and field."""
    try:
        return check(file, weight.params, weight.shape)
    except FormatError as error:
        raise weight_error(weight, str(error), file) from error


def values_of(file: ModelFile, weight: Weight) -> NDArray[np.float32]:
    """Return a weight in its shape as float32, however it is stored; errors name its layer and field."""
    try:
        linear = weight.params.quantization.linearQuantization
        if weight.groups > 1 and len(linear.scale) == weight.channels:
            return _scaled_by_group(file, weight)
        return decode(file, weight.params, weight.shape, weight.channel_axis or 0)
    except FormatError as error:
        raise weight_error(weight, str(error), file) from error


def _scaled_by_group(file: ModelFile, weight: Weight) -> NDArray[np.float32]:
    """Decode the weights of a grouped deconvolution, whose scales run along no single axis."""
    params = type(weight.params)()
    params.CopyFrom(weight.params)
    linear = params.quantization.linearQuantization
    scale, bias = np.array(linear.scale, np.float32), np.array(list(linear.bias) or [0], np.float32)
    linear.scale[:] = [1]
    del linear.bias[:]
    codes = weight.by_channel(decode(file, params, weight.shape))
    return weight.as_stored(codes * scale[:, np.newaxis] + bias[:, np.newaxis])


def weight_error(weight: Weight, rule: str, file: ModelFile) -> FormatError:
    """Return the error of a weight, which names it."""
    return FormatError(f"{weight.field} of layer {weight.layer!r} ({weight.layer_type}) of {file.name} {rule}")


def layer_weights(file: ModelFile, layer: Any, path: str) -> list[Weight]:
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


def _has_values(file: ModelFile, weight: Weight) -> bool:
    numbers = {descriptor.number for descriptor, _ in weight.params.ListFields()}
    return bool(numbers & PAYLOAD_FIELDS) or any(file.payload_size(weight.params, n) for n in PAYLOAD_FIELDS)


def _weight(params: Any, name: str, shape: tuple[int, ...], axis: int | None = 0, **more: Any) -> Weight:
    message = params
    for part in name.split("."):
        message = getattr(message, part)
    return Weight("", "", name, tuple(int(size) for size in shape), channel_axis=axis, params=message, **more)


def _vector(params: Any, name: str, size: int, **more: Any) -> Weight:
    return _weight(params, name, (size,), None, is_vector=True, **more)


def _with_bias(params: Any, weights: Weight, channels: int, **more: Any) -> Iterator[Weight]:
    yield weights
    if params.hasBias:
        yield _vector(params, "bias", channels, **more)


def _convolution(params: Any) -> Iterator[Weight]:
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


def _convolution3d(params: Any) -> Iterator[Weight]:
    groups = params.nGroups or 1
    inner = (params.outputChannels, params.inputChannels // groups)
    if params.isDeconvolution:
        inner = (params.inputChannels, params.outputChannels // groups)
    shape = (*inner, params.kernelDepth, params.kernelHeight, params.kernelWidth)
    own = _weight(params, "weights", shape, None, may_be_quantized=False)
    yield from _with_bias(params, own, params.outputChannels, may_be_quantized=False)


def _inner_product(params: Any) -> Iterator[Weight]:
    own = _weight(params, "weights", (params.outputChannels, params.inputChannels))
    yield from _with_bias(params, own, params.outputChannels)


def _batched_mat_mul(params: Any) -> Iterator[Weight]:
    size = params.weightMatrixSecondDimension
    own = _weight(params, "weights", (size, params.weightMatrixFirstDimension))
    yield from _with_bias(params, own, size)


def _embedding(params: Any) -> Iterator[Weight]:
    own = _weight(params, "weights", (params.outputChannels, params.inputDim))
    yield from _with_bias(params, own, params.outputChannels)


def _embedding_nd(params: Any) -> Iterator[Weight]:
    own = _weight(params, "weights", (params.embeddingSize, params.vocabSize))
    yield from _with_bias(params, own, params.embeddingSize)


def _batchnorm(params: Any) -> Iterator[Weight]:
    for name in ("gamma", "beta", "mean", "variance"):
        yield _vector(params, name, params.channels)


def _tensor(params: Any, name: str, dims: Any) -> Weight:
    """Return a stored tensor; one of [C, H, W] may have a scale for each channel."""
    return _weight(params, name, tuple(dims), 0 if len(dims) == 3 else None)


def _scale(params: Any) -> Iterator[Weight]:
    yield _tensor(params, "scale", params.shapeScale)
    if params.hasBias:
        yield _tensor(params, "bias", params.shapeBias)


def _load_constant_nd(params: Any) -> Iterator[Weight]:
    yield _weight(params, "data", tuple(params.shape), None)


def _recurrent(
    params: Any, matrices: Mapping[str, str], vectors: tuple[str, ...], prefix: str = ""
) -> Iterator[Weight]:
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


def _simple_recurrent(params: Any) -> Iterator[Weight]:
    yield from _recurrent(params, _SIMPLE, ("biasVector",) if params.hasBiasVector else ())


def _gru(params: Any) -> Iterator[Weight]:
    biases = tuple(f"{gate}BiasVector" for gate in _GRU_GATES) if params.hasBiasVectors else ()
    yield from _recurrent(params, _GRU, biases)


def _lstm_vectors(params: Any) -> tuple[str, ...]:
    biases = [f"{gate}BiasVector" for gate in _LSTM_GATES if params.params.hasBiasVectors]
    peepholes = [
        f"{gate}PeepholeVector" for gate in _LSTM_GATES if params.params.hasPeepholeVectors and gate != "blockInput"
    ]
    return (*biases, *peepholes)


def _lstm(params: Any) -> Iterator[Weight]:
    yield from _recurrent(params, _LSTM, _lstm_vectors(params), "weightParams.")


def _two_lstms(params: Any) -> Iterator[Weight]:
    size = params.outputVectorSize
    for index, direction in enumerate(params.weightParams):
        matrices = [_weight(direction, name, (size, getattr(params, columns))) for name, columns in _LSTM.items()]
        vectors = [_vector(direction, name, size) for name in _lstm_vectors(params)]
        for weight in (*matrices, *vectors):
            yield replace(weight, field=f"weightParams[{index}].{weight.field}")


_FIELDS: Mapping[str | None, Callable[[Any], Iterator[Weight]]] = {
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
