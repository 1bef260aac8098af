"""A description as tables, the way Xcode shows a model."""

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from rich import box
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from windfall.description.compression import Compression
from windfall.description.parts import LayerDescription, MemberDescription
from windfall.description.programs import FunctionDescription
from windfall.description.support import Dependency
from windfall.description.weights import WeightPrecision
from windfall.features.described import FeatureDescription
from windfall.text import bytes_text, safe

if TYPE_CHECKING:
    from windfall.description.model import ModelDescription

_MOST_ROWS = 20
_MOST_GAPS = 8
_MOST_LETTERS = 240
_TYPE_NAMES = {
    "neuralNetwork": "Neural network",
    "neuralNetworkClassifier": "Neural network classifier",
    "neuralNetworkRegressor": "Neural network regressor",
    "mlProgram": "ML program",
    "pipeline": "Pipeline",
    "pipelineClassifier": "Pipeline classifier",
    "pipelineRegressor": "Pipeline regressor",
    "glmClassifier": "Generalized linear classifier",
    "glmRegressor": "Generalized linear regressor",
    "treeEnsembleClassifier": "Tree ensemble classifier",
    "treeEnsembleRegressor": "Tree ensemble regressor",
    "supportVectorClassifier": "Support vector classifier",
    "supportVectorRegressor": "Support vector regressor",
    "kNearestNeighborsClassifier": "Nearest neighbors classifier",
}


def shown(text: object, style: str = "", *, most: int = _MOST_LETTERS) -> Text:
    """Return a text from a file for display: taken literally, safe, and not longer than a few lines."""
    clean = safe(text).strip()
    return Text(clean if len(clean) <= most else clean[: most - 1] + "…", style=style, overflow="fold")


def as_text(renderable: RenderableType, width: int = 80) -> str:
    """Return a table as plain text."""
    console = Console(file=io.StringIO(), width=width, color_system=None, legacy_windows=False)
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


def report(description: "ModelDescription", *, complete: bool = False) -> Group:
    """Return a description as tables.

    Args:
        description: What is shown.
        complete: Name every part that is not supported, however many there are.
    """
    parts: list[RenderableType] = [
        shown(description.name, "bold"),
        Padding(_grid(_facts(description)), (0, 0, 0, 2)),
    ]
    functions = description.functions if len(description.functions) > 1 else ()
    gaps = description.unsupported if complete else _shortened(description.unsupported)
    sections: Sequence[tuple[str, Any, Callable[[Any], RenderableType]]] = (
        ("Inputs", description.inputs, _features),
        ("Outputs", description.outputs, _features),
        ("States", description.states, _features),
        (f"Functions ({len(functions):,})", functions, _functions),
        ("Weights", description.weights, _weights),
        ("Compressed weights", description.compressions, _compressions),
        (_layers_title(description), description.layer_counts, _counts),
        ("Models in the pipeline", description.members, _members),
        ("Dependencies", description.dependencies, _dependencies),
        ("Not supported here", gaps, _bullets),
        ("Additional metadata", description.metadata.user_defined.items(), _grid),
    )
    for title, content, body in sections:
        if content:
            parts += _section(title, body(content))
    return Group(*parts)


def _section(title: str, body: RenderableType) -> list[RenderableType]:
    return [Text(), Text(title, "bold cyan"), Padding(body, (0, 0, 0, 2))]


def _grid(rows: Iterable[tuple[str, str]]) -> RenderableType:
    grid = Table.grid(padding=(0, 2), pad_edge=False)
    grid.add_column(style="dim", overflow="fold", max_width=40)
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(shown(name), shown(value))
    return grid


