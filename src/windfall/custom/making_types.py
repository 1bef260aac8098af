"""Inputs and outputs of models that are being made, from Python types.

Source: ``FeatureType`` in FeatureTypes.proto.
"""

from collections.abc import Callable, Mapping
from typing import Any

from windfall.errors import UnsupportedError
from windfall.features.described import (
    ArrayType,
    DictionaryType,
    FeatureDescription,
    ImageType,
    ScalarType,
    SequenceType,
    SizeRange,
)
from windfall.spec.proto import FeatureTypes_pb2
from windfall.text import brief

Kind = Any
"""A type as ``make_model`` takes it."""

_ANY_LENGTH = SizeRange(0, None)
_PLAIN: Mapping[Any, Any] = {
    str: ScalarType("string"),
    int: ScalarType("int64"),
    float: ScalarType("double"),
    dict[str, float]: DictionaryType("string"),
    dict[int, float]: DictionaryType("int64"),
    list[str]: SequenceType("string", _ANY_LENGTH),
    list[int]: SequenceType("int64", _ANY_LENGTH),
}
_VERSIONS = {"FLOAT16": 7, "GRAYSCALE_FLOAT16": 7, "INT8": 10}
"""The first ``specificationVersion`` with a type of numbers or pixels, where that is a later one."""
_FLEXIBLE, _SEQUENCES = 3, 3


def add_features(spec: Any, inputs: Mapping[str, Kind], outputs: Mapping[str, Kind]) -> None:
    """Describe a model's inputs and outputs; its version becomes what their types need.

    Raises:
        UnsupportedError: A type is none that there is.
    """
    for kinds, target in ((inputs, spec.description.input), (outputs, spec.description.output)):
        for name, kind in kinds.items():
            found = _type(name, kind)
            feature = target.add(name=name)
            if isinstance(found, FeatureDescription):
                feature.type.isOptional, feature.shortDescription = found.optional, found.description
                found = found.type
            version = _WRITERS[type(found)](feature.type, found)
            spec.specificationVersion = max(spec.specificationVersion, version)


def _type(name: str, kind: Kind) -> Any:
    if isinstance(kind, tuple | list) and all(isinstance(size, int) and size > 0 for size in kind):
        return ArrayType("FLOAT32", tuple(kind))
    known = kind.type if isinstance(kind, FeatureDescription) else kind
    if type(known) in _WRITERS:
        return kind
    try:
        return _PLAIN[kind]
    except (KeyError, TypeError):  # TypeError: it is no type at all
        raise UnsupportedError(
            f"the type of {name!r} is {brief(kind)}, must be a shape, one of str, int, float, dict[str, float], "
            "dict[int, float], list[str], list[int], or a type of windfall.description"
        ) from None


def _scalar(target: Any, kind: ScalarType) -> int:
    getattr(target, f"{kind.kind}Type").SetInParent()
    return 1


def _dictionary(target: Any, kind: DictionaryType) -> int:
    getattr(target.dictionaryType, f"{kind.key}KeyType").SetInParent()
    return 1


def _sequence(target: Any, kind: SequenceType) -> int:
    getattr(target.sequenceType, f"{kind.element}Type").SetInParent()
    _range(target.sequenceType.sizeRange, kind.length)
    return _SEQUENCES


def _range(target: Any, sizes: SizeRange) -> None:
    target.lowerBound, target.upperBound = sizes.least, -1 if sizes.most is None else sizes.most


def _array(target: Any, kind: ArrayType) -> int:
    array = target.multiArrayType
    array.dataType = FeatureTypes_pb2.ArrayFeatureType.ArrayDataType.Value(kind.data_type or "FLOAT32")
    array.shape.extend(kind.shape)
    for shape in kind.shapes:
        array.enumeratedShapes.shapes.add(shape=shape)
    for sizes in kind.ranges:
        _range(array.shapeRange.sizeRanges.add(), sizes)
    return max(_VERSIONS.get(kind.data_type, 1), _FLEXIBLE if kind.shapes or kind.ranges else 1)


def _image(target: Any, kind: ImageType) -> int:
    image = target.imageType
    image.width, image.height = kind.width, kind.height
    image.colorSpace = FeatureTypes_pb2.ImageFeatureType.ColorSpace.Value(kind.color_space)
    for width, height in kind.sizes:
        image.enumeratedSizes.sizes.add(width=width, height=height)
    if kind.width_range is not None and kind.height_range is not None:
        _range(image.imageSizeRange.widthRange, kind.width_range)
        _range(image.imageSizeRange.heightRange, kind.height_range)
    flexible = kind.sizes or kind.width_range is not None
    return max(_VERSIONS.get(kind.color_space, 1), _FLEXIBLE if flexible else 1)


_WRITERS: Mapping[type, Callable[[Any, Any], int]] = {
    ScalarType: _scalar,
    DictionaryType: _dictionary,
    SequenceType: _sequence,
    ArrayType: _array,
    ImageType: _image,
}
"""Writes a type, and returns the ``specificationVersion`` that it needs."""
