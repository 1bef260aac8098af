"""Many predictions of a model with custom layers: part by part, so that a layer has all of some rows at once."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from windfall.custom.program import CutProgram

if TYPE_CHECKING:
    from windfall.compiled import CompiledModel
    from windfall.model import Model

MOST_ROWS = 32
"""So many rows at most go through a model at once: the tensors between its parts are kept for all of them."""
Row = Mapping[str, Any]


def predict_rows(model: "Model", rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Return what ``Model.predict`` returns for each row.

    Raises:
        FeatureError: As there.
    """
    return [result for part in chunks(rows) for result in _predict_part(model, part)]


def chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Cut rows into parts of at most ``MOST_ROWS``."""
    remaining = iter(rows)
    while part := list(islice(remaining, MOST_ROWS)):
        yield part


def _predict_part(model: "Model", rows: list[Row]) -> list[dict[str, Any]]:
    binder = model._binder
    feeds = [binder.feeds(row) for row in rows]
    binder.checked_state(None)
    groups: dict[CompiledModel, list[int]] = {}
    for index, tensors in enumerate(feeds):
        groups.setdefault(model._compiled(binder.graph_shapes(tensors), None), []).append(index)
    results: dict[int, dict[str, Any]] = {}
    for compiled, indices in groups.items():
        program = compiled.program
        batch = [feeds[index] for index in indices]
        found = program.run_batch(batch) if isinstance(program, CutProgram) else [program.run(one) for one in batch]
        results |= {index: binder.results(compiled.outputs, tensors, None)
                    for index, tensors in zip(indices, found, strict=True)}  # fmt: skip
    return [results[index] for index in range(len(rows))]
