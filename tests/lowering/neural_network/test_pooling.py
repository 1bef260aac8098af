"""Pooling, against PyTorch and against windows taken one by one."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812  # PyTorch's own name for it
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import windfall
from tests.lowering.neural_network.symbolic import run_symbolic
from tests.support import run_layer

KERNELS = st.tuples(st.integers(1, 4), st.integers(1, 4))
STRIDES = st.tuples(st.integers(1, 3), st.integers(1, 3))
SIZES = st.tuples(st.integers(4, 9), st.integers(4, 9))
TYPES = st.sampled_from(["MAX", "AVERAGE", "L2"])


def normal(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(shape).normal(size=shape).astype(np.float32)


def border(*edges: tuple[int, int]) -> dict[str, Any]:
    return {"borderAmounts": [{"startEdgeSize": start, "endEdgeSize": end} for start, end in edges]}


def pool(
    x: NDArray[np.float32], kind: str, kernel: Any, stride: Any, edges: Any, out: Any, exclude: bool
) -> NDArray[np.float64]:
    """Take the windows one by one; NaN is a pixel that no mean counts, as are all beyond ``edges``."""
    (top, bottom), (left, right) = edges
    inner = np.pad(x.astype(np.float64), ((0, 0), (0, 0), *edges), constant_values=np.nan if exclude else 0)
    outer = np.pad(inner, ((0, 0), (0, 0), (0, 9), (0, 9)), constant_values=np.nan)
    pixels = np.pad(
        x.astype(np.float64), ((0, 0), (0, 0), (top, bottom + 9), (left, right + 9)), constant_values=np.nan
    )
    functions: dict[str, Callable[..., Any]] = {
        "MAX": lambda part, _: np.nanmax(part, axis=(2, 3)),
        "AVERAGE": lambda _, part: np.nanmean(part, axis=(2, 3)),
        "L2": lambda part, _: np.sqrt(np.nansum(part**2, axis=(2, 3))),
    }
    result = np.zeros((*x.shape[:2], *out))
    for i, j in np.ndindex(*out):
        place = np.s_[:, :, i * stride[0] : i * stride[0] + kernel[0], j * stride[1] : j * stride[1] + kernel[1]]
        result[:, :, i, j] = functions[kind](pixels[place], outer[place])
    return result


@settings(deadline=None, max_examples=35)
@given(TYPES, KERNELS, STRIDES, SIZES, st.data(), st.booleans())
def test_valid_pooling(kind, kernel, stride, size, data, exclude):
    edges = [tuple(data.draw(st.integers(0, k - 1)) for _ in range(2)) for k in kernel]
    x = normal(2, 3, *size)
    out = [(n + sum(e) - k) // s + 1 for n, k, s, e in zip(size, kernel, stride, edges, strict=True)]
    y = run_layer(
        "pooling",
        x,
        type=kind,
        kernelSize=kernel,
        stride=stride,
        valid={"paddingAmounts": border(*edges)},
        avgPoolExcludePadding=exclude,
    )
    np.testing.assert_allclose(y, pool(x, kind, kernel, stride, edges, out, exclude), rtol=1e-5, atol=1e-6)


@settings(deadline=None, max_examples=25)
@given(TYPES, KERNELS, STRIDES, SIZES, st.sampled_from(["BOTTOM_RIGHT_HEAVY", "TOP_LEFT_HEAVY"]), st.booleans())
def test_same_pooling(kind, kernel, stride, size, mode, exclude):
    x = normal(1, 2, *size)
    out = [-(-n // s) for n, s in zip(size, stride, strict=True)]
    totals = [max(0, (o - 1) * s + k - n) for o, s, k, n in zip(out, stride, kernel, size, strict=True)]
    order = 1 if mode == "BOTTOM_RIGHT_HEAVY" else -1
    edges = [(total // 2, total - total // 2)[::order] for total in totals]
    y = run_layer(
        "pooling",
        x,
        type=kind,
        kernelSize=kernel,
        stride=stride,
        same={"asymmetryMode": mode},
        avgPoolExcludePadding=exclude,
    )
    np.testing.assert_allclose(y, pool(x, kind, kernel, stride, edges, out, exclude), rtol=1e-5, atol=1e-6)


def last_pixel_size(size: Any, kernel: Any, stride: Any, padding: Any) -> list[int]:
    """The proto's formula, word for word."""
    sizes = []
    for n, k, s, p in zip(size, kernel, stride, padding, strict=True):
        out = int(np.ceil((n + 2 * p - k) / s)) + 1
        if (padding[0] > 0 or padding[1] > 0) and (out - 1) * s >= n + p:
            out -= 1
        sizes.append(out)
    return sizes


