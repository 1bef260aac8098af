"""Convolution and pooling over three spatial axes, against PyTorch and the specification's examples."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import windfall
from tests.lowering.neural_network.strategies import few, random, seeds
from tests.lowering.neural_network.symbolic import run_symbolic
from tests.support import run_layer

AXES = ("Depth", "Height", "Width")
EDGES = ("Front", "Back", "Top", "Bottom", "Left", "Right")

small = st.tuples(*[st.integers(1, 3)] * 3)
edges = st.tuples(*[st.integers(0, 2)] * 6)
kinds = st.sampled_from(["CUSTOM", "VALID", "SAME"])


def along(field: str, values: Any) -> dict[str, int]:
    return {field + axis: int(value) for axis, value in zip(AXES, values, strict=True)}


def custom(values: Any) -> dict[str, int]:
    return {f"customPadding{edge}": int(value) for edge, value in zip(EDGES, values, strict=True)}


def amounts(kind: str, given_edges: Any, dims: Any, extent: Any, strides: Any) -> list[tuple[int, int]]:
    """Return the padding before and after each axis that a padding type stands for."""
    if kind == "CUSTOM":
        return list(zip(given_edges[::2], given_edges[1::2], strict=True))
    if kind == "VALID":
        return [(0, 0)] * 3
    totals = [
        max(0, (-(-size // stride) - 1) * stride + span - size)
        for size, span, stride in zip(dims, extent, strides, strict=True)
    ]
    return [(total // 2, total - total // 2) for total in totals]


def padded(x: NDArray[Any], pads: list[tuple[int, int]], fill: float = 0) -> torch.Tensor:
    return torch.tensor(np.pad(x, [(0, 0), (0, 0), *pads], constant_values=fill))


@few
@given(kind=kinds, given_edges=edges, kernel=small, strides=small, dilations=small, seed=seeds)
@pytest.mark.parametrize("groups", [1, 2])
def test_convolution_is_pytorchs(
    kind: str, given_edges: Any, kernel: Any, strides: Any, dilations: Any, seed: int, groups: int
) -> None:
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    dims = [
        span + int(extra) for span, extra in zip(extent, np.random.default_rng(seed).integers(0, 4, 3), strict=True)
    ]
    x, weights, bias = random(seed, (2, 4, *dims)), random(seed + 1, (6, 4 // groups, *kernel)), random(seed + 2, [6])
    y = run_layer(
        "convolution3d",
        x,
        inputChannels=4,
        outputChannels=6,
        nGroups=groups,
        weights=weights,
        hasBias=groups == 2,
        bias=bias,
        paddingType=kind,
        **along("kernel", kernel),
        **along("stride", strides),
        **along("dilation", dilations),
        **custom(given_edges),
    )
    expected = torch.nn.functional.conv3d(
        padded(x, amounts(kind, given_edges, dims, extent, strides)),
        torch.tensor(weights),
        torch.tensor(bias) if groups == 2 else None,
        stride=strides,
        dilation=dilations,
        groups=groups,
    )
    np.testing.assert_allclose(y, expected, rtol=1e-3, atol=1e-3)


def test_convolution_of_the_example() -> None:
    y = run_layer(
        "convolution3d",
        np.ones((1, 3, 3, 8, 8)),
        inputChannels=3,
        outputChannels=2,
        nGroups=1,
        weights=np.ones((2, 3, 3, 3, 3)),
        paddingType="SAME",
        **along("kernel", [3] * 3),
        **along("stride", [2] * 3),
        **along("dilation", [1] * 3),
    )
    assert y.shape == (1, 2, 2, 4, 4)
    # The depth is padded at both ends, height and width at the end.
    assert y[0, 0, :, 0, 0].tolist() == [54, 54]
    assert y[0, 0, 0, :, 0].tolist() == [54, 54, 54, 36]


def deconvolved(x: NDArray[Any], groups: int, strides: Any, **fields: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the layer's output, and PyTorch's before anything is cut off."""
    kernel = (3, 2, 3)
    weights = random(1, (4, 6 // groups, *kernel))
    y = run_layer(
        "convolution3d",
        x,
        inputChannels=4,
        outputChannels=6,
        nGroups=groups,
        weights=weights,
        isDeconvolution=True,
        **along("kernel", kernel),
        **along("stride", strides),
        **along("dilation", [1] * 3),
        **fields,
    )
    full = torch.nn.functional.conv_transpose3d(torch.tensor(x), torch.tensor(weights), stride=strides, groups=groups)
    return y, full.numpy()


@few
@given(given_edges=st.tuples(*[st.integers(0, 1)] * 6), strides=small, groups=st.integers(1, 2), seed=seeds)
def test_deconvolution_is_pytorchs_less_the_padding(given_edges: Any, strides: Any, groups: int, seed: int) -> None:
    x = random(seed, (1, 4, 3, 4, 2))
    y, full = deconvolved(x, groups, strides, paddingType="CUSTOM", **custom(given_edges))
    part = tuple(slice(a, -b or None) for a, b in zip(given_edges[::2], given_edges[1::2], strict=True))
    np.testing.assert_allclose(y, full[(..., *part)], rtol=1e-3, atol=1e-3)
    y, _ = deconvolved(x, groups, strides, paddingType="VALID", **custom(given_edges))
    np.testing.assert_allclose(y, full, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("fields", [{"paddingType": "SAME"}, {"paddingType": "VALID", "outputShape": [6, 4, 6]}])
def test_deconvolution_to_a_multiple_of_the_size(fields: dict[str, Any]) -> None:
    # 7 x 4 x 7 entries: what is odd is cut at the end.
    y, full = deconvolved(random(0, (1, 4, 3, 2, 3)), 1, (2, 2, 2), **fields)
    np.testing.assert_allclose(y, full[:, :, :6, :, :6], rtol=1e-3, atol=1e-3)


def test_padding_that_leads_to_the_output_shape_stays() -> None:
    fields = {"paddingType": "CUSTOM", "outputShape": [6, 4, 7]} | custom([1, 0, 0, 0, 0, 0])
    y, full = deconvolved(random(0, (1, 4, 3, 2, 3)), 1, (2, 2, 2), **fields)
    np.testing.assert_allclose(y, full[:, :, 1:], rtol=1e-3, atol=1e-3)


def test_an_output_shape_may_add_entries() -> None:
    y, full = deconvolved(random(0, (1, 4, 3, 2, 3)), 1, (2, 2, 2), paddingType="VALID", outputShape=[8, 4, 7])
    np.testing.assert_allclose(y[:, :, :7], full, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(y[:, :, 7], np.zeros((1, 6, 4, 7)))


@few
@given(
    kind=kinds, mode=st.sampled_from(["MAX", "AVERAGE"]), kernel=st.tuples(*[st.integers(2, 3)] * 3), strides=small,
    given_edges=st.tuples(*[st.integers(0, 1)] * 6), exclude=st.booleans(), seed=seeds,
)  # fmt: skip
def test_pooling_is_pytorchs(
    kind: str, mode: str, kernel: Any, strides: Any, given_edges: Any, exclude: bool, seed: int
) -> None:
    dims = [
        size + int(extra) for size, extra in zip(kernel, np.random.default_rng(seed).integers(0, 4, 3), strict=True)
    ]
    x = random(seed, (2, 3, *dims))
    y = run_layer(
        "pooling3d",
        x,
        type=mode,
        paddingType=kind,
        countExcludePadding=exclude,
        **along("kernel", kernel),
        **along("stride", strides),
        **custom(given_edges),
    )
    pads = amounts(kind, given_edges, dims, kernel, strides)
    if mode == "MAX":
        expected = torch.nn.functional.max_pool3d(padded(x, pads, -np.inf), kernel, strides)
    else:
        expected = torch.nn.functional.avg_pool3d(padded(x, pads), kernel, strides)
        if exclude:
            expected = expected / torch.nn.functional.avg_pool3d(padded(np.ones_like(x), pads), kernel, strides)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


EXAMPLE = np.array([np.arange(1, 10), np.arange(10, 19)]).reshape(1, 1, 2, 3, 3)


def test_pooling_of_the_examples() -> None:
    window = along("kernel", [2] * 3) | along("stride", [1] * 3)
    y = run_layer("pooling3d", EXAMPLE, type="MAX", paddingType="VALID", **window)
    np.testing.assert_array_equal(y, [[[[[14, 15], [17, 18]]]]])
    assert run_layer("globalPooling3d", EXAMPLE, type="MAX").tolist() == [[[[[18]]]]]
    assert run_layer("globalPooling3d", EXAMPLE, type="AVERAGE").tolist() == [[[[[9.5]]]]]


def test_zeros_of_the_padding_are_no_maximum() -> None:
    window = along("kernel", [1, 1, 2]) | along("stride", [1] * 3)
    y = run_layer("pooling3d", -EXAMPLE, type="MAX", **window, customPaddingRight=1)
    np.testing.assert_array_equal(y[0, 0, 0, 0], [-1, -2, -3])


@pytest.mark.parametrize("kind", ["SAME", "CUSTOM"])
def test_sizes_may_be_known_at_run_time(kind: str) -> None:
    x = random(0, (2, 3, 4, 5, 6))
    window = along("kernel", [3] * 3) | along("stride", [1] * 3)
    y = run_symbolic("pooling3d", x, type="AVERAGE", paddingType=kind, **window, **custom([1] * 6))
    expected = torch.nn.functional.avg_pool3d(torch.tensor(x), 3, 1, padding=1)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


POOL = along("kernel", [2] * 3) | along("stride", [1] * 3)
CONV: dict[str, Any] = POOL | along("dilation", [1] * 3) | {"inputChannels": 4, "outputChannels": 6, "nGroups": 2}


@pytest.mark.parametrize(
    ("layer_type", "dims", "fields", "message"),
    [
        ("globalPooling3d", (2, 3, 4, 5), {}, r"input has rank 4, must have rank 5, \[N, C, D, H, W\]"),
        ("globalPooling3d", (1, 1, 2, 2, 2), {"type": 2}, "type is 2, must be MAX or AVERAGE"),
        ("pooling3d", (1, 1, 2, 2, 2), POOL | {"kernelWidth": 0}, "kernelWidth is 0, must be at least 1"),
        ("pooling3d", (1, 1, 2, 2, 2), POOL | {"paddingType": 3}, "paddingType is 3, must be CUSTOM, VALID or SAME"),
        (
            "pooling3d",
            (1, 1, 2, 1, 2),
            POOL,
            "kernelHeight is 2, spans 2 along this axis, must be at most the input's 1",
        ),
        ("pooling3d", (1, 1, 2, 2, 2), POOL | {"customPaddingTop": -1}, "customPaddingTop is -1, must be at least 0"),
        (
            "pooling3d",
            (1, 1, 2, 2, 2),
            POOL | {"type": "AVERAGE", "countExcludePadding": True, "customPaddingLeft": 2},
            r"kernelWidth is 2, must be larger than the padding \[2, 0\]: it has no maximum or m",
        ),
        ("convolution3d", (1, 4, 2, 2, 2), CONV | {"nGroups": 0}, "nGroups is 0, must be at least 1"),
        (
            "convolution3d",
            (1, 4, 2, 2, 2),
            CONV | {"outputChannels": 5},
            "outputChannels is 5, must be a multiple of nG",
        ),
        ("convolution3d", (1, 6, 2, 2, 2), CONV, "inputChannels is 4, must be the input's number of channels, 6"),
        (
            "convolution3d",
            (1, 4, 2, 2, 2),
            CONV | {"weights": np.ones(6 * 2 * 8), "isDeconvolution": True, "outputShape": [3, 4, 3]},
            r"outputShape is \[3, 4, 3\], must be 1 to 3 along height",
        ),
        (
            "convolution3d",
            (1, 4, 2, 2, 2),
            CONV | {"weights": np.ones(6 * 2 * 8), "isDeconvolution": True, "outputShape": [3, 3]},
            r"outputShape is \[3, 3\], must be \[D, H, W\]",
        ),
        (
            "convolution3d",
            (1, 4, 2, 2, 2),
            CONV | {"weights": np.ones(6 * 2 * 8), "isDeconvolution": True, "customPaddingTop": 3},
            r"customPadding of Height is \[3, 0\], must leave something of the output",
        ),
    ],
)
def test_what_does_not_fit_is_refused(
    layer_type: str, dims: tuple[int, ...], fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(windfall.LoweringError, match=message):
        run_layer(layer_type, np.zeros(dims), **fields)


@few
@given(
    mode=st.sampled_from(["MAX", "AVERAGE"]), exclude=st.booleans(), kernel=st.tuples(*[st.integers(1, 3)] * 3),
    strides=st.tuples(*[st.integers(1, 4)] * 3),
)  # fmt: skip
def test_same_padding_of_sizes_known_at_run_time(mode: str, exclude: bool, kernel: Any, strides: Any) -> None:
    fields = {"type": mode, "paddingType": "SAME", "countExcludePadding": exclude}
    fields |= along("kernel", kernel) | along("stride", strides)
    x = random(1, (1, 2, 4, 5, 6))
    expected = run_layer("pooling3d", x, **fields)
    np.testing.assert_allclose(run_symbolic("pooling3d", x, **fields), expected, rtol=1e-5, atol=1e-6)
