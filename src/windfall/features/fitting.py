"""Fit photos of any size to a model's image input, as Apple's Vision framework does.

Vision scales and crops a photo before a model sees it; its choices are those of ``VNImageCropAndScaleOption``.
"""

import math
import os
import struct
import threading
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from windfall.errors import FeatureError

if TYPE_CHECKING:
    from windfall.description import FeatureDescription, ImageType, SizeRange

CENTER_CROP = "centerCrop"
SCALE_FIT = "scaleFit"
SCALE_FILL = "scaleFill"
FITS = (CENTER_CROP, SCALE_FIT, SCALE_FILL)
"""Crop what is too long, keeping the centre; show all of the photo, black around it; stretch it."""

# Pillow filters over the whole area that becomes one pixel, so that scaling down does not alias.
_RESAMPLING = Image.Resampling.LANCZOS
# First shrink cheaply to three times the size wanted: no difference to be seen, and much faster for large photos.
_REDUCING_GAP = 3.0
_MOST_PIXELS = 2**28
LARGE_PHOTO = 2**24
"""Pixels above which a photo is unpacked with care where many are: alone, a JPEG at a fraction of its size."""
_LARGE = threading.Lock()
_QUIET = threading.Lock()
"""Filters of warnings are the whole process's: one thread at a time changes them, and not while it unpacks a photo."""
_READ_AHEAD = frozenset({"JPEG", "MPO", "TIFF", "WEBP"})
"""Formats whose EXIF data can be read, and warned of, before the photo is unpacked."""
_Size = tuple[int, int]
SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
"""The files of a folder that are taken for pictures."""


def picture_input(inputs: Sequence["FeatureDescription"]) -> "FeatureDescription | None":
    """Return the one image input of a model that needs no other input."""
    pictures = [feature for feature in inputs if feature.kind == "image"]
    others = [feature for feature in inputs if feature.kind != "image" and not feature.optional]
    return pictures[0] if len(pictures) == 1 and not others else None


def open_photo(path: str | os.PathLike[str], wanted: Callable[[_Size], _Size] | None = None) -> Image.Image:
    """Read a photo, the right way up.

    Args:
        path: Its file.
        wanted: Returns the (width, height) that is made of it, given its own, to save memory: a JPEG of over
            ``LARGE_PHOTO`` pixels is unpacked at 1/2, 1/4 or 1/8 of its size, but three times what is wanted or more.
            None for the whole photo.

    Raises:
        FeatureError: The file is missing, is no picture, is cut off, or would be huge when unpacked.
    """
    path = Path(path)
    if path.is_dir():
        raise FeatureError(f"{path} is a directory, must be a picture; name the files in it")
    try:
        with _opened(path) as picture:
            if wanted is not None and _is_large(picture):
                side = round(max(wanted(picture.size)) * _REDUCING_GAP)  # the photo may be turned yet
                picture.draft(None, (side, side))
            picture.load()
            ImageOps.exif_transpose(picture, in_place=True)  # a large photo is not to be there twice
            return picture
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise FeatureError(
            f"{path} has too many pixels, must have at most {Image.MAX_IMAGE_PIXELS:,}; scale it down first"
        ) from error
    except (FileNotFoundError, PermissionError) as error:
        raise FeatureError(f"cannot open {path}: {error.strerror}; check the path") from error
    except UnidentifiedImageError as error:
        raise FeatureError(f"{path} is not a picture that can be read; convert it to PNG or JPEG") from error
    # Pillow's decoders raise these for damaged files.
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, TypeError, OverflowError, struct.error) as error:
        raise FeatureError(f"{path} cannot be decoded: {error}; it may be damaged") from error


def _opened(path: Path) -> Image.Image:
    """Open a photo without unpacking it; warnings are of odd metadata, which does not hurt the picture."""
    with _QUIET, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        picture = Image.open(path)
        if picture.format in _READ_AHEAD:
            picture.getexif()
        return picture


def _is_large(picture: Image.Image) -> bool:
    return picture.width * picture.height > LARGE_PHOTO


def fit_file(path: Path, image: "ImageType", how: str = CENTER_CROP) -> Image.Image:
    """Read a photo and fit it to an image input; may be called in several threads.

    Of photos of over ``LARGE_PHOTO`` pixels one at a time is in memory.

    Raises:
        FeatureError: As ``open_photo`` and ``fit``.
    """
    with _LARGE if _needs_room(path) else nullcontext():
        return fit_photo(open_photo(path, lambda size: target_size(size, image)), image, how)


def _needs_room(path: Path) -> bool:
    try:
        with _opened(path) as picture:
            return _is_large(picture)
    except Exception:  # noqa: BLE001  # whatever it is, ``open_photo`` says it
        return False


def upright(picture: Image.Image) -> Image.Image:
    """Return the picture turned as its EXIF orientation says."""
    return ImageOps.exif_transpose(picture)


