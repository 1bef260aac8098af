"""A transposed convolution on the small grid gives what upsampling and a convolution give."""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.passes.graphs import check_rewritten, graph_of, normal, operators, run

from windfall.graph.builder import GraphBuilder
from windfall.passes.upsample_in_convolution import UpsampleInConvolution

FLOOR = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
TAKEN = {"reflect": ["Pad", "ConvTranspose"], "edge": ["Pad", "ConvTranspose"], None: ["ConvTranspose"]}


def upsampled(g: GraphBuilder, x, *, mode=None, scales=(1, 1, 2, 2), pads=(1, 1, 1, 1), bias=True, **changes):
    """x -> Resize -> [Pad] -> Conv."""
    resize = {**FLOOR, "mode": "nearest", **changes.pop("resize", {})}
    x = g.op("Resize", x, None, g.constant(np.array(scales, np.float32)), **resize)
    if mode:
        fill = [0, 0, *pads[:2], 0, 0, *pads[2:]]
        x, pads = g.op("Pad", x, g.constant(np.array(fill)), mode=mode), (0, 0, 0, 0)
    weight = normal(4, changes.pop("inputs", 3), *changes.pop("kernel", (3, 3)), seed=2)
    return g.op("Conv", x, g.constant(weight), g.constant(normal(4)) if bias else None, pads=list(pads), **changes)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([*TAKEN]), st.integers(1, 5), st.integers(1, 5), st.integers(1, 2), st.booleans())
def test_numbers_are_those_of_torch(mode, height: int, width: int, batch: int, bias: bool) -> None:
    model = graph_of(lambda g, x: upsampled(g, x, mode=mode, bias=bias), [batch, 3, height, width])
    assert UpsampleInConvolution()(model).modified
    assert operators(model) == TAKEN[mode]
    x = normal(batch, 3, height, width)
    large = torch.nn.functional.interpolate(torch.from_numpy(x), scale_factor=2, mode="nearest")
    names = {"reflect": "reflect", "edge": "replicate", None: "constant"}
    large = torch.nn.functional.pad(large, (1, 1, 1, 1), names[mode])
    weight = torch.from_numpy(normal(4, 3, 3, 3, seed=2))
    expected = torch.nn.functional.conv2d(large, weight, torch.from_numpy(normal(4)) if bias else None)
    np.testing.assert_allclose(run(model, x), expected.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("grid", ["round_prefer_floor", "round_prefer_ceil"])
def test_half_pixels_fall_on_the_same_pixel(grid: str) -> None:
    resize = {"coordinate_transformation_mode": "half_pixel", "nearest_mode": grid}
    check_rewritten(
        UpsampleInConvolution(), lambda g, x: upsampled(g, x, resize=resize), normal(1, 3, 4, 5), TAKEN[None]
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"scales": (1, 1, 2, 3)},
        {"scales": (1, 1, 4, 4)},
        {"resize": {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}},
        {"resize": {"nearest_mode": "ceil"}},
        {"pads": (1, 1, 0, 0)},
        {"pads": (2, 2, 2, 2), "mode": "reflect"},
        {"kernel": (5, 5), "pads": (2, 2, 2, 2)},
        {"strides": [2, 2]},
        {"dilations": [2, 2]},
        {"group": 2, "inputs": 1},
        {"mode": "constant"},
    ],
)
def test_what_differs_stays(changes) -> None:
    x = normal(1, 3 if "group" not in changes else 2, 4, 5)
    pad = ["Pad"] if "mode" in changes else []
    build = partial(upsampled, **changes)
    check_rewritten(UpsampleInConvolution(), build, x, ["Resize", *pad, "Conv"])


def test_other_users_keep_the_large_picture() -> None:
    def build(g, x):
        large = g.op("Resize", x, None, g.constant(np.float32([1, 1, 2, 2])), mode="nearest", **FLOOR)
        y = g.op("Conv", large, g.constant(normal(3, 3, 3, 3)), pads=[1, 1, 1, 1])
        return g.op("Add", y, large)

    check_rewritten(UpsampleInConvolution(), build, normal(1, 3, 4, 5), ["Resize", "Conv", "Add"])


def test_sizes_may_be_unknown() -> None:
    model = graph_of(lambda g, x: upsampled(g, x, mode="reflect"), [1, 3, "H", "W"])
    x = normal(1, 3, 4, 5)
    expected = run(model, x)
    assert UpsampleInConvolution()(model).modified
    np.testing.assert_allclose(run(model, x), expected, rtol=1e-5, atol=1e-5)
