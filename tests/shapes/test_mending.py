"""Layers that hold a size of their own: what is rewritten gives what a model made for another size gives."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import windfall
from tests.programs import Name
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
    weights,
)
from windfall import shapes
from windfall.errors import UnsupportedError


def kinds(model: windfall.Model) -> list[str]:
    """Return the types of a model's layers or operations, constants left out."""
    if model.message.HasField("neuralNetwork"):
        return [layer.WhichOneof("layer") for layer in model.message.neuralNetwork.layers]
    (function,) = model.message.mlProgram.functions.values()
    (block,) = function.block_specializations.values()
    return [operation.type for operation in block.operations if operation.type != "const"]


def reshaped(mode: str) -> Callable[[int, int], Any]:
    """Rows of two channels below each other, or all values in a row."""

    def make(height: int, width: int) -> Any:
        reshape = {"targetShape": [1, 2 * height, width] if mode == "CHANNEL_FIRST" else [2 * height * width, 1, 1]}
        layers = [{"reshape": {**reshape, "mode": mode}, "name": "r"}, {"activation": {"linear": {"alpha": 2.0}}}]
        return network(layers, [array("x", [2, height, width])], [array("y")])

    return make


def flattened(height: int, width: int) -> Any:
    """A reshape to [C*H*W, 1, 1] in front of a softmax over it."""
    layers = [{"reshape": {"targetShape": [2 * height * width, 1, 1], "mode": "CHANNEL_FIRST"}}, {"softmax": {}}]
    return network(layers, [array("x", [2, height, width])], [array("y")])


def attention(height: int, width: int) -> Any:
    """Channels against each other: [1, C, H, W] to [1, C, H*W], times its transpose."""
    layers = [
        {"reshapeStatic": {"targetShape": [1, 4, height * width]}, "name": "rows"},
        {"batchedMatmul": {"transposeB": True}, "input": ["rows", "rows"]},
    ]
    return network(layers, [array("x", [1, 4, height, width])], [array("y")], exact=True)


def shuffled(height: int, width: int) -> Any:
    """Channels in another order, through shapes of the same rank."""
    layers = [
        {"reshapeStatic": {"targetShape": [2, 2, height, width]}},
        {"transpose": {"axes": [1, 0, 2, 3]}},
        {"rankPreservingReshape": {"targetShape": [1, 4, height, width]}},
    ]
    return network(layers, [array("x", [1, 4, height, width])], [array("y")], exact=True)


def skipped(mode: str) -> Callable[[int, int], Any]:
    def make(height: int, width: int) -> Any:
        """A U: half the size, then resized to the size of the input and added to it."""
        half = {"pooling": {"type": "MAX", "kernelSize": [2, 2], "stride": [2, 2], "valid": {}}}
        resize = {"targetSize": [height, width], "mode": {"samplingMethod": mode}}
        layers = [
            {**half, "input": ["x"], "name": "half"},
            {"resizeBilinear": resize, "name": "whole"},
            {"add": {}, "input": ["x", "whole"]},
        ]
        return network(layers, [array("x", [2, height, width])], [array("y")])

    return make


def cut(height: int, width: int) -> Any:
    """The lower right part and the whole, whose ends are numbers, as a product."""
    fields = {"strides": [1, 1, 1], "beginMasks": [False] * 3, "squeezeMasks": [False] * 3}
    whole = {"beginIds": [0, 0, 0], "endIds": [2, height, width], "endMasks": [False] * 3, **fields}
    layers = [
        {"sliceStatic": whole, "input": ["x"], "output": ["a"]},
        {"multiplyBroadcastable": {}, "input": ["a", "x"]},
    ]
    return network(layers, [array("x", [2, height, width])], [array("y")], exact=True)


def pooled(height: int, width: int) -> Any:
    """A classifier whose pooling is as large as what it pools."""
    pooling = {"type": "AVERAGE", "kernelSize": [height, width], "stride": [1, 1], "valid": {}}
    head = {"inputChannels": 3, "outputChannels": 5, "weights": weights(5, 3)}
    layers = [convolution(2, 3), {"pooling": pooling, "name": "pool"}, {"innerProduct": head}]
    return network(layers, [array("x", [2, height, width])], [array("y")])