def fit_photo(picture: Image.Image, image: "ImageType", how: str = CENTER_CROP) -> Image.Image:
    """Fit an upright picture to an image input.

    A flexible input takes the picture as it is where it allows the size, else the allowed size that is nearest in
    shape. Alpha is blended onto black.

    Args:
        picture: A picture of any mode and size.
        image: What the input takes: the type in its description.
        how: One of ``FITS``.

    Returns:
        A picture of an allowed size; mode RGB, L or F.
    """
    return fit(picture, target_size(picture.size, image), how)


def fit(picture: Image.Image, size: tuple[int, int], how: str = CENTER_CROP) -> Image.Image:
    """Bring a picture to a (width, height).

    Raises:
        FeatureError: The picture has mode I, ``how`` is none of ``FITS``, or the size has no pixels or far too many.
    """
    if how not in _METHODS:
        raise FeatureError(f"fit is {how!r}, must be one of: {', '.join(FITS)}")
    if min(size) < 1 or size[0] * size[1] > _MOST_PIXELS:
        raise FeatureError(
            f"a picture cannot be fitted to {size[0]}x{size[1]}, must be at least 1x1 and have at most "
            f"{_MOST_PIXELS:,} pixels; the model may be damaged"
        )
    plain = _plain(picture)
    return plain if plain.size == size else _METHODS[how](plain, size)


def _plain(picture: Image.Image) -> Image.Image:
    """Return the picture as L, F or RGB, the modes that can be scaled without harm."""
    if picture.mode == "I":
        raise FeatureError("the picture has mode I, whose range is not known; convert it to L, F or RGB first")
    if picture.mode.startswith("I;16"):  # Pillow's own conversion would clip, not scale
        values = np.asarray(picture).astype(np.float32) / 257
        return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))
    if picture.has_transparency_data:
        blended = Image.new("RGBA", picture.size, (0, 0, 0, 255))
        blended.alpha_composite(picture.convert("RGBA"))
        return blended.convert("RGB")
    if picture.mode in ("L", "F", "RGB"):
        return picture
    return picture.convert("L" if picture.mode == "1" else "RGB")


def _center_crop(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    scale = max(size[0] / picture.width, size[1] / picture.height)
    width, height = size[0] / scale, size[1] / scale
    left, top = (picture.width - width) / 2, (picture.height - height) / 2
    # Rounding may put an edge of the box just outside.
    box = (max(0.0, left), max(0.0, top), min(picture.width, left + width), min(picture.height, top + height))
    return picture.resize(size, _RESAMPLING, box=box, reducing_gap=_REDUCING_GAP)


def _scale_fit(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    scale = min(size[0] / picture.width, size[1] / picture.height)
    width, height = (max(1, round(length * scale)) for length in picture.size)
    scaled = picture.resize((width, height), _RESAMPLING, reducing_gap=_REDUCING_GAP)
    canvas = Image.new(picture.mode, size)
    canvas.paste(scaled, ((size[0] - width) // 2, (size[1] - height) // 2))
    return canvas


def _scale_fill(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    return picture.resize(size, _RESAMPLING, reducing_gap=_REDUCING_GAP)


_METHODS = {CENTER_CROP: _center_crop, SCALE_FIT: _scale_fit, SCALE_FILL: _scale_fill}


def target_size(size: tuple[int, int], image: "ImageType") -> tuple[int, int]:
    """Return the allowed (width, height) that suits a picture best.

    Args:
        size: The picture's (width, height).
        image: What the input takes.
    """
    if image.allows(size):
        return size
    if image.sizes:
        return min(image.sizes, key=lambda allowed: _distance(size, allowed))
    if image.width_range is not None and image.height_range is not None:
        return _into_ranges(size, (image.width_range, image.height_range))
    return image.width, image.height


def _distance(size: tuple[int, int], other: tuple[int, int]) -> tuple[float, float]:
    """Compare shapes first, then areas: how many times wider, how many times larger."""
    aspect = abs(math.log((size[0] * max(1, other[1])) / (size[1] * max(1, other[0]))))
    area = abs(math.log((size[0] * size[1]) / max(1, other[0] * other[1])))
    return round(aspect, 6), area


def _into_ranges(size: tuple[int, int], ranges: tuple["SizeRange", "SizeRange"]) -> tuple[int, int]:
    """Scale a size into ranges, its shape kept as far as they let."""
    pairs = list(zip(size, ranges, strict=True))
    scale = min([1.0, *(bounds.most / length for length, bounds in pairs if bounds.most is not None)])
    scale = max(scale, *(bounds.least / length for length, bounds in pairs))
    width, height = (_clamp(round(length * scale), bounds) for length, bounds in pairs)
    return width, height


def _clamp(length: int, bounds: "SizeRange") -> int:
    length = max(1, length, bounds.least)
    return length if bounds.most is None else min(length, bounds.most)
