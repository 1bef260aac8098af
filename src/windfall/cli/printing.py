"""Print tables to stdout."""

import shutil
import sys

import click
from rich.console import Console, RenderableType

from windfall.description.report import as_text

_WIDTH = 80
_WIDEST = 120
_IN_ASCII = str.maketrans({"─": "-", "→": ">", "×": "x", "·": "-", "…": "."})  # noqa: RUF001  # those that tables use


def print_table(renderable: RenderableType) -> None:
    """Print to a terminal in its colours and width; elsewhere plain, 80 wide, without blanks at the ends of lines."""
    if sys.stdout.isatty() and not ascii_only():
        width = min(_WIDEST, shutil.get_terminal_size().columns)
        Console(highlight=False, markup=False, width=width).print(renderable)
        return
    text = as_text(renderable, _WIDTH)
    click.echo(text.translate(_IN_ASCII) if ascii_only() else text)


def ascii_only() -> bool:
    """Whether stdout cannot show blocks, lines and arrows."""
    encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower()
    return not encoding.startswith("utf")
