"""The tensors that stand for a feature in a graph that computes many rows at once.

Classical models and pipelines take a table: each prediction is a row. A number or a text is a vector with an element
for each row, an array has the rows as its first axis. A dictionary or a sequence, which is as long as it likes, lies
behind those of the rows before it, with the row of each element and the length of each row beside it.

Source: ``FeatureType`` in FeatureTypes.proto.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from windfall.spec.proto import FeatureTypes_pb2

ROWS = "rows"
"""The symbol for the number of rows."""
MANY = "many_rows"
"""The symbol for a number of rows that is large, for which another graph may be faster."""
DOUBLES, INTEGERS = ":doubles", ":integers"
"""Graph inputs that hold all inputs of one number, a column for each."""
INDEX, KEYS, VALUES, ITEMS, COUNTS, GIVEN, SCORES = (
    ":index", ":keys", ":values", ":items", ":counts", ":given", ":scores",
)  # fmt: skip
"""What stands behind a feature's name in the names of its tensors."""

_ArrayType = FeatureTypes_pb2.ArrayFeatureType
ARRAY_TYPES: Mapping[int, np.dtype[Any]] = {
    _ArrayType.DOUBLE: np.dtype(np.float64),
    _ArrayType.FLOAT32: np.dtype(np.float32),
    _ArrayType.FLOAT16: np.dtype(np.float32),  # computed in float32
    _ArrayType.INT32: np.dtype(np.int32),
    _ArrayType.INT8: np.dtype(np.int8),
}
"""The type of the tensor for each ``ArrayDataType``."""


class Part(NamedTuple):
    """A tensor that stands for a feature or a part of it.

    Attributes:
        suffix: What stands behind the feature's name.
        dtype: Its type; object for text.
        dims: Its sizes behind the first, which is the number of rows, or of ``elements``.
        elements: Whether it has an element for each element of a dictionary or sequence.
    """

    suffix: str
    dtype: np.dtype[Any]
    dims: tuple[int, ...] = ()
    elements: bool = False


_TEXT, _INT64, _DOUBLE, _BOOL = (np.dtype(kind) for kind in (object, np.int64, np.float64, np.bool_))


def parts_of(feature: Any, dims: tuple[int, ...] = ()) -> tuple[Part, ...]:
    """Return the tensors that stand for an input, none for one that a column of numbers stands for.

    Args:
        feature: The ``FeatureDescription`` message.
        dims: The sizes of an array or a picture.
    """
    kind = feature.type.WhichOneof("Type")
    parts = _PARTS[kind](feature.type, dims) if kind in _PARTS else ()
    has_length = any(part.elements for part in parts)
    given = (Part(GIVEN, _BOOL),) if feature.type.isOptional and kind in _MAY_BE_MISSING and not has_length else ()
    return (*parts, *given)


def _dictionary(type_: Any, _dims: tuple[int, ...]) -> tuple[Part, ...]:
    key = _INT64 if type_.dictionaryType.WhichOneof("KeyType") == "int64KeyType" else _TEXT
    return (
        Part(INDEX, _INT64, elements=True),
        Part(KEYS, key, elements=True),
        Part(VALUES, _DOUBLE, elements=True),
        Part(COUNTS, _INT64),
    )


def _sequence(type_: Any, _dims: tuple[int, ...]) -> tuple[Part, ...]:
    item = _INT64 if type_.sequenceType.WhichOneof("Type") == "int64Type" else _TEXT
    return Part(INDEX, _INT64, elements=True), Part(ITEMS, item, elements=True), Part(COUNTS, _INT64)


def _array(type_: Any, dims: tuple[int, ...]) -> tuple[Part, ...]:
    return (Part("", ARRAY_TYPES.get(type_.multiArrayType.dataType, _DOUBLE), dims),)


def _image(type_: Any, dims: tuple[int, ...]) -> tuple[Part, ...]:
    half = type_.imageType.colorSpace == FeatureTypes_pb2.ImageFeatureType.GRAYSCALE_FLOAT16
    return (Part("", np.dtype(np.float16 if half else np.uint8), dims),)


_PARTS: Mapping[str, Callable[[Any, tuple[int, ...]], tuple[Part, ...]]] = {
    "stringType": lambda _type, _dims: (Part("", _TEXT),),
    "multiArrayType": _array,
    "imageType": _image,
    "dictionaryType": _dictionary,
    "sequenceType": _sequence,
}
_MAY_BE_MISSING = ("stringType", "int64Type")
COLUMNS: Mapping[str, tuple[str, np.dtype[Any]]] = {
    "doubleType": (DOUBLES, _DOUBLE),
    "int64Type": (INTEGERS, _INT64),
}
"""The graph input that holds numbers of a type, and its type."""
FEATURE_TYPES = frozenset((*_PARTS, *COLUMNS))
"""The types of features that classical models and pipelines take, as members of the oneof ``Type``."""


def columns_of(description: Any) -> dict[str, list[str]]:
    """Return the names of the inputs that each graph input for columns of numbers holds, in order."""
    found: dict[str, list[str]] = {}
    for feature in description.input:
        column = COLUMNS.get(feature.type.WhichOneof("Type"))
        if column is not None:
            found.setdefault(column[0], []).append(feature.name)
    return found
