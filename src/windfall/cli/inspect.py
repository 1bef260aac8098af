"""``windfall inspect``: what a model is."""

import json
from pathlib import Path

import click

from windfall.cli.errors import debug_option


@click.command(short_help="Show what a model takes and gives, and what it weighs.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON, complete where the tables are cut short.")
@click.option("--layers", is_flag=True, help="List every layer with its inputs, outputs, parameters and weights.")
@click.option(
    "--linked-models",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    multiple=True,
    help="Take models that MODEL links to from this folder; repeatable.",
)
@click.option(
    "--plan",
    is_flag=True,
    help="Show instead what runs the model: the engine, the devices, the rewrites that fired, the time of each layer.",
)
@debug_option
def inspect(model: Path, as_json: bool, layers: bool, linked_models: tuple[Path, ...], plan: bool) -> None:
    """Show what MODEL takes and gives, who made it, what it weighs and what it depends on.

    Of an ML program it also shows the functions, their opsets and states, and how the weights of each operator are
    compressed. Weight files are not read: a large package takes no longer than a small one.

    Works for every type of model, those that cannot be run here among them.

    \b
    Examples:
      windfall inspect mobilenet.mlmodel
      windfall inspect mobilenet.mlmodel --layers
      windfall inspect mobilenet.mlmodel --json
      windfall inspect mobilenet.mlmodel --plan
    """  # noqa: D301  # click's mark for lines to keep is a real backspace
    import windfall

    loaded = windfall.load(model, linked_models=linked_models or None)
    if as_json and plan:
        click.echo(json.dumps(loaded.compiled.plan.to_dict(), indent=2, ensure_ascii=False))
        return
    description = loaded.description
    if as_json:
        click.echo(json.dumps(description.to_dict(layers=layers), indent=2, ensure_ascii=False))
        return
    from windfall.cli.printing import print_table
    from windfall.description.report import layers_report, report

    if plan:
        print_table(loaded.compiled.plan.report(complete=layers))
        return

    print_table(report(description, complete=layers))
    if layers:
        click.echo()
        print_table(layers_report(description.layers))
