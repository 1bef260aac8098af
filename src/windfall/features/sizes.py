"""The sizes that an input may have, as the axes of its tensor: which of them differ, and all that are listed.

Source: ``ArrayFeatureType`` and ``ImageFeatureType`` in FeatureTypes.proto.
"""

from typing import Any

from windfall.features import arrays, images

Dims = tuple[int, ...]


def differing_axes(feature: Any) -> frozenset[int]:
    """Return the axes of an input along which its sizes may differ: of an array's shape, or of (height, width).

    Nothing for what is neither array nor image, and for shapes of different ranks.
    """
    listed = listed_dims(feature)
    if len({len(dims) for dims in listed}) > 1:
        return frozenset()
    if len(listed) > 1:
        return frozenset(axis for axis, sizes in enumerate(zip(*listed, strict=True)) if len(set(sizes)) > 1)
    return frozenset(axis for axis, (least, most) in enumerate(_ranges(feature)) if least != most)


def listed_dims(feature: Any) -> list[Dims]:
    """Return all sizes of an input that lists some, the default one first; else that alone."""
    kind = feature.type.WhichOneof("Type")
    if kind == "multiArrayType":
        array = feature.type.multiArrayType
        return list(dict.fromkeys([arrays.default_shape(array), *arrays.enumerated_shapes(array)]))
    if kind != "imageType":
        return []
    width, height = images.default_size(feature.type.imageType)
    listed = [(size.height, size.width) for size in feature.type.imageType.enumeratedSizes.sizes]
    return list(dict.fromkeys([(height, width), *listed]))


def has_range(feature: Any) -> bool:
    """Whether an array or an image has a range along some axis."""
    kind = feature.type.WhichOneof("Type")
    return kind in ("multiArrayType", "imageType") and any(least != most for least, most in _ranges(feature))


def _ranges(feature: Any) -> list[tuple[int, int | None]]:
    """Return (least, most) of each axis; None for no limit."""
    if feature.type.HasField("multiArrayType"):
        return arrays.size_ranges(feature.type.multiArrayType)
    if not feature.type.imageType.HasField("imageSizeRange"):
        return []
    bounds = feature.type.imageType.imageSizeRange
    return [(r.lowerBound, None if r.upperBound < 0 else r.upperBound) for r in (bounds.heightRange, bounds.widthRange)]
