"""Many predictions of one model."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from windfall.errors import FeatureError
from windfall.features.binding import GraphShapes
from windfall.features.rows import Feeds, RowBinder, collate, rows_of
from windfall.runtime.engine import available_cores

if TYPE_CHECKING:
    from windfall.model import Model

MANY_ROWS = 256
"""So many rows are worth streams, and a graph that is made for many."""
_MOST_ROWS = 65_536
"""So many rows at most are computed at once: inner values of a graph may be many times as large as its inputs."""


def predict_batch(
    model: "Model", inputs: Mapping[str, Any] | Iterable[Mapping[str, Any]]
) -> dict[str, Any] | list[dict[str, Any]]:
    """Run a model for many inputs; see ``Model.predict_batch``."""
    table = _as_table(inputs)
    if table is not None:
        return _predict_table(model, table)
    return _predict_each(model, inputs)


def _predict_each(model: "Model", inputs: Any) -> list[dict[str, Any]]:
    if isinstance(inputs, str | bytes) or not isinstance(inputs, Iterable) or getattr(inputs, "ndim", 1) == 0:
        raise FeatureError(
            f"the inputs are of type {type(inputs).__name__}, must be a dictionary of columns or a list of dictionaries"
        )
    binder = model._binder
    if not isinstance(binder, RowBinder) or binder.single:
        return [model.predict(row) for row in inputs]
    return [result for part in _parts(inputs) for result in _predict_rows(model, binder, part)]


def _as_table(inputs: Any) -> Mapping[str, Any] | None:
    """Return a mapping, or a data frame of pandas or Polars, as a table; None for what is neither."""
    if isinstance(inputs, Mapping):
        return inputs
    names = getattr(inputs, "columns", None)
    if names is None or not hasattr(inputs, "__getitem__"):
        return None
    columns = {name: inputs[name] for name in names}
    return {name: column.to_numpy() if hasattr(column, "to_numpy") else column for name, column in columns.items()}


def _parts(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    part: list[Mapping[str, Any]] = []
    for row in rows:
        part.append(row)
        if len(part) == _MOST_ROWS:
            yield part
            part = []
    if part:
        yield part


def _predict_rows(model: "Model", binder: RowBinder, rows: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    for row in rows:
        binder.check_known(row)
    return binder.split(_compute(model, binder, collate(rows, binder.inputs), len(rows)), len(rows))


def _predict_table(model: "Model", table: Mapping[str, Any]) -> dict[str, Any]:
    binder = model._binder
    rows = rows_of(table, binder.inputs)
    if not isinstance(binder, RowBinder) or binder.single:
        results = [model.predict({name: column[row] for name, column in table.items()}) for row in range(rows)]
        return _stacked(results, binder.outputs)
    return _compute(model, binder, table, rows)


def _compute(model: "Model", binder: RowBinder, table: Mapping[str, Any], rows: int) -> dict[str, Any]:
    """Compute a table: at once, or in streams of one thread each, with a share of the rows that memory can hold."""
    if rows < MANY_ROWS:
        return _run(model, binder, table, binder.graph_shapes)
    threads = model._options.threads or available_cores()
    share = min(_MOST_ROWS, -(-rows // threads))
    parts = [{name: column[start : start + share] for name, column in table.items()} for start in range(0, rows, share)]
    with ThreadPoolExecutor(threads) as pool:
        results = list(pool.map(lambda part: _run(model, binder, part, binder.many_shapes), parts))
    return {name: _joined([result[name] for result in results]) for name in results[0]}


def _run(
    model: "Model", binder: RowBinder, table: Mapping[str, Any], shapes_of: Callable[[Feeds], GraphShapes]
) -> dict[str, Any]:
    feeds = binder.batch_feeds(table)
    compiled = model._compiled(shapes_of(feeds), None)
    return binder.batch_results(compiled.outputs, compiled.program.run(feeds))


def _joined(parts: list[Any]) -> Any:
    """Join what several parts of a table gave for one output."""
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    if isinstance(parts[0], Mapping):
        return {label: np.concatenate([part[label] for part in parts]) for label in parts[0]}
    return [value for part in parts for value in part]


def _stacked(results: list[dict[str, Any]], names: Iterable[str]) -> dict[str, Any]:
    """Return what predictions one by one gave as a table."""
    return {name: _column([result[name] for result in results]) for name in names if not results or name in results[0]}


def _column(values: list[Any]) -> Any:
    if not values or isinstance(values[0], int | float | str):
        return np.array(values, object if values and isinstance(values[0], str) else None)
    if isinstance(values[0], np.ndarray):
        return np.stack(values) if len({value.shape for value in values}) == 1 else values
    if isinstance(values[0], Mapping) and all(value.keys() == values[0].keys() for value in values):
        return {label: np.array([value[label] for value in values]) for label in values[0]}
    return values
