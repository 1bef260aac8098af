"""The values of each output of a classical model or a pipeline, from its tensors.

Source: ``FeatureType`` in FeatureTypes.proto.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windfall.errors import FormatError
from windfall.features import arrays, images
from windfall.features.classes import scored_labels
from windfall.spec.rowforms import COUNTS, INDEX, ITEMS, KEYS, SCORES, VALUES

Tensors = Mapping[str, NDArray[Any]]


class Reader:
    """Makes the values of one output.

    Attributes:
        sources: The tensors that they are made of.
    """

    def __init__(self, feature: Any, *suffixes: str) -> None:
        self.feature = feature
        self.sources = [f"{feature.name}{suffix}" for suffix in suffixes or ("",)]

    def one(self, tensors: Tensors) -> Any:
        """Return the value of one prediction."""
        return self.split(self.many(tensors), 1)[0]

    def many(self, tensors: Tensors) -> Any:
        """Return the values of many predictions."""
        return tensors[self.sources[0]]

    def split(self, values: Any, rows: int) -> Any:
        """Return what ``many`` gives as a sequence of the values of one."""
        del rows
        return values


class NumberReader(Reader):
    """Numbers and texts."""

    def one(self, tensors: Tensors) -> Any:
        """See ``Reader.one``."""
        return tensors[self.sources[0]].item(0)

    def split(self, values: Any, rows: int) -> Any:
        """See ``Reader.split``."""
        del rows
        return values.tolist()


class ArrayReader(Reader):
    """Arrays, in their declared type."""

    def many(self, tensors: Tensors) -> Any:
        """See ``Reader.many``."""
        array = self.feature.type.multiArrayType
        tensor = tensors[self.sources[0]]
        with np.errstate(over="ignore", invalid="ignore"):  # numbers that the type cannot hold are the model's own
            return tensor.astype(arrays.DTYPES.get(array.dataType, tensor.dtype), copy=False)


class ImageReader(Reader):
    """One picture."""

    def many(self, tensors: Tensors) -> Any:
        """See ``Reader.many``."""
        return [images.from_pixels(tensors[self.sources[0]], self.feature.name)]


class ScoresReader(Reader):
    """A classifier's scores, by label."""

    def __init__(self, feature: Any, labels: list[str] | list[int]) -> None:
        super().__init__(feature, SCORES)
        self.labels = labels

    def one(self, tensors: Tensors) -> Any:
        """See ``Reader.one``."""
        return dict(zip(self.labels, tensors[self.sources[0]][0].tolist(), strict=True))

    def many(self, tensors: Tensors) -> Any:
        """See ``Reader.many``."""
        return dict(zip(self.labels, tensors[self.sources[0]].T, strict=True))

    def split(self, values: Any, rows: int) -> Any:
        """See ``Reader.split``."""
        columns = [column.tolist() for column in values.values()]
        return [dict(zip(values, (column[row] for column in columns), strict=True)) for row in range(rows)]


class DictionaryReader(Reader):
    """Dictionaries, each with keys of its own."""

    def __init__(self, feature: Any) -> None:
        super().__init__(feature, INDEX, KEYS, VALUES, COUNTS)

    def many(self, tensors: Tensors) -> Any:
        """See ``Reader.many``."""
        index, keys, values, counts = (tensors[source].tolist() for source in self.sources)
        found: list[dict[Any, float]] = [{} for _ in counts]
        for row, key, value in zip(index, keys, values, strict=True):
            found[row][key] = value
        return found


class SequenceReader(Reader):
    """Sequences."""

    def __init__(self, feature: Any) -> None:
        super().__init__(feature, INDEX, ITEMS, COUNTS)

    def many(self, tensors: Tensors) -> Any:
        """See ``Reader.many``."""
        index, items, counts = (tensors[source].tolist() for source in self.sources)
        found: list[list[Any]] = [[] for _ in counts]
        for row, item in zip(index, items, strict=True):
            found[row].append(item)
        return found


def reader_of(spec: Any, feature: Any) -> Reader:
    """Return what makes the values of an output.

    Args:
        spec: The model's ``Model`` message.
        feature: The output's ``FeatureDescription`` message.

    Raises:
        FormatError: It has no type that is known.
    """
    kind = feature.type.WhichOneof("Type")
    if kind not in _READERS:
        raise FormatError(f"output {feature.name!r} is of type {kind or 'not set'}, which no model gives")
    if kind == "dictionaryType":
        labels = scored_labels(spec, feature.name)
        return DictionaryReader(feature) if labels is None else ScoresReader(feature, labels)
    return _READERS[kind](feature)


_READERS: Mapping[str, Callable[[Any], Reader]] = {
    "doubleType": NumberReader,
    "int64Type": NumberReader,
    "stringType": NumberReader,
    "multiArrayType": ArrayReader,
    "imageType": ImageReader,
    "dictionaryType": DictionaryReader,
    "sequenceType": SequenceReader,
}
