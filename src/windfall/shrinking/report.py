"""What shrinking found, as tables and a curve of letters."""

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from windfall.comparison.numbers import mean_text, number_text, worst_text
from windfall.description.report import shown
from windfall.shrinking.plot import Plot, plot_of
from windfall.shrinking.results import CurvePoint, LayerChoice, ShrinkResult
from windfall.text import bytes_text

_COLUMNS, _ROWS = 56, 12
_SIGNS = {"mixed": "·", "alike": "o", "chosen": "X"}
_BOUND = "─"


def report(result: ShrinkResult) -> Group:
    """Return a result as tables: the layers, the metrics, models with all layers alike, and the curve."""
    share = result.size_after / result.size_before
    sizes = f"{bytes_text(result.size_after)}, was {bytes_text(result.size_before)} ({100 * share:.0f} %)"
    held = f"{len(result.held_out)} sample{'s'[: len(result.held_out) != 1]} held out"
    parts: list[RenderableType] = [Text(sizes, "bold")]
    parts += _section("Layers", _layers(result.layers))
    parts += _section(f"Metrics, on {held}", _metrics(result))
    parts += _section("All layers alike", _alike(result))
    plot = plot_of(result)
    if plot is not None:
        parts += _section(plot.title, curve_text(plot))
    for warning in result.warnings:
        parts += [Text(), shown(f"Note: {warning}", "yellow")]
    return Group(*parts)


def _section(title: str, body: RenderableType) -> list[RenderableType]:
    return [Text(), shown(title, "bold cyan"), Padding(body, (0, 0, 0, 2))]


def _table(*headings: str) -> Table:
    """Return an empty table; a heading that starts with ``>`` is that of numbers."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading in headings:
        is_number = heading.startswith(">")
        table.add_column(
            heading.lstrip(">"), justify="right" if is_number else "left", no_wrap=is_number, overflow="fold"
        )
    return table


def _layers(layers: Sequence[LayerChoice]) -> Table:
    table = _table("Layer", ">Values", ">Before", ">After", ">Bits", "Mode")
    for layer in layers:
        sizes = bytes_text(layer.bytes_before), bytes_text(layer.bytes_after)
        how = ("as it is", "") if layer.bits is None else (str(layer.bits), layer.mode or "float16")
        table.add_row(shown(layer.layer), f"{layer.values:,}", *sizes, *how)
    return table


def _metrics(result: ShrinkResult) -> Table:
    table = _table("Metric", "Output", ">Bound", ">Mean", ">Worst", "Counts")
    for metric in result.kept:
        score = metric.score
        bound = number_text(metric.bound, score.unit)
        values = mean_text(score, len(result.held_out)), worst_text(score)
        counts = "worst" if result.worst else "mean"
        table.add_row(shown(metric.name), shown(score.output), bound, *values, counts)
    return table


def _alike(result: ShrinkResult) -> Table:
    table = _table("Bits, mode", ">Size", *(f">{metric.name}" for metric in result.kept), "Holds")
    for point in result.curve:
        if point.width:
            table.add_row(point.width, bytes_text(point.size), *_values(result, point), "yes" if point.holds else "no")
    return table


def _values(result: ShrinkResult, point: CurvePoint) -> list[str]:
    pairs = zip(result.kept, point.values, strict=True)
    return [number_text(value, metric.score.unit) for metric, value in pairs]


def curve_text(plot: Plot) -> Text:
    """Draw a plot with letters, sizes from left to right."""
    rows = [[" "] * _COLUMNS for _ in range(_ROWS)]
    bound = plot.row(plot.bound)
    if bound is not None:
        rows[_place(1 - bound, _ROWS)] = [_BOUND] * _COLUMNS
    for point in plot.points:
        rows[_place(1 - point.y, _ROWS)][_place(point.x, _COLUMNS)] = _SIGNS[point.kind]
    labels = {0: plot.top, _ROWS - 1: plot.bottom}
    width = max(map(len, labels.values()))
    lines = [f"{labels.get(number, ''):>{width}} |{''.join(row)}".rstrip() for number, row in enumerate(rows)]
    axis = f"{plot.left}{plot.right:>{_COLUMNS - len(plot.left)}}"
    legend = f"X the result, o all layers alike, · others{', ─ the bound' if bound is not None else ''}"
    return Text("\n".join([*lines, f"{'':{width}}  {axis}", legend]))


def _place(share: float, count: int) -> int:
    return min(count - 1, max(0, round(share * (count - 1))))
