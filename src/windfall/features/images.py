"""Pictures in and out, as Pillow images.

Source: ``ImageFeatureType`` in FeatureTypes.proto.
"""

import struct
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from windfall.errors import FeatureError
from windfall.spec.proto import FeatureTypes_pb2

if TYPE_CHECKING:
    from PIL import Image  # imported in the functions: models without pictures start faster

ImageType = FeatureTypes_pb2.ImageFeatureType
MODES = {
    ImageType.GRAYSCALE: "L",
    ImageType.RGB: "RGB",
    ImageType.BGR: "RGB",
    ImageType.GRAYSCALE_FLOAT16: "F",
}
"""The Pillow mode of each colour space; a BGR model gets its order inside the graph."""


def default_size(image: Any) -> tuple[int, int]:
    """Return (width, height): the declared size, or the first one that a flexible image allows."""
    if image.width > 0 and image.height > 0:
        return image.width, image.height
    kind = image.WhichOneof("SizeFlexibility")
    if kind == "enumeratedSizes" and image.enumeratedSizes.sizes:
        first = image.enumeratedSizes.sizes[0]
        return first.width, first.height
    if kind == "imageSizeRange":
        bounds = image.imageSizeRange
        return max(1, bounds.widthRange.lowerBound), max(1, bounds.heightRange.lowerBound)
    return image.width, image.height


def fits(size: tuple[int, int], image: Any) -> bool:
    """Whether the description allows a (width, height)."""
    kind = image.WhichOneof("SizeFlexibility")
    if size == default_size(image):
        return True
    if kind == "enumeratedSizes":
        return size in [(s.width, s.height) for s in image.enumeratedSizes.sizes]
    if kind == "imageSizeRange":
        ranges = (image.imageSizeRange.widthRange, image.imageSizeRange.heightRange)
        return all(
            r.lowerBound <= length and (r.upperBound < 0 or length <= r.upperBound)
            for length, r in zip(size, ranges, strict=True)
        )
    return False


def describe_allowed(image: Any) -> str:
    """Say in words which sizes a description allows, as width x height."""
    kind = image.WhichOneof("SizeFlexibility")
    if kind == "enumeratedSizes":
        return "one of " + ", ".join(f"{s.width}x{s.height}" for s in image.enumeratedSizes.sizes)
    if kind == "imageSizeRange":
        ranges = (image.imageSizeRange.widthRange, image.imageSizeRange.heightRange)
        return " x ".join(f"{r.lowerBound}..{'' if r.upperBound < 0 else r.upperBound}" for r in ranges)
    return "{}x{}".format(*default_size(image))


def to_pixels(value: Any, feature: Any) -> NDArray[Any]:
    """Return a picture as the graph takes it.

    Args:
        value: A Pillow image of any mode and an allowed size, or a uint8 array [H, W, 3], [H, W, 4], [H, W, 1] or
            [H, W]. Alpha is dropped.
        feature: The feature's description.

    Returns:
        uint8 [1, H, W, channels], RGB; float16 for GRAYSCALE_FLOAT16.

    Raises:
        FeatureError: It is no picture, or its size is not allowed.
    """
    image = feature.type.imageType
    picture = _as_picture(value, feature.name)
    if not fits(picture.size, image):
        raise FeatureError(
            f"image {feature.name!r} is {picture.width}x{picture.height}, must be {describe_allowed(image)}; "
            "resize it first, or use the command line, which does"
        )
    try:
        pixels = np.asarray(_from_16_bits(picture, feature.name).convert(MODES[image.colorSpace]))
    except (OSError, ValueError, SyntaxError, EOFError, struct.error) as error:
        raise FeatureError(f"image {feature.name!r} cannot be decoded: {error}; check the file") from error
    if image.colorSpace == ImageType.GRAYSCALE_FLOAT16:
        with np.errstate(over="ignore"):  # beyond float16 is infinite, as in Core ML
            pixels = pixels.astype(np.float16)
    return pixels.reshape(1, picture.height, picture.width, -1)


def _from_16_bits(picture: "Image.Image", name: str) -> "Image.Image":
    """Scale a gray picture of 16 bits to 0..255; Pillow's ``convert`` would make all but its darkest pixels white."""
    if picture.mode == "I":
        raise FeatureError(f"image {name!r} has mode I, whose range is not known; convert it to L, F or RGB first")
    if not picture.mode.startswith("I;16"):
        return picture
    from PIL import Image

    return Image.fromarray(np.rint(np.asarray(picture).astype(np.float32) / 257).astype(np.uint8))


def default_pixels(feature: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return what an optional image input is when it is left out: black."""
    half = feature.type.imageType.colorSpace == ImageType.GRAYSCALE_FLOAT16
    return np.zeros(shape, np.float16 if half else np.uint8)


def _as_picture(value: Any, name: str) -> "Image.Image":
    from PIL import Image

    if isinstance(value, Image.Image):
        return value
    is_array = isinstance(value, np.ndarray)
    if is_array and value.dtype == np.uint8 and (value.ndim == 2 or (value.ndim == 3 and value.shape[2] in (1, 3, 4))):
        return Image.fromarray(value[:, :, 0] if value.ndim == 3 and value.shape[2] == 1 else value)
    shown = f"an array of {value.dtype}, shape {list(value.shape)}" if is_array else type(value).__name__
    raise FeatureError(
        f"image {name!r} is {shown}, must be a Pillow image or a uint8 array [H, W, 3]; try PIL.Image.open(path)"
    )


def from_pixels(pixels: NDArray[Any], name: str) -> "Image.Image":
    """Return [1, H, W, channels] as a Pillow image: mode RGB, L, or F for float16.

    Raises:
        FeatureError: There are several pictures, or none.
    """
    if len(pixels) != 1 or not pixels.size:
        raise FeatureError(
            f"image output {name!r} has the shape {list(pixels.shape)}, must be one picture [1, H, W, channels]; "
            "give inputs without a batch"
        )
    from PIL import Image

    first = pixels[0]
    if first.dtype == np.float16:
        first = first.astype(np.float32)
    return Image.fromarray(first[:, :, 0] if first.shape[2] == 1 else first)