@settings(deadline=None, max_examples=35)
@given(TYPES, KERNELS, STRIDES, SIZES, st.data(), st.booleans())
def test_include_last_pixel(kind, kernel, stride, size, data, exclude):
    padding = [data.draw(st.integers(0, k - 1)) for k in kernel]
    x = normal(1, 2, *size)
    out = last_pixel_size(size, kernel, stride, padding)
    arguments = {
        "type": kind,
        "kernelSize": kernel,
        "stride": stride,
        "includeLastPixel": {"paddingAmounts": padding},
        "avgPoolExcludePadding": exclude,
    }
    if any((o - 1) * s >= n + p for o, s, n, p in zip(out, stride, size, padding, strict=True)):
        with pytest.raises(windfall.FormatError, match=r"leaves the last window without a pixel"):
            run_layer("pooling", x, **arguments)
        return
    edges = [(p, p) for p in padding]
    expected = pool(x, kind, kernel, stride, edges, out, exclude)
    np.testing.assert_allclose(run_layer("pooling", x, **arguments), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("exclude", [False, True])
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("kind", ["MAX", "AVERAGE"])
def test_include_last_pixel_is_pytorchs_ceil_mode(kind, padding, exclude):
    x = normal(1, 2, 8, 6)
    options = {"kernel_size": 3, "stride": 2, "padding": padding, "ceil_mode": True}
    if kind == "MAX":
        expected = F.max_pool2d(torch.from_numpy(x), **options)
    else:
        expected = F.avg_pool2d(torch.from_numpy(x), **options, count_include_pad=not exclude)
    y = run_layer(
        "pooling",
        x,
        type=kind,
        stride=[2, 2],
        includeLastPixel={"paddingAmounts": [padding, padding]},
        avgPoolExcludePadding=exclude,
    )
    np.testing.assert_allclose(y, expected.numpy(), rtol=1e-5, atol=1e-6)


def test_l2_of_1_and_2_is_what_coremltools_expects():
    y = run_layer("pooling", [[[[1, 2]]]], type="L2", kernelSize=[1, 2], valid={})
    np.testing.assert_allclose(y, [[[[2.236068]]]], rtol=1e-6)


@pytest.mark.parametrize("lead", [(), (2,), (3, 1, 2)])
@pytest.mark.parametrize(
    ("kind", "function"),
    [
        ("MAX", np.max),
        ("AVERAGE", np.mean),
        ("L2", lambda x, axis, keepdims: np.sqrt(np.sum(x * x, axis=axis, keepdims=keepdims))),
    ],
)
def test_global_pooling_ignores_kernel_and_stride(kind, function, lead):
    x = normal(*lead, 2, 5, 3)
    y = run_layer("pooling", x, type=kind, globalPooling=True, kernelSize=[9, 9], stride=[7, 7], valid={})
    np.testing.assert_allclose(y, function(x, axis=(-2, -1), keepdims=True), rtol=1e-5, atol=1e-6)


def test_empty_fields_mean_a_3x3_kernel_and_no_stride():
    x = normal(2, 1, 2, 6, 5)
    expected = F.max_pool2d(torch.from_numpy(x[:, 0]), 3, 1).numpy()
    np.testing.assert_array_equal(run_layer("pooling", x, valid={}), expected[:, None])


@pytest.mark.parametrize("kind", ["AVERAGE", "L2"])
def test_padding_wider_than_the_kernel_counts_as_zeros(kind):
    x = normal(1, 1, 4, 4)
    edges = [(3, 2), (0, 4)]
    y = run_layer("pooling", x, type=kind, kernelSize=[2, 2], valid={"paddingAmounts": border(*edges)})
    np.testing.assert_allclose(y, pool(x, kind, (2, 2), (1, 1), edges, (8, 7), False), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "PoolingPaddingType is not set, must be valid, same or includeLastPixel"),
        ({"type": 7, "valid": {}}, "type is 7, must be MAX, AVERAGE or L2"),
        ({"valid": {}, "stride": [1, 0]}, r"stride is \[1, 0\], must be 1 to 2147483647 along both axes"),
        (
            {"valid": {}, "kernelSize": [6, 1]},
            r"kernelSize is \[6, 1\], spans 6 pixels along H, must be at most the in",
        ),
        (
            {"includeLastPixel": {"paddingAmounts": [1, 0]}, "kernelSize": [9, 1]},
            r"kernelSize is \[9, 1\], spans 9 pixels along H",
        ),
        (
            {"includeLastPixel": {"paddingAmounts": [1]}},
            r"paddingAmounts is \[1\], must have two numbers, for H and W, or none",
        ),
        (
            {"includeLastPixel": {}, "kernelSize": [1, 1], "stride": [3, 1]},
            r"stride is \[3, 1\], leaves the last window without a pixel, must be at most kernelSize",
        ),
        (
            {"valid": {"paddingAmounts": border((0, 2), (0, 0))}, "kernelSize": [2, 2]},
            r"kernelSize is \[2, 2\], must be larger than the padding \[0, 2\], \[0, 0\]: padding alone has no maximum",
        ),
    ],
)
def test_pooling_names_the_rule_that_is_broken(fields, message):
    with pytest.raises(windfall.FormatError, match=rf"cannot lower layer 'layer' \(pooling\) of the model: {message}"):
        run_layer("pooling", normal(1, 2, 5, 5), **fields)


