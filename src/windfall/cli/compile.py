"""``windfall compile``: fill the cache before a model is used."""

import time
from pathlib import Path

import click

from windfall.cli.errors import debug_option


@click.command(short_help="Compile a model now, so that it starts quickly later.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--function", metavar="NAME", default="", help="Compile this function of an ML program that has several.")
@click.option(
    "--linked-models",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    multiple=True,
    help="Take models that MODEL links to from this folder; repeatable.",
)
@debug_option
def compile(*, model: Path, function: str, linked_models: tuple[Path, ...]) -> None:  # noqa: A001  # the command's name
    """Compile MODEL for its default input shapes and all others that it lists, and keep the result in the cache.

    The first prediction does the same: what was compiled before starts at once. What is kept is valid for this very
    file at this path, until it is changed or copied.

    \b
    Examples:
      windfall compile city.mlmodel
      windfall compile decoder.mlpackage --function decode
    """  # noqa: D301  # click's mark for lines to keep is a real backspace
    import windfall
    from windfall.runtime.cache import CompileCache, cache_folder
    from windfall.text import bytes_text

    start, clock = time.time(), time.monotonic()
    loaded = windfall.load(model, function=function, linked_models=linked_models or None)
    _ = loaded.compiled
    loaded.compile_sizes()
    took = time.monotonic() - clock
    folder = cache_folder()
    entries = [] if folder is None else CompileCache(folder).entries()
    kept = [entry for entry in entries if entry.model == str(model.absolute()) and entry.used >= start - 1]
    what = f"{bytes_text(sum(entry.size for entry in kept))} kept in {folder}" if kept else _why_not(folder)
    click.echo(f"{model}: compiled in {took:.1f} s, {what}")


def _why_not(folder: Path | None) -> str:
    if folder is None:
        return "nothing kept, as the cache is off"
    return f"nothing kept in {folder}: it cannot be written, or over 16 MB of the weights must be decoded"
