"""Sums over rows, against NumPy in float64."""

from typing import Any

import numpy as np
import pytest

import windfall
from tests.support import layer_spec
from windfall.quantization import quantize_weights
from windfall.quantization.calibration.moments import Moments


@pytest.mark.parametrize("offset", [0, 5000])
def test_means_are_exact_however_large_the_mean(offset: int) -> None:
    rng = np.random.default_rng(0)
    rows = (rng.normal(size=(2, 900, 8)) @ rng.normal(size=(2, 8, 8)) + offset).astype(np.float32)
    originals = rows + rng.normal(size=rows.shape).astype(np.float32)
    moments = Moments(2, 8)
    for part in range(3):
        place = slice(300 * part, 300 * part + 300)
        moments.add(rows[:, place], originals[:, place])
    moments.flush()
    x, drift = rows.astype(np.float64), (originals - rows).astype(np.float64)
    for centred in (False, True):
        second, cross = moments.means(centred=centred)
        assert cross is not None
        less, less_drift = (each - each.mean(axis=1, keepdims=True) * centred for each in (x, drift))
        np.testing.assert_allclose(second, less.swapaxes(1, 2) @ less / 900, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(cross, less.swapaxes(1, 2) @ less_drift / 900, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(moments.first, x.sum(axis=1), rtol=1e-6)


def test_rows_of_zeros() -> None:
    moments = Moments(1, 3)
    assert moments.is_zero
    moments.add(np.zeros((1, 2, 3), np.float32))
    moments.flush()
    assert moments.is_zero
    moments.add(np.ones((1, 2, 3), np.float32))
    moments.flush()
    assert not moments.is_zero
    constant = Moments(1, 3)
    constant.add(np.ones((1, 2, 3), np.float32))
    constant.flush()
    assert not constant.is_zero


def test_a_single_sample_of_many_numbers_is_enough() -> None:
    rng = np.random.default_rng(1)
    weight, x = (rng.normal(size=shape).astype(np.float32) for shape in ((8, 1024), (1024,)))
    sizes: dict[str, Any] = {"inputChannels": 1024, "outputChannels": 8, "weights": {"floatValue": weight}}
    spec = layer_spec("innerProduct", x, **sizes, hasBias=True, bias={"floatValue": np.zeros(8)})
    small = quantize_weights(windfall.load(spec), 3, "kmeans", calibration=[{"x0": x}])
    # The bias takes up all of the error.
    np.testing.assert_allclose(small.predict({"x0": x})["y0"], weight.astype(np.float64) @ x, rtol=1e-4, atol=1e-3)
