"""Setting, reading and clearing the sizes of inputs."""

import re
from typing import Any

import numpy as np
import pytest
from PIL import Image

import windfall
from tests.classical import pipeline_spec
from tests.shapes.models import (
    array,
    convolution,
    image,
    mobile,
    network,
    predict,
    program,
    random_array,
    random_image,
    sizes,
)
from tests.support import fill, layer_spec
from windfall import shapes
from windfall.errors import FeatureError, FormatError, UnsupportedError

DOUBLE = {"upsample": {"scalingFactor": [2, 2], "mode": "NN"}}


def painter(width: int = 24, height: int = 16) -> Any:
    """A picture to a picture twice as large."""
    layers = [{**convolution(3, 3), "name": "conv"}, {**DOUBLE, "name": "up"}]
    return network(layers, [image("image", width, height)], [image("painted", 2 * width, 2 * height)])


def two_inputs() -> Any:
    """The sum of two arrays [C, H, W], each after a convolution."""
    one, other = convolution(2, 3), convolution(2, 3)
    layers = [
        {**one, "input": ["x"], "output": ["a"]},
        {**other, "input": ["y"], "output": ["b"]},
        {"add": {}, "input": ["a", "b"], "name": "sum"},
    ]
    return network(layers, [array("x", [2, 8, 8]), array("y", [2, 8, 8])], [array("z", [3, 8, 8])])


def test_a_range_of_an_image():
    model = windfall.load(painter())
    flexible = shapes.set_range(model, "image", width=(8, 64), height=(4, None))
    (given,), (made,) = flexible.description.inputs, flexible.description.outputs
    assert sizes(given) == "24 x 16, flexible 8..64 x 4.."
    assert sizes(made) == "48 x 32, flexible 16..128 x 8.."
    assert flexible.message.specificationVersion == 3
    assert sizes(model.description.inputs[0]) == "24 x 16"  # the old one stays
    for size in ((24, 16), (8, 4), (64, 100), (9, 31), (24, 16)):
        found = flexible.predict({"image": random_image(*size)})["painted"]
        assert found.size == (2 * size[0], 2 * size[1])
        np.testing.assert_array_equal(found, predict(painter(*size), image=random_image(*size)))
    with pytest.raises(FeatureError, match=r"^image 'image' is 7x16, must be 8\.\.64 x 4\.\.; resize it first"):
        flexible.predict({"image": random_image(7, 16)})


def test_an_axis_that_is_not_named_stays():
    model = shapes.set_range(windfall.load(painter()), "image", width=(8, 64))
    assert sizes(model.description.inputs[0]) == "24 x 16, flexible 8..64 x 16"
    assert sizes(shapes.set_range(model, "image", height=(8, 16)).description.inputs[0]) == (
        "24 x 16, flexible 8..64 x 8..16"
    )


def test_a_list_of_sizes_is_width_first():
    flexible = shapes.enumerate(windfall.load(painter()), "image", [(24, 16), (10, 20), (24, 16)])
    assert sizes(flexible.description.inputs[0]) == "24 x 16, one of 24 x 16, 10 x 20"
    assert sizes(flexible.description.outputs[0]) == "48 x 32, one of 48 x 32, 20 x 40"
    assert flexible.predict({"image": random_image(10, 20)})["painted"].size == (20, 40)
    with pytest.raises(FeatureError, match=r"^image 'image' is 20x10, must be one of 24x16, 10x20; resize it first"):
        flexible.predict({"image": random_image(20, 10)})


def test_clearing_gives_the_model_back():
    model = windfall.load(painter())
    for flexible in (
        shapes.set_range(model, "image", width=(8, 64), height=(4, None)),
        shapes.enumerate(model, "image", [(24, 16), (10, 20)]),
    ):
        cleared = shapes.clear(flexible, "image")
        assert cleared.message.description == model.message.description
        with pytest.raises(FeatureError, match=r"^image 'image' is 10x20, must be 24x16; resize it first"):
            cleared.predict({"image": random_image(10, 20)})


