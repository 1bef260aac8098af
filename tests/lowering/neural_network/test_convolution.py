"""Convolution and deconvolution, against PyTorch."""

from pathlib import Path
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
from tests.support import fill, layer_spec, run_layer
from windfall.spec.proto import NeuralNetwork_pb2

KERNELS = st.tuples(st.integers(1, 4), st.integers(1, 4))
STRIDES = st.tuples(st.integers(1, 3), st.integers(1, 3))
EDGES = st.tuples(st.integers(0, 3), st.integers(0, 3))


def normal(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(shape).normal(size=shape).astype(np.float32)


def border(*edges: tuple[int, int]) -> dict[str, Any]:
    return {"borderAmounts": [{"startEdgeSize": start, "endEdgeSize": end} for start, end in edges]}


def conv2d(x: NDArray[np.float32], w: NDArray[np.float32], edges: Any, **options: Any) -> NDArray[np.float32]:
    (top, bottom), (left, right) = edges
    padded = F.pad(torch.from_numpy(x), (left, right, top, bottom))
    return F.conv2d(padded, torch.from_numpy(w), **options).numpy()


def same_edges(size: int, kernel: int, stride: int, dilation: int, mode: str) -> tuple[int, int]:
    """The proto's formulas, word for word."""
    kernel = (kernel - 1) * dilation + 1
    out = -(-size // stride)
    total = max(0, (out - 1) * stride + kernel - size)
    half = total // 2
    return (half, total - half) if mode == "BOTTOM_RIGHT_HEAVY" else (total - half, half)


@settings(deadline=None, max_examples=25)
@given(KERNELS, STRIDES, STRIDES, st.tuples(EDGES, EDGES), st.sampled_from([1, 2, 3]), st.booleans())
def test_valid_convolution_matches_pytorch(kernel, stride, dilation, edges, groups, has_bias):
    x, w = normal(2, 3 * groups, 11, 12), normal(2 * groups, 3, *kernel)
    bias = {"hasBias": True, "bias": normal(2 * groups)} if has_bias else {}
    y = run_layer(
        "convolution",
        x,
        kernelChannels=3,
        outputChannels=2 * groups,
        nGroups=groups,
        kernelSize=kernel,
        stride=stride,
        dilationFactor=dilation,
        valid={"paddingAmounts": border(*edges)},
        weights=w,
        **bias,
    )
    bias_tensor = torch.from_numpy(bias["bias"]) if has_bias else None
    expected = conv2d(x, w, edges, bias=bias_tensor, stride=stride, dilation=dilation, groups=groups)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)


@settings(deadline=None, max_examples=25)
@given(KERNELS, STRIDES, STRIDES, EDGES, st.sampled_from(["BOTTOM_RIGHT_HEAVY", "TOP_LEFT_HEAVY"]))
def test_same_convolution_pads_as_the_spec_says(kernel, stride, dilation, size, mode):
    x, w = normal(1, 2, 6 + size[0], 7 + size[1]), normal(3, 2, *kernel)
    y = run_layer(
        "convolution",
        x,
        kernelChannels=2,
        outputChannels=3,
        kernelSize=kernel,
        stride=stride,
        dilationFactor=dilation,
        same={"asymmetryMode": mode},
        weights=w,
    )
    edges = [same_edges(x.shape[2 + i], kernel[i], stride[i], dilation[i], mode) for i in (0, 1)]
    expected = conv2d(x, w, edges, stride=stride, dilation=dilation)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)


