"""``windfall batch``: run a model over many photos."""

from pathlib import Path

import click

from windfall.cli.errors import debug_option
from windfall.cli.options import FITS, fit_option, threads_option


@click.command(short_help="Run a model over many photos.")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("photos", metavar="PHOTO...", nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    type=click.Path(path_type=Path),
    required=True,
    help="A folder for pictures, or a file for all else: .jsonl, .csv or .parquet.",
)
@click.option("--resume", is_flag=True, help="Go on with a batch that was stopped.")
@click.option("--recursive", is_flag=True, help="Search the folders in folders, too.")
@click.option("--top", type=click.IntRange(min=1), show_default="all", help="Keep this many classes.")
@fit_option
@click.option(
    "--streams", type=click.IntRange(1, 1024), show_default="the fastest", help="Run so many predictions at once."
)
@threads_option
@click.option("--function", metavar="NAME", default="", help="Run this function of an ML program that has several.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@debug_option
def batch(  # noqa: PLR0913  # one parameter per option is click's way
    *,
    model: Path,
    photos: tuple[str, ...],
    output: Path,
    resume: bool,
    recursive: bool,
    top: int | None,
    fit: str,
    streams: int | None,
    threads: int | None,
    function: str,
    as_json: bool,
) -> None:
    """Run MODEL over photos, and write what it gives to OUT.

    A PHOTO is a file, a folder or a pattern such as "trip/*.jpg". Into a folder OUT go the pictures that the model
    gives, named like the photos; for several outputs a folder each. Into a file OUT goes a row for each photo.

    Photos that cannot be used do not stop the others: they are listed at the end and in errors.jsonl, or
    OUT.errors.jsonl, and the exit status is 1.

    Whatever stops a batch, --resume goes on with it; what is done is not done again. It must be the same model,
    with the same options and photos. OUT.partial, or .windfall-batch.jsonl in OUT, says how far it is.

    \b
    Examples:
      windfall batch starry-night.mlmodel photos --output styled
      windfall batch mobilenet.mlmodel photos --top 5 --output classes.csv
      windfall batch mobilenet.mlmodel "trip/*.jpg" -o classes.jsonl --resume
    """  # noqa: D301  # click's mark for lines to keep is a real backspace
    import windfall
    from windfall.cli.batches import PhotoBatch
    from windfall.cli.photos import find_photos

    found = find_photos(photos, recursive=recursive, leave=output)
    loaded = windfall.load(model, threads=threads, function=function)
    options = {"fit": fit, "function": function, "top": top}
    runner = PhotoBatch(loaded, found, output, top)
    runner.run(model, options, FITS[fit], streams=streams, resume=resume, as_json=as_json)