@pytest.mark.parametrize(
    ("make", "rank", "now"),
    [
        (reshaped("CHANNEL_FIRST"), 3, ["rankPreservingReshape", "activation"]),
        (reshaped("CHANNEL_LAST"), 3, ["flatten", "activation"]),
        (flattened, 3, ["flatten", "softmax"]),
        (attention, 4, ["reshapeStatic", "batchedMatmul"]),
        (skipped("STRICT_ALIGN_ENDPOINTS_MODE"), 3, ["pooling", "upsample", "add"]),
        (skipped("ALIGN_ENDPOINTS_MODE"), 3, ["pooling", "upsample", "add"]),
        (skipped("UPSAMPLE_MODE"), 3, ["pooling", "upsample", "add"]),
        (cut, 3, ["sliceStatic", "multiplyBroadcastable"]),
        (pooled, 3, ["convolution", "pooling", "innerProduct"]),
    ],
)
def test_a_network_gives_what_one_made_for_the_size_gives(make, rank, now):
    model = windfall.load(make(6, 8))
    lead = (1,) if rank == 4 else ()
    channels = model.message.description.input[0].type.multiArrayType.shape[rank - 3]
    listed = [(6, 8), (12, 10), (2, 4), (16, 6)]
    flexible = shapes.enumerate(model, "x", [(*lead, channels, *size) for size in listed])
    assert kinds(flexible) == now
    for size in listed:
        x = random_array(*lead, channels, *size)
        np.testing.assert_allclose(flexible.predict({"x": x})["y"], predict(make(*size), x=x), rtol=1e-6, atol=1e-6)


def test_shapes_of_the_same_rank_take_the_sizes_of_the_input():
    flexible = shapes.set_range(windfall.load(shuffled(6, 8)), "x", axes={2: (1, 20), 3: (1, None)})
    assert kinds(flexible) == ["rankPreservingReshape", "transpose", "rankPreservingReshape"]
    assert flexible.message.specificationVersion == 4
    for size in ((6, 8), (7, 3), (1, 1), (20, 31)):
        x = random_array(1, 4, *size)
        expected = x.reshape(2, 2, *size).transpose(1, 0, 2, 3).reshape(x.shape)
        np.testing.assert_array_equal(flexible.predict({"x": x})["y"], expected)


def test_one_axis_after_the_other():
    model = shapes.set_range(windfall.load(attention(6, 8)), "x", axes={2: (1, 20)})
    flexible = shapes.set_range(model, "x", axes={3: (1, None)})
    x = random_array(1, 4, 5, 9)
    np.testing.assert_allclose(flexible.predict({"x": x})["y"], predict(attention(5, 9), x=x), rtol=1e-5)


def test_what_a_pooling_of_the_default_size_becomes_is_the_same_there():
    pooling = {"type": "AVERAGE", "kernelSize": [4, 4], "stride": [1, 1], "valid": {}}
    model = windfall.load(mobile(32, pooling=pooling))
    flexible = shapes.set_range(model, "image", width=(32, None), height=(16, 64))
    picture = random_image(32, 32)
    np.testing.assert_array_equal(
        flexible.predict({"image": picture})["scores"], model.predict({"image": picture})["scores"]
    )
    larger = random_image(64, 48)
    expected = predict(global_pooling(64, 48), image=larger)
    np.testing.assert_allclose(flexible.predict({"image": larger})["scores"], expected, rtol=1e-5, atol=1e-6)


def global_pooling(width: int, height: int) -> Any:
    """The same network for another size; a global pooling fits any."""
    spec = mobile(32)
    kind = spec.description.input[0].type.imageType
    kind.width, kind.height = width, height
    return spec


def test_what_stands_in_no_way_stays():
    layers = [{"resizeBilinear": {"targetSize": [16, 16], "mode": {"samplingMethod": "ALIGN_ENDPOINTS_MODE"}}}]
    model = windfall.load(network(layers, [array("x", [2, 8, 8])], [array("y", [2, 16, 16])]))
    flexible = shapes.set_range(model, "x", axes={1: (4, 20), 2: (4, 20)})
    assert kinds(flexible) == ["resizeBilinear"]
    assert flexible.predict({"x": random_array(2, 5, 9)})["y"].shape == (2, 16, 16)