def test_empty_fields_mean_a_3x3_kernel_and_no_stride():
    x, w = normal(1, 2, 6, 6), normal(4, 2, 3, 3)
    y = run_layer("convolution", x, kernelChannels=2, outputChannels=4, valid={}, weights=w)
    np.testing.assert_allclose(y, F.conv2d(torch.from_numpy(x), torch.from_numpy(w)).numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("lead", [(), (2,), (3, 2)])
def test_all_leading_axes_are_batch(lead):
    x, w = normal(*lead, 2, 5, 6), normal(4, 2, 3, 3)
    y = run_layer("convolution", x, kernelChannels=2, outputChannels=4, valid={}, weights=w)
    expected = F.conv2d(torch.from_numpy(x.reshape(-1, 2, 5, 6)), torch.from_numpy(w)).numpy()
    np.testing.assert_allclose(y, expected.reshape(*lead, 4, 3, 4), rtol=1e-4, atol=1e-5)


def test_weights_may_be_the_second_input():
    x, w = normal(1, 4, 6, 6), normal(6, 2, 3, 3)
    y = run_layer("convolution", x, w, kernelChannels=2, outputChannels=6, nGroups=2, same={})
    expected = F.conv2d(torch.from_numpy(x), torch.from_numpy(w), groups=2, padding=1).numpy()
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


@settings(deadline=None, max_examples=25)
@given(KERNELS, STRIDES, STRIDES, st.tuples(EDGES, EDGES), st.sampled_from([1, 2]))
def test_valid_deconvolution_is_pytorchs_with_its_edges_cut(kernel, stride, dilation, edges, groups):
    x, w, b = normal(1, 2 * groups, 6, 7), normal(2 * groups, 3, *kernel), normal(3 * groups)
    full = F.conv_transpose2d(
        *map(torch.from_numpy, (x, w, b)), stride=stride, groups=groups, dilation=dilation
    ).numpy()
    (top, bottom), (left, right) = edges
    expected = full[:, :, top : full.shape[2] - bottom, left : full.shape[3] - right]
    fields = {
        "isDeconvolution": True,
        "kernelChannels": 2 * groups,
        "outputChannels": 3 * groups,
        "nGroups": groups,
        "kernelSize": kernel,
        "stride": stride,
        "dilationFactor": dilation,
        "valid": {"paddingAmounts": border(*edges)},
        "weights": w,
        "hasBias": True,
        "bias": b,
    }
    if 0 in expected.shape:
        with pytest.raises(windfall.FormatError, match=r"valid.paddingAmounts is .*, cuts all \d+ pixels along [HW]"):
            run_layer("convolution", x, **fields)
        return
    np.testing.assert_allclose(run_layer("convolution", x, **fields), expected, rtol=1e-4, atol=1e-4)


def deconvolve(x: NDArray[np.float32], w: NDArray[np.float32], stride: Any, **fields: Any) -> NDArray[np.float32]:
    return run_layer(
        "convolution",
        x,
        isDeconvolution=True,
        kernelChannels=w.shape[0],
        outputChannels=w.shape[1],
        kernelSize=w.shape[2:],
        stride=stride,
        weights=w,
        **fields,
    )


def gradient_of_same_convolution(
    y: NDArray[np.float32], w: NDArray[np.float32], stride: Any, shape: Any, mode: str
) -> NDArray[np.float32]:
    """What automatic differentiation makes of a convolution with ``same`` padding that reads ``shape``."""
    source = torch.zeros(1, w.shape[1], *shape, requires_grad=True)
    (top, bottom), (left, right) = (same_edges(shape[i], w.shape[2 + i], stride[i], 1, mode) for i in (0, 1))
    out = F.conv2d(F.pad(source, (left, right, top, bottom)), torch.from_numpy(w), stride=stride)
    assert out.shape == y.shape
    (gradient,) = torch.autograd.grad(out, source, torch.from_numpy(y))
    return gradient.numpy()


@settings(deadline=None, max_examples=25)
@given(KERNELS, STRIDES, st.sampled_from(["BOTTOM_RIGHT_HEAVY", "TOP_LEFT_HEAVY"]))
def test_same_deconvolution_is_the_transpose_of_same_convolution(kernel, stride, mode):
    x, w = normal(1, 2, 4, 5), normal(2, 3, *kernel)
    y = deconvolve(x, w, stride, same={"asymmetryMode": mode})
    expected = gradient_of_same_convolution(x, w, stride, (4 * stride[0], 5 * stride[1]), mode)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)


@settings(deadline=None, max_examples=25)
@given(KERNELS, STRIDES, st.data(), st.sampled_from(["BOTTOM_RIGHT_HEAVY", "TOP_LEFT_HEAVY"]))
def test_output_shape_overrides_the_padding(kernel, stride, data, mode):
    # All sizes whose convolution with same padding has 4 x 5 pixels.
    shape = [data.draw(st.integers((size - 1) * s + 1, size * s)) for size, s in zip((4, 5), stride, strict=True)]
    x, w = normal(1, 2, 4, 5), normal(2, 3, *kernel)
    expected = gradient_of_same_convolution(x, w, stride, shape, mode)
    y = deconvolve(x, w, stride, outputShape=shape, same={"asymmetryMode": mode})
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)


def test_output_shape_keeps_borders_that_lead_to_it():
    # What coremltools writes for PyTorch's padding: both fields, and they agree.
    x, w = normal(1, 2, 4, 4), normal(2, 3, 3, 3)
    full = F.conv_transpose2d(torch.from_numpy(x), torch.from_numpy(w), stride=2).numpy()
    y = deconvolve(x, w, [2, 2], outputShape=[8, 8], valid={"paddingAmounts": border((1, 0), (1, 0))})
    np.testing.assert_allclose(y, full[:, :, 1:, 1:], rtol=1e-4, atol=1e-5)


