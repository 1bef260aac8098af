"""``windfall shapes``: the sizes of a model's inputs."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from windfall.cli.errors import debug_option

if TYPE_CHECKING:
    from windfall.model import Model

_Change = tuple[str, Any]


def _named(text: str) -> tuple[str, str]:
    """Split ``image=64..2048x64..2048`` at the last sign: names may have one, sizes do not."""
    name, equals, sizes = text.rpartition("=")
    if not equals or not name:
        raise click.BadParameter(f"{text!r} must be an input, '=', and sizes: image=64..2048x64..2048.")
    return name, sizes


def _range(text: str) -> tuple[int, int | None]:
    """Read ``64..2048``, ``64..`` or ``64``."""
    least, dots, most = text.partition("..")
    if not _is_number(least) or not (most == "" or _is_number(most)):
        raise click.BadParameter(
            f"{text!r} must be a size, or a least and a greatest one: 64..2048, or 64.. for no end."
        )
    return int(least), (int(most) if most else None) if dots else int(least)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _ranges(_ctx: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> list[_Change]:
    pairs = map(_named, given)
    return [(name, [_range(part) for part in sizes.split("x")]) for name, sizes in pairs]


def _lists(_ctx: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> list[_Change]:
    return [(name, [_sizes(one) for one in sizes.split(",")]) for name, sizes in map(_named, given)]


def _sizes(text: str) -> tuple[int, ...]:
    parts = text.split("x")
    if not all(map(_is_number, parts)):
        raise click.BadParameter(f"{text!r} must be sizes with an x between: 512x384, for an array 1x3x64.")
    return tuple(map(int, parts))


@click.command(short_help="Show, set and check the sizes of a model's inputs.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--range",
    "ranges",
    metavar="INPUT=SIZES",
    multiple=True,
    callback=_ranges,
    help="Allow a range along each axis: image=64..2048x64.., width first; for an array the sizes of all axes, "
    "ids=1x1..512. Inputs that must be equal at once: ids,mask=1x1..512. Repeatable.",
)
@click.option(
    "--enumerate",
    "lists",
    metavar="INPUT=SIZES",
    multiple=True,
    callback=_lists,
    help="Allow some sizes: image=256x256,512x384, width first. Repeatable.",
)
@click.option("--clear", metavar="INPUT", multiple=True, help="Allow the default size alone. Repeatable.")
@click.option("--check", is_flag=True, help="Find out which sizes go, and which layer stands in the way of others.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the changed model to this file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@debug_option
def shapes(  # one for each option
    *,
    model: Path,
    ranges: list[_Change],
    lists: list[_Change],
    clear: tuple[str, ...],
    check: bool,
    output: Path | None,
    as_json: bool,
) -> None:
    """Show the sizes that MODEL takes, set them, or find out which it can take.

    Outputs whose size follows from an input follow it. A layer that holds a number which follows from the default size
    is rewritten where that is exact; where no exact way is known, the error names the layer.

    \b
    Examples:
      windfall shapes style.mlmodel
      windfall shapes style.mlmodel --check
      windfall shapes net.mlmodel --range image=64..2048x64..2048 -o any.mlmodel
      windfall shapes net.mlmodel --enumerate image=256x256,512x384 -o two.mlmodel
    """  # noqa: D301  # click's mark for lines to keep is a real backspace
    import windfall
    from windfall.cli.quantize import check_output
    from windfall.shapes.setting import Changes

    if output is None and (ranges or lists or clear) and not check:
        raise click.UsageError("Give --output to write the changed model, or --check to see what becomes of it.")
    if output is not None:
        if not (ranges or lists or clear):
            raise click.UsageError("Give --range, --enumerate or --clear with --output: there is nothing to write.")
        check_output(model, output)
    changed = Changes(windfall.load(model))
    for name in clear:
        changed.clear(name)
    for name, sizes in ranges:
        changed.set_range(name, sizes)
    for name, sizes in lists:
        changed.enumerate(name, sizes)
    if output is not None:
        changed.model.save(output)
    (_print_check if check else _print_sizes)(changed.model, as_json)
    if not (check or as_json):
        for line in changed.rewrites:
            click.echo(f"Rewritten: {line}")


def _print_check(model: "Model", as_json: bool) -> None:
    from windfall.cli.printing import print_table
    from windfall.shapes import check as checked
    from windfall.shapes.report import notes, report_table

    report = checked(model)
    if as_json:
        click.echo(json.dumps(report.to_dict(), indent=2, ensure_ascii=False))
        return
    print_table(report_table(report))
    for line in notes(report):
        click.echo(line)


def _print_sizes(model: "Model", as_json: bool) -> None:
    from windfall.cli.printing import print_table
    from windfall.shapes.summary import sizes_dict, sizes_table

    if as_json:
        click.echo(json.dumps(sizes_dict(model.description), indent=2, ensure_ascii=False))
        return
    print_table(sizes_table(model.description))