def _facts(description: "ModelDescription") -> Iterator[tuple[str, str]]:
    kind = description.type
    yield "Type", _TYPE_NAMES.get(kind, kind)
    yield (
        "Size",
        f"{bytes_text(description.size)}"
        + (f", {description.parameters:,} parameters" if description.parameters else ""),
    )
    systems = ", ".join(f"{name} {version}+" for name, version in description.runs_on.items())
    yield "Availability", f"{systems or 'unknown'} (specification version {description.specification_version})"
    metadata = description.metadata
    named = {
        "Description": metadata.description,
        "Author": metadata.author,
        "License": metadata.license,
        "Version": metadata.version,
        "Opset": ", ".join(dict.fromkeys(map(_opset, description.functions))),
        "Predicted": description.predicted_feature,
        "Probabilities": description.predicted_probabilities,
        "Class labels": _labels(description),
        "Contents": _contents(description.contents),
        "Updatable": "on the device" if description.updatable else "",
    }
    yield from ((name, value) for name, value in named.items() if value)


def _labels(description: "ModelDescription") -> str:
    labels = description.class_labels
    if labels is None:
        return ""
    more = ", ..." if labels.count > len(labels.first) else ""
    return f"{labels.count:,}: {', '.join(map(str, labels.first))}{more}"


def _contents(contents: Mapping[str, int]) -> str:
    return ", ".join(f"{what} {count:,}" for what, count in contents.items())


