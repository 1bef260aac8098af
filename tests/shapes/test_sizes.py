"""Random fully convolutional models: the flexible model gives at each size what one made for that size gives."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import windfall
from tests.programs import Name
from tests.shapes.models import (
    array,
    convolution,
    image,
    network,
    predict,
    program,
    random_array,
    random_image,
    weights,
)
from windfall import shapes
from windfall.features import arrays

few = settings(max_examples=6, deadline=None)
kernels = st.sampled_from([(1, 1), (3, 3), (2, 4), (5, 3)])
paddings = st.sampled_from(["same", "valid"])
lengths = st.integers(17, 40)
sizes = st.lists(st.tuples(lengths, lengths), min_size=1, max_size=3)


@st.composite
def layers(draw: st.DrawFn) -> list[dict[str, Any]]:
    """A few layers, from 3 channels to 4 and on, none of which minds the size of a picture of 17 pixels."""
    makers = st.sampled_from([_convolution, _deconvolution, _upsampling, _pooling, _padding])
    first = convolution(3, 4, draw(kernels), draw(st.integers(1, 2)), draw(paddings))
    return [first, *(make(draw) for make in draw(st.lists(makers, min_size=1, max_size=3)))]


def _convolution(draw: st.DrawFn) -> dict[str, Any]:
    dilation = draw(st.integers(1, 2))
    return convolution(
        4, 4, draw(st.sampled_from([(1, 1), (2, 2)])), draw(st.integers(1, 2)), dilationFactor=[dilation] * 2
    )


def _deconvolution(draw: st.DrawFn) -> dict[str, Any]:
    return convolution(4, 4, draw(kernels), 2, draw(paddings), isDeconvolution=True)


def _upsampling(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "upsample": {"scalingFactor": [2, draw(st.integers(1, 3))], "mode": draw(st.sampled_from(["NN", "BILINEAR"]))}
    }


def _pooling(draw: st.DrawFn) -> dict[str, Any]:
    padding = draw(st.sampled_from([{"valid": {}}, {"same": {}}, {"includeLastPixel": {"paddingAmounts": [0, 0]}}]))
    return {"pooling": {"type": "MAX", "kernelSize": [2, 2], "stride": [2, 2], **padding}}


def _padding(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(["constant", "reflection", "replication"]))
    amounts = [{"startEdgeSize": 1, "endEdgeSize": 0}, {"startEdgeSize": 0, "endEdgeSize": 1}]
    return {"padding": {kind: {}, "paddingAmounts": {"borderAmounts": amounts}}}


def made_for(stack: list[dict[str, Any]], width: int, height: int) -> Any:
    return network(stack, [image("image", width, height)], [array("y", [1, 1, 1])])


@few
@given(layers(), sizes)
def test_networks(stack: list[dict[str, Any]], wanted: list[tuple[int, int]]) -> None:
    flexible = shapes.set_range(windfall.load(made_for(stack, 32, 24)), "image", width=(17, 40), height=(17, None))
    output = flexible.message.description.output[0].type.multiArrayType
    for width, height in [*wanted, (32, 24)]:
        picture = random_image(width, height)
        found = flexible.predict({"image": picture})["y"]
        np.testing.assert_array_equal(found, predict(made_for(stack, width, height), image=picture))
        assert arrays.fits(found.shape, output), arrays.describe_allowed(output)


@few
@given(layers(), sizes)
def test_networks_with_a_list(stack: list[dict[str, Any]], wanted: list[tuple[int, int]]) -> None:
    listed = [(32, 24), *wanted]
    flexible = shapes.enumerate(windfall.load(made_for(stack, 32, 24)), "image", listed)
    output = flexible.message.description.output[0].type.multiArrayType
    for width, height in [*wanted, (32, 24), *wanted]:
        picture = random_image(width, height)
        found = flexible.predict({"image": picture})["y"]
        np.testing.assert_array_equal(found, predict(made_for(stack, width, height), image=picture))
        assert arrays.fits(found.shape, output), arrays.describe_allowed(output)


def program_for(height: int, width: int, kernel: int, stride: int, *, same: bool) -> Any:
    """A convolution, an upsampling and a transposed convolution; the sizes by the definitions' formulas."""

    def strided(size: int) -> int:
        return -(-size // stride) if same else (size - kernel) // stride + 1

    middle = strided(height), strided(width)
    twice = 2 * middle[0], 2 * middle[1]
    last = tuple(2 * (size - 1) + 3 for size in twice)
    window = {
        "pad_type": "same" if same else "valid",
        "strides": [stride] * 2,
        "dilations": [1, 1],
        "groups": np.int32(1),
    }
    turned = {"pad_type": "valid", "strides": [2, 2], "dilations": [1, 1], "groups": np.int32(1)}
    factor = {"scale_factor_height": np.float32(2), "scale_factor_width": np.float32(2)}
    return program(
        {"x": random_array(1, 3, height, width)},
        [
            ("conv", "a", (1, 4, *middle), {"x": Name("x"), "weight": weights(4, 3, kernel, kernel), **window}),
            ("upsample_nearest_neighbor", "b", (1, 4, *twice), {"x": Name("a"), **factor}),
            ("conv_transpose", "y", (1, 2, *last), {"x": Name("b"), "weight": weights(4, 2, 3, 3), **turned}),
        ],
    )


@settings(max_examples=6, deadline=None)
@given(st.integers(1, 5), st.integers(1, 3), st.booleans(), sizes)
def test_programs(kernel: int, stride: int, same: bool, wanted: list[tuple[int, int]]) -> None:
    model = windfall.load(program_for(24, 32, kernel, stride, same=same))
    flexible = shapes.set_range(model, "x", axes={2: (17, 40), 3: (17, None)})
    output = flexible.message.description.output[0].type.multiArrayType
    for height, width in [*wanted, (24, 32)]:
        x = random_array(1, 3, height, width)
        found = flexible.predict({"x": x})["y"]
        expected = predict(program_for(height, width, kernel, stride, same=same), x=x)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
        assert arrays.fits(found.shape, output), arrays.describe_allowed(output)
