"""States: what a program reads and writes from one prediction to the next."""

import threading

import numpy as np
import pytest

import windfall
from tests.programs import (
    DATA_TYPES,
    Input,
    Name,
    Output,
    add_input,
    add_operation,
    new_program,
    operator_spec,
    set_type,
)
from windfall.errors import FeatureError, FormatError
from windfall.spec.proto import FeatureTypes_pb2

ArrayType = FeatureTypes_pb2.ArrayFeatureType
X = np.float32([1, 2, 3])


def add_state(spec, function, name, dims, dtype=np.float16):
    declared = function.inputs.add(name=name).type
    set_type(declared.stateType.wrappedType, DATA_TYPES[np.dtype(dtype)], dims)
    feature = spec.description.state.add(name=name)
    feature.type.stateType.arrayType.shape.extend(dims)
    feature.type.stateType.arrayType.dataType = ArrayType.FLOAT16 if dtype == np.float16 else ArrayType.FLOAT32


def accumulator():
    """Return a model that adds its input to a state, and returns the sum and twice the sum before."""
    spec, function, block = new_program()
    add_state(spec, function, "total", (3,))
    add_input(spec, function, "x", X, (3,))
    half = {"dtype": np.float16, "dims": (3,)}
    add_operation(block, "read_state", {"before": Output(**half)}, input_=Name("total"))
    add_operation(block, "cast", {"xh": Output(**half)}, x=Name("x"), dtype="fp16")
    add_operation(block, "add", {"sum": Output(**half)}, x=Name("before"), y=Name("xh"))
    add_operation(block, "write_state", {}, input_=Name("total"), data=Name("sum"))
    add_operation(block, "read_state", {"after": Output(**half)}, input_=Name("total"))
    add_operation(block, "add", {"twice": Output(**half)}, x=Name("before"), y=Name("before"))
    for name in ("after", "twice"):
        block.outputs.append(name)
        spec.description.output.add(name=name).type.multiArrayType.dataType = ArrayType.FLOAT32
    return spec


def test_a_state_is_kept_from_one_prediction_to_the_next():
    model = windfall.load(accumulator())
    state = model.make_state()
    for step in range(1, 4):
        got = model.predict({"x": X}, state)
        np.testing.assert_array_equal(got["after"], X * step)
        np.testing.assert_array_equal(got["twice"], X * 2 * (step - 1))
    assert state.read("total").dtype == np.float16
    np.testing.assert_array_equal(state.read("total"), X * 3)


def test_states_are_independent_of_each_other():
    model = windfall.load(accumulator())
    one, other = model.make_state(), model.make_state()
    model.predict({"x": X}, one)
    np.testing.assert_array_equal(model.predict({"x": X}, other)["after"], X)
    other.write("total", [10, 20, 30])
    np.testing.assert_array_equal(model.predict({"x": X}, state=other)["after"], [11, 22, 33])
    np.testing.assert_array_equal(one.read("total"), X)


def test_inner_values_may_be_asked_for_with_a_state():
    model = windfall.load(accumulator())
    state = model.make_state()
    got = model.predict({"x": X}, state, outputs=["sum"])
    assert list(got) == ["sum"]
    np.testing.assert_array_equal(state.read("total"), X)


def test_predictions_with_one_state_wait_for_each_other():
    model, threads = windfall.load(accumulator()), []
    state = model.make_state()
    for _ in range(8):
        threads.append(threading.Thread(target=lambda: [model.predict({"x": X}, state) for _ in range(10)]))
        threads[-1].start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(state.read("total"), X * 80)


