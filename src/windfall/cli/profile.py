"""``windfall profile``: where a model's time goes."""

import json
from pathlib import Path

import click

from windfall.cli.errors import debug_option
from windfall.cli.options import threads_option


@click.command(short_help="Show how long each layer of a model takes.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--engine",
    type=click.Choice(["auto", "onnxruntime", "openvino"]),
    default="auto",
    show_default=True,
    help="What computes: the faster one, or one of them.",
)
@click.option(
    "--runs", type=click.IntRange(1, 1000), default=10, show_default=True, help="Run the model so many times."
)
@click.option("--top", type=click.IntRange(min=1), default=20, show_default=True, help="Show this many layers.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with all layers.")
@click.option("--function", metavar="NAME", default="", help="Profile this function of an ML program that has several.")
@threads_option
@debug_option
def profile(
    model: Path, *, engine: str, runs: int, top: int, as_json: bool, function: str, threads: int | None
) -> None:
    """Run MODEL some times on numbers of its own, and show the median time of each layer, as the engine measures it.

    Measuring takes time itself, and small layers seem to take longer than they do. What an engine computes together
    counts for one of the layers. OpenVINO may pass a model on to ONNX Runtime: the first line names what ran it.

    \b
    Examples:
      windfall profile mobilenet.mlmodel
      windfall profile mobilenet.mlmodel --engine openvino --top 5
      windfall profile mobilenet.mlmodel --json > layers.json
    """  # noqa: D301  # click's mark for lines to keep is a real backspace
    import windfall

    compiled = windfall.load(model, engine=engine, threads=threads, function=function).compiled
    layers = compiled.profile(runs)
    name = getattr(compiled.program, "engine", engine)
    total = sum(layer.milliseconds for layer in layers)
    if as_json:
        found = {"engine": name, "milliseconds": round(total, 6), "layers": [layer.to_dict() for layer in layers]}
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    from windfall.cli.printing import print_table
    from windfall.runtime.plan import layers_table

    click.echo(f"{name}: {total:.3f} ms in {len(layers)} layers, medians of {runs}")
    click.echo()
    print_table(layers_table(layers, top))
