"""Pictures in and out of a network, inside the graph.

Graph inputs and outputs are uint8 [N, H, W, channels] in RGB order, as Pillow holds a picture, so that no pixel is
touched in Python. Source: ``ImageFeatureType`` in FeatureTypes.proto, ``NeuralNetworkPreprocessing``.
"""

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from windfall.errors import FormatError
from windfall.graph.builder import GraphBuilder
from windfall.graph.shapes import shape
from windfall.spec.modelfile import ModelFile
from windfall.spec.proto import FeatureTypes_pb2, NeuralNetwork_pb2

ImageType = FeatureTypes_pb2.ImageFeatureType
CHANNELS = {ImageType.GRAYSCALE: 1, ImageType.RGB: 3, ImageType.BGR: 3, ImageType.GRAYSCALE_FLOAT16: 1}
"""Colour planes of each colour space; alpha is never passed on."""


def channels_of(image: Any, name: str) -> int:
    """Return the number of colour planes of an image feature."""
    if image.colorSpace not in CHANNELS:
        raise FormatError(f"image {name!r} has colorSpace {image.colorSpace}, must be GRAYSCALE, RGB or BGR")
    return CHANNELS[image.colorSpace]


def lower_image_input(
    graph: GraphBuilder, file: ModelFile, feature: Any, network: Any, dims: tuple[int | str, ...]
) -> ir.Value:
    """Add a picture as a graph input and preprocess it.

    Returns:
        float32 [1, N, C, H, W] or [N, C, H, W], by ``imageInputShapeMapping``; channels in the model's own order.
    """
    image = feature.type.imageType
    half = image.colorSpace == ImageType.GRAYSCALE_FLOAT16
    picture = graph.input(feature.name, ir.DataType.FLOAT16 if half else ir.DataType.UINT8, dims)
    if image.colorSpace == ImageType.BGR:
        picture = graph.op("Gather", picture, graph.constant(np.array([2, 1, 0])), axis=3, name="bgr")
    # [N, H, W, C] -> [N, C, H, W]
    planes = graph.op("Transpose", picture, perm=[0, 3, 1, 2], name="planes")
    planes = graph.op("Cast", planes, to=ir.DataType.FLOAT, name="float")
    for preprocessing in _preprocessing_of(file, feature, network):
        planes = _preprocess(graph, planes, preprocessing, image, file.name)
    if network.imageInputShapeMapping == NeuralNetwork_pb2.RANK4_IMAGE_MAPPING:
        return planes
    value = graph.reshape(planes, 1, graph.sizes(planes))
    graph.set_planes(value, planes)
    return value


def _preprocessing_of(file: ModelFile, feature: Any, network: Any) -> list[Any]:
    """Return what applies to a feature; an empty name stands for the first image."""
    images = [f.name for f in file.spec.description.input if f.type.HasField("imageType")]
    first = bool(images) and images[0] == feature.name
    return [p for p in network.preprocessing if p.featureName == feature.name or (first and not p.featureName)]


def _preprocess(graph: GraphBuilder, planes: ir.Value, preprocessing: Any, image: Any, file_name: str) -> ir.Value:
    kind = preprocessing.WhichOneof("preprocessor")
    if kind == "scaler":
        return _scale(graph, planes, preprocessing.scaler, image)
    if kind == "meanImage":
        return _subtract_mean(graph, planes, preprocessing.meanImage, file_name)
    return planes


def _scale(graph: GraphBuilder, planes: ir.Value, scaler: Any, image: Any) -> ir.Value:
    """``channelScale * x + bias``, the biases in the order of the model's channels."""
    biases = {
        ImageType.RGB: (scaler.redBias, scaler.greenBias, scaler.blueBias),
        ImageType.BGR: (scaler.blueBias, scaler.greenBias, scaler.redBias),
    }.get(image.colorSpace, (scaler.grayBias,))
    if scaler.channelScale != 1:
        planes = graph.op("Mul", planes, graph.constant(np.float32(scaler.channelScale)), name="scaled")
    if any(biases):
        bias = np.array(biases, np.float32).reshape(1, -1, 1, 1)
        planes = graph.op("Add", planes, graph.constant(bias), name="biased")
    return planes


def _subtract_mean(graph: GraphBuilder, planes: ir.Value, mean_image: Any, file_name: str) -> ir.Value:
    mean: NDArray[np.float32] = np.array(mean_image.meanImage, np.float32)
    dims = shape(planes)[1:]
    if None in dims or mean.size != np.prod(np.array(dims, dtype=object)):
        raise FormatError(f"{file_name}: meanImage has {mean.size} values, must have one for each of {list(dims)}")
    return graph.op("Sub", planes, graph.constant(mean.reshape(1, *dims)), name="centred")


def lower_image_output(graph: GraphBuilder, value: ir.Value, image: Any, name: str) -> ir.Value:
    """Turn a tensor into a picture: clipped to 0..255, rounded, RGB.

    Args:
        graph: The graph being built.
        value: [..., C, H, W]; all axes before them are 1, or a batch.
        image: The feature's ``ImageFeatureType``.
        name: The feature's name, for messages.

    Returns:
        uint8 [N, H, W, C]; float16 for GRAYSCALE_FLOAT16, which is neither clipped nor rounded.
    """
    channels = channels_of(image, name)
    dims = shape(value)
    if len(dims) == 2 and channels == 1:
        value = graph.reshape(value, 1, graph.sizes(value))
    elif len(dims) < 3 or dims[-3] not in (channels, None):
        raise FormatError(f"output image {name!r} gets a tensor of shape {list(dims)}, must be [{channels}, H, W]")
    # [N, C, H, W] -> [N, H, W, C]
    planes = graph.planes(value)
    if image.colorSpace == ImageType.GRAYSCALE_FLOAT16:
        return graph.op("Cast", graph.op("Transpose", planes, perm=[0, 2, 3, 1]), to=ir.DataType.FLOAT16)
    clipped = graph.op("Clip", planes, graph.constant(np.float32(0)), graph.constant(np.float32(255)), name="clipped")
    rounded = graph.op("Round", clipped, name="rounded")
    pixels = graph.op("Cast", rounded, to=ir.DataType.UINT8, name="pixels")
    picture = graph.op("Transpose", pixels, perm=[0, 2, 3, 1], name="picture")
    if image.colorSpace == ImageType.BGR:
        picture = graph.op("Gather", picture, graph.constant(np.array([2, 1, 0])), axis=3, name="rgb")
    return picture
