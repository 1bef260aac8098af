"""``windfall shrink``: the smallest model that still does what it must."""

import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from windfall.cli.errors import debug_option
from windfall.cli.options import FITS, fit_option, threads_option
from windfall.errors import FormatError, WindfallError

if TYPE_CHECKING:
    from windfall.model import Model
    from windfall.shrinking import ShrinkResult
    from windfall.shrinking.shrink import ShrinkSettings

_MODES = ("kmeans", "linear", "linear_symmetric")


def _bounds(_ctx: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, float]:
    """Read bounds: ``psnr=30``."""
    bounds = dict[str, float]()
    for text in given:
        name, _, value = text.partition("=")
        number = _number(value)
        if not name or math.isnan(number):
            raise click.BadParameter(f"{text!r} must be a metric, '=', and a number: 'psnr=30'.")
        if name in bounds:
            raise click.BadParameter(f"{name!r} is given twice; give it once.")
        bounds[name] = number
    return bounds


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


@click.command(short_help="Make a model as small as its results allow.")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
@click.argument("inputs", metavar="INPUT...", nargs=-1)
@click.option(
    "--keep",
    metavar="NAME=VALUE",
    multiple=True,
    required=True,
    callback=_bounds,
    help="What must hold: psnr, ssim, top1, top5, snr, cosine, agreement, accuracy at least; kl, error at most.  "
    "Repeatable.",
)
@click.option("--worst", is_flag=True, help="It must hold for each sample, not for their mean.")
@click.option(
    "--mode", "modes", type=click.Choice(_MODES), multiple=True, help="Use this mode alone; repeatable.  [default: all]"
)
@click.option("--requantize", is_flag=True, help="Also take weights that are quantized already.")
@click.option("--upgrade", is_flag=True, help="ML programs may come to need a later iOS.")
@click.option("--classes", is_flag=True, help="Take the folders in a folder for classes, as accuracy needs it.")
@fit_option
@threads_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--curve", metavar="FILE.svg", type=click.Path(path_type=Path), help="Draw size against the first metric."
)
@debug_option
def shrink(  # noqa: PLR0913  # one for each option
    *,
    model: Path,
    output: Path,
    inputs: tuple[str, ...],
    keep: dict[str, float],
    worst: bool,
    modes: tuple[str, ...],
    requantize: bool,
    upgrade: bool,
    classes: bool,
    fit: str,
    threads: int | None,
    as_json: bool,
    curve: Path | None,
) -> None:
    """Find bits and mode for each layer of MODEL so that its file is smallest while results on each INPUT stay good.

    Writes the model to OUTPUT. Some of the inputs show how sensitive each layer is; what must hold is verified on the
    others, where its mean counts. An INPUT is what `windfall compare` takes: photos, folders of photos, .npy and .json
    files.

    \b
    Examples:
      windfall shrink city.mlmodel small.mlmodel photos --keep psnr=30
      windfall shrink mobilenet.mlmodel small.mlmodel test-set --classes \\
        --keep accuracy=0.7 --keep kl=0.05 --curve curve.svg
    """  # noqa: D301  # click's mark for lines to keep is a real backspace
    import windfall
    from windfall.cli.quantize import check_output
    from windfall.shrinking.options import Means
    from windfall.shrinking.results import checked_curve
    from windfall.shrinking.shrink import ShrinkSettings

    check_output(model, output)
    loaded = windfall.load(model, threads=threads)
    _check_place(loaded, output)
    if curve is not None:
        checked_curve(curve)
    settings = ShrinkSettings(keep, means=Means(modes or _MODES, requantize, upgrade), worst=worst)
    result = _run(loaded, inputs, settings, FITS[fit], classes=classes)
    result.model.save(output)
    if as_json:
        click.echo(json.dumps(result.to_dict(), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        from windfall.cli.printing import print_table
        from windfall.shrinking.report import report

        print_table(report(result))
    if curve is not None:
        result.save_curve(curve)
    places = [str(output), *([str(curve)] if curve is not None else [])]
    click.echo(f"\nwritten to {' and '.join(places)}", err=as_json)


def _check_place(model: "Model", output: Path) -> None:
    """Refuse before the work what could not be written after it."""
    is_package = output.suffix.lower() == ".mlpackage"
    if model.suffix == ".mlpackage" and not is_package:
        raise FormatError(f"the model has weight files; let the name of {str(output)!r} end in .mlpackage")
    if output.is_dir() and not is_package:
        raise WindfallError(f"cannot write {str(output)!r}: it is a directory; give the name of a file in it")
    if not os.access(output.parent, os.W_OK):
        raise WindfallError(f"cannot write {str(output)!r}: its folder may not be written; choose another one")


def _run(
    model: "Model", inputs: tuple[str, ...], settings: "ShrinkSettings", fit: str, *, classes: bool
) -> "ShrinkResult":
    """Shrink with a progress bar."""
    from windfall.cli.comparisons import sample_makers
    from windfall.cli.progress import SlowProgress
    from windfall.comparison.contenders import Contender
    from windfall.quantization.quantize import count_layers
    from windfall.shrinking.search import most_steps
    from windfall.shrinking.shrink import shrunk

    makers = sample_makers(inputs, Contender(model, model.description.name), fit, classes=classes)
    with SlowProgress(len(settings.means.kinds) + most_steps(count_layers(model))) as progress:
        return shrunk(model, (make() for make in makers), settings, progress.advance)