@pytest.mark.parametrize(
    ("layers", "error"),
    [
        (
            [{"bias": {"shape": [1, 8, 8], "bias": weights(1, 8, 8)}, "name": "grain"}],
            r"layer 'grain' \(bias\): shape is \[1, 8, 8\], must be 1 or the input's size along each axis of ",
        ),
        (
            [{"reshape": {"targetShape": [4, 4, 8], "mode": "CHANNEL_FIRST"}, "name": "split"}],
            r"layer 'split' \(reshape\): targetShape is \[4, 4, 8\], must have as many values as the input's \[2",
        ),
        (
            [
                {
                    "loadConstant": {"shape": [2, 8, 8], "data": weights(2, 8, 8)},
                    "input": [],
                    "output": ["c"],
                    "name": "c",
                },
                {"add": {}, "input": ["x", "c"], "name": "sum"},
            ],
            r"layer 'sum' \(add\): .*; layer 'c' \(loadConstant\) before it has a size of its own; windfall\.shapes",
        ),
    ],
)
def test_what_cannot_be_rewritten_is_named(layers, error):
    model = windfall.load(network(layers, [array("x", [2, 8, 8])], [array("y")]))
    with pytest.raises(UnsupportedError, match=error):
        shapes.set_range(model, "x", axes={1: (4, 16)})
    assert shapes.check(model, run=False).axis("x", "axis 1").sizes == "8 only"


X = Name("x")


def program_reshaped(height: int, width: int) -> Any:
    """Channels in another order, as PyTorch's channel shuffle is converted, and a mean of the rest."""
    return program(
        {"x": random_array(1, 4, height, width)},
        [
            ("reshape", "a", (1, 2, 2, height, width), {"x": X, "shape": [1, 2, 2, height, width]}),
            ("transpose", "b", (1, 2, 2, height, width), {"x": Name("a"), "perm": [0, 2, 1, 3, 4]}),
            ("reshape", "c", (1, 4, height, width), {"x": Name("b"), "shape": [1, 4, height, width]}),
            ("reshape", "d", (1, 4, height * width), {"x": Name("c"), "shape": [1, 4, height * width]}),
            ("reduce_mean", "y", (1, 4), {"x": Name("d"), "axes": [2], "keep_dims": False}),
        ],
    )


