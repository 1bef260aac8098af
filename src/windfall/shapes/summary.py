"""What a model takes and gives now, in short."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from windfall.text import safe

if TYPE_CHECKING:
    from rich.table import Table

    from windfall.description import ModelDescription


def sizes_dict(description: "ModelDescription") -> dict[str, Any]:
    """Return the inputs and outputs as dictionaries for JSON."""
    return {
        "inputs": [asdict(feature) for feature in description.inputs],
        "outputs": [asdict(feature) for feature in description.outputs],
    }


def sizes_table(description: "ModelDescription") -> "Table":
    """Return the inputs and outputs as a table to print."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("Name", overflow="fold")
    table.add_column("Type", overflow="fold")
    for title, features in (("Input", description.inputs), ("Output", description.outputs)):
        for feature in features:
            table.add_row(title, Text(safe(feature.name)), Text(safe(feature.type)))
    return table
