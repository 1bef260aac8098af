"""What runs a compiled model: which engine, on which devices, after which rewrites, and where the time goes."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from windfall.text import safe

if TYPE_CHECKING:
    from rich.console import Group

    from windfall.runtime.choices import Choice
    from windfall.runtime.engine import Program
    from windfall.runtime.profile import LayerTime

_MOST_LAYERS = 20


@dataclass(frozen=True)
class Plan:
    """How a model is run; prints as tables.

    Attributes:
        engine: The name of the engine.
        devices: What the engine calls the devices that may run parts of it, those preferred first.
        choice: Why this engine runs it; None where it was asked for.
        passes: How many times each rewrite of the graph fired, in the order in which they first did.
        layers: The time of each layer, the longest first.
    """

    engine: str
    devices: Sequence[str]
    choice: "Choice | None"
    passes: Mapping[str, int]
    layers: Sequence["LayerTime"]

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as what JSON can hold."""
        return {
            "engine": self.engine,
            "devices": list(self.devices),
            "choice": None if self.choice is None else asdict(self.choice),
            "passes": dict(self.passes),
            "layers": [layer.to_dict() for layer in self.layers],
        }

    def report(self, *, complete: bool = False) -> "Group":
        """Return the plan as tables; not all layers, unless it is to be complete."""
        from rich.console import Group
        from rich.table import Table

        facts = Table.grid(padding=(0, 2))
        for name, text in self._facts():
            facts.add_row(name, safe(text))
        return Group(facts, "", layers_table(self.layers, None if complete else _MOST_LAYERS))

    def _facts(self) -> list[tuple[str, str]]:
        fired = ", ".join(f"{name} {count}x" for name, count in self.passes.items()) or "none fired"
        facts = [("engine", self.engine), ("devices", ", ".join(self.devices)), ("passes", fired)]
        if self.choice is not None:
            facts.insert(1, ("chosen", self.choice.reason))
        return facts

    def __str__(self) -> str:
        from windfall.description.report import as_text

        return as_text(self.report(), 100)


def plan_of(program: "Program", passes: Mapping[str, int], layers: Sequence["LayerTime"]) -> Plan:
    """Return the plan of a program of one engine."""
    from windfall.runtime.engine import EngineProgram

    assert isinstance(program, EngineProgram), program
    return Plan(program.engine, program.devices, program.choice, passes, layers)


def layers_table(layers: Sequence["LayerTime"], most: int | None = None) -> Any:
    """Return a table of the layers that take longest."""
    from rich.table import Table

    table = Table("layer", "operators", "device", box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("ms", justify="right")
    table.add_column("share", justify="right")
    for layer in layers[:most]:
        name = safe(layer.name) or "(the engine's own)"
        share = f"{layer.share:.1%}"
        table.add_row(name, ", ".join(layer.operators), layer.device, f"{layer.milliseconds:.3f}", share)
    rest = layers[most:] if most is not None else []
    if rest:
        time, part = sum(layer.milliseconds for layer in rest), sum(layer.share for layer in rest)
        table.add_row(f"{len(rest)} more", "", "", f"{time:.3f}", f"{part:.1%}")
    return table
