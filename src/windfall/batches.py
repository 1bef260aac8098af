"""Many predictions of one model."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from windfall.errors import FeatureError, UnsupportedError
from windfall.features.binding import GraphShapes
from windfall.features.rows import Feeds, RowBinder, collate, rows_of
from windfall.runtime.engine import available_cores
from windfall.spec.networks import has_custom_layers
from windfall.streams.items import ItemReader
from windfall.streams.parts import in_parts
from windfall.streams.running import stream
from windfall.streams.settings import ON_ERROR, Settings
from windfall.text import brief

if TYPE_CHECKING:
    from windfall.model import Model

MANY_ROWS = 256
"""So many rows are worth streams, and a graph that is made for many."""
_MOST_ROWS = 65_536
"""So many rows at most are computed at once: inner values of a graph may be many times as large as its inputs."""
_MOST_ITEMS = 64
"""So many items at most are given to code of the user's at once: they all are read before."""
_MOST_STREAMS = 1024


def predict_batch(model: "Model", inputs: Any, settings: Settings) -> dict[str, Any] | list[Any] | Iterator[Any]:
    """Run a model for many inputs; see ``Model.predict_batch``."""
    _check(settings)
    table = _as_table(inputs)
    if table is not None:
        return _predict_table(model, table, settings)
    if isinstance(inputs, str | bytes) or not isinstance(inputs, Iterable) or getattr(inputs, "ndim", 1) == 0:
        raise FeatureError(
            f"the inputs are of type {type(inputs).__name__}, must be a dictionary of columns or a list of dictionaries"
        )
    results = run_items(model, inputs, settings)
    is_list = hasattr(inputs, "__len__") and hasattr(inputs, "__getitem__")
    return list(results) if is_list else results


def _check(settings: Settings) -> None:
    if settings.on_error not in ON_ERROR:
        raise FeatureError(f"on_error is {brief(settings.on_error)}, must be one of: {', '.join(ON_ERROR)}")
    streams = settings.streams
    is_count = isinstance(streams, int) and not isinstance(streams, bool) and 1 <= streams <= _MOST_STREAMS
    if streams is not None and not is_count:
        raise UnsupportedError(
            f"streams is {brief(streams)}, must be 1 to {_MOST_STREAMS}, or None for as many as are fastest"
        )


def run_items(model: "Model", items: Iterable[Any], settings: Settings) -> Generator[Any, None, None]:
    """Return a generator of what a model gives for each item.

    Raises:
        FeatureError: The model keeps states, or ``fit`` is unknown.
        UnsupportedError: The model is of a type that cannot be run.
    """
    binder = model._binder
    if binder.states:
        raise FeatureError(
            f"the model keeps the states {', '.join(map(repr, binder.states))}: a prediction depends on those before "
            "it; call predict for one after another, with state = model.make_state()"
        )
    reader = ItemReader(model, settings.fit)
    if isinstance(binder, RowBinder) and not binder.single:
        return in_parts(items, lambda rows: _predict_rows(model, binder, rows), reader, settings, _MOST_ROWS)
    if _has_own_code(model):
        return in_parts(items, model._predict_rows, reader, settings, _MOST_ITEMS)
    return stream(model, items, settings)


def _has_own_code(model: "Model") -> bool:
    """Whether parts of a model are code of the user's, which need not bear several threads."""
    from windfall.model import Model

    return type(model)._predict_rows is not Model._predict_rows or has_custom_layers(model._opened.spec)


def _as_table(inputs: Any) -> Mapping[str, Any] | None:
    """Return a mapping, or a data frame of pandas or Polars, as a table; None for what is neither."""
    if isinstance(inputs, Mapping):
        return inputs
    names = getattr(inputs, "columns", None)
    if names is None or not hasattr(inputs, "__getitem__"):
        return None
    columns = {name: inputs[name] for name in names}
    return {name: column.to_numpy() if hasattr(column, "to_numpy") else column for name, column in columns.items()}


def _predict_rows(model: "Model", binder: RowBinder, rows: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    for row in rows:
        binder.check_known(row)
    return binder.split(_compute(model, binder, collate(rows, binder.inputs), len(rows)), len(rows))


def _predict_table(model: "Model", table: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    if settings.on_error != "raise":
        raise FeatureError(
            f"on_error is {settings.on_error!r}, must be 'raise' for a table, whose columns have a value for each row; "
            "give a list of dictionaries"
        )
    binder = model._binder
    rows = rows_of(table, binder.inputs)
    if not isinstance(binder, RowBinder) or binder.single:
        items = [{name: column[row] for name, column in table.items()} for row in range(rows)]
        return _stacked(list(run_items(model, items, settings)), binder.outputs)
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