def test_a_state_written_in_branches_and_loops():
    spec, function, block = new_program()
    add_state(spec, function, "total", (3,), np.float32)
    add_input(spec, function, "x", X, (3,))
    add_input(spec, function, "n", np.int32(0).reshape(()), ())
    scalar, vector = Output(np.int32, ()), Output(np.float32, (3,))
    loop = add_operation(block, "while_loop", {"end": scalar}, loop_vars=[Name("n")])
    for _ in range(2):
        inner = loop.blocks.add()
        set_type(inner.inputs.add(name="i").type, DATA_TYPES[np.dtype(np.int32)], ())
    condition, body = loop.blocks
    add_operation(condition, "sub", {"less": scalar}, x=Name("i"), y=np.int32(0))
    add_operation(condition, "cast", {"goes_on": Output(np.bool_, ())}, x=Name("less"), dtype="bool")
    condition.outputs.append("goes_on")
    add_operation(body, "read_state", {"old": vector}, input_=Name("total"))
    add_operation(body, "add", {"new": vector}, x=Name("old"), y=Name("x"))
    add_operation(body, "write_state", {}, input_=Name("total"), data=Name("new"))
    add_operation(body, "sub", {"next": scalar}, x=Name("i"), y=np.int32(1))
    body.outputs.append("next")
    add_operation(block, "cast", {"any": Output(np.bool_, ())}, x=Name("n"), dtype="bool")
    branch = add_operation(block, "cond", {"chosen": vector}, pred=Name("any"))
    then, otherwise = branch.blocks.add(), branch.blocks.add()
    add_operation(then, "read_state", {"a": vector}, input_=Name("total"))
    add_operation(then, "mul", {"b": vector}, x=Name("a"), y=np.float32(100))
    add_operation(then, "write_state", {}, input_=Name("total"), data=Name("b"))
    then.outputs.append("b")
    add_operation(otherwise, "mul", {"c": vector}, x=Name("x"), y=np.float32(0))
    otherwise.outputs.append("c")
    block.outputs.append("chosen")
    spec.description.output.add(name="chosen").type.multiArrayType.dataType = ArrayType.FLOAT32
    model = windfall.load(spec)
    state = model.make_state()
    np.testing.assert_array_equal(model.predict({"x": X, "n": np.int32(3)}, state)["chosen"], X * 300)
    np.testing.assert_array_equal(model.predict({"x": X, "n": np.int32(0)}, state)["chosen"], X * 0)
    np.testing.assert_array_equal(state.read("total"), X * 300)


def test_errors_of_states():
    model = windfall.load(accumulator())
    plain = windfall.load(operator_spec("add", [Output(np.float32, (3,))], 8, x=Input(X), y=np.float32(1))[0])

    def text(call):
        with pytest.raises(FeatureError) as error:
            call()
        return str(error.value)

    state = model.make_state()
    assert text(lambda: model.predict({"x": X})) == (
        "the model keeps the states 'total', but is given none; make one with state = model.make_state() and give it "
        "to each prediction of a sequence"
    )
    assert (
        text(lambda: model.predict({"x": X}, {})) == "the state is of type dict, must be what model.make_state() gave"
    )
    assert text(plain.make_state) == "the model keeps no states; predict without one"
    assert text(lambda: plain.predict({"x": X}, state)) == (
        "the model keeps no states, but is given one; predict without it"
    )
    assert text(lambda: state.read("x")) == "there is no state 'x'; states are 'total'"
    assert text(lambda: state.write("total", [1.0])) == (
        "state 'total' is given float64 [1], must be numbers of shape [3]"
    )
    other = windfall.State({"total": (4,)}, {"total": np.dtype(np.float16)})
    assert text(lambda: model.predict({"x": X}, other)) == (
        "the state is <windfall.State total [4]>, which is not of this model; make one with model.make_state()"
    )


def test_a_state_that_is_none():
    spec = accumulator()
    operation = spec.mlProgram.functions["main"].block_specializations["CoreML8"].operations[0]
    operation.inputs["input"].arguments[0].name = "x"
    with pytest.raises(FormatError) as error:
        windfall.load(spec).compiled  # noqa: B018
    assert str(error.value) == (
        "cannot lower operation 'before' (read_state) of the model: input is 'x', must be a state of the model"
    )


def test_a_state_of_another_shape_in_the_description():
    spec = accumulator()
    spec.description.state[0].type.stateType.arrayType.shape[0] = 4
    with pytest.raises(FormatError) as error:
        windfall.load(spec).make_state()
    assert str(error.value) == (
        "the model: state 'total' is [4] in the description and [3] in the program, must be an array of the same known "
        "shape; convert the model again"
    )
