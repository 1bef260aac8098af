"""Whole programs: functions, inputs, outputs, labels, and what is wrong with them."""

import numpy as np
import pytest
from PIL import Image

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
    run_operator,
    set_type,
    set_value,
)
from windfall.errors import FeatureError, FormatError, UnsupportedError, WindfallError
from windfall.spec.proto import FeatureTypes_pb2, MIL_pb2

FLOAT32 = FeatureTypes_pb2.ArrayFeatureType.FLOAT32
X = np.float32([[1, 2, 3], [4, 5, 6]])


def add_output(spec, block, name):
    block.outputs.append(name)
    spec.description.output.add(name=name).type.multiArrayType.dataType = FLOAT32


def doubling():
    """Return a program that computes y = x + x, and the block to add to."""
    spec, function, block = new_program()
    add_input(spec, function, "x", X, X.shape)
    add_operation(block, "add", {"y": Output(np.float32, X.shape)}, x=Name("x"), y=Name("x"))
    add_output(spec, block, "y")
    return spec, block


def error_of(spec, kind=FormatError, function=""):
    with pytest.raises(kind) as error:
        windfall.load(spec, function=function).predict({"x": X})
    return str(error.value)


def test_inner_values_may_be_asked_for():
    spec, block = doubling()
    add_operation(block, "mul", {"z": Output(np.float32, X.shape)}, x=Name("y"), y=np.float32(5))
    got = windfall.load(spec).predict({"x": X}, outputs=["z", "y"])
    np.testing.assert_array_equal(got["z"], X * 10)
    np.testing.assert_array_equal(got["y"], X * 2)


def test_one_graph_serves_all_shapes():
    spec, function, block = new_program()
    add_input(spec, function, "x", X, [None, 3])
    add_operation(block, "add", {"y": Output(np.float32, [None, 3])}, x=Name("x"), y=np.float32(1))
    add_output(spec, block, "y")
    model = windfall.load(spec)
    for rows in (1, 2, 7):
        x = np.ones((rows, 3), np.float32) * rows
        np.testing.assert_array_equal(model.predict({"x": x})["y"], x + 1)
    assert len(model._programs) == 1


def test_a_program_without_outputs_is_refused():
    spec, block = doubling()
    del spec.description.output[:], block.outputs[:]
    assert error_of(spec) == "the model declares no outputs, must declare at least one; ask for inner values by name"
    np.testing.assert_array_equal(windfall.load(spec).predict({"x": X}, outputs=["y"])["y"], X * 2)


def test_an_input_a_constant_and_one_value_twice_as_outputs():
    spec, block = doubling()
    add_operation(block, "const", {"c": Output(np.float32, (2,))})
    set_value(block.operations[-1].attributes["val"], np.float32([8, 9]))
    add_operation(block, "cast", {"same": Output(np.float32, X.shape)}, x=Name("y"), dtype="fp32")
    for name in ("x", "c", "same"):
        add_output(spec, block, name)
    got = windfall.load(spec).predict({"x": X})
    np.testing.assert_array_equal(got["x"], X)
    np.testing.assert_array_equal(got["c"], [8, 9])
    np.testing.assert_array_equal(got["same"], X * 2)


def test_integers_are_not_rounded_to_float32():
    big = np.int32([2**24 + 1, -(2**31)])
    (got,) = run_operator("add", [Output(np.int32, (2,))], x=Input(big), y=np.int32(0))
    assert got.dtype == np.int32
    np.testing.assert_array_equal(got, big)
    spec, _ = operator_spec("add", [Output(np.int32, (2,))], 8, x=Input(big), y=np.int32(0))
    np.testing.assert_array_equal(windfall.load(spec).predict({"x": [1.0, 2.0]})["out0"], [1, 2])
    with pytest.raises(FeatureError, match=r"^input 'x' has numbers that int32 cannot hold; round or clip them first$"):
        windfall.load(spec).predict({"x": [0.5, 2]})


def two_functions():
    spec, _ = doubling()
    second = spec.mlProgram.functions["half"]
    second.CopyFrom(spec.mlProgram.functions["main"])
    operation = second.block_specializations["CoreML8"].operations[0]
    operation.type = "mul"
    operation.inputs["y"].Clear()
    set_value(operation.inputs["y"].arguments.add().value, np.float32(0.5))
    for name in ("main", "half"):
        described = spec.description.functions.add(name=name)
        described.input.extend(spec.description.input)
        described.output.extend(spec.description.output)
    spec.description.defaultFunctionName = "main"
    del spec.description.input[:], spec.description.output[:]
    return spec


