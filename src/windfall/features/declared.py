"""Check what a model declares of its inputs before anything of that size is made.

Source: ``FeatureDescription`` in Model.proto, ``ArrayFeatureType`` and ``ImageFeatureType`` in FeatureTypes.proto.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from windfall.errors import FormatError
from windfall.features import arrays, images
from windfall.graph.limits import LARGEST_TENSOR

_MOST_LISTED = 4


def check_inputs(description: Any) -> None:
    """Check the names and sizes of all inputs.

    Raises:
        FormatError: A name is empty or used twice, a size is below 1, a colour space is none of the specification's,
            or an input would need more memory than any tensor may have.
    """
    for name, count in Counter(feature.name for feature in description.input).items():
        if not name:
            raise FormatError("an input of the model has no name, must have one; convert the model again")
        if count > 1:
            raise FormatError(f"the model declares the input {name!r} {count} times; names must differ")
    for feature in description.input:
        check = _CHECKS.get(feature.type.WhichOneof("Type"))
        if check is not None:
            check(feature)


def _check_array(feature: Any) -> None:
    array = feature.type.multiArrayType
    default = arrays.default_shape(array)
    _check_sizes(feature.name, default, itemsize=4)
    kind = array.WhichOneof("ShapeFlexibility")
    if kind == "enumeratedShapes":
        _check_listed(feature.name, default, arrays.enumerated_shapes(array))
    elif kind == "shapeRange":
        _check_ranges(feature.name, default, arrays.size_ranges(array))


def _check_image(feature: Any) -> None:
    image = feature.type.imageType
    if image.colorSpace not in images.MODES:
        known = ", ".join(images.ImageType.ColorSpace.Name(number) for number in images.MODES)
        raise FormatError(
            f"image {feature.name!r} has colorSpace {image.colorSpace}, must be one of: {known}; "
            "convert the model again"
        )
    default = images.default_size(image)
    # Every picture becomes a float32 tensor.
    _check_sizes(feature.name, default, itemsize=12)
    kind = image.WhichOneof("SizeFlexibility")
    if kind == "enumeratedSizes":
        _check_listed(feature.name, default, [(size.width, size.height) for size in image.enumeratedSizes.sizes])
    elif kind == "imageSizeRange":
        bounds = image.imageSizeRange
        ends = [
            (r.lowerBound, None if r.upperBound < 0 else r.upperBound) for r in (bounds.widthRange, bounds.heightRange)
        ]
        _check_ranges(feature.name, default, ends)


def _check_sizes(name: str, dims: tuple[int, ...], itemsize: int) -> None:
    if any(size < 1 for size in dims):
        raise FormatError(
            f"input {name!r} declares the sizes {list(dims)}, each must be at least 1; convert the model again"
        )
    needs = math.prod(dims) * itemsize
    if needs > LARGEST_TENSOR:
        raise FormatError(
            f"input {name!r} declares the sizes {list(dims)}, which need {needs:,} bytes, must be at most "
            f"{LARGEST_TENSOR:,}; convert the model again"
        )


def _check_listed(name: str, default: tuple[int, ...], sizes: Sequence[tuple[int, ...]]) -> None:
    """Check a list of sizes, which must have the default one in it."""
    if default not in sizes:
        listed = ", ".join(str(list(one)) for one in sizes[:_MOST_LISTED]) or "none"
        raise FormatError(
            f"input {name!r} has the default size {list(default)}, which is not among those it lists: {listed}; "
            "convert the model again"
        )


def _check_ranges(name: str, default: tuple[int, ...], ranges: Sequence[tuple[int, int | None]]) -> None:
    """Check ranges of sizes, one for each axis, which must have the default ones in them."""
    if len(ranges) != len(default):
        raise FormatError(
            f"input {name!r} has the default size {list(default)} and ranges for {len(ranges)} axes, must have one for "
            "each; convert the model again"
        )
    for axis, (size, (low, high)) in enumerate(zip(default, ranges, strict=True)):
        shown = f"{low}..{'' if high is None else high}"
        if high is not None and low > high:
            raise FormatError(
                f"input {name!r} has the range {shown} along axis {axis}, which is upside down; convert the model again"
            )
        # A range may be that of an empty axis; there are no empty defaults.
        if size < low or (high is not None and size > max(high, 1)):
            raise FormatError(
                f"input {name!r} has the default size {size} along axis {axis}, which is not in its range {shown}; "
                "convert the model again"
            )


_CHECKS: dict[str | None, Callable[[Any], None]] = {"multiArrayType": _check_array, "imageType": _check_image}
