"""Constants, branches and loops."""

from typing import Any

import numpy as np
import pytest

import windfall
from tests.programs import DATA_TYPES, Name, Output, add_input, add_operation, new_program, set_type, set_value
from windfall.errors import EngineError, FormatError
from windfall.lowering.ml_program import control_flow
from windfall.spec.proto import FeatureTypes_pb2

SCALAR, TRUTH = Output(np.int32, ()), Output(np.bool_, ())


def program(inputs: dict[str, Any], dims: dict[str, Any] | None = None) -> tuple[Any, Any]:
    spec, function, block = new_program()
    for name, array in inputs.items():
        add_input(spec, function, name, array, (dims or {}).get(name, array.shape))
    return spec, block


def run(spec: Any, block: Any, outputs: list[str], feeds: dict[str, Any]) -> list[Any]:
    for name in outputs:
        block.outputs.append(name)
        kind = FeatureTypes_pb2.ArrayFeatureType.INT32
        spec.description.output.add(name=name).type.multiArrayType.dataType = kind
    found = windfall.load(spec).predict(feeds)
    return [found[name] for name in outputs]


def loop(block: Any, start: list[Any], names: list[str], outputs: dict[str, Output]) -> tuple[Any, Any]:
    """Add a loop to a block; returns its condition and its body."""
    operation = add_operation(block, "while_loop", outputs, loop_vars=start)
    for _ in range(2):
        inner = operation.blocks.add()
        for name, output in zip(names, outputs.values(), strict=True):
            set_type(inner.inputs.add(name=name).type, DATA_TYPES[np.dtype(output.dtype)], output.dims)
    return tuple(operation.blocks)


def count_up(limit: int) -> tuple[Any, Any]:
    """Return a program that adds 2 to i and multiplies x by i while i is below a limit."""
    i, x = np.int32(0), np.int32([1, 2])
    spec, block = program({"i": i, "x": x})
    outputs = {"last": SCALAR, "product": Output(np.int32, (2,))}
    condition, body = loop(block, [Name("i"), Name("x")], ["a", "b"], outputs)
    add_operation(condition, "less", {"goes_on": TRUTH}, x=Name("a"), y=np.int32(limit))
    condition.outputs.append("goes_on")
    add_operation(body, "add", {"next": SCALAR}, x=Name("a"), y=np.int32(2))
    add_operation(body, "mul", {"scaled": outputs["product"]}, x=Name("b"), y=Name("next"))
    body.outputs.extend(["next", "scaled"])
    return spec, block


@pytest.mark.parametrize(("start", "last", "product"), [(0, 6, [48, 96]), (3, 5, [5, 10]), (9, 9, [1, 2])])
def test_while_loop(start: int, last: int, product: list[int]) -> None:
    spec, block = count_up(5)
    got = run(spec, block, ["last", "product"], {"i": np.int32(start), "x": np.int32([1, 2])})
    assert got[0] == last
    np.testing.assert_array_equal(got[1], product)


def test_a_loop_whose_tensor_grows() -> None:
    x = np.int32([1])
    spec, block = program({"x": x, "n": np.int32(0)}, {"x": [None]})
    outputs = {"last": SCALAR, "all": Output(np.int32, [None])}
    condition, body = loop(block, [Name("n"), Name("x")], ["a", "b"], outputs)
    add_operation(condition, "less", {"goes_on": TRUTH}, x=Name("a"), y=np.int32(4))
    condition.outputs.append("goes_on")
    add_operation(body, "add", {"next": SCALAR}, x=Name("a"), y=np.int32(1))
    add_operation(body, "expand_dims", {"one": Output(np.int32, (1,))}, x=Name("next"), axes=np.int32([0]))
    joined = {"longer": outputs["all"]}
    add_operation(body, "concat", joined, values=[Name("b"), Name("one")], axis=np.int32(0), interleave=False)
    body.outputs.extend(["next", "longer"])
    (got,) = run(spec, block, ["all"], {"x": x, "n": np.int32(0)})
    np.testing.assert_array_equal(got, [1, 1, 2, 3, 4])


def test_loops_in_loops_see_the_values_around_them() -> None:
    spec, block = program({"n": np.int32(0), "step": np.int32(3)})
    condition, body = loop(block, [Name("n")], ["outer"], {"end": SCALAR})
    add_operation(condition, "less", {"c": TRUTH}, x=Name("outer"), y=np.int32(20))
    condition.outputs.append("c")
    inner_condition, inner_body = loop(body, [Name("outer")], ["inner"], {"inner_end": SCALAR})
    add_operation(inner_condition, "mod", {"rest": SCALAR}, x=Name("inner"), y=np.int32(10))
    add_operation(inner_condition, "less", {"d": TRUTH}, x=Name("rest"), y=np.int32(7))
    inner_condition.outputs.append("d")
    add_operation(inner_body, "add", {"e": SCALAR}, x=Name("inner"), y=Name("step"))
    inner_body.outputs.append("e")
    add_operation(body, "add", {"f": SCALAR}, x=Name("inner_end"), y=np.int32(1))
    body.outputs.append("f")
    n = 0
    while n < 20:
        while n % 10 < 7:
            n += 3
        n += 1
    assert run(spec, block, ["end"], {"n": np.int32(0), "step": np.int32(3)}) == [n]


