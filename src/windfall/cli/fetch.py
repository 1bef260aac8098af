"""``windfall fetch``: download a model once and keep it."""

import click

from windfall.cli.errors import debug_option


@click.command(short_help="Download a model, check it and keep it.")
@click.argument("source")
@click.option("--sha256", metavar="HEX", help="The checksum that the file must have.")
@click.option("--name", help="Keep the address and the checksum under this name, too.")
@click.option("--refresh", is_flag=True, help="Download it again, and compare the checksums.")
@click.option(
    "--largest",
    metavar="MB",
    type=click.IntRange(min=1),
    default=8000,
    show_default=True,
    help="Refuse what has more megabytes, downloaded or unpacked.",
)
@debug_option
def fetch(*, source: str, sha256: str | None, name: str | None, refresh: bool, largest: int) -> None:
    """Download the model at SOURCE, check it, keep it, compile it, and print the path where it lies.

    SOURCE is an address (https, http or file) of an .mlmodel, or of a zip file with one, with an .mlpackage or an
    .mlmodelc; or a name that was given with --name or stands in names.json of the folder of models. That is a folder of
    your data, or the one that WINDFALL_MODELS names.

    A model that is there already is not downloaded again. Without --sha256 the checksum of the first download is
    recorded, and another one from the same address is an error. A download that was broken off is gone on with.

    \b
    Examples:
      windfall fetch https://example.org/city.mlmodel --name city
      windfall fetch https://example.org/city.mlpackage.zip --sha256 4f1e...
      windfall predict "$(windfall fetch city)" photo.jpg
    """  # noqa: D301  # click's mark for lines to keep is a real backspace
    from windfall.cli.progress import SlowDownload
    from windfall.errors import UnsupportedError
    from windfall.loading import load
    from windfall.store import fetch_file

    with SlowDownload() as progress:
        path = fetch_file(source, sha256=sha256, name=name, refresh=refresh, largest=largest * 10**6, progress=progress)
    click.echo(f"sha256 {path.parent.name}", err=True)
    try:
        _ = load(path).compiled
    except UnsupportedError as error:
        click.echo(f"Kept, but cannot be run: {error}", err=True)
    click.echo(path)
