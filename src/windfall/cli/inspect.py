"""``windfall inspect``: what a model is."""

import json
from pathlib import Path

import click

from windfall.cli.errors import debug_option


@click.command(short_help="Show what a model takes and gives, and what it weighs.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON, complete where the tables are cut short.")
@click.option("--layers", is_flag=True, help="List every layer with its inputs, outputs, parameters and weights.")
@debug_option
def inspect(model: Path, as_json: bool, layers: bool) -> None:
    """Show what MODEL takes and gives, who made it, what it weighs and what it depends on.

    Works for every type of model, those that cannot be run here among them.

    \b
    Examples:
      windfall inspect mobilenet.mlmodel
      windfall inspect mobilenet.mlmodel --layers
      windfall inspect mobilenet.mlmodel --json
    """  # noqa: D301  # click's mark for lines to keep is a real backspace
    import windfall

    description = windfall.load(model).description
    if as_json:
        click.echo(json.dumps(description.to_dict(layers=layers), indent=2, ensure_ascii=False))
        return
    from windfall.cli.printing import print_table
    from windfall.description.report import layers_report, report

    print_table(report(description, complete=layers))
    if layers:
        click.echo()
        print_table(layers_report(description.layers))
