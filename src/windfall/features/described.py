"""What a model takes and gives, value by value.

Source: ``FeatureDescription`` in Model.proto, ``FeatureType`` in FeatureTypes.proto.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from windfall.features import arrays, images
from windfall.spec.proto import FeatureTypes_pb2

_ANY = FeatureTypes_pb2.ArrayFeatureType.INVALID_ARRAY_DATA_TYPE
_MOST_SHAPES = 4
_COLORS = {"GRAYSCALE": "Grayscale", "GRAYSCALE_FLOAT16": "Grayscale Float16"}


@dataclass(frozen=True)
class SizeRange:
    """The sizes that something may have, both ends included.

    Attributes:
        least: The smallest size.
        most: The largest size, None for no limit.
    """

    least: int
    most: int | None

    def __contains__(self, size: int) -> bool:
        return self.least <= size and (self.most is None or size <= self.most)

    def __str__(self) -> str:
        if self.least == self.most:
            return str(self.least)
        return f"{self.least}..{'' if self.most is None else self.most}"


@dataclass(frozen=True)
class ScalarType:
    """A number or a string.

    Attributes:
        kind: ``int64``, ``double`` or ``string``.
    """

    kind: str

    def __str__(self) -> str:
        return self.kind.capitalize()


@dataclass(frozen=True)
class ImageType:
    """A picture.

    Attributes:
        width: The required or default width.
        height: The required or default height.
        color_space: ``RGB``, ``BGR``, ``GRAYSCALE`` or ``GRAYSCALE_FLOAT16``.
        sizes: The (width, height) pairs allowed, where they are enumerated.
        width_range: The widths allowed, where there is a range.
        height_range: The heights allowed, where there is a range.
    """

    width: int
    height: int
    color_space: str
    sizes: tuple[tuple[int, int], ...] = ()
    width_range: SizeRange | None = None
    height_range: SizeRange | None = None
    kind: str = field(default="image", init=False)

    def allows(self, size: tuple[int, int]) -> bool:
        """Whether a picture may have this (width, height)."""
        if size == (self.width, self.height) or size in self.sizes:
            return True
        ranges = (self.width_range, self.height_range)
        return all(bounds is not None and length in bounds for length, bounds in zip(size, ranges, strict=True))

    def __str__(self) -> str:
        color = _COLORS.get(self.color_space, self.color_space)
        return f"Image ({color} {_by((self.width, self.height))}{self._flexibility()})"

    def _flexibility(self) -> str:
        if self.sizes:
            return ", one of " + _listed([_by(size) for size in self.sizes])
        if self.width_range is not None:
            return ", flexible " + _by((self.width_range, self.height_range))
        return ""


@dataclass(frozen=True)
class ArrayType:
    """An array of numbers.

    Attributes:
        data_type: ``FLOAT32``, ``DOUBLE``, ``INT32``, ``INT8`` or ``FLOAT16``; empty where it is not declared.
        shape: The required or default shape; empty where it is not declared.
        shapes: The shapes allowed, where they are enumerated.
        ranges: The sizes allowed on each axis, where there is a range.
        default: What each element is when an optional array is left out, None where it is not declared.
    """

    data_type: str
    shape: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...] = ()
    ranges: tuple[SizeRange, ...] = ()
    default: float | None = None
    kind: str = field(default="array", init=False)

    def __str__(self) -> str:
        known = [self.data_type.capitalize()] * bool(self.data_type) + [_by(self.shape)] * bool(self.shape)
        text = " ".join(known) + (self._flexibility() if self.shape else ", shape not declared")
        return f"MultiArray ({text.removeprefix(', ')})"

    def _flexibility(self) -> str:
        if self.shapes:
            return ", one of " + _listed([_by(shape) for shape in self.shapes])
        if self.ranges:
            return ", flexible " + _by(self.ranges)
        return ""


@dataclass(frozen=True)
class DictionaryType:
    """Numbers by name.

    Attributes:
        key: The keys' type, ``int64`` or ``string``; values are doubles.
    """

    key: str
    kind: str = field(default="dictionary", init=False)

    def __str__(self) -> str:
        return f"Dictionary ({self.key.capitalize()} → Double)"


@dataclass(frozen=True)
class SequenceType:
    """Several strings or integers in a row.

    Attributes:
        element: ``int64`` or ``string``.
        length: How many there may be.
    """

    element: str
    length: SizeRange
    kind: str = field(default="sequence", init=False)

    def __str__(self) -> str:
        return f"Sequence ({self.element.capitalize()}, length {self.length})"


@dataclass(frozen=True)
class StateType:
    """An array that a model keeps from one prediction to the next."""

    array: ArrayType
    kind: str = field(default="state", init=False)

    def __str__(self) -> str:
        return f"State of {self.array}"


Type = ScalarType | ImageType | ArrayType | DictionaryType | SequenceType | StateType


@dataclass(frozen=True)
class FeatureDescription:
    """An input, an output or a state.

    Attributes:
        name: Its name.
        type: What it is, with the sizes allowed.
        optional: Whether an input may be left out.
        description: What its maker says about it.
    """

    name: str
    type: Type
    optional: bool = False
    description: str = ""

    @property
    def kind(self) -> str:
        """One of ``image``, ``array``, ``int64``, ``double``, ``string``, ``dictionary``, ``sequence``, ``state``."""
        return self.type.kind


def describe_feature(feature: Any) -> FeatureDescription:
    """Describe a ``FeatureDescription`` message."""
    kind = feature.type.WhichOneof("Type")
    type_ = _TYPES[kind](getattr(feature.type, kind)) if kind else ScalarType("type not set")
    return FeatureDescription(feature.name, type_, feature.type.isOptional, feature.shortDescription)


def _image(image: Any) -> ImageType:
    width, height = images.default_size(image)
    flexibility = image.WhichOneof("SizeFlexibility")
    bounds = image.imageSizeRange if flexibility == "imageSizeRange" else None
    return ImageType(
        width,
        height,
        _enum_name(image, "colorSpace"),
        sizes=tuple((size.width, size.height) for size in image.enumeratedSizes.sizes),
        width_range=_range(bounds.widthRange) if bounds else None,
        height_range=_range(bounds.heightRange) if bounds else None,
    )


def _array(array: Any) -> ArrayType:
    default = array.WhichOneof("defaultOptionalValue")
    return ArrayType(
        "" if array.dataType == _ANY else _enum_name(array, "dataType"),
        arrays.default_shape(array),
        shapes=tuple(tuple(shape.shape) for shape in array.enumeratedShapes.shapes),
        ranges=tuple(_range(bounds) for bounds in array.shapeRange.sizeRanges),
        default=getattr(array, default) if default else None,
    )


def _range(bounds: Any) -> SizeRange:
    return SizeRange(bounds.lowerBound, None if bounds.upperBound < 0 else bounds.upperBound)


def _element(message: Any, oneof: str) -> str:
    """Return ``int64`` or ``string`` for a oneof of Int64FeatureType and StringFeatureType."""
    kind = message.WhichOneof(oneof)
    return "type not set" if kind is None else kind.removesuffix("Type").removesuffix("Key")


_TYPES: Mapping[str, Callable[[Any], Type]] = {
    "int64Type": lambda _: ScalarType("int64"),
    "doubleType": lambda _: ScalarType("double"),
    "stringType": lambda _: ScalarType("string"),
    "imageType": _image,
    "multiArrayType": _array,
    "dictionaryType": lambda message: DictionaryType(_element(message, "KeyType")),
    "sequenceType": lambda message: SequenceType(_element(message, "Type"), _range(message.sizeRange)),
    "stateType": lambda message: StateType(_array(message.arrayType)),
}


def _enum_name(message: Any, name: str) -> str:
    """Return an enum field's value by its name, or its number where that is unknown."""
    number = getattr(message, name)
    value = message.DESCRIPTOR.fields_by_name[name].enum_type.values_by_number.get(number)
    return str(number) if value is None else str(value.name)


def _by(sizes: tuple[Any, ...]) -> str:
    return " \N{MULTIPLICATION SIGN} ".join(map(str, sizes))


def _listed(items: list[str]) -> str:
    more = f" and {len(items) - _MOST_SHAPES} more" if len(items) > _MOST_SHAPES else ""
    return ", ".join(items[:_MOST_SHAPES]) + more
