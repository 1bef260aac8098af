"""Flexible ML programs in packages: their weight files, and what coremltools makes of them."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import windfall
from tests.programs import Name, add_input, set_type
from tests.runtime.test_program_weights import WEIGHTS, Builder
from tests.shapes.models import predict, program, random_array, random_image, sizes, weights
from tests.support import fill
from windfall import shapes
from windfall.errors import UnsupportedError
from windfall.spec.proto import MIL_pb2

WINDOW = {"pad_type": "same", "strides": [2, 2], "dilations": [1, 1], "groups": np.int32(1)}


def packed(folder: Path) -> Path:
    """A convolution whose weights lie in a file, and a reshape that holds its size."""
    builder = Builder(folder, (1, 3, 16, 24))
    filters = builder.weight(weights(4, 3, 5, 5), name="filters")
    a = builder.op("conv", (1, 4, 8, 12), x=Name("x"), weight=filters, **WINDOW)
    b = builder.op("reshape", (1, 2, 2, 8, 12), x=a, shape=[1, 2, 2, 8, 12])
    return builder.save(builder.op("reduce_sum", (1, 2, 8, 12), x=b, axes=[2], keep_dims=False))


def coremltools_shapes(path: Path) -> dict[str, tuple[Any, ...]]:
    """Return the shape of each value as coremltools infers it, None for sizes that are left open."""
    logging.disable(logging.WARNING)
    import coremltools
    from coremltools.converters.mil.frontend.milproto.load import load

    model = coremltools.models.MLModel(str(path), skip_model_load=True)
    spec = model.get_spec()
    loaded = load(spec, spec.specificationVersion, model.weights_dir).functions["main"]
    logging.disable(logging.NOTSET)
    values = [*loaded.inputs.values(), *(output for operation in loaded.operations for output in operation.outputs)]
    return {var.name: tuple(size if isinstance(size, int) else None for size in var.shape) for var in values}


def test_the_weights_stay_in_their_file(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    source = packed(tmp_path / "made")
    flexible = shapes.set_range(windfall.load(source), "x", axes={2: (4, 40), 3: (4, None)})
    path = flexible.save(tmp_path / "flexible.mlpackage")
    assert (path / WEIGHTS / "weight.bin").read_bytes() == (source / WEIGHTS / "weight.bin").read_bytes()
    loaded = windfall.load(path)
    (name,) = (feature.name for feature in loaded.description.outputs)
    for size in ((16, 24), (9, 5), (40, 31)):
        x = random_array(1, 3, *size)
        middle = tuple(-(-length // 2) for length in size)
        expected = program(
            {"x": x},
            [
                ("conv", "a", (1, 4, *middle), {"x": Name("x"), "weight": weights(4, 3, 5, 5), **WINDOW}),
                ("reshape", "b", (1, 2, 2, *middle), {"x": Name("a"), "shape": [1, 2, 2, *middle]}),
                ("reduce_sum", "y", (1, 2, *middle), {"x": Name("b"), "axes": [2], "keep_dims": False}),
            ],
        )
        for model in (flexible, loaded):
            np.testing.assert_allclose(model.predict({"x": x})[name], predict(expected, x=x), rtol=1e-5, atol=1e-5)


def test_coremltools_finds_the_same_types(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    model = windfall.load(packed(tmp_path / "made"))
    flexible = shapes.set_range(model, "x", axes={2: (4, 40), 3: (4, None)})
    found = coremltools_shapes(flexible.save(tmp_path / "flexible.mlpackage"))
    assert found["x"] == (1, 3, None, None)
    pictures = {shape for shape in found.values() if shape[2:] == (None, None)}
    assert pictures == {(1, 3, None, None), (1, 4, None, None), (1, 2, None, None)}
    assert (1, 2, 2, None, None) in found.values()
    assert declared(flexible)["x"] == (1, 3, None, None)
    assert declared(shapes.clear(flexible, "x"))["x"] == (1, 3, 16, 24)
    assert set(declared(model).items()) <= set(declared(shapes.clear(flexible, "x")).items())
    assert flexible.message.specificationVersion == model.message.specificationVersion


def declared(model: windfall.Model) -> dict[str, tuple[int | None, ...]]:
    """Return the shapes that a program declares."""
    function = model.message.mlProgram.functions["main"]
    (block,) = function.block_specializations.values()
    values = [*function.inputs, *(output for operation in block.operations for output in operation.outputs)]
    return {
        value.name: tuple(
            int(size.constant.size) if size.HasField("constant") else None for size in value.type.tensorType.dimensions
        )
        for value in values
    }


def test_one_axis_alone_is_left_open() -> None:
    spec = program({"x": random_array(1, 8)}, [("relu", "y", (1, 8), {"x": Name("x")})])
    flexible = shapes.enumerate(windfall.load(spec), "x", [(1, 8), (1, 12)])
    assert declared(flexible) == {"x": (1, None), "y": (1, None)}


def picture_program() -> Any:
    """A program that takes a picture and gives its brightness."""
    spec = program(
        {"image": random_array(1, 3, 16, 24)},
        [("reduce_mean", "y", (1, 1, 16, 24), {"x": Name("image"), "axes": [1], "keep_dims": True})],
    )
    fill(spec.description.input[0], {"type": {"imageType": {"width": 24, "height": 16, "colorSpace": "RGB"}}})
    return spec


def test_a_picture() -> None:
    flexible = shapes.set_range(windfall.load(picture_program()), "image", width=(8, 100), height=(8, None))
    assert sizes(flexible.description.inputs[0]) == "24 x 16, flexible 8..100 x 8.."
    assert sizes(flexible.description.outputs[0]) == "1 x 1 x 16 x 24, flexible 1 x 1 x 8.. x 8..100"
    assert declared(flexible)["image"] == (1, 3, None, None)
    for width, height in ((24, 16), (8, 120), (100, 9)):
        picture = random_image(width, height)
        found = flexible.predict({"image": picture})["y"]
        np.testing.assert_allclose(found[0, 0], picture.mean(axis=2, dtype=np.float32), rtol=1e-5)


def test_values_inside_of_a_branch_follow_too() -> None:
    spec = program({"x": random_array(1, 8)}, [("relu", "y", (1, 8), {"x": Name("x")})])
    function = spec.mlProgram.functions["main"]
    (block,) = function.block_specializations.values()
    add_input(spec, function, "flag", np.ones(1, np.float32), (1,))
    choice = block.operations.add(type="cond")
    del block.outputs[:]
    block.outputs.append("z")
    spec.description.output[0].name = "z"
    _fill_choice(block, choice)
    flexible = shapes.set_range(windfall.load(spec), "x", axes={1: (1, None)})
    x = random_array(1, 5)
    for flag, expected in ((1, np.maximum(x, 0)), (0, np.abs(x))):
        found = flexible.predict({"x": x, "flag": np.full(1, flag, np.float32)})["z"]
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert declared(flexible)["z"] == (1, None)


def _fill_choice(block: Any, choice: Any) -> None:
    """Let an operation give y, or the absolute values of x, by the flag."""
    condition = block.operations.add(type="cast")
    condition.inputs["x"].arguments.add().name = "flag"
    condition.inputs["dtype"].arguments.add().value.CopyFrom(_text("bool"))
    set_type(condition.outputs.add(name="vector").type, MIL_pb2.BOOL, (1,))
    squeezed = block.operations.add(type="squeeze")
    squeezed.inputs["x"].arguments.add().name = "vector"
    set_type(squeezed.outputs.add(name="truth").type, MIL_pb2.BOOL, ())
    choice.inputs["pred"].arguments.add().name = "truth"
    for name, operator, source in (("one", "identity", "y"), ("other", "abs", "x")):
        inner = choice.blocks.add(outputs=[name])
        operation = inner.operations.add(type=operator)
        operation.inputs["x"].arguments.add().name = source
        set_type(operation.outputs.add(name=name).type, MIL_pb2.FLOAT32, (1, 8))
    set_type(choice.outputs.add(name="z").type, MIL_pb2.FLOAT32, (1, 8))
    moved = type(choice)()
    moved.CopyFrom(choice)
    block.operations.remove(choice)
    block.operations.append(moved)


def _text(text: str) -> Any:
    value = MIL_pb2.Value()
    set_type(value.type, MIL_pb2.STRING, ())
    value.immediateValue.tensor.strings.values.append(text)
    return value


def test_tensors_that_no_memory_holds_are_refused() -> None:
    with pytest.raises(UnsupportedError) as error:
        shapes.set_range(windfall.load(picture_program()), "image", width=(8, 100_000), height=(8, 100_000))
    assert str(error.value) == (
        "the model cannot take 'image' of 100000x100000: 'image': a tensor of shape [1, 3, 100000, 100000] needs "
        "30,000,000,000 bytes, must be at most 4,294,967,296; give a smaller upper end"
    )
    spec = program({"x": random_array(1, 8)}, [("relu", "y", (1, 8), {"x": Name("x")})])
    with pytest.raises(UnsupportedError, match=r"'x' of \[1, 2000000000\]: layer 'y' \(relu\): .* needs 8,000,000"):
        shapes.set_range(windfall.load(spec), "x", axes={1: (8, 2_000_000_000)})


def test_one_of_several_functions() -> None:
    spec = program({"x": random_array(1, 8)}, [("relu", "y", (1, 8), {"x": Name("x")})])
    spec.specificationVersion = 9
    spec.mlProgram.functions["second"].CopyFrom(spec.mlProgram.functions["main"])
    for name in ("main", "second"):
        described = {"name": name, "input": list(spec.description.input), "output": list(spec.description.output)}
        spec.description.functions.add(**described)
    spec.description.defaultFunctionName = "main"
    del spec.description.input[:], spec.description.output[:]
    flexible = shapes.set_range(windfall.load(spec, function="second"), "x", axes={1: (1, None)})
    main, second = flexible.message.description.functions
    assert (len(main.input[0].type.multiArrayType.shapeRange.sizeRanges), sizes_of(second.output[0])) == (0, [1, 1])
    np.testing.assert_array_equal(flexible.predict({"x": random_array(1, 5)})["y"].shape, (1, 5))


def sizes_of(feature: Any) -> list[int]:
    return [int(one.lowerBound) for one in feature.type.multiArrayType.shapeRange.sizeRanges]