@pytest.mark.parametrize(("function", "factor"), [("", 2), ("main", 2), ("half", 0.5)])
def test_functions(function, factor):
    got = windfall.load(two_functions(), function=function).predict({"x": X})
    np.testing.assert_array_equal(got["y"], X * factor)


def test_a_function_that_is_not_there():
    assert error_of(two_functions(), function="third") == (
        "the model has no function 'third'; its functions are half, main"
    )
    assert error_of(doubling()[0], function="f") == "the model has no function 'f'; its functions are main"


def classifier(labels):
    spec, function, block = new_program()
    add_input(spec, function, "x", X[0], (3,))
    add_operation(block, "mul", {"p": Output(np.float32, (3,))}, x=Name("x"), y=np.float32(0.1))
    classes = block.operations.add(type="const")
    value = classes.attributes["val"]
    for label in labels:
        item = value.immediateValue.list.values.add()
        if isinstance(label, str):
            set_type(item.type, MIL_pb2.STRING, ())
            item.immediateValue.tensor.strings.values.append(label)
        else:
            set_type(item.type, MIL_pb2.INT64, ())
            item.immediateValue.tensor.longInts.values.append(label)
    list_type = value.type.listType
    list_type.length.constant.size = len(labels)
    set_type(list_type.type, MIL_pb2.STRING if isinstance(labels[0], str) else MIL_pb2.INT64, ())
    classes.outputs.add(name="classes").type.CopyFrom(value.type)
    operation = add_operation(block, "classify", {}, probabilities=Name("p"), classes=Name("classes"))
    set_type(operation.outputs.add(name="label").type, list_type.type.tensorType.dataType, ())
    operation.outputs.add(name="all").type.dictionaryType.SetInParent()
    block.outputs.extend(["label", "all"])
    key = "string" if isinstance(labels[0], str) else "int64"
    getattr(spec.description.output.add(name="label").type, f"{key}Type").SetInParent()
    getattr(spec.description.output.add(name="all").type.dictionaryType, f"{key}KeyType").SetInParent()
    spec.description.predictedFeatureName, spec.description.predictedProbabilitiesName = "label", "all"
    return spec


@pytest.mark.parametrize("labels", [["cat", "dog", "cow"], [7, 8, -9]])
def test_a_classifier(labels):
    model = windfall.load(classifier(labels))
    got = model.predict({"x": [3, 5, 1]})
    assert got["label"] == labels[1]
    assert got["all"] == pytest.approx(dict(zip(labels, [0.3, 0.5, 0.1], strict=True)))
    assert model.predict({"x": [3, 5, 1]}, outputs=["p"])["p"] == pytest.approx([0.3, 0.5, 0.1])


def test_a_classifier_whose_classes_are_part_of_its_operation():
    spec = classifier(["cat", "dog", "cow"])
    block = spec.mlProgram.functions["main"].block_specializations["CoreML8"]
    classes = block.operations[1].attributes["val"]
    block.operations[2].inputs["classes"].arguments[0].value.CopyFrom(classes)
    del block.operations[1]
    assert windfall.load(spec).predict({"x": [3, 5, 1]})["label"] == "dog"


def test_a_classifier_without_classes():
    spec = classifier(["a", "b", "c"])
    del spec.mlProgram.functions["main"].block_specializations["CoreML8"].operations[1]
    assert error_of(spec) == (
        "the model is a classifier and must name its probabilities and a constant with its classes; convert it again"
    )


@pytest.mark.parametrize(("space", "mode"), [("RGB", "RGB"), ("BGR", "RGB"), ("GRAYSCALE", "L")])
def test_images_in_and_out(space, mode):
    channels = len(mode) if mode != "L" else 1
    spec, function, block = new_program()
    set_type(function.inputs.add(name="x").type, MIL_pb2.FLOAT32, (1, channels, 2, 3))
    add_operation(block, "add", {"y": Output(np.float32, (1, channels, 2, 3))}, x=Name("x"), y=np.float32(10))
    block.outputs.append("y")
    for feature in (spec.description.input.add(name="x"), spec.description.output.add(name="y")):
        image = feature.type.imageType
        image.width, image.height = 3, 2
        image.colorSpace = FeatureTypes_pb2.ImageFeatureType.ColorSpace.Value(space)
    pixels = np.arange(6 * channels, dtype=np.uint8).reshape((2, 3, channels) if channels > 1 else (2, 3))
    model = windfall.load(spec)
    np.testing.assert_array_equal(np.asarray(model.predict({"x": Image.fromarray(pixels)})["y"]), pixels + 10)
    inner = model.predict({"x": Image.fromarray(pixels)}, outputs=["x"])["x"]
    first = pixels.reshape(2, 3, channels)[..., 2 if space == "BGR" else 0]
    np.testing.assert_array_equal(np.asarray(inner).reshape(-1, 2, 3)[0] if inner is not None else first, first)


