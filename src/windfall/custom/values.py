"""The values that functions of the user's are given, and the check of those that they return.

A value is brought into the form that it has among the outputs of ``predict``: what a graph would be fed, read back.

Source: ``FeatureType`` in FeatureTypes.proto.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windfall.errors import FeatureError
from windfall.features import arrays
from windfall.features.rowinputs import column, feed
from windfall.features.rowoutputs import reader_of
from windfall.spec.proto import Model_pb2
from windfall.spec.rowforms import COLUMNS

_NO_MODEL = Model_pb2.Model()


def as_declared(feature: Any, value: Any) -> Any:
    """Return a value in the type and form that a feature is declared with.

    Args:
        feature: Its ``FeatureDescription`` message.
        value: Anything that ``predict`` takes for it; None where it is optional and missing.

    Returns:
        A Pillow image, an array, a number, a text, a dictionary, a list; None as it is.

    Raises:
        FeatureError: It does not fit.
    """
    if value is None:
        return None
    kind = feature.type.WhichOneof("Type")
    if kind in COLUMNS:
        return column(feature, [value], COLUMNS[kind][1], _never_missing)[0].item()
    if kind == "multiArrayType" and not has_shape(feature.type.multiArrayType):
        dtype = arrays.DTYPES.get(feature.type.multiArrayType.dataType, np.dtype(np.float64))
        return arrays.to_numbers(value, feature.name, dtype)
    if (
        isinstance(value, np.ndarray)
        and kind == "multiArrayType"
        and _is_as_declared(value, feature.type.multiArrayType)
    ):
        return value
    # Labels of a classifier need not be known to read a dictionary back.
    return reader_of(_NO_MODEL, feature).one(feed(feature, [value]))


def _is_as_declared(value: NDArray[Any], array: Any) -> bool:
    return (
        value.dtype == arrays.DTYPES.get(array.dataType)
        and value.flags.c_contiguous
        and arrays.fits(value.shape, array)
    )


def has_shape(array: Any) -> bool:
    """Whether an array is declared with a shape, or with a choice of them."""
    return bool(array.shape) or array.WhichOneof("ShapeFlexibility") is not None


def _never_missing(*_: Any) -> None:
    """Raise nothing: there is a value."""


def returned(features: list[Any], value: Any, who: str) -> dict[str, Any]:
    """Return the values that a function gave, by the names of its outputs.

    Args:
        features: The ``FeatureDescription`` messages of the outputs.
        value: What it returned: the value of its only output, or a dictionary of several.
        who: What messages call the function.

    Raises:
        FeatureError: There are not the outputs that are declared, or one does not fit.
    """
    if len(features) == 1:
        return {features[0].name: _checked(features[0], value, who)}
    return returned_by_name(features, value, who)


def returned_by_name(features: list[Any], value: Any, who: str) -> dict[str, Any]:
    """Return the values that a function gave as a dictionary by the names of the outputs; see ``returned``."""
    names = [feature.name for feature in features]
    if not isinstance(value, Mapping) or set(value) != set(names):
        what = f"a dictionary of {list(value)}" if isinstance(value, Mapping) else type(value).__name__
        raise FeatureError(f"{who} returned {what}, must return a dictionary with a value for each of {names}")
    return {feature.name: _checked(feature, value[feature.name], who) for feature in features}


def _checked(feature: Any, value: Any, who: str) -> Any:
    if value is None:
        raise FeatureError(f"{who} returned None, must return the value of the output {feature.name!r}")
    try:
        return as_declared(feature, value)
    except FeatureError as error:
        text = str(error)
        text = f"output {text.removeprefix('input ')}" if text.startswith("input ") else text
        raise FeatureError(f"{who} returned what does not fit: {text}") from error