def test_another_default():
    model = windfall.load(painter())
    flexible = shapes.enumerate(model, "image", [(32, 32), (10, 20)], default=(32, 32))
    assert sizes(flexible.description.inputs[0]) == "32 x 32, one of 32 x 32, 10 x 20"
    assert sizes(flexible.description.outputs[0]) == "64 x 64, one of 64 x 64, 20 x 40"
    ranged = shapes.set_range(model, "image", width=(30, 40), height=(30, 40), default=(30, 40))
    assert sizes(ranged.description.outputs[0]) == "60 x 80, flexible 60..80 x 60..80"


def test_arrays_by_axis_and_by_rank():
    model = windfall.load(two_inputs())
    flexible = shapes.set_range(model, ["x", "y"], axes={1: (4, 12), -1: (2, None)})
    assert [sizes(feature) for feature in flexible.description.inputs] == ["2 x 8 x 8, flexible 2 x 4..12 x 2.."] * 2
    assert sizes(flexible.description.outputs[0]) == "3 x 8 x 8, flexible 3 x 4..12 x 2.."
    x, y = random_array(2, 5, 7), random_array(2, 5, 7) + 1
    found = flexible.predict({"x": x, "y": y})["z"]
    assert found.shape == (3, 5, 7)
    fixed = two_inputs()
    for feature in fixed.description.input:
        feature.type.multiArrayType.shape[:] = (2, 5, 7)
    fixed.description.output[0].type.multiArrayType.shape[:] = (3, 5, 7)
    np.testing.assert_allclose(found, predict(fixed, x=x, y=y), rtol=1e-5, atol=1e-6)
    by_rank = shapes.set_range(model, ["x", "y"], ranges=[2, (4, 12), (2, None)])
    assert by_rank.message == flexible.message


def test_an_output_has_its_own_shape_where_it_holds_as_many_values_as_the_default_one():
    layers = [convolution(2, 3)]
    model = windfall.load(network(layers, [array("x", [2, 4, 6])], [array("y", [3, 4, 6])]))
    flexible = shapes.set_range(model, "x", axes={1: (2, 12), 2: (2, 12)})
    assert flexible.predict({"x": random_array(2, 6, 4)})["y"].shape == (3, 6, 4)


def test_several_inputs_with_lists_of_their_own():
    layers = [
        {"reduceMean": {"reduceAll": True, "keepDims": True}, "input": ["y"], "output": ["mean"], "name": "mean"},
        {"addBroadcastable": {}, "input": ["x", "mean"], "name": "sum"},
    ]
    spec = network(layers, [array("x", [4]), array("y", [3])], [array("z", [4])], exact=True)
    model = shapes.enumerate(windfall.load(spec), "x", [(4,), (7,)])
    model = shapes.enumerate(model, "y", [(3,), (5,), (1,)])
    assert sizes(model.description.outputs[0]) == "4, one of 4, 7"
    for x, y in ((7, 1), (4, 5), (4, 3), (7, 5)):
        found = model.predict({"x": random_array(x), "y": random_array(y)})["z"]
        np.testing.assert_allclose(found, random_array(x) + random_array(y).mean(), rtol=1e-6)
    with pytest.raises(
        FeatureError, match=r"^input 'y' has shape \[2\], must be one of \[3\], \[5\], \[1\]; reshape it"
    ):
        model.predict({"x": random_array(4), "y": random_array(2)})


def test_an_output_that_does_not_depend_on_the_input_stays():
    layers = [{"pooling": {"type": "MAX", "globalPooling": True, "valid": {}}}]
    model = windfall.load(network(layers, [array("x", [2, 4, 6])], [array("y", [2, 1, 1])]))
    flexible = shapes.set_range(model, "x", axes={1: (2, None)})
    assert sizes(flexible.description.outputs[0]) == "2 x 1 x 1"


