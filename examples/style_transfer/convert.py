"""Write a trained style network as a Core ML neural network, layer by layer.

coremltools' own PyTorch converter does the same job, but its models need specification version 4; these need 2, which
is where float16 weights came in. Input and output are RGB images, and every layer has a readable name.
"""

from collections import Counter
from pathlib import Path

import numpy as np
from coremltools.models import datatypes
from coremltools.models.neural_network import NeuralNetworkBuilder
from coremltools.models.utils import save_spec
from coremltools.proto import FeatureTypes_pb2, Model_pb2, NeuralNetwork_pb2
from grain import canvas_grain
from network import ConvBlock, PaddedConv, ResidualBlock, StyleNetwork, UpsampleBlock
from torch import Tensor, nn

SIZE = 256
FLOAT16_VERSION = 2  # the specification version that introduced float16 weights
INPUT, OUTPUT = "image", "stylized"
SHORT = {
    "city": "a night skyline full of lit windows",
    "glass": "a stained-glass window",
    "oils": "thick strokes of oil paint",
    "waves": "swirling waves in the manner of a Japanese woodcut",
}


def to_numpy(tensor: Tensor | None) -> np.ndarray:
    """Return a weight as a float32 array."""
    if tensor is None:
        raise ValueError("the layer has no such weight")
    return tensor.detach().float().numpy()


class Writer:
    """Adds layers to a Core ML network, each reading the blob that the one before wrote."""

    def __init__(self) -> None:
        image = datatypes.Array(3, SIZE, SIZE)
        self.builder = NeuralNetworkBuilder([(INPUT, image)], [(OUTPUT, image)])
        self.blob = INPUT

    def add_grain(self, name: str) -> None:
        """Add the grain of the canvas to the three channels."""
        grain = canvas_grain(SIZE)[0].numpy()  # [1, SIZE, SIZE]
        self.builder.add_bias(name, grain, input_name=self.blob, output_name=name, shape_bias=grain.shape)
        self.blob = name

    def pad(self, name: str, pixels: int) -> None:
        """Pad the borders by reflection: [3, H, W] -> [3, H + 2 * pixels, W + 2 * pixels]."""
        self.builder.add_padding(
            name, left=pixels, right=pixels, top=pixels, bottom=pixels, padding_type="reflection",
            input_name=self.blob, output_name=name,
        )  # fmt: skip
        self.blob = name

    def convolve(self, name: str, conv: nn.Conv2d) -> None:
        """Add a convolution without padding of its own."""
        kernel, stride = conv.kernel_size[0], conv.stride[0]
        self.builder.add_convolution(
            name, kernel_channels=conv.in_channels, output_channels=conv.out_channels, height=kernel, width=kernel,
            stride_height=stride, stride_width=stride, border_mode="valid", groups=1,
            W=to_numpy(conv.weight).transpose(2, 3, 1, 0), b=to_numpy(conv.bias), has_bias=True,
            input_name=self.blob, output_name=name,
        )  # fmt: skip
        self.blob = name

    def normalize(self, name: str, norm: nn.InstanceNorm2d) -> None:
        """Add an instance normalization."""
        self.builder.add_batchnorm(
            name, channels=norm.num_features, gamma=to_numpy(norm.weight), beta=to_numpy(norm.bias),
            compute_mean_var=True, instance_normalization=True, epsilon=norm.eps,
            input_name=self.blob, output_name=name,
        )  # fmt: skip
        self.blob = name

    def activate(self, name: str, kind: str, params: list[float] | None = None, output: str | None = None) -> None:
        """Add an activation; ``output`` names its blob, if that is not the layer's own name."""
        target = output or name
        self.builder.add_activation(name, kind, input_name=self.blob, output_name=target, params=params)
        self.blob = target

    def add(self, name: str, other: str) -> None:
        """Add the blob ``other`` to the current one."""
        self.builder.add_elementwise(name, input_names=[other, self.blob], output_name=name, mode="ADD")
        self.blob = name

    def upsample(self, name: str) -> None:
        """Double height and width by repeating pixels."""
        self.builder.add_upsample(name, 2, 2, input_name=self.blob, output_name=name, mode="NN")
        self.blob = name


def write_padded_conv(writer: Writer, name: str, block: PaddedConv) -> None:
    """Write the padding and the convolution of a block."""
    pad, conv = block
    writer.pad(f"{name}_pad", pad.padding[0])
    writer.convolve(f"{name}_conv", conv)


def write_conv_block(writer: Writer, name: str, block: ConvBlock) -> None:
    """Write a padded convolution, its normalization and its ReLU."""
    padded, norm, _ = block
    write_padded_conv(writer, name, padded)
    writer.normalize(f"{name}_norm", norm)
    writer.activate(f"{name}_relu", "RELU")


