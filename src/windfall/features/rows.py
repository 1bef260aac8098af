"""Values in and out of classical models and pipelines, one prediction or many at once; see ``spec/rowforms.py``."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windfall.errors import FeatureError, FormatError, UnsupportedError
from windfall.features.binding import Binder, GraphShapes
from windfall.features.rowinputs import column, feed
from windfall.features.rowoutputs import Reader, reader_of
from windfall.spec.modelfile import ModelFile
from windfall.spec.pipelines import all_members, values_of
from windfall.spec.proto import NEURAL_NETWORK_TYPES
from windfall.spec.rowforms import COLUMNS, FEATURE_TYPES, MANY, ROWS, columns_of, parts_of
from windfall.text import brief

Feeds = dict[str, NDArray[Any]]
_MOST_LISTED = 8
ONE_ROW = (*NEURAL_NETWORK_TYPES, "mlProgram", "nonMaximumSuppression")
"""The types of models that compute one row at a time; so does a pipeline with one of them."""


class RowBinder(Binder):
    """Turns inputs into tensors and tensors into outputs for a classical model or a pipeline.

    Attributes:
        single: Whether the graph computes one row at a time.
    """

    def __init__(self, file: ModelFile, function: str = "") -> None:
        if function:
            raise UnsupportedError(
                f"{file.name} has no function {function!r}, only ML programs have any; load it without"
            )
        spec = file.spec
        described = {feature.name: feature for feature in spec.description.output}
        values = {**values_of(spec), **described}
        super().__init__(spec.description, values, [], None)
        self.single = any(member.WhichOneof("Type") in ONE_ROW for member in all_members(spec))
        self._spec = spec
        self._described = values
        self._columns = columns_of(spec.description)
        self._dtypes = {name: dtype for name, dtype in COLUMNS.values() if name in self._columns}
        self._others = [f for f in self.inputs.values() if parts_of(f)]
        self._readers: dict[str, Reader] = {}
        self._check_types()
        self._check_names(file)
        self.sources = self.sources_of(list(self.outputs))

    def _check_types(self) -> None:
        for feature in self.inputs.values():
            kind = feature.type.WhichOneof("Type")
            if kind not in FEATURE_TYPES:
                raise FormatError(f"input {feature.name!r} is of type {kind or 'not set'}, which no such model takes")

    def _check_names(self, file: ModelFile) -> None:
        names = [f"{feature.name}{part.suffix}" for feature in self._others for part in parts_of(feature)]
        names += self._columns
        if len(names) != len(set(names)):
            raise FormatError(f"{file.name} has inputs whose names end in a colon and a word; rename them")

    # Shapes

    def default_shapes(self) -> GraphShapes:
        """Return the shape of each graph input at the description's default sizes."""
        return dict(self._default_shapes)

    def many_shapes(self, feeds: Mapping[str, NDArray[Any]]) -> GraphShapes:
        """Return the shapes to compile for, given the tensors of many predictions."""
        shapes = self.graph_shapes(feeds).items()
        return {name: tuple(MANY if dim == ROWS else dim for dim in dims) for name, dims in shapes}

    @cached_property
    def _default_shapes(self) -> GraphShapes:
        rows: int | str = 1 if self.single else ROWS
        shapes: GraphShapes = {name: (rows, len(columns)) for name, columns in self._columns.items()}
        for feature in self._others:
            for part in parts_of(feature, self._row_shape(feature)):
                lead = f"{feature.name}:elements" if part.elements else rows
                shapes[f"{feature.name}{part.suffix}"] = (lead, *part.dims)
        return shapes

    def _row_shape(self, feature: Any) -> tuple[int, ...]:
        if feature.type.WhichOneof("Type") not in ("imageType", "multiArrayType"):
            return ()
        dims = tuple(int(size) for size in self._default_shape(feature))
        return dims[1:] if feature.type.HasField("imageType") else dims

    def graph_shapes(self, feeds: Mapping[str, NDArray[Any]]) -> GraphShapes:
        """Return the shapes to compile for: the number of rows stays open, sizes of arrays are as they are given."""
        if not self._others:
            return self._default_shapes
        shapes = self.default_shapes()
        for feature in self._others:
            if feature.name in shapes and feature.name in feeds:
                shapes[feature.name] = (shapes[feature.name][0], *feeds[feature.name].shape[1:])
        return shapes

    # In

    def feeds(self, inputs: Mapping[str, Any]) -> Feeds:
        """Return the tensor of each graph input for one prediction; see ``Binder.feeds``."""
        self.check_known(inputs)
        feeds = {name: self._row(name, inputs) for name in self._columns}
        for feature in self._others:
            self._feed_other(feeds, feature, [inputs.get(feature.name)])
        return feeds

    def _row(self, pack: str, inputs: Mapping[str, Any]) -> NDArray[Any]:
        """Return the numbers of one prediction side by side, [1, columns]."""
        names, dtype = self._columns[pack], self._dtypes[pack]
        row = [inputs.get(name) for name in names]
        if _EXACT[dtype].issuperset(map(type, row)):
            try:
                return np.array([row], dtype)
            except OverflowError:
                pass  # what follows says which it is
        return self._pack(names, {name: [value] for name, value in zip(names, row, strict=True)}, 1, dtype)

    def batch_feeds(self, inputs: Mapping[str, Any]) -> Feeds:
        """Return the tensor of each graph input for many predictions.

        Args:
            inputs: A sequence or an array with a value for each prediction, for each input; see ``rows_of``.

        Raises:
            FeatureError: A value is missing, or does not fit its description.
        """
        rows = rows_of(inputs, self.inputs)
        values = {name: inputs.get(name, [None] * rows) for name in self.inputs}
        feeds = {name: self._pack(names, values, rows, self._dtypes[name]) for name, names in self._columns.items()}
        for feature in self._others:
            self._feed_other(feeds, feature, values[feature.name])
        return feeds

    def check_known(self, inputs: Mapping[str, Any]) -> None:
        """Check that all names are those of inputs.

        Raises:
            FeatureError: One of them is not, or they are none.
        """
        if not isinstance(inputs, Mapping) or not inputs.keys() <= self.inputs.keys():
            super().feeds(inputs)  # says what is wrong

    def _feed_other(self, feeds: Feeds, feature: Any, values: Sequence[Any]) -> None:
        has_all = isinstance(values, np.ndarray) and values.dtype != object
        if not has_all and not feature.type.isOptional:
            lost = next((index for index, value in enumerate(values) if value is None), None)
            if lost is not None:
                self._refuse_missing(feature, lost, len(values))
        feeds |= feed(feature, values)

    def _pack(
        self, names: Sequence[str], values: Mapping[str, Sequence[Any]], rows: int, dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        """Return numbers side by side, [rows, names]."""
        packed = np.empty((rows, len(names)), dtype)
        for index, name in enumerate(names):
            packed[:, index] = column(self.inputs[name], values[name], dtype, self._refuse_missing)
        return packed

    def _refuse_missing(self, feature: Any, index: int = 0, rows: int = 1) -> None:
        where = f" in row {index}" if rows > 1 else ""
        raise FeatureError(f"input {feature.name!r} is missing{where}; give a value for each of {_some(self.inputs)}")

    # Out

    def sources_of(self, outputs: Sequence[str]) -> Sequence[str]:
        """Return the tensors to compute for some outputs."""
        return [source for name in outputs for source in self._reader(name).sources]

    def _reader(self, name: str) -> Reader:
        if name not in self._readers:
            self._readers[name] = reader_of(self._spec, self._described[name])
        return self._readers[name]

    def results(
        self, names: Sequence[str], tensors: Sequence[NDArray[Any]], wanted: Sequence[str] | None
    ) -> dict[str, Any]:
        """Return what ``predict`` returns; see ``Binder.results``."""
        values = dict(zip(names, tensors, strict=False))
        listed = self.outputs if wanted is None else wanted
        return {name: self._reader(name).one(values) for name in listed}

    def batch_results(self, names: Sequence[str], tensors: Sequence[NDArray[Any]]) -> dict[str, Any]:
        """Return the outputs of many predictions: arrays with a row for each, lists of dictionaries and sequences.

        A classifier's scores are a dictionary with an array for each label.
        """
        values = dict(zip(names, tensors, strict=False))
        return {name: self._reader(name).many(values) for name in self.outputs}

    def split(self, results: Mapping[str, Any], rows: int) -> list[dict[str, Any]]:
        """Return the outputs of many predictions as one dictionary for each."""
        columns = {name: self._reader(name).split(value, rows) for name, value in results.items()}
        return [{name: values[row] for name, values in columns.items()} for row in range(rows)]


_EXACT: Mapping[np.dtype[Any], set[type]] = {
    np.dtype(np.float64): {float, int},
    np.dtype(np.int64): {int},
}
"""The Python types of numbers that need no conversion."""


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - _MOST_LISTED} more" if len(listed) > _MOST_LISTED else ""
    return f"{listed[:_MOST_LISTED]}{more}"


