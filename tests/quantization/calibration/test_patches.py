"""The rows that convolutions multiply, against PyTorch: the same outputs, and the same second moments."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.nn import functional

import windfall
from tests.support import layer_spec
from windfall.quantization.calibration import patches
from windfall.quantization.calibration.moments import Moments
from windfall.quantization.calibration.patches import picked, vectors
from windfall.quantization.calibration.uses import Use, network_uses
from windfall.quantization.networks import layers

Floats = NDArray[np.float32]
small = st.integers(1, 3)


@st.composite
def windows(draw: st.DrawFn) -> dict[str, Any]:
    """The fields of a convolution or a deconvolution over an input of 7 x 6."""
    is_transposed = draw(st.booleans())
    fields: dict[str, Any] = {
        "kernelSize": [draw(small), draw(small)],
        "stride": [draw(small), draw(small)],
        "dilationFactor": [draw(st.integers(1, 2)), draw(st.integers(1, 2))],
        "nGroups": draw(st.integers(1, 2)),
        "isDeconvolution": is_transposed,
        "outputChannels": 4,
    }
    kind = draw(st.sampled_from(["valid", "bottom", "top"]))
    if kind != "valid":
        modes = {"bottom": "BOTTOM_RIGHT_HEAVY", "top": "TOP_LEFT_HEAVY"}
        return fields | {"same": {"asymmetryMode": modes[kind]}}
    # What a deconvolution cuts off must leave something: along each axis it makes 6 pixels at least.
    edge = st.integers(0, 2)
    amounts = [{"startEdgeSize": draw(edge), "endEdgeSize": draw(edge)} for _ in range(2)]
    return fields | {"valid": {"paddingAmounts": {"borderAmounts": amounts}}}


def use_of(spec: Any) -> Use:
    model = windfall.load(spec)
    network = spec.neuralNetwork
    (use,) = network_uses(model._file, network, spec.description, "").values()
    assert isinstance(use, Use)
    return use


def convolution(fields: dict[str, Any], x: Floats, rng: np.random.Generator) -> Any:
    channels, groups = x.shape[1], fields["nGroups"]
    if fields["isDeconvolution"]:
        shape = (channels, 4 // groups, *fields["kernelSize"])
        sizes = {"kernelChannels": channels}
    else:
        shape = (4, channels // groups, *fields["kernelSize"])
        sizes = {"kernelChannels": channels // groups}
    weights = rng.normal(size=shape).astype(np.float32)
    return layer_spec("convolution", x, **fields, **sizes, weights=weights)


@settings(deadline=None, max_examples=60)  # each compiles a model
@given(fields=windows(), seed=st.integers(0, 99))
def test_rows_times_the_weight_are_the_outputs(fields: dict[str, Any], seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, 4, 7, 6)).astype(np.float32)
    spec = convolution(fields, x, rng)
    model = windfall.load(spec)
    (layer,) = layers(model._file, model._file.spec)
    weight = layer.weights[0]
    rows = use_of(spec).rows(x, np.arange)
    matrix = weight.by_channel(weight.values(model._file)).reshape(fields["nGroups"], -1, rows.shape[2])
    outputs = model.predict({"x0": x})["y0"]
    # [groups, rows, channels of each] -> [N, C, H, W]
    found = np.einsum("gpk,grk->grp", rows, matrix).reshape(4, 2, *outputs.shape[2:]).swapaxes(0, 1)
    np.testing.assert_allclose(found, outputs, rtol=1e-4, atol=1e-4)


@settings(deadline=None, max_examples=60)
@given(kernel=st.tuples(small, small), stride=st.tuples(small, small), dilation=st.tuples(small, small), pad=small)
def test_second_moments_are_those_of_unfolded_inputs(
    kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int], pad: int
) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 4, 9, 8)).astype(np.float32)
    edges = {"borderAmounts": [{"startEdgeSize": pad, "endEdgeSize": pad}] * 2}
    fields = {"kernelSize": list(kernel), "stride": list(stride), "dilationFactor": list(dilation), "nGroups": 2}
    window = {**fields, "isDeconvolution": False, "outputChannels": 4, "valid": {"paddingAmounts": edges}}
    rows = use_of(convolution(window, x, rng)).rows(x, np.arange)
    moments = Moments(*rows.shape[::2])
    moments.add(rows)
    moments.flush()
    unfolded = functional.unfold(torch.from_numpy(x), kernel, dilation, pad, stride).double()  # [N, C * kH * kW, L]
    for group, part in enumerate(unfolded.chunk(2, dim=1)):
        expected = torch.einsum("nil,njl->ij", part, part).numpy()
        np.testing.assert_allclose(
            moments.means(centred=False)[0][group] * moments.count, expected, rtol=1e-4, atol=1e-3
        )
        np.testing.assert_allclose(moments.first[group], part.sum(dim=(0, 2)).numpy(), rtol=1e-4, atol=1e-3)
    assert moments.count == unfolded.shape[0] * unfolded.shape[2]


def test_the_same_rows_are_picked_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patches, "MOST_ROWS", 10)
    x = np.arange(400, dtype=np.float32).reshape(100, 4)
    first = vectors(4)(x, picked(3))
    assert first.shape == (1, 10, 4)
    np.testing.assert_array_equal(first, vectors(4)(x, picked(3)))
    assert (np.diff(first[0, :, 0]) > 0).all()
    assert not np.array_equal(first, vectors(4)(x, picked(4)))
    assert vectors(4)(x[:10], picked(3)).shape == (1, 10, 4)
