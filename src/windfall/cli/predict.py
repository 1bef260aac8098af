"""``windfall predict``: run a model on photos or other inputs."""

from pathlib import Path

import click

from windfall.cli.errors import debug_option
from windfall.cli.options import FITS, fit_option, threads_option, weights_option

_COMPUTE_UNITS = ("all", "cpu-only", "cpu-and-gpu", "cpu-and-ne")


@click.command(short_help="Run a model on photos or other inputs.")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("inputs", metavar="INPUT...", nargs=-1)
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write pictures, and arrays as .npy files, to this folder. Without it pictures go to the current folder.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per prediction, each on a line.")
@click.option("--top", type=click.IntRange(min=1), default=5, show_default=True, help="Show this many classes.")
@fit_option
@click.option(
    "--layer", "layers", metavar="NAME", multiple=True, help="Return what a layer gives, not the outputs; repeatable."
)
@click.option("--function", metavar="NAME", default="", help="Run this function of an ML program that has several.")
@threads_option
@click.option(
    "--compute-units",
    type=click.Choice(_COMPUTE_UNITS),
    default="all",
    show_default=True,
    help="The devices that may be used.",
)
@weights_option
@click.option(
    "--linked-models",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    multiple=True,
    help="Take models that MODEL links to from this folder; repeatable.",
)
@debug_option
def predict(  # noqa: PLR0913  # one parameter per option is click's way
    *,
    model: Path,
    inputs: tuple[str, ...],
    output: Path | None,
    as_json: bool,
    top: int,
    fit: str,
    layers: tuple[str, ...],
    function: str,
    threads: int | None,
    compute_units: str,
    weights: str,
    linked_models: tuple[Path, ...],
) -> None:
    """Run MODEL and show what it gives.

    \b
    An INPUT is one of
      photo.jpg         a photo for the model's image input
      values.npy        an array for the model's array input
      name=value        a number, a text, or a JSON list or object
      name=values.npy   an array
      name=photo.jpg    a photo
      inputs.json       an object with a value for each input; a text names a
                        photo or .npy file beside the JSON file

    Each photo, .npy or .json file is a prediction of its own; name=value goes into all of them. A model that keeps
    states starts with zeros, and keeps them from one prediction to the next.

    Pictures are written as <photo>_<output>.png. With --json, arrays of up to 1000 numbers are printed whole, larger
    ones as their shape and range, and their .npy file if there is --output; of the classes all are printed; what is
    not finite is "NaN", "Infinity" or "-Infinity".

    \b
    Examples:
      windfall predict mobilenet.mlmodel cat.jpg dog.jpg --top 3
      windfall predict starry-night.mlmodel cat.jpg --output styled
      windfall predict regressor.mlmodel rooms=4 area=120.5 --json
    """  # noqa: D301  # click's mark for lines to keep is a real backspace
    import windfall
    from windfall.cli.predictions import Predictions
    from windfall.cli.results import Output, ResultWriter

    units = compute_units.replace("-", "_")
    links = linked_models or None
    loaded = windfall.load(
        model, threads=threads, compute_units=units, function=function, linked_models=links, weights=weights
    )
    predictions = Predictions(loaded, inputs, FITS[fit], layers)
    predictions.files.add(model.resolve())
    files = ResultWriter(output, predictions.files)
    predictions.run(Output(files, as_json=as_json, top=top))
