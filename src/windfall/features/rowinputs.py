"""The tensors of each input of a classical model or a pipeline, for the values of many predictions.

Source: ``FeatureType`` in FeatureTypes.proto.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windfall.errors import FeatureError
from windfall.features import arrays, images
from windfall.spec.rowforms import ARRAY_TYPES, COUNTS, GIVEN, INDEX, ITEMS, KEYS, VALUES
from windfall.text import brief

Feeds = dict[str, NDArray[Any]]


def column(
    feature: Any, values: Sequence[Any], dtype: np.dtype[Any], refuse_missing: Callable[..., None]
) -> NDArray[Any]:
    """Return the numbers of one input as a vector.

    Args:
        feature: Its ``FeatureDescription`` message.
        values: A number for each prediction, None where it is missing.
        dtype: The vector's type.
        refuse_missing: Raises the error for a value that is missing and must not be, given the feature and its row.

    Raises:
        FeatureError: A value is no number, or is missing.
    """
    if not isinstance(values, np.ndarray):
        lost = [index for index, value in enumerate(values) if value is None]
        if lost and not feature.type.isOptional:
            refuse_missing(feature, lost[0], len(values))
        filler = np.nan if dtype.kind == "f" else 0
        values = [filler if value is None else value for value in values] if lost else values
        values = [_one_number(value, feature.name) for value in values]
    found = arrays.to_numbers(values, feature.name, dtype)
    if found.size != len(values):
        raise FeatureError(f"input {feature.name!r} has shape {list(found.shape[1:])}, must be one number")
    return found.reshape(-1)


def _one_number(value: Any, name: str) -> Any:
    """Return a number; arrays of one number stand for it."""
    if isinstance(value, float | int | np.number):
        return value
    found = arrays.to_numbers(value, name, np.dtype(np.float64))
    if found.size != 1:
        raise FeatureError(f"input {name!r} has shape {list(found.shape)}, must be one number")
    # An array's own number: as a double, a large integer would be another one.
    return value.item() if isinstance(value, np.ndarray) else found.item()


def feed(feature: Any, values: Sequence[Any]) -> Feeds:
    """Return the tensors of an input that is no number, and whether a number is given.

    Args:
        feature: Its ``FeatureDescription`` message.
        values: A value for each prediction, None where it is missing.

    Raises:
        FeatureError: A value does not fit the description.
    """
    kind = feature.type.WhichOneof("Type")
    tensors = _FEEDS[kind](feature, values)
    if feature.type.isOptional and kind in ("stringType", "int64Type"):
        tensors[GIVEN] = np.array([value is not None for value in values], np.bool_)
    return {f"{feature.name}{suffix}": tensor for suffix, tensor in tensors.items()}


def _texts(feature: Any, values: Sequence[Any]) -> Feeds:
    return {"": _text_array(feature, ["" if value is None else value for value in values])}


def _text_array(feature: Any, values: Sequence[Any]) -> NDArray[Any]:
    wrong = [value for value in values if not isinstance(value, str)]
    if wrong:
        raise FeatureError(f"input {feature.name!r} has {_brief(wrong[0])}, must have text; convert it first")
    try:
        "".join(values).encode()
    except UnicodeEncodeError as error:
        raise FeatureError(f"input {feature.name!r} has text with half a character; mend it first") from error
    found = np.empty(len(values), object)
    found[:] = [str(value) for value in values]
    return found


def _arrays(feature: Any, values: Sequence[Any]) -> Feeds:
    dtype = ARRAY_TYPES.get(feature.type.multiArrayType.dataType, np.dtype(np.float64))
    if isinstance(values, np.ndarray) and len(values):
        found = arrays.to_numbers(values, feature.name, dtype)
        first = arrays.to_exact(found[0], feature)
        return {"": found.reshape(len(found), *first.shape)}
    rows = [_array(feature, value, dtype) for value in values]
    if len({row.shape for row in rows}) > 1:
        shapes = sorted({row.shape for row in rows})
        raise FeatureError(f"input {feature.name!r} has rows of the shapes {shapes}, must have one shape in a batch")
    if not rows:
        return {"": np.empty((0, *arrays.default_shape(feature.type.multiArrayType)), dtype)}
    return {"": rows[0][None] if len(rows) == 1 else np.stack(rows)}


def _array(feature: Any, value: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    if value is None:
        return arrays.default_array(feature).astype(dtype)
    return arrays.to_exact(arrays.to_numbers(value, feature.name, dtype), feature)


def _images(feature: Any, values: Sequence[Any]) -> Feeds:
    if len(values) != 1:
        raise FeatureError(
            f"input {feature.name!r} is an image, of which a graph takes one at a time; predict one by one"
        )
    return {"": images.to_pixels(values[0], feature)}


def _dictionaries(feature: Any, values: Sequence[Any]) -> Feeds:
    dictionaries = [{} if value is None else value for value in values]
    wrong = [value for value in dictionaries if not isinstance(value, Mapping)]
    if wrong:
        raise FeatureError(f"input {feature.name!r} is {_brief(wrong[0])}, must be a dictionary of numbers")
    keys = [key for dictionary in dictionaries for key in dictionary]
    numbers = [_one_number(number, feature.name) for dictionary in dictionaries for number in dictionary.values()]
    is_integer = feature.type.dictionaryType.WhichOneof("KeyType") == "int64KeyType"
    return {
        INDEX: _index(dictionaries),
        KEYS: _elements(feature, keys, is_integer),
        VALUES: arrays.to_numbers(numbers, feature.name, np.dtype(np.float64)),
        COUNTS: _counts(values, dictionaries),
    }


def _sequences(feature: Any, values: Sequence[Any]) -> Feeds:
    sequences = [() if value is None else value for value in values]
    for sequence in sequences:
        if isinstance(sequence, str | bytes | Mapping) or not isinstance(sequence, Collection) or _is_single(sequence):
            raise FeatureError(f"input {feature.name!r} is {_brief(sequence)}, must be a list")
        _check_length(feature, len(sequence))
    items = [item for sequence in sequences for item in sequence]
    is_integer = feature.type.sequenceType.WhichOneof("Type") == "int64Type"
    return {
        INDEX: _index(sequences),
        ITEMS: _elements(feature, items, is_integer),
        COUNTS: _counts(values, sequences),
    }


def _is_single(value: Any) -> bool:
    """Whether a value is an array without axes, which has no length."""
    return getattr(value, "ndim", 1) == 0


def _check_length(feature: Any, length: int) -> None:
    allowed = feature.type.sequenceType.sizeRange
    high = allowed.upperBound
    if not feature.type.sequenceType.HasField("sizeRange") or (length == 0 and feature.type.isOptional):
        return
    if length < allowed.lowerBound or (0 <= high < length):
        ends = f"{allowed.lowerBound} to {high}" if high >= 0 else f"at least {allowed.lowerBound}"
        raise FeatureError(f"input {feature.name!r} has {length} items, must have {ends}")


def _index(parts: Sequence[Any]) -> NDArray[np.int64]:
    lengths = [len(part) for part in parts]
    return np.repeat(np.arange(len(parts), dtype=np.int64), lengths)


def _counts(values: Sequence[Any], parts: Sequence[Any]) -> NDArray[np.int64]:
    return np.array([-1 if v is None else len(p) for v, p in zip(values, parts, strict=True)], np.int64)


def _elements(feature: Any, elements: Sequence[Any], is_integer: bool) -> NDArray[Any]:
    if not is_integer:
        return _text_array(feature, [_key_text(one) for one in elements])
    wrong = [one for one in elements if not _is_integer(one)]
    if wrong:
        raise FeatureError(f"input {feature.name!r} has {_brief(wrong[0])}, must have integers; convert it first")
    try:
        return np.array(elements, np.int64).reshape(-1)
    except OverflowError as error:
        raise FeatureError(f"input {feature.name!r} has an integer that int64 cannot hold") from error


def _key_text(key: Any) -> Any:
    """Return a key as text; coremltools declares dictionaries of integers as ones of texts."""
    try:
        return str(int(key)) if _is_integer(key) else key
    except ValueError:  # more digits than Python writes
        return key


def _is_integer(value: Any) -> bool:
    # NumPy counts spans of time among the integers.
    return isinstance(value, int | np.integer) and not isinstance(value, bool | np.timedelta64)


def _brief(value: object) -> str:
    return f"{brief(value)} ({type(value).__name__})"


_FEEDS: Mapping[str, Callable[[Any, Sequence[Any]], Feeds]] = {
    "stringType": _texts,
    "multiArrayType": _arrays,
    "imageType": _images,
    "dictionaryType": _dictionaries,
    "sequenceType": _sequences,
    "int64Type": lambda _feature, _values: {},  # a column; here only whether it is given
}
"""How the tensors of an input are made, by its type."""
