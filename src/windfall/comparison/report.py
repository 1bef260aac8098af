"""A comparison as tables."""

from collections.abc import Sequence
from typing import Literal

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from windfall.comparison.numbers import mean_text, number_text, time_text, worst_sample_text, worst_text
from windfall.comparison.results import ComparedModel, Comparison, Score
from windfall.description.report import shown
from windfall.text import bytes_text

_MOST_NAME = 60


def report(comparison: Comparison) -> Group:
    """Return a comparison as tables: the models, then a table for each output."""
    models = (comparison.reference, *comparison.candidates)
    parts: list[RenderableType] = [
        shown(title(comparison), "bold"),
        *_section("Models", _models(models)),
    ]
    for output in outputs_of(comparison):
        rows = [(m, s) for m in comparison.candidates for s in m.scores if s.output == output]
        parts += _section(output_title(output), _scores(rows, comparison.samples))
    return Group(*parts)


def title(comparison: Comparison) -> str:
    """Say in a line what was compared."""
    samples = f"{comparison.samples:,} sample{'' if comparison.samples == 1 else 's'}"
    others = comparison.candidates
    compared = others[0].name if len(others) == 1 else f"{len(others)} other models"
    return f"{comparison.reference.name} and {compared}, on {samples}"


def outputs_of(comparison: Comparison) -> list[str]:
    """Return the outputs that were measured; an empty name stands for functions of the user's."""
    return list(dict.fromkeys(score.output for model in comparison.candidates for score in model.scores))


def output_title(output: str) -> str:
    """Return the heading over the scores of an output."""
    return f"Output {output!r}" if output else "Own metrics"


def columns_of(models: Sequence[ComparedModel]) -> list[tuple[str, list[str]]]:
    """Return what is known of the models: a heading and a text for each of them, ``>`` before those of numbers."""
    size, seconds = models[0].size, models[0].seconds
    columns = [
        (">Size", [bytes_text(model.size) for model in models]),
        (">", [f"{100 * model.size / size:.0f} %" if size else "" for model in models]),
        (">Parameters", [f"{model.parameters:,}" for model in models]),
        (">Time", [time_text(model.seconds) for model in models]),
        (">", [f"{100 * model.seconds / seconds:.0f} %" if seconds else "" for model in models]),
    ]
    for heading, shares in (
        (">Accuracy", [model.accuracy for model in models]),
        (">Top-5", [model.top_5_accuracy for model in models]),
    ):
        if any(share is not None for share in shares):
            columns.append((heading, [number_text(share, "%") for share in shares]))
    return columns


def _models(models: Sequence[ComparedModel]) -> Table:
    columns = columns_of(models)
    table = _table("Model", *(heading for heading, _ in columns))
    for row, model in enumerate(models):
        name = shown(model.name, "" if row else "cyan", most=_MOST_NAME)
        table.add_row(name, *(texts[row] for _, texts in columns))
    return table


def _scores(rows: Sequence[tuple[ComparedModel, Score]], samples: int) -> Table:
    several = samples > 1
    table = _table("Model", "!Measure", ">Mean" if several else ">", *([">Worst", "Worst sample"] if several else []))
    last = None
    for model, score in rows:
        name = shown("" if model is last else model.name, most=_MOST_NAME)
        row: list[RenderableType] = [name, shown(score.measure), mean_text(score, samples)]
        if several:
            row += [worst_text(score), shown(worst_sample_text(score), most=_MOST_NAME)]
        table.add_row(*row)
        last = model
    return table


def _section(title: str, body: RenderableType) -> list[RenderableType]:
    return [Text(), shown(title, "bold cyan"), Padding(body, (0, 0, 0, 2))]


def _table(*headings: str) -> Table:
    """Return an empty table; a heading that starts with ``>`` is that of numbers, with ``!`` one never to be folded."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading in headings:
        justify: Literal["right", "left"] = "right" if heading.startswith(">") else "left"
        table.add_column(heading.lstrip(">!"), justify=justify, no_wrap=heading[:1] in (">", "!"), overflow="fold")
    return table