def test_weights_stay_in_the_file(tmp_path):
    spec = network([convolution(3, 64, (9, 9))], [image("image", 16, 16)], [array("y", [64, 16, 16])])
    (tmp_path / "large.mlmodel").write_bytes(spec.SerializeToString())
    model = shapes.set_range(windfall.load(tmp_path / "large.mlmodel"), "image", width=(9, 20))
    model.save(tmp_path / "flexible.mlmodel")
    assert windfall.load(tmp_path / "flexible.mlmodel").spec.neuralNetwork == spec.neuralNetwork


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"width": (64, 8)}, "width of 'image' is 64..8, which is upside down; give the smaller size first"),
        ({"width": (0, 8)}, "width of 'image' is (0, 8), must be whole numbers of at least 1, or None for no limit"),
        (
            {"width": (1.5, 8)},
            "width of 'image' is (1.5, 8), must be whole numbers of at least 1, or None for no limit",
        ),
        ({"width": (1, 2, 3)}, "width of 'image' is (1, 2, 3), must be (least, most), or (least, None) for no limit"),
        ({"height": "abc"}, "height of 'image' is 'abc', must be (least, most), or (least, None) for no limit"),
        (
            {"width": (32, 64)},
            "the default width of 'image' is 24, which is not in 32..64; widen the range or give another default",
        ),
        ({"axes": {1: (1, 2)}}, "'image' is an image; give width and height"),
        ({}, "a range needs width and height for an image, or one of axes and ranges for an array"),
        ({"width": (8, 64), "default": (24,)}, "'image' has (width, height), not (24,)"),
    ],
)
def test_ranges_that_are_none(arguments, error):
    with pytest.raises(UnsupportedError, match=f"^{re.escape(error)}$"):
        shapes.set_range(windfall.load(painter()), "image", **arguments)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"axes": {3: (1, 2)}}, "'x' has no axis 3; its axes are -3 to 2"),
        ({"axes": {"H": (1, 2)}}, "'x' has no axis 'H'; its axes are -3 to 2"),
        ({"ranges": [(1, 2)]}, "'x' has 3 axes, but there are 1 ranges; give one for each"),
        ({"width": (1, 2)}, "'x' is an array; give axes or ranges"),
        ({"axes": {1: (9, 4)}}, "axis 1 of 'x' is 9..4, which is upside down; give the smaller size first"),
    ],
)
def test_ranges_that_are_none_of_an_array(arguments, error):
    with pytest.raises(UnsupportedError, match=f"^{re.escape(error)}$"):
        shapes.set_range(windfall.load(two_inputs()), "x", **arguments)


@pytest.mark.parametrize(
    ("listed", "error"),
    [
        ([(10, 20)], "the default size of 'image' is 24x16, which is not among 10x20; add it, or give another default"),
        ([], "the default size of 'image' is 24x16, which is not among none; add it, or give another default"),
        ([(24, 16), (0, 4)], "'image' cannot be (0, 4): (width, height) must be whole numbers of at least 1"),
        ([(24, 16), 7], "'image' has (width, height), not 7"),
    ],
)
def test_lists_that_are_none(listed, error):
    with pytest.raises(UnsupportedError, match=f"^{re.escape(error)}$"):
        shapes.enumerate(windfall.load(painter()), "image", listed)


def test_inputs_and_models_that_are_none():
    model = windfall.load(painter())
    for change in (shapes.clear, lambda *given: shapes.set_range(*given, width=(1, 2))):
        with pytest.raises(
            UnsupportedError, match=r"^the model has no input 'photo'; its images and arrays are 'image'$"
        ):
            change(model, "photo")
    with pytest.raises(UnsupportedError, match=r"^the model is of type \w+; only neural networks and ML programs have"):
        shapes.clear(windfall.load(pipeline_spec([], {"x": (4,)}, {})), "image")


def test_tensors_that_no_memory_holds_are_refused_before_any_is_made():
    with pytest.raises(UnsupportedError) as error:
        shapes.set_range(windfall.load(painter()), "image", width=(8, 100_000), height=(8, 100_000))
    assert str(error.value) == (
        "the model cannot take 'image' of 100000x100000: input 'image': a tensor of shape [1, 3, 100000, 100000] needs "
        "30,000,000,000 bytes, must be at most 4,294,967,296; give a smaller upper end"
    )
    with pytest.raises(UnsupportedError, match=r"'image' of 18000x18000: layer 'up' \(upsample\): .* needs .* bytes"):
        shapes.set_range(windfall.load(painter()), "image", width=(8, 18_000), height=(8, 18_000))


def test_a_layer_that_refuses_is_named():
    with pytest.raises(UnsupportedError) as error:
        shapes.set_range(windfall.load(mobile(pooled=False)), "image", width=(32, 64), height=(32, 64))
    assert str(error.value) == (
        "the model cannot take 'image' of 64x64: layer 'fc1' (innerProduct): inputChannels is 512, must be the "
        "product of [2048, 1, 1], the input's last sizes; windfall.shapes.check tells which sizes go"
    )


