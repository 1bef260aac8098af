"""Check what a model declares of its inputs before anything of that size is made.

Source: ``FeatureDescription`` in Model.proto, ``ArrayFeatureType`` and ``ImageFeatureType`` in FeatureTypes.proto.
"""

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

from windfall.errors import FormatError
from windfall.features import arrays, images
from windfall.graph.limits import LARGEST_TENSOR


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
    _check_sizes(feature.name, arrays.default_shape(array), itemsize=4)


def _check_image(feature: Any) -> None:
    image = feature.type.imageType
    if image.colorSpace not in images.MODES:
        known = ", ".join(images.ImageType.ColorSpace.Name(number) for number in images.MODES)
        raise FormatError(
            f"image {feature.name!r} has colorSpace {image.colorSpace}, must be one of: {known}; "
            "convert the model again"
        )
    # Every picture becomes a float32 tensor.
    _check_sizes(feature.name, images.default_size(image), itemsize=12)


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


_CHECKS: dict[str | None, Callable[[Any], None]] = {"multiArrayType": _check_array, "imageType": _check_image}
