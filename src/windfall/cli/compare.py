"""``windfall compare``: what models do differently."""

import json
from pathlib import Path

import click

from windfall.cli.errors import debug_option
from windfall.cli.options import FITS, fit_option, threads_option


@click.command(short_help="Show how models differ, what they weigh, how long they take.")
@click.argument("arguments", metavar="MODEL MODEL... INPUT...", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--report",
    "page",
    metavar="FILE.html",
    type=click.Path(path_type=Path),
    help="Write a web page, with pictures of the worst samples.",
)
@click.option("--classes", is_flag=True, help="Take the folders in a folder for classes: give the accuracy, too.")
@fit_option
@threads_option
@debug_option
def compare(  # one parameter per option is click's way
    *, arguments: tuple[str, ...], as_json: bool, page: Path | None, classes: bool, fit: str, threads: int | None
) -> None:
    """Compare the first MODEL with the others: what they give for each INPUT, what they weigh, how long they take.

    Models are the arguments that end in .mlmodel, .mlpackage or .mlmodelc. Their outputs must have the same names and
    types. Pictures are compared by PSNR and SSIM, probabilities by agreement and KL divergence, arrays and numbers by
    signal-to-noise ratio, cosine and largest error.

    \b
    An INPUT is one of
      photo.jpg     a photo for the model's image input
      photos        a folder of photos; with --classes a folder with a folder of
                    photos for each class, named like it
      values.npy    an array for the model's array input
      inputs.json   an object with a value for each input; a text names a photo
                    or .npy file beside the JSON file
      name=value    a number, a text, or JSON, that goes into all predictions

    \b
    Examples:
      windfall compare city.mlmodel small.mlmodel photos --report report.html
      windfall compare mobilenet.mlmodel small.mlmodel test-set --classes --json
    """  # noqa: D301  # click's mark for lines to keep is a real backspace
    from windfall.cli.comparisons import run_comparison

    comparison = run_comparison(arguments, page, FITS[fit], classes=classes, threads=threads)
    if as_json:
        click.echo(json.dumps(comparison.to_dict(), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        from windfall.cli.printing import print_table
        from windfall.comparison.report import report

        print_table(report(comparison))
    if page is not None:
        comparison.save(page)
        click.echo(f"\nwritten to {page}", err=as_json)
