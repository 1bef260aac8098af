"""Look-ups through both engines: the same numbers, and the same errors for indices beyond an axis."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import windfall
from tests.programs import Input, Output, operator_spec
from tests.support import layer_spec
from windfall.errors import EngineError
from windfall.graph.builder import GraphBuilder, build_model
from windfall.runtime.engine import EngineOptions, engine_named
from windfall.runtime.serialize import serialize
from windfall.runtime.serialized import SerializedModel

pytest.importorskip("openvino", reason="it is no dependency of other processors")
from windfall.runtime.openvino.program import OpenVino  # needs the import above

INT32, INT64, FLOAT, BOOL = ir.DataType.INT32, ir.DataType.INT64, ir.DataType.FLOAT, ir.DataType.BOOL
ONE = EngineOptions(1)
TABLE = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
Build = Callable[[GraphBuilder, ir.Value], ir.Value]


def lookup(
    build: Build, dtype: ir.DataType = INT32, dims: tuple[int | str, ...] = (2, 3), name: str = "x", axis: int = 0
) -> SerializedModel:
    """Return a graph that looks up what is built from its input in a table."""
    made = GraphBuilder("g", [name])
    made.prefix = "layer"
    found = made.op("Gather", made.constant(TABLE), build(made, made.input(name, dtype, dims)), axis=axis)
    made.graph.outputs.append(made.rename(made.op("Neg", found), "y"))
    return serialize(build_model(made.graph))


def as_they_are(_made: GraphBuilder, x: ir.Value) -> ir.Value:
    return x


def results(model: SerializedModel, **feeds: np.ndarray) -> list[np.ndarray | str]:
    """Return what both engines give, or their errors."""
    found: list[np.ndarray | str] = []
    for program in (engine_named("onnxruntime").compile(model, ONE), OpenVino().compile(model, ONE)):
        try:
            found.append(program.run(feeds)[0])
        except EngineError as error:
            found.append(str(error))
    return found


def assert_same(model: SerializedModel, **feeds: np.ndarray) -> np.ndarray | str:
    one, other = results(model, **feeds)
    assert type(one) is type(other), (one, other)
    np.testing.assert_array_equal(other, one)
    return other


def whole(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int32).reshape(2, 3)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_indices_that_are_an_input_are_looked_up(axis: int) -> None:
    got = assert_same(lookup(as_they_are, axis=axis), x=whole(0, 3, -1, -4, 2, 3))
    np.testing.assert_array_equal(got, -np.take(TABLE, whole(0, 3, -1, -4, 2, 3), axis))


def test_an_index_beyond_its_axis_is_the_error_of_onnx_runtime() -> None:
    assert assert_same(lookup(as_they_are), x=whole(0, 8, -9, 9, 50, -70)) == (
        "'layer' (Gather) failed at run time: indices element out of data bounds, idx=9 must be within the inclusive "
        "range [-9,8]; check the sizes and values of the inputs"
    )


STEPS: dict[str, Build] = {
    "Identity": lambda g, x: g.op("Identity", x),
    "Cast": lambda g, x: g.op("Cast", x, to=INT64 if x.dtype == INT32 else INT32),
    "Reshape": lambda g, x: g.op("Reshape", x, g.constant(np.array([-1, 2]))),
    "Reshape with 0": lambda g, x: g.op("Reshape", x, g.constant(np.array([0, -1, 1]))),
    "Reshape without 0": lambda g, x: g.op("Reshape", x, g.constant(np.array([1, -1])), allowzero=1),
    "Unsqueeze": lambda g, x: g.op("Squeeze", g.op("Unsqueeze", x, g.constant(np.array([0]))), g.constant([0])),
    "Flatten": lambda g, x: g.op("Flatten", x, axis=1),
    "Transpose": lambda g, x: g.op("Transpose", g.op("Flatten", x, axis=1), perm=[1, 0]),
    "Slice": lambda g, x: g.op("Slice", x, *(g.constant(np.array([n])) for n in (99, -99, 0, -1))),
    "Concat": lambda g, x: g.op("Concat", x, g.op("Neg", x), axis=0),
    "Expand": lambda g, x: g.op("Expand", g.op("Flatten", x, axis=0), g.constant(np.array([2, 1]))),
    "Add": lambda g, x: g.op("Add", x, number(g, x, 3)),
    "Sub": lambda g, x: g.op("Sub", number(g, x, 4), x),
    "Mul": lambda g, x: g.op("Mul", x, number(g, x, 2**30)),
    "Abs": lambda g, x: g.op("Abs", x),
    "Min": lambda g, x: g.op("Min", x, number(g, x, 5)),
    "Max": lambda g, x: g.op("Max", x, number(g, x, -2)),
    "Clip": lambda g, x: g.op("Clip", x, number(g, x, -6), number(g, x, 6)),
    "Clip above": lambda g, x: g.op("Clip", x, None, number(g, x, 6)),
    **{
        name: lambda g, x, name=name: g.op("Where", g.op(name, x, number(g, x, 1)), x, number(g, x, 0))
        for name in ("Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal")
    },
    **{
        name: lambda g, x, name=name: g.op("Cast", g.op(name, *(g.op("Cast", v, to=BOOL) for v in (x, x))), to=INT64)
        for name in ("And", "Or", "Xor")
    },
    "Not": lambda g, x: g.op("Cast", g.op("Not", g.op("Cast", x, to=BOOL)), to=INT32),
}


def number(made: GraphBuilder, x: ir.Value, value: int) -> ir.Value:
    return made.constant(np.array(value, np.int32 if x.dtype == INT32 else np.int64))


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("dtype", [INT32, INT64])
def test_every_step_before_a_look_up_is_the_same(step: str, dtype: ir.DataType) -> None:
    x = whole(0, 3, -1, -4, 2, 1).astype(dtype.numpy())
    assert_same(lookup(STEPS[step], dtype), x=x)


@settings(deadline=None, max_examples=40)
@given(
    steps=st.lists(st.sampled_from(sorted(STEPS)), max_size=4),
    numbers=st.lists(st.integers(-(2**31), 2**31 - 1) | st.integers(-9, 8), min_size=6, max_size=6),
)
def test_several_steps_are_the_same(steps: list[str], numbers: list[int]) -> None:
    def build(made: GraphBuilder, x: ir.Value) -> ir.Value:
        for step in steps:
            x = STEPS[step](made, x)
        return x

    assert_same(lookup(build), x=whole(*numbers))


@pytest.mark.parametrize("to", [INT32, INT64])
@pytest.mark.parametrize("special", [0.99, -0.99, 8.5, np.nan, np.inf, -np.inf, 3e9, -3e9, 1e30, -0.0])
def test_fractional_inputs_are_cast_as_onnx_runtime_does(to: ir.DataType, special: float) -> None:
    x = np.float32([[0, 1, special], [2, 3, 4]])
    assert_same(lookup(lambda g, x: g.op("Cast", x, to=to), FLOAT), x=x)


def test_a_mask_of_whole_numbers_is_computed_beforehand() -> None:
    made = GraphBuilder("g", ["mask", "x"])
    mask, x = made.input("mask", INT32, (4,)), made.input("x", FLOAT, (4,))
    seen = made.op("Greater", mask, made.constant(np.int32(2**24)))
    made.graph.outputs.append(made.rename(made.op("Where", seen, x, made.op("Neg", x)), "y"))
    # float32, to which OpenVINO would change them, cannot tell these apart.
    mask_numbers = np.array([2**24 - 1, 2**24, 2**24 + 1, -1], np.int32)
    model = serialize(build_model(made.graph))
    assert_same(model, mask=mask_numbers, x=np.arange(1, 5, dtype=np.float32))


def test_an_input_may_be_used_as_it_is_too() -> None:
    made = GraphBuilder("g", ["x"])
    x = made.input("x", INT32, (4, 1))
    rows = made.op("Gather", made.constant(TABLE), made.op("Flatten", x, axis=0))
    weights = made.op("Unsqueeze", made.op("Cast", x, to=FLOAT), made.constant(np.array([0])))
    made.graph.outputs.append(made.rename(made.op("Mul", rows, weights), "y"))
    assert_same(serialize(build_model(made.graph)), x=np.array([[1], [-2], [3], [0]], np.int32))


@pytest.mark.parametrize("name", ["indices:0:0", "indices:0:1"])
def test_no_name_of_a_model_passes_for_checked_indices(name: str) -> None:
    assert "idx=9 " in str(assert_same(lookup(as_they_are, name=name), **{name: whole(0, 1, 9, 0, 0, 0)}))


def test_sizes_may_be_known_only_at_run_time() -> None:
    model = lookup(lambda g, x: g.op("Where", g.op("Less", x, number(g, x, 0)), number(g, x, 1), x), dims=("n", 3))
    program = OpenVino().compile(model, replace(ONE, ranged=True))
    for count in (1, 4):
        x = np.arange(-3, 3 * count - 3, dtype=np.int32).reshape(count, 3)
        np.testing.assert_array_equal(program.run({"x": x})[0], -TABLE[np.where(x < 0, 1, x)])
    with pytest.raises(EngineError, match="indices element out of data bounds, idx=9 must be within"):
        program.run({"x": x + 1})


def test_computed_indices_are_still_a_gap() -> None:
    model = lookup(lambda g, x: g.op("Cast", g.op("Exp", x), to=INT32), FLOAT)
    with pytest.raises(EngineError, match="operator Cast: it casts to whole numbers otherwise"):
        OpenVino().compile(model, ONE)


def test_whole_numbers_that_are_results_are_still_a_gap() -> None:
    made = GraphBuilder("g", ["x"])
    after = made.rename(made.op("Add", made.input("x", INT32, (3,)), made.constant(np.int32(1))), "next")
    made.graph.outputs.extend([made.op("Gather", made.constant(TABLE), after), after])
    with pytest.raises(EngineError, match="operator Add: it computes with numbers of a type that OpenVINO rounds"):
        OpenVino().compile(serialize(build_model(made.graph)), ONE)


@pytest.mark.parametrize(
    ("feeds", "text"),
    [
        ({}, "OpenVINO failed: input 'x' is missing"),
        ({"x": np.zeros((2, 4), np.int32)}, "OpenVINO failed: input 'x' is int32 [2, 4], must be int32 [2, 3]"),
        ({"x": np.zeros((2, 3))}, "OpenVINO failed: input 'x' is float64 [2, 3], must be int32 [2, 3]"),
        ({"x": np.zeros(3, np.int32)}, "OpenVINO failed: input 'x' is int32 [3], must be int32 [2, 3]"),
    ],
)
def test_inputs_that_do_not_fit_are_an_error(feeds: dict[str, Any], text: str) -> None:
    program = OpenVino().compile(lookup(as_they_are), ONE)
    with pytest.raises(EngineError) as error:
        program.run(feeds)
    assert str(error.value) == text


def predictions(spec: Any, **inputs: np.ndarray) -> list[np.ndarray | str]:
    found: list[np.ndarray | str] = []
    for engine in ("onnxruntime", "openvino"):
        model = windfall.load(spec, engine=engine, threads=1)
        try:
            found.append(next(iter(model.predict(inputs).values())))
        except EngineError as error:
            found.append(str(error))
        assert model.compiled.program.engine == engine
    return found


@pytest.mark.parametrize("index", [0, 8, -1, -9, 9, -10, 2**31 - 1, -(2**31)])
@pytest.mark.parametrize("validate", [False, True])
def test_gather_of_a_program(index: int, validate: bool) -> None:
    indices = np.array([1, index, 2], np.int32)
    x = np.repeat(TABLE, 600, 1)  # larger tables are no sizes to be read ahead
    arguments = {"x": x, "indices": Input(indices), "axis": np.int32(0), "batch_dims": np.int32(0)}
    spec, _ = operator_spec(
        "gather", [Output(np.float32, (3, 2400))], 8, validate_indices=np.bool_(validate), **arguments
    )
    one, other = predictions(spec, indices=indices)
    np.testing.assert_array_equal(other, one)
    assert isinstance(other, str) == (not -9 <= index < 9 or (validate and index < 0))


@pytest.mark.parametrize("index", [0, 8, -1, 9, 1e9, np.nan])
def test_embedding_of_a_network(index: float) -> None:
    indices = np.float32([1, index, 2]).reshape(3, 1)
    weights = np.ascontiguousarray(TABLE.T)
    spec = layer_spec("embeddingND", indices, embeddingSize=4, vocabSize=9, weights=weights)
    one, other = predictions(spec, x0=indices)
    np.testing.assert_array_equal(other, one)
    assert isinstance(other, str) == (not 0 <= index < 9)