def test_sizes_that_go_in_steps_are_to_be_enumerated():
    half = {"pooling": {"type": "MAX", "kernelSize": [2, 2], "stride": [2, 2], "valid": {}}}
    layers = [
        {**half, "input": ["x"], "name": "half"},
        {**DOUBLE, "name": "whole"},
        {"add": {}, "input": ["x", "whole"], "name": "sum"},
    ]
    model = windfall.load(network(layers, [array("x", [2, 8, 8])], [array("y", [2, 8, 8])]))
    with pytest.raises(
        UnsupportedError, match=r"the axis 2 goes in steps of 2 only, which no range can say: enumerate"
    ):
        shapes.set_range(model, "x", axes={2: (4, 12)})
    listed = shapes.enumerate(model, "x", [(2, 8, 8), (2, 8, 4), (2, 6, 10)])
    assert listed.predict({"x": random_array(2, 6, 10)})["y"].shape == (2, 6, 10)


@pytest.mark.parametrize(
    ("kind", "flexibility", "error"),
    [
        (
            "multiArrayType",
            {"shapeRange": {"sizeRanges": [{"lowerBound": 5, "upperBound": 4}]}},
            "input 'x0' has the range 5..4 along axis 0, which is upside down; convert the model again",
        ),
        (
            "multiArrayType",
            {"shapeRange": {"sizeRanges": [{"lowerBound": 5, "upperBound": -1}]}},
            "input 'x0' has the default size 4 along axis 0, which is not in its range 5..; convert the model again",
        ),
        (
            "multiArrayType",
            {"shapeRange": {"sizeRanges": [{"lowerBound": 1, "upperBound": 9}] * 2}},
            (
                "input 'x0' has the default size [4] and ranges for 2 axes, must have one for each; convert the model "
                "again"
            ),
        ),
        (
            "multiArrayType",
            {"enumeratedShapes": {"shapes": [{"shape": [5]}, {"shape": [6]}]}},
            "input 'x0' has the default size [4], which is not among those it lists: [5], [6]; convert the model again",
        ),
        (
            "multiArrayType",
            {"enumeratedShapes": {}},
            "input 'x0' has the default size [4], which is not among those it lists: none; convert the model again",
        ),
        (
            "imageType",
            {"enumeratedSizes": {"sizes": [{"width": 5, "height": 4}]}},
            (
                "input 'x0' has the default size [4, 5], which is not among those it lists: [5, 4]; convert the model "
                "again"
            ),
        ),
        (
            "imageType",
            {"imageSizeRange": {"widthRange": {"lowerBound": 1, "upperBound": 3}}},
            "input 'x0' has the default size 4 along axis 0, which is not in its range 1..3; convert the model again",
        ),
    ],
)
def test_flexibility_that_contradicts_itself(kind, flexibility, error):
    spec = layer_spec("activation", np.zeros(4), linear={"alpha": 1.0})
    if kind == "imageType":
        fill(spec.description.input[0], image("x0", 4, 5))
    fill(getattr(spec.description.input[0].type, kind), flexibility)
    value = Image.new("RGB", (4, 5)) if kind == "imageType" else np.zeros(4)
    with pytest.raises(FormatError, match=f"^{re.escape(error)}$"):
        windfall.load(spec).predict({"x0": value})


def test_a_program_that_is_less_flexible_than_its_description():
    spec = program({"x": random_array(1, 4)}, [("relu", "y", (1, 4), {"x": _name("x")})])
    fill(
        spec.description.input[0].type.multiArrayType,
        {"shapeRange": {"sizeRanges": [{"lowerBound": 1, "upperBound": 1}, {"lowerBound": 1, "upperBound": 9}]}},
    )
    with pytest.raises(FormatError) as error:
        windfall.load(spec).predict({"x": random_array(1, 3)})
    assert str(error.value) == (
        "the model: the description allows other sizes of 'x' along axis 1 than 4, the program does not; convert the "
        "model again"
    )


def _name(text: str) -> Any:
    from tests.programs import Name

    return Name(text)