def rows_of(table: Mapping[str, Any], known: Iterable[str]) -> int:
    """Return the number of rows of a table: a list or an array for each input.

    Raises:
        FeatureError: A column is neither, or has another length than the others, or a name that is not known.
    """
    known = list(known)
    extra = [name for name in table if name not in known]
    if extra:
        raise FeatureError(
            f"the model has no input {brief(extra[0])}; its inputs are {', '.join(map(repr, known)) or 'none'}"
        )
    counts = {name: _length(name, values) for name, values in table.items()}
    if len(set(counts.values())) > 1:
        raise FeatureError(f"the inputs have different numbers of rows, {counts}; each must have as many")
    return next(iter(counts.values()), 0)


def _length(name: str, values: Any) -> int:
    if isinstance(values, str | bytes | Mapping) or not _is_cut(values):
        raise FeatureError(
            f"input {name!r} is {type(values).__name__}, must be a list or an array with a value for each row"
        )
    return len(values)


def _is_cut(values: Any) -> bool:
    """Whether values have a length and can be cut into parts, as lists and arrays can."""
    try:
        return len(values[:0]) == 0
    except (IndexError, KeyError, TypeError, ValueError):
        return False


def collate(rows: Iterable[Mapping[str, Any]], names: Iterable[str]) -> dict[str, list[Any]]:
    """Return the inputs of several predictions as lists of their values."""
    listed = list(rows)
    return {name: [row.get(name) for row in listed] for name in names}
