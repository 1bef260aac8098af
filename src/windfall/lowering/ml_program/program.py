"""Lower one function of an ML program: its inputs, its operations, its outputs.

Source: ``Program``, ``Function`` in MIL.proto.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

import onnx_ir as ir

from windfall.errors import FormatError, UnsupportedError
from windfall.graph.builder import GraphBuilder, build_model
from windfall.graph.shapes import ShapeError
from windfall.lowering.ml_program.inputs import add_inputs, lower_output
from windfall.lowering.ml_program.operators import LOWERINGS, NOT_LOWERED
from windfall.lowering.ml_program.scope import Scope
from windfall.lowering.shapes import InputShapes
from windfall.runtime.serialized import AFTER, IN_PLACE
from windfall.spec.modelfile import ModelFile
from windfall.spec.openfile import shown
from windfall.spec.programs import all_operations, block_of, interface, state_outputs

_MOST_LISTED = 3


def gaps(program: Any) -> list[str]:
    """Name each operator of a program that cannot be run, with the places where it stands."""
    return [f"operator {_reasoned(operator)} at {_some(places)}" for operator, places in _unknown(program).items()]


def _reasoned(operator: str) -> str:
    if operator in NOT_LOWERED:
        return f"{operator} ({NOT_LOWERED[operator]})"
    return operator if operator.isidentifier() else shown(operator)


def _unknown(program: Any, function: str | None = None) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path, operation in all_operations(program, function):
        if operation.type not in LOWERINGS:
            found.setdefault(operation.type, []).append(path)
    return found


def _some(places: Sequence[str]) -> str:
    more = f" and {len(places) - _MOST_LISTED} more" if len(places) > _MOST_LISTED else ""
    return ", ".join(map(repr, places[:_MOST_LISTED])) + more


def _refuse_gaps(file: ModelFile, function: str) -> None:
    unknown = _unknown(file.spec.mlProgram, function)
    if unknown:
        listed = "; ".join(f"{_reasoned(operator)} at {_some(places)}" for operator, places in unknown.items())
        count = len(unknown)
        raise UnsupportedError(
            f"{file.name} has {count} operator{'s' * (count > 1)} that cannot be run: {listed}; "
            "see what it consists of with: windfall inspect MODEL"
        )


def lower_program(file: ModelFile, input_shapes: InputShapes, outputs: Sequence[str], function: str = "") -> ir.Model:
    """Lower one function of an ML program.

    Args:
        file: The model.
        input_shapes: The shape of each graph input, by feature name; states are not among them.
        outputs: Names of values to compute: outputs of the function, or of any operation in its outermost block. What
            the states that the function writes hold at the end comes behind them.
        function: The function's name; empty for the model's own.

    Raises:
        UnsupportedError: Some operators cannot be run; the error names all of them.
        LoweringError: An operation breaks a rule.
        FormatError: The program is damaged, or an output is made by no operation.
    """
    described = interface(file, function)
    block, opset = block_of(file, function)
    _refuse_gaps(file, described.function)
    written = state_outputs(block)
    if not outputs and not written:
        raise FormatError(f"{file.name} declares no outputs, must declare at least one; ask for inner values by name")
    states = [feature.name for feature in described.description.state]
    inputs = [feature.name for feature in described.description.input]
    graph = GraphBuilder(file.path.stem if file.path else "model", [*inputs, *states])
    scope = Scope(file, graph, _opset_number(file, opset))
    try:
        add_inputs(scope, described, input_shapes)
        scope.lower_block(block)
        graph.prefix = ""
        graph.graph.outputs.extend(lower_output(scope, described, name) for name in outputs)
        graph.graph.outputs.extend(graph.rename(_last(scope, name), f"{name}{AFTER}") for name in written)
    except ShapeError as error:
        raise FormatError(f"{file.name}: {error}") from error
    model = build_model(graph.graph)
    if written:
        model.metadata_props[IN_PLACE] = json.dumps([name for name in written if _may_be_in_place(scope, name)])
    return model


def _may_be_in_place(scope: Scope, name: str) -> bool:
    """Whether a state's last value may lie where its first one lies: nothing but the node that writes it reads that."""
    before, after = scope.value(name), _last(scope, name)
    node = after.producer()
    readers = [user for user, _ in before.uses()]
    return node is not None and readers == [node] and node.op_type in _UPDATES and node.inputs[0] is before


# These write some elements over those of their first input.
_UPDATES = ("ScatterND", "ScatterElements")


def _last(scope: Scope, name: str) -> ir.Value:
    value = scope.find_state(name)
    if value is None:
        raise FormatError(f"{scope.file.name} writes a state {name!r} that it does not declare; convert it again")
    return value


def _opset_number(file: ModelFile, name: str) -> int:
    found = re.fullmatch(r"CoreML(\d{1,3})", name)
    if found is None:
        raise FormatError(f"{file.name} has a function of opset {name!r}, must be CoreML5 or later; convert it again")
    return int(found[1])