def quantized(values: NDArray[np.uint8], scale: Any, bias: Any) -> Any:
    message = NeuralNetwork_pb2.WeightParams(rawValue=values.tobytes())
    linear = {"scale": np.asarray(scale), "bias": np.asarray(bias)}
    fill(message.quantization, {"numberOfBits": 8, "linearQuantization": linear})
    return message


def deconvolution_fields(groups: int, weights: Any) -> dict[str, Any]:
    return {
        "isDeconvolution": True,
        "kernelChannels": 4,
        "outputChannels": 3 * groups,
        "nGroups": groups,
        "valid": {},
        "weights": weights,
    }


@pytest.mark.parametrize("groups", [1, 2])
def test_deconvolution_weights_have_a_scale_for_each_channel_of_axis_1(groups):
    x, raw = normal(1, 4, 5, 5), np.random.default_rng(0).integers(0, 256, (4, 3, 3, 3), np.uint8)
    scale, bias = np.array([0.5, 0.25, 2]), np.array([-10, 0, 3])
    w = (raw * scale.reshape(1, 3, 1, 1) + bias.reshape(1, 3, 1, 1)).astype(np.float32)
    y = run_layer("convolution", x, **deconvolution_fields(groups, quantized(raw, scale, bias)))
    expected = F.conv_transpose2d(torch.from_numpy(x), torch.from_numpy(w), groups=groups).numpy()
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("one_bias", [False, True])
def test_grouped_deconvolution_weights_may_have_a_scale_for_each_output_channel(one_bias, tmp_path: Path):
    x, raw = normal(1, 4, 5, 5), np.random.default_rng(0).integers(0, 256, (4, 3, 3, 3), np.uint8)
    scale, bias = np.arange(1, 7) / 4, np.array([-9]) if one_bias else np.arange(6) - 2
    by_group = [np.broadcast_to(v, 6).reshape(2, 1, 3, 1, 1) for v in (scale, bias)]
    w = (raw.reshape(2, 2, 3, 3, 3) * by_group[0] + by_group[1]).reshape(raw.shape).astype(np.float32)
    spec = layer_spec("convolution", x, **deconvolution_fields(2, quantized(raw, scale, bias)))
    (tmp_path / "m.mlmodel").write_bytes(spec.SerializeToString())
    y = windfall.load(tmp_path / "m.mlmodel").predict({"x0": x})["y0"]
    expected = F.conv_transpose2d(torch.from_numpy(x), torch.from_numpy(w), groups=2).numpy()
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ((6, 2), "weights has a quantization bias of 2 values, must be 1 or 6"),
        ((2, 1), "weights has a quantization scale of 2 values, must be 1 or 3"),
    ],
)
def test_grouped_deconvolution_checks_its_scales(counts, message):
    weights = quantized(np.zeros((4, 3, 3, 3), np.uint8), np.ones(counts[0]), np.ones(counts[1]))
    with pytest.raises(windfall.FormatError, match=message):
        run_layer("convolution", normal(1, 4, 5, 5), **deconvolution_fields(2, weights))


