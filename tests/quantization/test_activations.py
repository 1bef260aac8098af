"""The parts of 8-bit arithmetic: ranges, the choice of layers, agreement, what processors hold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from windfall.quantization.activations.agreement import agree, decibels, same_class
from windfall.quantization.activations.calibrating import _least
from windfall.quantization.activations.ranges import Range, best_range
from windfall.quantization.activations.rewriting import weight_scales, whole_weights
from windfall.runtime import processor

RNG = np.random.default_rng(0)
FLOATS = st.floats(-1e4, 1e4, width=32)


@given(FLOATS, FLOATS)
def test_zero_is_exact_in_every_range(low, high):
    steps = Range.of(low, high)
    assert 0 <= steps.zero <= 255
    assert steps.rounded(np.zeros(1, np.float32)) == 0


@given(arrays(np.float32, 50, elements=FLOATS))
def test_numbers_of_a_range_are_rounded_to_the_nearest_step(numbers):
    steps = Range.of(float(numbers.min()), float(numbers.max()))
    # The zero point is rounded too, which moves the ends by half a step.
    assert np.abs(steps.rounded(numbers) - numbers).max() <= steps.scale * 1.001


def test_the_best_range_leaves_out_what_hardly_ever_occurs():
    numbers = RNG.laplace(size=1_000_000).astype(np.float32)
    whole = Range.of(numbers.min(), numbers.max())
    found = best_range(numbers, float(numbers.min()), float(numbers.max()))

    def error(steps: Range) -> float:
        return float(np.square(steps.rounded(numbers) - numbers).mean())

    assert found.scale < whole.scale * 0.9
    assert error(found) < error(whole)


def test_the_best_range_keeps_all_of_even_numbers():
    numbers = np.linspace(0, 6, 10_000, dtype=np.float32)
    found = best_range(numbers, 0.0, 6.0)
    assert found.zero == 0
    assert found.scale == pytest.approx(6 / 255, rel=0.02)


def test_weights_have_a_step_for_each_channel():
    weights = np.array([[1.0, -2.0], [0.0, 0.0], [0.5, 0.25]], np.float32)
    scales = weight_scales(weights, 0, 127)
    np.testing.assert_allclose(scales, [2 / 127, 1, 0.5 / 127], rtol=1e-6)
    np.testing.assert_array_equal(whole_weights(weights, scales, 0, 127), [[64, -127], [0, 0], [127, 64]])


@pytest.mark.parametrize("first", range(11))
def test_the_fewest_are_kept(first):
    assert _least(10, lambda count: count >= first) == first


def test_classes_agree_where_the_largest_probability_is_the_same():
    one, other = np.array([0.1, 0.9]), np.array([0.4, 0.6])
    assert same_class([one, one], [other, other[::-1]]) == 0.5
    assert agree([[one]], [[other]], [True])
    assert not agree([[one]], [[other[::-1]]], [True])
    assert not agree([[one]], [[other]], [False])


def test_decibels_are_those_of_the_formula():
    one, other = np.array([0.0, 2.0]), np.array([0.1, 2.1])
    assert decibels([one], [other]) == pytest.approx(10 * np.log10(2**2 / 0.1**2))
    picture = np.full(10, 100, np.uint8)
    assert decibels([picture], [picture + 1]) == pytest.approx(20 * np.log10(255))
    assert decibels([one], [one]) == np.inf
    assert decibels([one], [np.array([np.nan, 2.0])]) == -np.inf
    assert decibels([one], [np.zeros(3)]) == -np.inf


def test_whole_numbers_agree_where_they_are_the_same():
    numbers = np.arange(200)
    changed = np.where(numbers < 1, 5, numbers)
    assert agree([[numbers]], [[changed]], [False])
    assert not agree([[numbers[:10]]], [[changed[:10]]], [False])


@pytest.mark.parametrize(
    ("machine", "flags", "expected"),
    [("x86_64", "avx2 avx512_vnni", 127), ("AMD64", "avx2", 63), ("aarch64", "neon", 127), ("x86_64", None, 63)],
)
def test_weights_are_narrow_without_dot_products(monkeypatch, tmp_path, machine, flags, expected):
    path = tmp_path / "cpuinfo"
    if flags is not None:
        path.write_text(f"flags\t\t: {flags}\n")
    monkeypatch.setattr(processor, "_CPUINFO", path)
    monkeypatch.setattr(processor.platform, "machine", lambda: machine)
    assert processor.largest_weight.__wrapped__() == expected