def write_residual_block(writer: Writer, name: str, block: ResidualBlock) -> None:
    """Write the two convolutions of a residual block and the sum."""
    first, second, norm = block.branch
    entry = writer.blob
    write_conv_block(writer, f"{name}_first", first)
    write_padded_conv(writer, f"{name}_second", second)
    writer.normalize(f"{name}_second_norm", norm)
    writer.add(f"{name}_add", entry)


def write_block(writer: Writer, name: str, block: nn.Module) -> None:
    """Write any block of the style network."""
    if isinstance(block, ConvBlock):
        write_conv_block(writer, name, block)
    elif isinstance(block, ResidualBlock):
        write_residual_block(writer, name, block)
    elif isinstance(block, UpsampleBlock):
        writer.upsample(f"{name}_upsample")
        write_conv_block(writer, name, block[1])
    elif isinstance(block, PaddedConv):
        write_padded_conv(writer, name, block)
    else:
        raise TypeError(f"no rule to write block {name!r} of type {type(block).__name__}")


def block_names(network: StyleNetwork) -> list[str]:
    """Name the blocks by kind and number: ``conv1``, ``conv2``, ``residual1``, ``up1``, ``out``."""
    kinds = {ConvBlock: "conv", ResidualBlock: "residual", UpsampleBlock: "up", PaddedConv: "out"}
    seen: Counter[str] = Counter()
    names = []
    for block in network:
        kind = kinds[type(block)]
        seen[kind] += 1
        names.append(kind if kind == "out" else f"{kind}{seen[kind]}")
    return names


def make_image(feature: Model_pb2.FeatureDescription, description: str) -> None:
    """Turn a feature into an RGB image of SIZE by SIZE pixels."""
    feature.shortDescription = description
    feature.type.imageType.width = feature.type.imageType.height = SIZE
    feature.type.imageType.colorSpace = FeatureTypes_pb2.ImageFeatureType.RGB


def describe(spec: Model_pb2.Model, style: str) -> None:
    """Fill in the descriptions of the model, its input and its output."""
    make_image(spec.description.input[0], f"A photo, {SIZE} by {SIZE} pixels.")
    make_image(spec.description.output[0], f"The photo, repainted; {SIZE} by {SIZE} pixels.")
    metadata = spec.description.metadata
    metadata.author = "The windfall authors"
    metadata.license = "Apache-2.0"
    metadata.versionString = "1.0"
    metadata.shortDescription = f"Repaints a photo as {SHORT[style]}."


def build_spec(network: StyleNetwork, style: str) -> Model_pb2.Model:
    """Return the network as a Core ML model with float32 weights; the output is clamped and scaled to 0..255 inside."""
    writer = Writer()
    writer.add_grain("grain")
    for name, block in zip(block_names(network), network, strict=True):
        write_block(writer, name, block)
    writer.activate("out_clamp", "SIGMOID_HARD", params=[0.5, 0.5])  # min(max(0.5 * x + 0.5, 0), 1)
    writer.activate("out_pixels", "LINEAR", params=[255.0, 0.0], output=OUTPUT)
    # The network takes pixels of -1 to 1; Core ML multiplies by the scale first, then adds the bias.
    writer.builder.set_pre_processing_parameters(
        image_input_names=[INPUT], red_bias=-1.0, green_bias=-1.0, blue_bias=-1.0, image_scale=2 / 255
    )
    describe(writer.builder.spec, style)
    return writer.builder.spec


def count_layers(spec: Model_pb2.Model) -> dict[str, int]:
    """Return how many layers of each type the network has, the most frequent first."""
    return dict(Counter(layer.WhichOneof("layer") for layer in spec.neuralNetwork.layers).most_common())


def store_as_float16(weights: NeuralNetwork_pb2.WeightParams) -> None:
    """Replace float32 weights by float16 ones, in place."""
    weights.float16Value = np.asarray(weights.floatValue, dtype="<f2").tobytes()
    weights.ClearField("floatValue")


def halve_weights(spec: Model_pb2.Model) -> None:
    """Store all weights as float16, in place."""
    for layer in spec.neuralNetwork.layers:
        if layer.WhichOneof("layer") == "convolution":
            store_as_float16(layer.convolution.weights)
            store_as_float16(layer.convolution.bias)
        elif layer.WhichOneof("layer") == "batchnorm":
            store_as_float16(layer.batchnorm.gamma)
            store_as_float16(layer.batchnorm.beta)
        elif layer.WhichOneof("layer") == "bias":
            store_as_float16(layer.bias.bias)
    spec.specificationVersion = FLOAT16_VERSION


def save_model(network: StyleNetwork, style: str, path: Path) -> dict[str, int]:
    """Save the network as a Core ML model with float16 weights and return its layer counts."""
    spec = build_spec(network, style)
    halve_weights(spec)
    save_spec(spec, str(path))
    return count_layers(spec)
