"""The sizes that an input or an output may have: read from its description, written into it, checked.

Source: ``ImageFeatureType``, ``ArrayFeatureType`` in FeatureTypes.proto; what is valid, InterfaceValidators.cpp.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from windfall.errors import UnsupportedError
from windfall.features.described import ArrayType, ImageType, SizeRange, describe_feature

Dims = tuple[int, ...]
"""The sizes of a feature, axis by axis: (width, height) of an image, the shape of an array."""
IMAGE_AXES = ("width", "height")


@dataclass(frozen=True)
class Allowed:
    """The sizes that a feature may have.

    Attributes:
        name: The feature's name.
        is_image: Whether it is an image, whose axes are width and height.
        default: The sizes where nothing else is asked for.
        ranges: The sizes of each axis, where there is a range.
        shapes: All sizes, where they are enumerated.
    """

    name: str
    is_image: bool
    default: Dims
    ranges: tuple[SizeRange, ...] = ()
    shapes: tuple[Dims, ...] = ()

    @property
    def rank(self) -> int:
        """How many axes there are."""
        return len(self.default)

    @property
    def is_flexible(self) -> bool:
        """Whether there is a choice."""
        return bool(self.shapes) or any(bounds.least != bounds.most for bounds in self.ranges)

    def axis_name(self, axis: int) -> str:
        """Return what an axis is called in messages."""
        return IMAGE_AXES[axis] if self.is_image else f"axis {axis}"

    def sizes_text(self, dims: Sequence[int]) -> str:
        """Return sizes as messages show them: ``256x256`` for an image, ``[1, 64]`` for an array."""
        return "x".join(map(str, dims)) if self.is_image else str(list(dims))

    def __str__(self) -> str:
        if self.shapes:
            return "one of " + ", ".join(map(self.sizes_text, self.shapes))
        if not self.ranges:
            return self.sizes_text(self.default)
        ends = [str(bounds) for bounds in self.ranges]
        return " x ".join(ends) if self.is_image else f"[{', '.join(ends)}]"


def read_allowed(feature: Any) -> Allowed | None:
    """Return the sizes that a ``FeatureDescription`` message allows; None if it is neither image nor array."""
    kind = describe_feature(feature).type
    if isinstance(kind, ImageType):
        ranges = (kind.width_range, kind.height_range)
        bounds = tuple(one for one in ranges if one is not None)
        return Allowed(feature.name, True, (kind.width, kind.height), bounds, kind.sizes)
    if isinstance(kind, ArrayType):
        return Allowed(feature.name, False, kind.shape, kind.ranges, kind.shapes)
    return None


def write_allowed(feature: Any, allowed: Allowed) -> None:
    """Let a ``FeatureDescription`` message allow these sizes and no others."""
    write = _write_image if allowed.is_image else _write_array
    write(getattr(feature.type, "imageType" if allowed.is_image else "multiArrayType"), allowed)


def _write_image(image: Any, allowed: Allowed) -> None:
    image.ClearField("SizeFlexibility")
    image.width, image.height = allowed.default
    for width, height in allowed.shapes:
        image.enumeratedSizes.sizes.add(width=width, height=height)
    if allowed.ranges:
        bounds = image.imageSizeRange
        for message, one in zip((bounds.widthRange, bounds.heightRange), allowed.ranges, strict=True):
            _write_range(message, one)


def _write_array(array: Any, allowed: Allowed) -> None:
    array.ClearField("ShapeFlexibility")
    array.shape[:] = allowed.default
    for dims in allowed.shapes:
        array.enumeratedShapes.shapes.add().shape.extend(dims)
    for one in allowed.ranges:
        _write_range(array.shapeRange.sizeRanges.add(), one)


def _write_range(message: Any, bounds: SizeRange) -> None:
    message.lowerBound = bounds.least
    message.upperBound = -1 if bounds.most is None else bounds.most


def checked_range(allowed: Allowed, axis: int, value: Any) -> SizeRange:
    """Return the range that a user gave for an axis: (least, most), most None for no limit; or one size.

    Raises:
        UnsupportedError: It is no range, is upside down, or has a size below 1.
    """
    what = f"{allowed.axis_name(axis)} of {allowed.name!r}"
    ends = (value, value) if _is_size(value) else value
    if isinstance(ends, SizeRange):
        ends = (ends.least, ends.most)
    if not isinstance(ends, Sequence) or isinstance(ends, str) or len(ends) != 2:
        raise UnsupportedError(f"{what} is {value!r}, must be (least, most), or (least, None) for no limit")
    least, most = ends
    if not _is_size(least) or not (most is None or _is_size(most)):
        raise UnsupportedError(f"{what} is {value!r}, must be whole numbers of at least 1, or None for no limit")
    if most is not None and least > most:
        raise UnsupportedError(f"{what} is {least}..{most}, which is upside down; give the smaller size first")
    return SizeRange(int(least), None if most is None else int(most))


def checked_dims(allowed: Allowed, value: Any) -> Dims:
    """Return sizes that a user gave.

    Raises:
        UnsupportedError: They are not as many whole numbers of at least 1 as there are axes.
    """
    rule = "(width, height)" if allowed.is_image else f"a shape of {allowed.rank} sizes"
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != allowed.rank:
        raise UnsupportedError(f"{allowed.name!r} has {rule}, not {value!r}")
    if not all(map(_is_size, value)):
        raise UnsupportedError(f"{allowed.name!r} cannot be {value!r}: {rule} must be whole numbers of at least 1")
    return tuple(int(size) for size in value)


def _is_size(value: Any) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool) and int(value) >= 1