def test_all_operators_that_cannot_be_run_are_named():
    spec, block = doubling()
    for index in range(5):
        add_operation(block, "warp", {f"w{index}": Output(np.float32, X.shape)}, x=Name("x"))
    add_operation(block, "fold", {"f": Output(np.float32, X.shape)}, x=Name("x"))
    loop = add_operation(block, "while_loop", {"l": Output(np.float32, X.shape)}, loop_vars=[Name("x")])
    add_operation(loop.blocks.add(), "fold", {"g": Output(np.float32, X.shape)}, x=Name("x"))
    model = windfall.load(spec)
    assert model.description.unsupported == (
        "operator warp at 'w0', 'w1', 'w2' and 2 more",
        "operator fold at 'f', 'l/0/g'",
    )
    assert error_of(spec, UnsupportedError) == (
        "the model has 2 operators that cannot be run: warp at 'w0', 'w1', 'w2' and 2 more; fold at 'f', 'l/0/g'; "
        "see what it consists of with: windfall inspect MODEL"
    )


def test_an_operator_whose_name_is_no_word_is_shown_on_one_line():
    spec, block = doubling()
    block.operations[0].type = "two\nlines"
    assert error_of(spec, UnsupportedError) == (
        "the model has 1 operator that cannot be run: 'two\\nlines' at 'y'; "
        "see what it consists of with: windfall inspect MODEL"
    )


def change(text):
    """Return how to damage the program of ``doubling``, by a name."""
    return text, {
        "undefined": lambda spec, block: setattr(block.operations[0].inputs["y"].arguments[0], "name", "nothing"),
        "missing": lambda spec, block: block.operations[0].inputs.pop("y"),
        "two": lambda spec, block: block.operations[0].inputs["y"].arguments.add(name="x"),
        "unknown": lambda spec, block: block.operations[0].inputs["w"].arguments.add(name="x"),
        "type": lambda spec, block: set_tensor(block, DATA_TYPES[np.dtype(np.int32)], X.shape),
        "shape": lambda spec, block: set_tensor(block, MIL_pb2.FLOAT32, (2, 4)),
        "rank": lambda spec, block: set_tensor(block, MIL_pb2.FLOAT32, (6,)),
        "outputs": lambda spec, block: block.operations[0].outputs.add(name="more"),
        "twice": lambda spec, block: block.operations.add().CopyFrom(block.operations[0]),
        "block output": lambda spec, block: block.outputs.append("more"),
        "opset": lambda spec, block: setattr(spec.mlProgram.functions["main"], "opset", "CoreML9"),
        "no function": lambda spec, block: spec.mlProgram.functions.pop("main"),
        "undescribed": lambda spec, block: spec.description.input.pop(),
        "not in program": lambda spec, block: spec.mlProgram.functions["main"].inputs.pop(),
        "axes": lambda spec, block: set_type(
            spec.mlProgram.functions["main"].inputs[0].type, MIL_pb2.FLOAT32, (1, 2, 3)
        ),
        "no tensor": lambda spec, block: spec.mlProgram.functions["main"].inputs[0].type.tupleType.SetInParent(),
    }[text]


def set_tensor(block, data_type, dims):
    value_type = block.operations[0].outputs[0].type
    value_type.Clear()
    set_type(value_type, data_type, dims)


START = "cannot lower operation 'y' (add) of the model: "


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        ("undefined", f"{START}y is 'nothing', must be the output of an earlier operation or an input"),
        ("missing", f"{START}y is missing, must be given"),
        ("two", f"{START}y is 2 values, must be one value"),
        ("unknown", f"{START}w is not a parameter of the operator; it has x, y"),
        ("type", f"{START}outputs is declared as int32, must be float"),
        ("shape", f"{START}outputs is declared as [2, 4], must be [2, 3]"),
        ("rank", f"{START}outputs is declared as [6], must be [2, 3]"),
        ("outputs", f"{START}outputs is 2, must be 1 names"),
        ("twice", f"{START}outputs is 'y', must have a name that no other value has"),
        ("block output", "the model has no value 'more', which a block gives as its output; convert the model again"),
        ("opset", "the model: function 'main' has no block for its opset 'CoreML9'"),
        ("no function", "the model has no function 'main'; its functions are none"),
        ("undescribed", "the model has no input 'x'; its inputs are none"),
        ("not in program", "the model describes an input 'x' that its program does not have"),
        ("no tensor", "the model: input 'x' must be a tensor of known rank in the program"),
    ],
)
def test_damaged_programs(damage, text):
    spec, block = doubling()
    change(damage)[1](spec, block)
    assert error_of(spec, WindfallError) == text
