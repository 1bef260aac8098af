"""``windfall quantize``: a model whose weights take fewer bits."""

import json
from pathlib import Path

import click

from windfall.cli.errors import debug_option

_MODES = ("linear", "linear_symmetric", "linear_lut", "kmeans", "dequantize")


def _choices(_ctx: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, int | None]:
    """Read layers, or patterns for several, with the bits that they get: ``conv*=4``, ``fc=none``."""
    choices = dict[str, int | None]()
    for text in given:
        pattern, equals, bits = text.rpartition("=")
        if not equals or not pattern or not (bits == "none" or (bits.isascii() and bits.isdigit())):
            raise click.BadParameter(f"{text!r} must be a layer or a pattern, '=', and bits or none: 'conv*=4'.")
        choices[pattern] = None if bits == "none" else int(bits)
    return choices


@click.command(short_help="Store a model's weights in fewer bits.")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--bits", type=int, default=8, show_default=True, help="Bits for each weight: 1 to 8, or 16 for float16.")
@click.option(
    "--mode",
    type=click.Choice(_MODES),
    default="linear",
    show_default=True,
    help="Even steps, or a lookup table, the best of which is kmeans.",
)
@click.option(
    "--granularity",
    type=click.Choice(("per_tensor", "per_channel", "per_grouped_channel", "per_block")),
    help="What has steps or a table of its own.  [default: per_channel; per_tensor for tables]",
)
@click.option(
    "--group-size",
    type=click.IntRange(1),
    help="Channels in a group, or values in a block, of an ML program.  [default: 32]",
)
@click.option(
    "--select",
    metavar="LAYER=BITS",
    multiple=True,
    callback=_choices,
    help="Other bits for some layers, such as 'conv*=4', or 'fc=none' to leave one alone; repeatable.",
)
@click.option(
    "--calibrate",
    metavar="PHOTOS",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Change the results for these photos least, not the weights: a folder or a picture; repeatable.",
)
@click.option("--smallest", type=click.IntRange(0), help="Leave weights of fewer values alone.  [default: 256]")
@click.option("--upgrade", is_flag=True, help="Let an ML program need a later iOS where that is necessary.")
@click.option("--requantize", is_flag=True, help="Also take weights that are quantized already.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with all layers.")
@debug_option
def quantize(  # noqa: PLR0913  # one for each option
    *,
    model: Path,
    output: Path,
    bits: int,
    mode: str,
    granularity: str | None,
    group_size: int | None,
    select: dict[str, int | None],
    calibrate: tuple[Path, ...],
    smallest: int | None,
    upgrade: bool,
    requantize: bool,
    as_json: bool,
) -> None:
    """Store the weights of the neural networks and ML programs in MODEL in fewer bits, and write it to OUTPUT.

    Biases and other small weights stay as they are. Shows for each layer that changed what its weights take, and how
    far they are off: the signal-to-noise ratio.

    \b
    Examples:
      windfall quantize mobilenet.mlmodel small.mlmodel
      windfall quantize mobilenet.mlmodel small.mlmodel --bits 4 --select fc=8
      windfall quantize net.mlmodel small.mlmodel --bits 3 --calibrate photos
      windfall quantize whisper.mlpackage small.mlpackage --bits 4 --mode kmeans
      windfall quantize small.mlmodel large.mlmodel --mode dequantize
    """  # noqa: D301  # click's mark for lines to keep is a real backspace
    import windfall
    from windfall.cli.progress import SlowProgress
    from windfall.quantization.calibration.samples import Calibration
    from windfall.quantization.quantize import count_layers, quantized
    from windfall.quantization.report import quantization_report, report_table
    from windfall.quantization.settings import GROUP_SIZE, SMALLEST, Settings

    check_output(model, output)
    settings = Settings(
        bits=bits,
        mode=mode,
        granularity=granularity,
        select=select or None,
        requantize=requantize,
        smallest=SMALLEST if smallest is None else smallest,
        group_size=group_size or GROUP_SIZE,
        upgrade=upgrade,
        calibration=Calibration([path for given in calibrate for path in _pictures(given)]) if calibrate else None,
    )
    before = windfall.load(model)
    with SlowProgress(2 * count_layers(before)) as progress:
        after = quantized(before, settings, progress.advance)
        report = quantization_report(before, after, progress.advance, settings.calibration)
    after.save(output)
    if as_json:
        click.echo(json.dumps(report.to_dict(), indent=2, ensure_ascii=False))
        return
    from windfall.cli.printing import print_table
    from windfall.text import bytes_text

    print_table(report_table(report))
    click.echo(f"{output}: {bytes_text(report.size_after)}, was {bytes_text(report.size_before)}")


def _pictures(path: Path) -> list[Path]:
    """Return a picture, or the pictures in a folder or in the folders in it."""
    from windfall.comparison.samples import in_path
    from windfall.features.fitting import CENTER_CROP

    return [Path(sample.name) for sample in in_path(path, CENTER_CROP)]


def check_output(model: Path, output: Path) -> None:
    """Refuse now what could not be written later, or would replace the original."""
    from windfall.errors import WindfallError

    if output.exists() and output.samefile(model):
        raise WindfallError(f"cannot write {str(output)!r}: it is the model that is read; choose another name")
    if not output.parent.is_dir():
        raise WindfallError(f"cannot write {str(output)!r}: there is no folder {str(output.parent)!r}; make it first")