def program_skipped(operator: str, **more: Any) -> Callable[[int, int], Any]:
    def make(height: int, width: int) -> Any:
        half = (1, 4, height // 2, width // 2)
        pool = {"kernel_sizes": [2, 2], "strides": [2, 2], "pad_type": "valid", "ceil_mode": False}
        target = {"target_size_height": np.int32(height), "target_size_width": np.int32(width), **more}
        return program(
            {"x": random_array(1, 4, height, width)},
            [
                ("max_pool", "a", half, {"x": X, **pool}),
                (operator, "b", (1, 4, height, width), {"x": Name("a"), **target}),
                ("add", "y", (1, 4, height, width), {"x": X, "y": Name("b")}),
            ],
        )

    return make


def program_pooled(operator: str) -> Callable[[int, int], Any]:
    def make(height: int, width: int) -> Any:
        pool = {"kernel_sizes": [height, width], "strides": [1, 1], "pad_type": "valid", "ceil_mode": False}
        more = {"exclude_padding_from_average": False} if operator == "avg_pool" else {}
        return program(
            {"x": random_array(1, 4, height, width)},
            [
                (operator, "a", (1, 4, 1, 1), {"x": X, **pool, **more}),
                ("reshape", "b", (1, 4), {"x": Name("a"), "shape": [1, 4]}),
                ("linear", "y", (1, 3), {"x": Name("b"), "weight": weights(3, 4), "bias": weights(3)}),
            ],
        )

    return make


def program_cut(height: int, width: int) -> Any:
    return program(
        {"x": random_array(1, 4, height, width)},
        [
            ("slice_by_index", "a", (1, 4, height, width), {"x": X, "begin": [0] * 4, "end": [1, 4, height, width]}),
            ("mul", "y", (1, 4, height, width), {"x": X, "y": Name("a")}),
        ],
    )


@pytest.mark.parametrize(
    ("make", "now"),
    [
        (program_reshaped, None),
        (program_skipped("resize_nearest_neighbor"), ["max_pool", "upsample_nearest_neighbor", "add"]),
        *(
            (program_skipped("resize_bilinear", sampling_mode=mode), ["max_pool", "upsample_bilinear", "add"])
            for mode in ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS", "DEFAULT", "UNALIGN_CORNERS")
        ),
        (program_pooled("avg_pool"), ["reduce_mean", "reshape", "linear"]),
        (program_pooled("max_pool"), ["reduce_max", "reshape", "linear"]),
        (program_cut, ["slice_by_index", "mul"]),
    ],
)
def test_a_program_gives_what_one_made_for_the_size_gives(make, now):
    listed = [(6, 8), (12, 10), (2, 4), (16, 6)]
    flexible = shapes.enumerate(windfall.load(make(6, 8)), "x", [(1, 4, *size) for size in listed])
    if now is not None:
        assert kinds(flexible) == now
    for size in listed:
        x = random_array(1, 4, *size)
        np.testing.assert_allclose(flexible.predict({"x": x})["y"], predict(make(*size), x=x), rtol=1e-5, atol=1e-6)


def test_a_batch_does_not_take_what_belongs_to_an_image():
    """A target of [1, 4 * H * W] becomes [batch, 4 * H * W], which other images still do not fit."""
    head = {"weight": weights(3, 4 * 6 * 8), "bias": weights(3)}
    spec = program(
        {"x": random_array(1, 4, 6, 8)},
        [
            ("reshape", "a", (1, 192), {"x": X, "shape": [1, 192]}),
            ("linear", "y", (1, 3), {"x": Name("a"), **head}),
        ],
    )
    flexible = shapes.set_range(windfall.load(spec), "x", axes={0: (1, 5)})
    x = random_array(5, 4, 6, 8)
    expected = x.reshape(5, 192) @ head["weight"].T + head["bias"]
    np.testing.assert_allclose(flexible.predict({"x": x})["y"], expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(UnsupportedError, match=r"\[5, 4, 12, 8\]: layer 'y' \(linear\): "):
        shapes.set_range(flexible, "x", axes={2: (6, 12)})


def test_the_size_of_a_picture_is_not_taken_for_that_of_a_window():
    layers = [
        convolution(3, 2),
        {"reshape": {"targetShape": [2 * 16, 4, 4], "mode": "CHANNEL_FIRST"}, "name": "windows"},
    ]
    model = windfall.load(network(layers, [image("image", 16, 16)], [array("y")]))
    with pytest.raises(UnsupportedError, match=r"layer 'windows' \(reshape\): "):
        shapes.set_range(model, "image", width=(16, 32))


def turned(height: int, width: int) -> Any:
    """[1, C, H, W] to [1, W, C, H] to [1, W * C, H], as a trace writes it: with -1 for the first of these."""
    return program(
        {"x": random_array(1, 4, height, width)},
        [
            ("transpose", "a", (1, width, 4, height), {"x": X, "perm": [0, 3, 1, 2]}),
            ("reshape", "b", (1, width * 4, height), {"x": Name("a"), "shape": [1, -1, height]}),
            ("relu", "y", (1, width * 4, height), {"x": Name("b")}),
        ],
    )


@pytest.mark.parametrize("order", [[2, 3], [3, 2]])
def test_a_target_that_would_take_other_sizes_for_the_wrong_ones_follows(order: list[int]) -> None:
    """[1, -1, 6] takes any number of values that 6 divides, whatever the height is."""
    model = windfall.load(turned(6, 8))
    for axis in order:
        model = shapes.set_range(model, "x", axes={axis: (1, 40)})
    for size in ((6, 8), (3, 8), (12, 8), (5, 9), (40, 1)):
        x = random_array(1, 4, *size)
        np.testing.assert_array_equal(model.predict({"x": x})["y"], predict(turned(*size), x=x))


def test_a_target_that_cannot_follow_is_named_though_no_layer_refuses() -> None:
    layers = [
        {"transpose": {"axes": [0, 3, 1, 2]}, "name": "turn"},
        {"reshapeStatic": {"targetShape": [1, -1, 6]}, "name": "rows"},
    ]
    model = windfall.load(network(layers, [array("x", [1, 4, 6, 8])], [array("y")], exact=True))
    wider = shapes.set_range(model, "x", axes={3: (1, None)})
    assert wider.predict({"x": random_array(1, 4, 6, 5)})["y"].shape == (1, 20, 6)
    with pytest.raises(UnsupportedError) as error:
        shapes.enumerate(model, "x", [(1, 4, 6, 8), (1, 4, 3, 10)])
    assert str(error.value) == (
        "the model cannot take 'x' of [1, 4, 3, 10]: layer 'rows' (reshapeStatic): its target [1, -1, 6] holds a size "
        "of the input, and there is no exact way to let it follow; windfall.shapes.check tells which sizes go"
    )


def test_another_default_is_followed() -> None:
    moved = shapes.enumerate(windfall.load(attention(6, 8)), "x", [(1, 4, 5, 3)], default=(1, 4, 5, 3))
    x = random_array(1, 4, 5, 3)
    np.testing.assert_allclose(moved.predict({"x": x})["y"], predict(attention(5, 3), x=x), rtol=1e-5)