@pytest.mark.parametrize(
    ("kind", "padding", "exclude"),
    [
        ("MAX", [0, 0], False),
        ("MAX", [1, 1], False),
        ("MAX", [1, 0], False),
        ("AVERAGE", [0, 0], False),
        ("AVERAGE", [1, 1], True),
        ("AVERAGE", [0, 1], True),
        # No window begins behind the pixels, so that what counts and what does not can be told apart.
        ("AVERAGE", [1, 0], False),
        ("L2", [0, 0], False),
        ("L2", [1, 0], False),
    ],
)
def test_include_last_pixel_of_a_size_known_at_run_time(kind, padding, exclude):
    fields = {"type": kind, "kernelSize": [3, 2], "stride": [2, 2], "avgPoolExcludePadding": exclude}
    for size in ((8, 6), (7, 9), (5, 5)):
        x = normal(2, 3, *size)
        out = last_pixel_size(size, (3, 2), (2, 2), padding)
        expected = pool(x, kind, (3, 2), (2, 2), [(p, p) for p in padding], out, exclude)
        y = run_symbolic("pooling", x, **fields, includeLastPixel={"paddingAmounts": padding})
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", ["BOTTOM_RIGHT_HEAVY", "TOP_LEFT_HEAVY"])
@pytest.mark.parametrize("kind", ["MAX", "AVERAGE", "L2"])
@pytest.mark.parametrize("stride", [[2, 3], [4, 4], [7, 5]])
def test_same_pooling_of_a_size_known_at_run_time(kind, mode, stride):
    x = normal(1, 2, 8, 7)
    fields = {"type": kind, "kernelSize": [3, 4], "stride": stride, "same": {"asymmetryMode": mode}}
    np.testing.assert_allclose(run_symbolic("pooling", x, **fields), run_layer("pooling", x, **fields), rtol=1e-6)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"type": "L2", "includeLastPixel": {"paddingAmounts": [1, 1]}, "stride": [3, 1]},
            "includeLastPixel with L2 needs an input whose H and W are known when",
        ),
        (
            {"type": "AVERAGE", "includeLastPixel": {"paddingAmounts": [1, 1]}, "stride": [3, 1]},
            "includeLastPixel with AVERAGE needs an input whose H and W are known when the model is loaded",
        ),
        (
            {"includeLastPixel": {}, "stride": [1, 4]},
            r"stride is \[1, 4\], leaves the last window without a pixel, must be at most kernelSize, or",
        ),
    ],
)
def test_pooling_says_what_needs_sizes_known_in_advance(fields, message):
    with pytest.raises(windfall.FormatError, match=message):
        run_symbolic("pooling", normal(1, 1, 9, 9), **fields)