def _table(*headings: str) -> Table:
    """Return an empty table; a heading that starts with ``>`` is that of numbers, with ``!`` one never to be folded."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading in headings:
        justify: Literal["right", "left"] = "right" if heading.startswith(">") else "left"
        table.add_column(heading.lstrip(">!"), justify=justify, no_wrap=heading[0] in ">!", overflow="fold")
    return table


def _features(features: Sequence[FeatureDescription]) -> Table:
    described = any(feature.description for feature in features)
    table = _table("Name", "Type", *(["Description"] if described else []))
    for feature in features[:_MOST_ROWS]:
        kind = f"{feature.type}{', optional' if feature.optional else ''}{_default(feature)}"
        row = [shown(feature.name), shown(kind)]
        table.add_row(*row, *([shown(feature.description)] if described else []))
    if len(features) > _MOST_ROWS:
        table.add_row(shown(f"... and {len(features) - _MOST_ROWS:,} more"))
    return table


def _default(feature: FeatureDescription) -> str:
    default = getattr(feature.type, "default", None)
    return "" if default is None else f", default {default:g}"


def _weights(weights: Sequence[WeightPrecision]) -> Table:
    table = _table("Precision", ">Values", ">Size", ">Share")
    for weight in weights:
        table.add_row(
            shown(weight.precision), f"{weight.values:,}", bytes_text(weight.bytes), f"{100 * weight.share:.1f} %"
        )
    return table


def _opset(function: FunctionDescription) -> str:
    return f"{function.opset} ({function.system})" if function.system else function.opset


def _functions(functions: Sequence[FunctionDescription]) -> Table:
    has_states = any(function.states for function in functions)
    table = _table("Name", "!Opset", "Inputs → outputs", *(["States"] if has_states else []))
    for function in functions[:_MOST_ROWS]:
        flow = f"{_feature_names(function.inputs)} → {_feature_names(function.outputs)}"
        name = f"{function.name}{' (default)' if function.default else ''}"
        states = [shown(_feature_names(function.states))] if has_states else []
        table.add_row(shown(name), shown(_opset(function)), shown(flow), *states)
    if len(functions) > _MOST_ROWS:
        table.add_row(shown(f"... and {len(functions) - _MOST_ROWS:,} more"))
    return table


def _feature_names(features: Sequence[FeatureDescription]) -> str:
    return _names([feature.name for feature in features])


def _compressions(compressions: Sequence[Compression]) -> Table:
    table = _table("Operator", "Form", ">Weights", ">Size", ">Of", ">Bits each")
    for one in compressions[:_MOST_ROWS]:
        sizes = (bytes_text(one.bytes), bytes_text(one.full_bytes))
        table.add_row(shown(one.operator), shown(one.form), f"{one.weights:,}", *sizes, f"{one.bits:.2f}")
    if len(compressions) > _MOST_ROWS:
        table.add_row(shown(f"... and {len(compressions) - _MOST_ROWS:,} more"))
    return table


def _layers_title(description: "ModelDescription") -> str:
    what = "Operations" if description.type == "mlProgram" else "Layers"
    return f"{what} ({sum(description.layer_counts.values()):,})"


def _counts(counts: Mapping[str, int]) -> Columns:
    return Columns([shown(f"{name} {count:,}") for name, count in counts.items()], padding=(0, 3))


def _members(members: Sequence[MemberDescription]) -> Table:
    table = _table("Name", "!Type", "!Contents", "Inputs → outputs")
    for depth, member in _flat(members):
        flow = f"{_names(member.inputs)} → {_names(member.outputs)}"
        table.add_row(
            shown("· " * depth + member.name), shown(member.type), shown(_contents(member.contents)), shown(flow)
        )
    return table


def _flat(members: Sequence[MemberDescription], depth: int = 0) -> Iterator[tuple[int, MemberDescription]]:
    for member in members:
        yield depth, member
        yield from _flat(member.members, depth + 1)


def _names(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _dependencies(dependencies: Sequence[Dependency]) -> Table:
    described = any(dependency.description for dependency in dependencies)
    registers = any(dependency.registered is not None for dependency in dependencies)
    more = ["Class"] * registers + ["Description"] * described
    # A class name in two parts could not be copied.
    name = "!Name" if all(len(dependency.name) <= _WHOLE_NAME for dependency in dependencies) else "Name"
    table = _table("!Kind", name, "Used by", *more)
    for dependency in dependencies[:_MOST_ROWS]:
        row = [shown(dependency.kind), shown(dependency.name), shown(dependency.used_by or "the model")]
        row += [shown(_REGISTERED[dependency.registered])] * registers
        table.add_row(*row, *([shown(dependency.description)] if described else []))
    if len(dependencies) > _MOST_ROWS:
        table.add_row(shown(f"... and {len(dependencies) - _MOST_ROWS:,} more"))
    return table


_WHOLE_NAME = 24
_REGISTERED = {True: "found", False: "missing", None: ""}


def _shortened(lines: Sequence[str]) -> Sequence[str]:
    if len(lines) <= _MOST_GAPS:
        return lines
    return [*lines[:_MOST_GAPS], f"... and {len(lines) - _MOST_GAPS:,} more; --layers names all"]


def _bullets(lines: Sequence[str]) -> Table:
    grid = Table.grid(padding=0)
    grid.add_column()
    grid.add_column(overflow="fold")
    for line in lines:
        grid.add_row("- ", shown(line))
    return grid


def layers_report(layers: Sequence[LayerDescription]) -> RenderableType:
    """Return every layer: a line with its name, type and weights, below it what goes through it and its parameters."""
    if not layers:
        return Text("The model has no layers.")
    return Group(*(_layer(number, layer) for number, layer in enumerate(layers, 1)))


def _layer(number: int, layer: LayerDescription) -> Group:
    head = Text(f"{number:>4} ", "dim") + shown(layer.name, "bold") + Text(" ") + shown(layer.type, "cyan")
    if layer.weight_values:
        weights = f"  {layer.weight_values:,} weights, {bytes_text(layer.weight_bytes)} ({safe(layer.precision)})"
        head.append(weights, "green")
    lines = [head, _indented(f"{', '.join(layer.inputs) or '(none)'} → {', '.join(layer.outputs) or '(none)'}")]
    if layer.parameters:
        lines.append(_indented(", ".join(f"{name}={value}" for name, value in layer.parameters.items()), "dim"))
    return Group(*lines)


def _indented(text: str, style: str = "") -> RenderableType:
    grid = Table.grid(padding=0)
    grid.add_column()
    grid.add_column(overflow="fold")
    grid.add_row("     ", shown(text, style, most=600))
    return grid
