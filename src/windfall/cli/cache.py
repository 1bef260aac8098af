"""``windfall cache``: what is kept of compiled models."""

import json
from datetime import UTC, datetime

import click

from windfall.cli.errors import debug_option


@click.group(short_help="List or remove what is kept of compiled models.")
@debug_option
def cache() -> None:
    """List or remove what is kept of compiled models.

    When a model is compiled, its graph is kept in your cache folder, so that it starts quickly the next time; and
    what OpenVINO made of it, if that runs the model, which is as large as its weights. WINDFALL_CACHE names another
    folder, or is off. All entries together have 1 GB at most; those not used for longest go first.

    \b
    Examples:
      windfall cache list
      windfall cache clear
    """  # noqa: D301  # click's mark for lines to keep is a real backspace


@cache.command("list", short_help="List the models, with sizes and times.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@debug_option
def list_entries(*, as_json: bool) -> None:
    """List the entries: the model of each, what it is, its size, and when it was last used.

    A model has one graph for each function, and for each set of input shapes and of outputs that were asked for.

    \b
    Examples:
      windfall cache list
      windfall cache list --json
    """  # noqa: D301  # click's mark for lines to keep is a real backspace
    from windfall.runtime.cache import LARGEST, CompileCache, cache_folder

    folder = cache_folder()
    entries = [] if folder is None else CompileCache(folder).entries()
    if as_json:
        listed = [
            {
                "model": entry.model or None,
                "kind": entry.kind,
                "size": entry.size,
                "used": _time(entry.used),
                "path": str(entry.path),
            }
            for entry in entries
        ]
        about = {"folder": None if folder is None else str(folder), "largest": LARGEST, "entries": listed}
        click.echo(json.dumps(about, indent=2, ensure_ascii=False))
        return
    from rich.table import Column, Table

    from windfall.cli.printing import print_table
    from windfall.text import bytes_text, safe

    if entries:
        table = Table(Column("Model", overflow="fold"), "Kind", "Size", "Last used", box=None)
        for entry in entries:
            table.add_row(
                safe(entry.model) or "damaged, or of another version",
                entry.kind,
                bytes_text(entry.size),
                _time(entry.used),
            )
        print_table(table)
    click.echo(_summary(folder, sum(entry.size for entry in entries), LARGEST))


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).astimezone().isoformat(" ", "seconds")


def _summary(folder: object, size: int, largest: int) -> str:
    from windfall.text import bytes_text

    if folder is None:
        return "The cache is off."
    return f"{folder}: {bytes_text(size)} of {bytes_text(largest)}"


@cache.command(short_help="Remove all of it.")
@debug_option
def clear() -> None:
    """Remove all that is kept of compiled models; they are compiled anew when they are used.

    \b
    Example:
      windfall cache clear
    """  # noqa: D301  # click's mark for lines to keep is a real backspace
    from windfall.runtime.cache import CompileCache, cache_folder
    from windfall.text import bytes_text

    folder = cache_folder()
    freed = 0 if folder is None else CompileCache(folder).clear()
    click.echo("The cache is off." if folder is None else f"{folder}: {bytes_text(freed)} removed")
