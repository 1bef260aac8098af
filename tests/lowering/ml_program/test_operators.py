"""The table of operators against those that coremltools defines."""

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path

from windfall.lowering.ml_program.operators import LOWERINGS, NOT_LOWERED

# Only files have it, where coremltools has coreml_update_state.
ONLY_IN_FILES = {"write_state"}
# Rewritten before a file is written: complex numbers, and constants with symbols.
INSIDE_COREMLTOOLS = ("complex", "_const_symbolic")


def defined() -> Iterator[tuple[str, set[str]]]:
    """Give each operator that coremltools defines, with its parameters, without importing coremltools."""
    package = importlib.util.find_spec("coremltools")
    assert package is not None
    assert package.submodule_search_locations is not None
    root = Path(package.submodule_search_locations[0]) / "converters/mil/mil/ops/defs"
    for path in sorted(root.rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and any("register_op" in ast.unparse(d) for d in node.decorator_list):
                yield node.name, set(_parameters(node))


def _parameters(node: ast.ClassDef) -> Iterator[str]:
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "InputSpec":
            yield from (keyword.arg for keyword in call.keywords if keyword.arg is not None)


OPERATORS = sorted({name for name, _ in defined() if not name.startswith(INSIDE_COREMLTOOLS)})


def test_every_operator_is_lowered_or_says_why_not() -> None:
    assert len(OPERATORS) > 150
    assert set(OPERATORS) | ONLY_IN_FILES == LOWERINGS.keys() | NOT_LOWERED.keys()
    assert not LOWERINGS.keys() & NOT_LOWERED.keys()


def test_every_parameter_is_known() -> None:
    unknown = {
        f"{name}: {parameter}"
        for name, parameters in defined()
        for parameter in parameters
        if name in LOWERINGS and parameter not in LOWERINGS[name].parameters and not parameter.startswith("_")
    }
    assert unknown == set()