def test_the_activation_follows_the_convolution_directly():
    x, w = normal(1, 1, 2, 5, 5), normal(4, 2, 3, 3)
    spec = layer_spec("convolution", x, kernelChannels=2, outputChannels=4, same={}, weights=w)
    spec.neuralNetwork.layers[0].output[0] = "c"
    layer = spec.neuralNetwork.layers.add(name="relu", input=["c"], output=["y0"])
    layer.activation.ReLU.SetInParent()
    nodes = windfall.load(spec).compiled.onnx.graph.node
    assert [node.op_type for node in nodes] == ["Reshape", "Conv", "Relu", "Reshape"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"stride": [0, 1]}, r"stride is \[0, 1\], must be 1 to 2147483647 along both axes"),
        ({"stride": [2**40, 1]}, r"stride is \[1099511627776, 1\], must be 1 to 2147483647"),
        ({"kernelSize": [0, 3]}, r"kernelSize is \[0, 3\], must be 1 to"),
        ({"kernelSize": [3]}, r"kernelSize is \[3\], must have two numbers, for H and W, or none"),
        ({"kernelSize": [5, 3]}, r"weights has 72 values in 288 bytes, must have 120 \(4 x 2 x 5 x 3\)"),
        (
            {"kernelSize": [3, 8], "weights": normal(4, 2, 3, 8)},
            r"kernelSize is \[3, 8\], spans 8 pixels along W, must be at most the input's 6 and",
        ),
        ({"dilationFactor": [3, 1]}, r"kernelSize is \[3, 3\], spans 7 pixels along H"),
        ({"kernelChannels": 3}, r"input has 2 channels, kernelChannels and nGroups ask for 3"),
        ({"kernelChannels": 0}, r"kernelChannels is 0, must be at least 1"),
        ({"outputChannels": 0}, r"outputChannels is 0, must be at least 1"),
        ({"nGroups": 3}, r"outputChannels is 4, must be a multiple of nGroups, which is 3"),
        ({"same": {"asymmetryMode": 2}}, r"same.asymmetryMode is 2, must be BOTTOM_RIGHT_HEAVY or TOP_LEFT_HEAVY"),
        (
            {"isDeconvolution": True, "kernelChannels": 2, "nGroups": 4, "same": {}},
            r"kernelChannels is 2, must be a multiple of nGroups, which is 4",
        ),
        ({"hasBias": True}, r"bias has no values, must have 4"),
        ({"hasBias": True, "bias": np.ones(3)}, r"bias has 3 values in 12 bytes, must have 4"),
        ({"valid": {"paddingAmounts": border((1, 1))}}, r"valid.paddingAmounts is \[\(1, 1\)\], must have two border"),
        (
            {"valid": {"paddingAmounts": border((2**40, 1), (0, 0))}},
            r"valid.paddingAmounts is .*, must be at most 2147483647 at",
        ),
    ],
)
def test_convolution_names_the_rule_that_is_broken(fields, message):
    good = {"kernelChannels": 2, "outputChannels": 4, "valid": {}, "weights": normal(4, 2, 3, 3)}
    with pytest.raises(
        windfall.FormatError, match=rf"cannot lower layer 'layer' \(convolution\) of the model: {message}"
    ):
        run_layer("convolution", normal(1, 2, 6, 6), **(good | fields))


def test_padding_must_be_set():
    with pytest.raises(windfall.FormatError, match="ConvolutionPaddingType is not set, must be valid or same"):
        run_layer("convolution", normal(1, 2, 6, 6), kernelChannels=2, outputChannels=4, weights=normal(4, 2, 3, 3))
    with pytest.raises(windfall.FormatError, match="must be valid or same where outputShape is not set"):
        deconvolve(normal(1, 2, 6, 6), normal(2, 4, 3, 3), [1, 1])


def test_output_shape_can_be_reached():
    with pytest.raises(windfall.FormatError, match=r"outputShape is \[15, 13\], must be at most 14 along H for this"):
        deconvolve(normal(1, 2, 6, 6), normal(2, 4, 3, 3), [2, 2], outputShape=[15, 13])


def test_weights_that_are_an_input_must_fit():
    fields = {"kernelChannels": 2, "outputChannels": 4, "valid": {}}
    with pytest.raises(windfall.FormatError, match=r"weights of shape \[4, 2, 3, 1\], must be \[4, 2, 3, 3\]"):
        run_layer("convolution", normal(1, 2, 6, 6), normal(4, 2, 3, 1), **fields)
    with pytest.raises(windfall.FormatError, match="a deconvolution must have its weights in the layer"):
        run_layer("convolution", normal(1, 2, 6, 6), normal(2, 4, 3, 3), isDeconvolution=True, **fields)


@pytest.mark.parametrize("mode", ["BOTTOM_RIGHT_HEAVY", "TOP_LEFT_HEAVY"])
@pytest.mark.parametrize("stride", [[1, 1], [2, 3]])
@pytest.mark.parametrize("deconvolution", [False, True])
def test_same_padding_of_a_size_known_at_run_time(mode, stride, deconvolution):
    x, w = normal(2, 3, 8, 7), normal(3, 3, 4, 2)
    fields = {
        "isDeconvolution": deconvolution,
        "kernelChannels": 3,
        "outputChannels": 3,
        "kernelSize": [4, 2],
        "stride": stride,
        "same": {"asymmetryMode": mode},
        "weights": w,
    }
    y = run_symbolic("convolution", x, **fields)
    np.testing.assert_allclose(y, run_layer("convolution", x, **fields), rtol=1e-5, atol=1e-5)


def test_output_shape_needs_known_sizes():
    fields = {"isDeconvolution": True, "kernelChannels": 2, "outputChannels": 1, "weights": normal(2, 1, 3, 3)}
    with pytest.raises(
        windfall.FormatError, match=r"outputShape is \[6, 6\], needs an input whose size along H is known"
    ):
        run_symbolic("convolution", normal(1, 2, 4, 4), outputShape=[6, 6], **fields)
