"""The functions of programs: opsets, inputs, outputs, states."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import windfall
from tests.description.test_compression import described, stored, use
from tests.lowering.ml_program.test_states import accumulator, add_state
from tests.programs import Name, Output, add_input, add_operation, new_program
from windfall.description import ArrayType, FeatureDescription, StateType, WeightPrecision
from windfall.spec.proto import MIL_pb2, Model_pb2

X = np.float32([1, 2, 3])


def add_function(spec: Any, name: str, opset: str, *inputs: str, states: tuple[str, ...] = ()) -> Any:
    """Add a function that is described, with one output, ``y``; returns its block."""
    spec.mlProgram.functions[name].opset = opset
    description = spec.description.functions.add(name=name)
    for feature in inputs:
        description.input.add(name=feature).type.doubleType.SetInParent()
    description.output.add(name="y").type.doubleType.SetInParent()
    for state in states:
        description.state.add(name=state).type.stateType.arrayType.shape.append(4)
    return spec.mlProgram.functions[name].block_specializations[opset]


def several() -> Any:
    spec = Model_pb2.Model(specificationVersion=9)
    add_function(spec, "prompt", "CoreML8", "tokens", "mask")
    add_function(spec, "extend", "CoreML7", "token", states=("keys", "values"))
    spec.description.defaultFunctionName = "extend"
    return spec


def test_a_program_with_one_function_has_its_interface() -> None:
    spec, function, block = new_program(opset=7)
    add_input(spec, function, "x", X, (3,))
    add_operation(block, "add", {"y": Output(np.float32, (3,))}, x=Name("x"), y=Name("x"))
    spec.description.output.add(name="y").type.doubleType.SetInParent()
    description = described(spec)
    (found,) = description.functions
    assert (found.name, found.opset, found.system, found.default) == ("main", "CoreML7", "iOS 17", True)
    assert found.inputs == description.inputs == (FeatureDescription("x", ArrayType("FLOAT32", (3,))),)
    assert [feature.name for feature in found.outputs] == ["y"]
    assert found.states == ()
    text = str(description)
    assert "  Opset         CoreML7 (iOS 17)\n" in text
    assert "Functions" not in text


def test_a_program_with_several_functions() -> None:
    description = described(several())
    prompt, extend = description.functions
    assert [feature.name for feature in prompt.inputs] == ["tokens", "mask"]
    assert (prompt.opset, prompt.default, prompt.states) == ("CoreML8", False, ())
    assert (extend.opset, extend.default) == ("CoreML7", True)
    assert [(state.name, state.kind) for state in extend.states] == [("keys", "state"), ("values", "state")]
    # Those of the model are those of the default one.
    assert (description.inputs, description.states) == (extend.inputs, extend.states)
    lines = [" ".join(line.split()) for line in str(description).splitlines()]
    assert "Opset CoreML8 (iOS 18), CoreML7 (iOS 17)" in lines
    assert "Functions (2)" in lines
    assert "Name Opset Inputs → outputs States" in lines
    assert "prompt CoreML8 (iOS 18) tokens, mask → y" in lines
    assert "extend (default) CoreML7 (iOS 17) token → y keys, values" in lines


def test_a_program_with_states() -> None:
    spec = accumulator()
    state = FeatureDescription("total", StateType(ArrayType("FLOAT16", (3,))))
    description = described(spec)
    assert description.states == description.functions[0].states == (state,)
    lines = [" ".join(line.split()) for line in str(description).splitlines()]
    assert "States" in lines
    assert "total State of MultiArray (Float16 3)" in lines


def test_operators_of_all_functions_and_blocks_are_counted() -> None:
    spec = several()
    block = add_function(spec, "other", "CoreML8")
    add_operation(block, "add", {"a": Output(np.float32, ())})
    branch = add_operation(block, "cond", {"c": Output(np.float32, ())})
    for index in range(2):
        add_operation(branch.blocks.add(), "add", {f"b{index}": Output(np.float32, ())})
    add_operation(
        spec.mlProgram.functions["extend"].block_specializations["CoreML7"], "mul", {"m": Output(np.float32, ())}
    )
    description = described(spec)
    assert description.layer_counts == {"add": 3, "mul": 1, "cond": 1}
    assert "Operations (5)" in str(description)


def test_weights_that_functions_share_weigh_once() -> None:
    spec = several()
    for name, function in spec.mlProgram.functions.items():
        block = function.block_specializations[function.opset]
        use(block, stored(block, f"{name}_w", MIL_pb2.FLOAT16, (4, 10), 64))
        use(block, stored(block, f"{name}_own", MIL_pb2.INT4, (3,), 640 if name == "prompt" else 704))
    description = described(spec)
    assert description.parameters == 40 + 2 * 3
    assert description.weights == (
        WeightPrecision("Float16", 40, 80, 80 / 84),
        WeightPrecision("Int4", 6, 4, 4 / 84),
    )
    assert sorted((layer.name, layer.weight_bytes) for layer in description.layers if layer.weight_bytes) == [
        ("extend/extend_own", 2), ("extend/extend_w", 80), ("prompt/prompt_own", 2), ("prompt/prompt_w", 80),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("opset", "shown"),
    [
        ("CoreML5", "CoreML5 (iOS 15)"),
        ("CoreML6", "CoreML6 (iOS 16)"),
        ("CoreML8", "CoreML8 (iOS 18)"),
        ("CoreML9", "CoreML9 (iOS 26)"),
        ("CoreML10", "CoreML10"),
        ("CoreML4", "CoreML4"),
        ("of our own", "of our own"),
    ],
)
def test_opsets(opset: str, shown: str) -> None:
    spec = Model_pb2.Model(specificationVersion=9)
    spec.mlProgram.functions["main"].opset = opset
    text = str(described(spec))
    assert text.endswith(f"  Opset         {shown}")


def test_the_default_function() -> None:
    spec = several()
    spec.description.defaultFunctionName = ""
    assert [f.default for f in described(spec).functions] == [True, False]
    add_function(spec, "main", "CoreML8")
    assert [f.name for f in described(spec).functions if f.default] == ["main"]
    spec.description.defaultFunctionName = "none of them"
    assert not any(f.default for f in described(spec).functions)


def test_functions_that_are_not_described_or_not_there() -> None:
    spec = Model_pb2.Model(specificationVersion=9)
    spec.mlProgram.SetInParent()
    assert described(spec).functions == ()
    for name in ("b", "a"):
        spec.mlProgram.functions[name].opset = "CoreML8"
    spec.description.input.add(name="x").type.doubleType.SetInParent()
    described_functions = described(spec).functions
    assert [(f.name, f.default, len(f.inputs)) for f in described_functions] == [("a", True, 1), ("b", False, 1)]
    spec.description.functions.add(name="missing")
    (missing,) = described(spec).functions
    assert (missing.name, missing.opset, missing.system, missing.inputs) == ("missing", "", "", ())
    assert "Opset" not in str(described(spec))


def test_many_functions_are_cut_in_print_but_not_in_json() -> None:
    spec = Model_pb2.Model(specificationVersion=9)
    for number in range(25):
        add_function(spec, f"function_{number}", "CoreML8", *(f"x{n}" for n in range(6)))
    description = described(spec)
    text = str(description)
    assert "Functions (25)" in text
    assert "x0, x1, x2 and 3 more → y" in text
    assert "... and 5 more" in text
    assert "function_24" not in text
    assert max(map(len, text.splitlines())) <= 80
    assert len(description.to_dict()["functions"]) == 25


def test_json_has_the_functions() -> None:
    found = json.loads(json.dumps(described(several()).to_dict()))["functions"]
    assert [(f["name"], f["opset"], f["default"]) for f in found] == [
        ("prompt", "CoreML8", False),
        ("extend", "CoreML7", True),
    ]
    assert found[1]["states"][0]["name"] == "keys"
    assert found[1]["states"][0]["type"]["array"]["shape"] == [4]
    assert found[0]["inputs"][1] == {
        "name": "mask",
        "type": {"kind": "double"},
        "optional": False,
        "description": "",
    }


def test_other_models_have_no_functions(tmp_path: Path) -> None:
    spec = Model_pb2.Model(specificationVersion=9)
    spec.identity.SetInParent()
    description = windfall.load(windfall.load(spec).save(tmp_path / "m.mlmodel")).description
    assert description.functions == ()
    assert "Opset" not in str(description)


def test_states_of_the_program_alone_are_not_described() -> None:
    spec, function, _ = new_program()
    add_state(spec, function, "kept", (2,), np.float32)
    (found,) = described(spec).functions
    assert found.states == (FeatureDescription("kept", StateType(ArrayType("FLOAT32", (2,)))),)