def branch(then_dims: Any = (2,), otherwise: Any = (7, 7)) -> tuple[Any, Any]:
    otherwise = np.int32(otherwise)
    spec, block = program({"p": np.int32(0), "x": np.int32([1, 2])})
    add_operation(block, "cast", {"pred": TRUTH}, x=Name("p"), dtype="bool")
    operation = add_operation(block, "cond", {"y": Output(np.int32, then_dims)}, pred=Name("pred"))
    then, other = operation.blocks.add(), operation.blocks.add()
    add_operation(then, "add", {"a": Output(np.int32, (2,))}, x=Name("x"), y=np.int32(10))
    then.outputs.append("a")
    constant = other.operations.add(type="const")
    set_value(constant.attributes["val"], otherwise)
    set_type(constant.outputs.add(name="c").type, DATA_TYPES[otherwise.dtype], otherwise.shape)
    other.outputs.append("c")
    return spec, block


@pytest.mark.parametrize(("p", "expected"), [(1, [11, 12]), (0, [7, 7])])
def test_cond_and_const(p: int, expected: list[int]) -> None:
    (got,) = run(*branch(), ["y"], {"p": np.int32(p), "x": np.int32([1, 2])})
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(("p", "expected"), [(1, [11, 12]), (0, [1, 2, 3])])
def test_branches_of_different_sizes(p: int, expected: list[int]) -> None:
    (got,) = run(*branch([None], (1, 2, 3)), ["y"], {"p": np.int32(p), "x": np.int32([1, 2])})
    np.testing.assert_array_equal(got, expected)


def test_a_loop_without_end_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_flow, "MOST_ITERATIONS", 10)
    with pytest.raises(EngineError, match=r"^the loop .*'last' has run 10 times without end, the most that a loop may"):
        run(*count_up(100), ["last"], {"i": np.int32(0), "x": np.int32([1, 2])})


def error_of(spec: Any, block: Any, output: str, feeds: dict[str, Any]) -> str:
    with pytest.raises(FormatError) as error:
        run(spec, block, [output], feeds)
    return str(error.value).partition(" of the model: ")[2]


def damaged_loop(change: Any) -> str:
    spec, block = count_up(5)
    change(block)
    return error_of(spec, block, "last", {"i": np.int32(0), "x": np.int32([1, 2])})


def damaged_branch(change: Any) -> str:
    spec, block = branch()
    change(block)
    return error_of(spec, block, "y", {"p": np.int32(0), "x": np.int32([1, 2])})


def test_damaged_loops() -> None:
    assert damaged_loop(lambda block: block.operations[0].blocks.pop()) == "blocks is 1, must be 2"
    assert damaged_loop(lambda block: block.operations[0].blocks[0].inputs.pop()) == (
        "blocks have 1 inputs, must have one for each of 2 loop_vars"
    )
    assert damaged_loop(lambda block: block.operations[0].blocks[1].outputs.pop()) == (
        "blocks must give one condition, and a value for each loop variable"
    )


def test_damaged_branches() -> None:
    def other_type(block: Any) -> None:
        constant = block.operations[1].blocks[1].operations[0]
        for message in (constant.attributes["val"], constant.outputs[0].type):
            message.Clear()
        set_value(constant.attributes["val"], np.float32([1, 2]))
        set_type(constant.outputs[0].type, DATA_TYPES[np.dtype(np.float32)], (2,))

    assert damaged_branch(other_type) == "blocks give different types as output 1, must give the same"
    assert damaged_branch(lambda block: block.operations[1].blocks[0].outputs.pop()) == (
        "blocks have 0 and 1 outputs, must have the same number"
    )


def test_blocks_too_deep_in_each_other() -> None:
    spec, block = program({"p": np.int32(0)})
    add_operation(block, "cast", {"pred": TRUTH}, x=Name("p"), dtype="bool")
    inner = block
    for index in range(20):
        operation = add_operation(inner, "cond", {f"y{index}": SCALAR}, pred=Name("pred"))
        inner = operation.blocks.add()
        operation.blocks.add().outputs.append("p")
        inner.outputs.append(f"y{index + 1}" if index < 19 else "p")
    with pytest.raises(FormatError, match=r"\(cond\) of the model: blocks lie in 16 others, must lie in at most 16$"):
        run(spec, block, ["y0"], {"p": np.int32(0)})
